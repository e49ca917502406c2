#include "analyzer/symbols/symbolizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "analyzer/symbols/demangle.h"
#include "analyzer/symbols/dwarf_index.h"
#include "analyzer/symbols/elf_file.h"
#include "analyzer/symbols/elf_symbols.h"

#define DEFAULT_DEBUG_ROOT "/usr/lib/debug"
#define OPEN_MAX_BYTES (UINT64_C(1) << 30)
#define MODULES_MAX 65536u

/* A string that was seen, and how it is shown. */
struct text {
	UT_hash_handle hh;
	const char *shown; /* `raw` itself when they are the same */
	char raw[];
};

/* Where the functions of a module are, as far as its files tell. */
struct image {
	struct elf_file *file;
	struct elf_file *debug;
	struct dwarf_index *dwarf;
	struct elf_symbols *symbols;
	uint64_t file_bytes;
};

struct module {
	UT_hash_handle hh;
	struct image image;
	bool is_open; /* the files were looked for, found or not */
	char key[];
};

struct symbolizer {
	char *debug_root;
	struct text *names;
	struct text *files;
	struct module *modules;
	uint64_t open_bytes;
};

/* ---- Life ------------------------------------------------------------------------------------ */

static void close_image(struct image *image) {
	dwarf_index_free(image->dwarf);
	elf_symbols_free(image->symbols);
	elf_file_close(image->debug);
	elf_file_close(image->file);
	*image = (struct image){0};
}

static void close_images(struct symbolizer *symbolizer) {
	struct module *module;
	struct module *next;

	HASH_ITER(hh, symbolizer->modules, module, next) {
		close_image(&module->image);
		module->is_open = false;
	}
	symbolizer->open_bytes = 0;
}

static void forget_modules(struct symbolizer *symbolizer) {
	struct module *module;
	struct module *next;

	close_images(symbolizer);
	HASH_ITER(hh, symbolizer->modules, module, next) {
		HASH_DEL(symbolizer->modules, module);
		free(module);
	}
}

static void free_texts(struct text **texts) {
	struct text *text;
	struct text *next;

	HASH_ITER(hh, *texts, text, next) {
		HASH_DEL(*texts, text);
		if (text->shown != text->raw)
			free((char *)text->shown);
		free(text);
	}
}

struct symbolizer *symbolizer_new(void) {
	struct symbolizer *symbolizer = calloc(1, sizeof *symbolizer);

	if (symbolizer != NULL && !symbolizer_set_debug_root(symbolizer, DEFAULT_DEBUG_ROOT)) {
		free(symbolizer);
		return NULL;
	}
	return symbolizer;
}

void symbolizer_free(struct symbolizer *symbolizer) {
	if (symbolizer == NULL)
		return;
	forget_modules(symbolizer);
	free_texts(&symbolizer->names);
	free_texts(&symbolizer->files);
	free(symbolizer->debug_root);
	free(symbolizer);
}

bool symbolizer_set_debug_root(struct symbolizer *symbolizer, const char *directory) {
	char *copy = strdup(directory);

	if (copy == NULL)
		return false;
	free(symbolizer->debug_root);
	symbolizer->debug_root = copy;
	return true;
}

/* ---- Texts ----------------------------------------------------------------------------------- */

static struct text *intern(struct text **texts, const char *raw) {
	size_t length = strlen(raw);
	struct text *text;

	HASH_FIND(hh, *texts, raw, length, text);
	if (text != NULL)
		return text;
	text = malloc(sizeof *text + length + 1);
	if (text == NULL)
		return NULL;
	memcpy(text->raw, raw, length + 1);
	text->shown = text->raw;
	HASH_ADD_KEYPTR(hh, *texts, text->raw, length, text);
	return text;
}

static const char *show_name(struct symbolizer *symbolizer, const char *linkage_name) {
	size_t count = HASH_COUNT(symbolizer->names);
	struct text *text;
	char *shown;

	if (linkage_name == NULL || linkage_name[0] == '\0')
		return NULL;
	text = intern(&symbolizer->names, linkage_name);
	if (text == NULL || HASH_COUNT(symbolizer->names) == count)
		return text != NULL ? text->shown : NULL;
	shown = demangle(linkage_name);
	if (shown != NULL)
		text->shown = shown;
	return text->shown;
}

/* Compilers write "dir/./file" when they were given "./file". */
static void drop_dot_steps(char *path) {
	char *step;

	while ((step = strstr(path, "/./")) != NULL)
		memmove(step, step + 2, strlen(step + 2) + 1);
}

static const char *show_file(struct symbolizer *symbolizer, const char *file, const char *directory) {
	struct text *text;
	char *path = NULL;
	bool is_relative;

	if (file == NULL || file[0] == '\0' || strcmp(file, "???") == 0)
		return NULL;
	is_relative = file[0] != '/' && directory != NULL && directory[0] != '\0';
	if (asprintf(&path, "%s%s%s", is_relative ? directory : "", is_relative ? "/" : "", file) < 0)
		return NULL;
	drop_dot_steps(path);
	text = intern(&symbolizer->files, path);
	free(path);
	return text != NULL ? text->shown : NULL;
}

/* ---- Images ---------------------------------------------------------------------------------- */

static struct elf_file *open_recorded(const struct symbol_module *module) {
	if (module->build_id_length > 0)
		return elf_file_open_build_id(module->path, module->build_id, module->build_id_length);
	return elf_file_open_size(module->path, module->file_bytes);
}

static struct elf_file *open_debug(const struct symbolizer *symbolizer, const struct symbol_module *module,
				   const struct elf_file *file) {
	if (file != NULL)
		return elf_file_debug_of(file, module->path, symbolizer->debug_root);
	/* The file is gone or replaced, but a debug file with the recorded build-id is of the old one. */
	return elf_file_debug_by_build_id(symbolizer->debug_root, module->build_id, module->build_id_length);
}

static void read_image(struct image *image) {
	const struct elf_file *best = image->debug != NULL ? image->debug : image->file;

	image->dwarf = dwarf_index_new(best);
	image->symbols = elf_symbols_load(best);
	if (image->symbols == NULL && image->debug != NULL && image->file != NULL)
		image->symbols = elf_symbols_load(image->file);
}

static struct image open_image(const struct symbolizer *symbolizer, const struct symbol_module *module) {
	struct image image = {0};

	image.file = open_recorded(module);
	if (image.file == NULL || !elf_file_has_dwarf(image.file))
		image.debug = open_debug(symbolizer, module, image.file);
	if (image.file != NULL)
		image.file_bytes += image.file->file_bytes;
	if (image.debug != NULL)
		image.file_bytes += image.debug->file_bytes;
	return image;
}

static void attach_image(struct symbolizer *symbolizer, struct module *module, struct image image) {
	if (image.file_bytes > 0) {
		if (symbolizer->open_bytes + image.file_bytes > OPEN_MAX_BYTES)
			close_images(symbolizer);
		symbolizer->open_bytes += image.file_bytes;
		read_image(&image);
	}
	module->image = image;
	module->is_open = true;
}

static char *format_key(const struct symbol_module *module) {
	char build_id[2 * SYMBOL_BUILD_ID_MAX_BYTES + 1] = "";
	char *key;

	for (size_t i = 0; i < module->build_id_length; i++)
		snprintf(build_id + 2 * i, 3, "%02x", module->build_id[i]);
	if (asprintf(&key, "%s\n%s\n%llu", module->path, build_id, (unsigned long long)module->file_bytes) <
	    0)
		return NULL;
	return key;
}

static struct module *add_module(struct symbolizer *symbolizer, const char *key) {
	size_t length = strlen(key);
	struct module *module;

	if (HASH_COUNT(symbolizer->modules) >= MODULES_MAX)
		forget_modules(symbolizer);
	module = calloc(1, sizeof *module + length + 1);
	if (module == NULL)
		return NULL;
	memcpy(module->key, key, length + 1);
	HASH_ADD_KEYPTR(hh, symbolizer->modules, module->key, length, module);
	return module;
}

static const struct image *find_image(struct symbolizer *symbolizer, const struct symbol_module *wanted) {
	char *key = format_key(wanted);
	struct module *module = NULL;

	if (key == NULL)
		return NULL;
	HASH_FIND_STR(symbolizer->modules, key, module);
	if (module == NULL)
		module = add_module(symbolizer, key);
	free(key);
	if (module == NULL)
		return NULL;
	if (!module->is_open)
		attach_image(symbolizer, module, open_image(symbolizer, wanted));
	return &module->image;
}

/* ---- Resolving ------------------------------------------------------------------------------- */

static const char *find_symbol(const struct image *image, uint64_t address) {
	return image->symbols != NULL ? elf_symbols_find(image->symbols, address) : NULL;
}

/* gcc leaves linkage names out of the debug information of static functions; then only the symbol
 * says in which namespace or class the function is. */
static const char *choose_name(struct symbolizer *symbolizer, const struct dwarf_frame *frame,
			       const char *symbol) {
	if (frame->linkage_name != NULL)
		return show_name(symbolizer, frame->linkage_name);
	if (symbol != NULL && !frame->inlined) {
		const char *shown = show_name(symbolizer, symbol);
		if (frame->name == NULL || (shown != NULL && strstr(shown, "::") != NULL))
			return shown;
	}
	return show_name(symbolizer, frame->name);
}

static size_t resolve_dwarf(struct symbolizer *symbolizer, const struct image *image, uint64_t address,
			    struct symbol_frame *out, size_t max) {
	struct dwarf_frame frames[SYMBOL_FRAMES_MAX];
	size_t count;

	if (image->dwarf == NULL)
		return 0;
	count = dwarf_index_find(image->dwarf, address, frames,
				 max < SYMBOL_FRAMES_MAX ? max : SYMBOL_FRAMES_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *symbol = frames[i].inlined ? NULL : find_symbol(image, address);
		out[i] = (struct symbol_frame){
			.function = choose_name(symbolizer, &frames[i], symbol),
			.file = show_file(symbolizer, frames[i].file, frames[i].directory),
			.line = frames[i].line,
			.inlined = frames[i].inlined,
		};
	}
	return count;
}

static size_t resolve_symbol(struct symbolizer *symbolizer, const struct image *image, uint64_t address,
			     struct symbol_frame *out) {
	out[0] = (struct symbol_frame){.function = show_name(symbolizer, find_symbol(image, address))};
	return out[0].function != NULL;
}

static bool is_usable(const struct symbol_module *module) {
	return module->path != NULL && module->path[0] == '/' &&
		module->build_id_length <= SYMBOL_BUILD_ID_MAX_BYTES;
}

size_t symbolizer_resolve(struct symbolizer *symbolizer, const struct symbol_module *module, uint64_t address,
			  enum symbol_address_kind kind, struct symbol_frame *out, size_t max) {
	uint64_t exact = kind == SYMBOL_RETURN_ADDRESS && address > 0 ? address - 1 : address;
	const struct image *image;
	size_t count;

	if (max == 0 || !is_usable(module))
		return 0;
	image = find_image(symbolizer, module);
	if (image == NULL)
		return 0;
	count = resolve_dwarf(symbolizer, image, exact, out, max);
	return count > 0 ? count : resolve_symbol(symbolizer, image, exact, out);
}
