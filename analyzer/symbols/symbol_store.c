#include "analyzer/symbols/symbol_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#define SCHEMA "pqlease/symbols-2"
#define VALUES_MAX (UINT32_C(1) << 22) /* of the document: each costs memory far beyond its bytes */
#define FRAME_VALUES 4u                /* function, file, line, inlined */

struct block_header {
	char magic[8];
	uint64_t payload_bytes;
	uint64_t checksum;
};

_Static_assert(sizeof(struct block_header) == 24, "the block header is part of the format");

/* Strings are kept once, in the order in which they came; number N is the N-th, 0 is NULL. */
struct kept_string {
	UT_hash_handle hh;
	uint32_t number;
	char text[];
};

struct kept_frame {
	const struct kept_string *function;
	const struct kept_string *file;
	uint32_t line;
	bool inlined;
};

struct kept_address {
	UT_hash_handle hh;
	uint64_t address; /* of the instruction */
	size_t frame_count;
	struct kept_frame frames[];
};

struct kept_module {
	UT_hash_handle hh;
	const struct kept_string *path;
	char build_id[2 * SYMBOL_BUILD_ID_MAX_BYTES + 1]; /* hexadecimal */
	uint64_t file_bytes;                              /* 0 where a build-id identifies the file */
	struct kept_address *addresses;
	char key[];
};

struct kept_script {
	UT_hash_handle hh;
	const struct kept_string *file; /* its text is the key */
	const struct kept_string *in_project;
};

struct symbol_store {
	struct kept_string *strings;
	struct kept_module *modules;
	struct kept_script *scripts;
	bool is_changed;
};

static const char *const STATUS_TEXTS[SYMBOL_STORE_STATUS_COUNT] = {
	[SYMBOL_STORE_OK] = "the symbols were read or written",
	[SYMBOL_STORE_ABSENT] = "no symbols are kept with the ledger",
	[SYMBOL_STORE_TORN] = "the symbols kept with the ledger are incomplete",
	[SYMBOL_STORE_CORRUPT] = "the symbols kept with the ledger are damaged",
	[SYMBOL_STORE_UNREADABLE] = "the symbols kept with the ledger cannot be read",
	[SYMBOL_STORE_NOT_LEDGER] = "symbols can be kept only with a complete ledger in a regular file",
	[SYMBOL_STORE_DENIED] = "the ledger may not be written, so its symbols were not kept",
	[SYMBOL_STORE_BUSY] = "another process is writing symbols to the ledger",
	[SYMBOL_STORE_FULL] = "there is no space to keep symbols with the ledger",
	[SYMBOL_STORE_TOO_LARGE] = "there are too many symbols to keep with the ledger",
	[SYMBOL_STORE_FAILED] = "writing symbols to the ledger failed",
	[SYMBOL_STORE_NO_MEMORY] = "there was not enough memory for the symbols of the ledger",
};

const char *symbol_store_status_text(enum symbol_store_status status) {
	return (unsigned)status < SYMBOL_STORE_STATUS_COUNT ? STATUS_TEXTS[status] : "unknown status";
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct symbol_store *symbol_store_new(void) {
	return calloc(1, sizeof(struct symbol_store));
}

static void free_module(struct kept_module *module) {
	struct kept_address *address;
	struct kept_address *next;

	HASH_ITER(hh, module->addresses, address, next) {
		HASH_DEL(module->addresses, address);
		free(address);
	}
	free(module);
}

static void free_scripts(struct symbol_store *store) {
	struct kept_script *script;
	struct kept_script *next;

	HASH_ITER(hh, store->scripts, script, next) {
		HASH_DEL(store->scripts, script);
		free(script);
	}
}

static void empty_store(struct symbol_store *store) {
	struct kept_module *module;
	struct kept_module *next_module;
	struct kept_string *string;
	struct kept_string *next_string;

	HASH_ITER(hh, store->modules, module, next_module) {
		HASH_DEL(store->modules, module);
		free_module(module);
	}
	free_scripts(store);
	HASH_ITER(hh, store->strings, string, next_string) {
		HASH_DEL(store->strings, string);
		free(string);
	}
}

void symbol_store_free(struct symbol_store *store) {
	if (store == NULL)
		return;
	empty_store(store);
	free(store);
}

bool symbol_store_is_changed(const struct symbol_store *store) {
	return store->is_changed;
}

/* ---- Strings --------------------------------------------------------------------------------- */

struct utf8_shape {
	uint8_t mask;
	uint8_t lead;
	uint8_t length;
	uint32_t first; /* smaller code points must not take this many bytes */
};

static const struct utf8_shape UTF8_SHAPES[] = {
	{0x80, 0x00, 1, 0},
	{0xe0, 0xc0, 2, 0x80},
	{0xf0, 0xe0, 3, 0x800},
	{0xf8, 0xf0, 4, 0x10000},
};

static uint32_t decode_utf8(const uint8_t *bytes, const struct utf8_shape *shape) {
	uint32_t code = bytes[0] & (uint8_t)~shape->mask;

	for (uint8_t i = 1; i < shape->length; i++) {
		if ((bytes[i] & 0xc0) != 0x80) /* a terminating zero ends the sequence here, too */
			return UINT32_MAX;
		code = code << 6 | (bytes[i] & 0x3f);
	}
	return code;
}

/* Bytes of the character at the start of a string, 0 if it is none. */
static size_t measure_character(const uint8_t *bytes) {
	for (size_t i = 0; i < sizeof UTF8_SHAPES / sizeof *UTF8_SHAPES; i++) {
		const struct utf8_shape *shape = &UTF8_SHAPES[i];
		uint32_t code;
		if ((bytes[0] & shape->mask) != shape->lead)
			continue;
		code = decode_utf8(bytes, shape);
		if (code < shape->first || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			return 0;
		return shape->length;
	}
	return 0;
}

/* A copy in which what is not UTF-8 is spelled out. NULL when out of memory. */
static char *repair_utf8(const char *text) {
	const uint8_t *from = (const uint8_t *)text;
	char *repaired = malloc(4 * strlen(text) + 1);
	char *to = repaired;

	while (repaired != NULL && *from != 0) {
		size_t length = measure_character(from);
		if (length == 0)
			to += sprintf(to, "\\x%02x", *from);
		memcpy(to, from, length);
		to += length;
		from += length > 0 ? length : 1;
	}
	if (repaired != NULL)
		*to = '\0';
	return repaired;
}

static const struct kept_string *keep_repaired(struct symbol_store *store, const char *text) {
	size_t length = strlen(text);
	struct kept_string *string;

	HASH_FIND(hh, store->strings, text, length, string);
	if (string != NULL)
		return string;
	string = malloc(sizeof *string + length + 1);
	if (string == NULL)
		return NULL;
	memcpy(string->text, text, length + 1);
	string->number = HASH_COUNT(store->strings) + 1;
	HASH_ADD_KEYPTR(hh, store->strings, string->text, length, string);
	return string;
}

/* False when out of memory. NULL is kept as NULL. */
static bool keep_string(struct symbol_store *store, const char *text, const struct kept_string **kept) {
	char *repaired;

	*kept = NULL;
	if (text == NULL)
		return true;
	repaired = repair_utf8(text);
	if (repaired != NULL)
		*kept = keep_repaired(store, repaired);
	free(repaired);
	return *kept != NULL;
}

/* ---- Modules --------------------------------------------------------------------------------- */

/* What tells one file from another, in the form in which it is kept. */
struct identity {
	char *path;
	char build_id[2 * SYMBOL_BUILD_ID_MAX_BYTES + 1];
	uint64_t file_bytes;
	char *key;
};

static void release_identity(struct identity *identity) {
	free(identity->path);
	free(identity->key);
}

static bool format_identity_key(struct identity *identity) {
	if (asprintf(&identity->key, "%s\n%" PRIu64 "\n%s", identity->build_id, identity->file_bytes,
		     identity->path) >= 0)
		return true;
	identity->key = NULL;
	return false;
}

static bool identify(const struct symbol_module *module, struct identity *identity) {
	*identity = (struct identity){0};
	if (module->path == NULL || module->build_id_length > SYMBOL_BUILD_ID_MAX_BYTES)
		return false;
	for (size_t i = 0; i < module->build_id_length; i++)
		snprintf(identity->build_id + 2 * i, 3, "%02x", module->build_id[i]);
	if (module->build_id_length == 0)
		identity->file_bytes = module->file_bytes;
	identity->path = repair_utf8(module->path);
	return identity->path != NULL && format_identity_key(identity);
}

static struct kept_module *find_module(const struct symbol_store *store, const struct identity *identity) {
	struct kept_module *module;

	HASH_FIND_STR(store->modules, identity->key, module);
	return module;
}

static struct kept_module *add_module(struct symbol_store *store, const struct identity *identity) {
	size_t length = strlen(identity->key);
	struct kept_module *module = calloc(1, sizeof *module + length + 1);

	if (module == NULL || !keep_string(store, identity->path, &module->path)) {
		free(module);
		return NULL;
	}
	memcpy(module->build_id, identity->build_id, sizeof module->build_id);
	module->file_bytes = identity->file_bytes;
	memcpy(module->key, identity->key, length + 1);
	HASH_ADD_KEYPTR(hh, store->modules, module->key, length, module);
	return module;
}

static struct kept_module *find_or_add_module(struct symbol_store *store, const struct identity *identity) {
	struct kept_module *module = find_module(store, identity);

	return module != NULL ? module : add_module(store, identity);
}

/* ---- Addresses ------------------------------------------------------------------------------- */

static uint64_t make_exact(uint64_t address, enum symbol_address_kind kind) {
	return kind == SYMBOL_RETURN_ADDRESS && address > 0 ? address - 1 : address;
}

static struct kept_address *new_address(uint64_t address, size_t frame_count) {
	struct kept_address *kept = calloc(1, sizeof *kept + frame_count * sizeof *kept->frames);

	if (kept != NULL) {
		kept->address = address;
		kept->frame_count = frame_count;
	}
	return kept;
}

static void replace_address(struct kept_module *module, struct kept_address *address) {
	struct kept_address *old;

	HASH_FIND(hh, module->addresses, &address->address, sizeof address->address, old);
	if (old != NULL) {
		HASH_DEL(module->addresses, old);
		free(old);
	}
	HASH_ADD(hh, module->addresses, address, sizeof address->address, address);
}

static struct symbol_frame show_frame(const struct kept_frame *frame) {
	return (struct symbol_frame){
		.function = frame->function != NULL ? frame->function->text : NULL,
		.file = frame->file != NULL ? frame->file->text : NULL,
		.line = frame->line,
		.inlined = frame->inlined,
	};
}

/* As symbolizer_resolve() does it: what does not fit is missing in front of the last frame. */
static size_t show_frames(const struct kept_address *address, struct symbol_frame *out, size_t max) {
	size_t count = address->frame_count < max ? address->frame_count : max;

	for (size_t i = 0; i < count; i++)
		out[i] = show_frame(&address->frames[i + 1 < count ? i : address->frame_count - 1]);
	return count;
}

size_t symbol_store_lookup(const struct symbol_store *store, const struct symbol_module *module,
			   uint64_t address, enum symbol_address_kind kind, struct symbol_frame *out,
			   size_t max) {
	uint64_t exact = make_exact(address, kind);
	struct identity identity;
	const struct kept_module *kept_module = NULL;
	struct kept_address *kept = NULL;

	if (identify(module, &identity))
		kept_module = find_module(store, &identity);
	release_identity(&identity);
	if (kept_module != NULL)
		HASH_FIND(hh, kept_module->addresses, &exact, sizeof exact, kept);
	return kept != NULL ? show_frames(kept, out, max) : 0;
}

static bool keep_frame(struct symbol_store *store, const struct symbol_frame *frame,
		       struct kept_frame *kept) {
	kept->line = frame->line;
	kept->inlined = frame->inlined;
	return keep_string(store, frame->function, &kept->function) &&
		keep_string(store, frame->file, &kept->file);
}

static struct kept_address *keep_frames(struct symbol_store *store, uint64_t exact,
					const struct symbol_frame *frames, size_t count) {
	struct kept_address *kept = new_address(exact, count);

	for (size_t i = 0; kept != NULL && i < count; i++) {
		if (keep_frame(store, &frames[i], &kept->frames[i]))
			continue;
		free(kept);
		return NULL;
	}
	return kept;
}

bool symbol_store_put(struct symbol_store *store, const struct symbol_module *module, uint64_t address,
		      enum symbol_address_kind kind, const struct symbol_frame *frames, size_t count) {
	struct identity identity;
	struct kept_module *kept_module = NULL;
	struct kept_address *kept = NULL;

	if (count == 0 || count > SYMBOL_FRAMES_MAX)
		return false;
	if (identify(module, &identity))
		kept_module = find_or_add_module(store, &identity);
	release_identity(&identity);
	if (kept_module != NULL)
		kept = keep_frames(store, make_exact(address, kind), frames, count);
	if (kept == NULL)
		return false;
	replace_address(kept_module, kept);
	store->is_changed = true;
	return true;
}

/* ---- Scripts ----------------------------------------------------------------------------------- */

const char *symbol_store_lookup_script(const struct symbol_store *store, const char *file) {
	char *repaired = repair_utf8(file);
	struct kept_script *script = NULL;

	if (repaired != NULL)
		HASH_FIND_STR(store->scripts, repaired, script);
	free(repaired);
	return script != NULL ? script->in_project->text : NULL;
}

static bool add_script(struct symbol_store *store, const struct kept_string *file,
		       const struct kept_string *in_project) {
	struct kept_script *script;

	HASH_FIND_STR(store->scripts, file->text, script);
	if (script != NULL)
		return true;
	script = calloc(1, sizeof *script);
	if (script == NULL)
		return false;
	script->file = file;
	script->in_project = in_project;
	HASH_ADD_KEYPTR(hh, store->scripts, script->file->text, strlen(script->file->text), script);
	return true;
}

bool symbol_store_put_script(struct symbol_store *store, const char *file, const char *in_project) {
	const struct kept_string *kept_file;
	const struct kept_string *kept_place;

	if (!keep_string(store, file, &kept_file) || !keep_string(store, in_project, &kept_place) ||
	    !add_script(store, kept_file, kept_place))
		return false;
	store->is_changed = true;
	return true;
}

/* ---- Document -> store -------------------------------------------------------------------------- */

/* The numbers of the document's strings mean its own table, not the store's. */
struct document {
	struct symbol_store *store;
	const struct kept_string **strings;
	size_t string_count;
};

static bool read_strings(struct document *document, const json_t *array) {
	size_t i;
	json_t *value;

	document->string_count = json_array_size(array);
	document->strings = calloc(document->string_count + 1, sizeof *document->strings);
	if (document->strings == NULL)
		return false;
	json_array_foreach(array, i, value) {
		if (!json_is_string(value) ||
		    !keep_string(document->store, json_string_value(value), &document->strings[i + 1]))
			return false;
	}
	return true;
}

static bool read_string_number(const struct document *document, const json_t *value,
			       const struct kept_string **string) {
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > document->string_count)
		return false;
	*string = document->strings[number];
	return true;
}

static bool read_frame(const struct document *document, const json_t *values, size_t first,
		       struct kept_frame *frame) {
	const json_t *line = json_array_get(values, first + 2);
	const json_t *inlined = json_array_get(values, first + 3);

	if (!json_is_integer(line) || json_integer_value(line) < 0 || json_integer_value(line) > UINT32_MAX)
		return false;
	if (!json_is_integer(inlined))
		return false;
	frame->line = (uint32_t)json_integer_value(line);
	frame->inlined = json_integer_value(inlined) != 0;
	return read_string_number(document, json_array_get(values, first), &frame->function) &&
		read_string_number(document, json_array_get(values, first + 1), &frame->file);
}

static bool read_address(const struct document *document, const json_t *values, struct kept_module *module) {
	size_t size = json_array_size(values);
	size_t count = size / FRAME_VALUES;
	const json_t *address = json_array_get(values, 0);
	struct kept_address *kept;

	if (size % FRAME_VALUES != 1 || count == 0 || count > SYMBOL_FRAMES_MAX || !json_is_integer(address))
		return false;
	kept = new_address((uint64_t)json_integer_value(address), count);
	for (size_t i = 0; kept != NULL && i < count; i++) {
		if (read_frame(document, values, 1 + i * FRAME_VALUES, &kept->frames[i]))
			continue;
		free(kept);
		return false;
	}
	if (kept != NULL)
		replace_address(module, kept);
	return kept != NULL;
}

static bool is_build_id(const char *text) {
	size_t length = strlen(text);

	return length <= 2 * SYMBOL_BUILD_ID_MAX_BYTES && length % 2 == 0 &&
		strspn(text, "0123456789abcdef") == length;
}

static struct kept_module *read_module_head(const struct document *document, json_t *value) {
	const struct kept_string *path = NULL;
	const char *build_id = json_string_value(json_object_get(value, "build_id"));
	struct identity identity = {
		.file_bytes = (uint64_t)json_integer_value(json_object_get(value, "file_bytes"))};
	struct kept_module *module = NULL;

	if (!read_string_number(document, json_object_get(value, "path"), &path) || path == NULL)
		return NULL;
	if (build_id == NULL || !is_build_id(build_id))
		return NULL;
	memcpy(identity.build_id, build_id, strlen(build_id) + 1);
	identity.path = strdup(path->text);
	if (identity.path != NULL && format_identity_key(&identity))
		module = find_or_add_module(document->store, &identity);
	release_identity(&identity);
	return module;
}

static bool read_module(const struct document *document, json_t *value) {
	struct kept_module *module = read_module_head(document, value);
	const json_t *addresses = json_object_get(value, "addresses");
	size_t i;
	json_t *address;

	if (module == NULL || !json_is_array(addresses))
		return false;
	json_array_foreach(addresses, i, address) {
		if (!read_address(document, address, module))
			return false;
	}
	return true;
}

static bool read_script(const struct document *document, const json_t *pair) {
	const struct kept_string *file = NULL;
	const struct kept_string *in_project = NULL;

	return json_array_size(pair) == 2 && read_string_number(document, json_array_get(pair, 0), &file) &&
		file != NULL && read_string_number(document, json_array_get(pair, 1), &in_project) &&
		in_project != NULL && add_script(document->store, file, in_project);
}

static bool read_document(struct symbol_store *store, const json_t *root) {
	struct document document = {.store = store};
	const char *schema = json_string_value(json_object_get(root, "schema"));
	const json_t *modules = json_object_get(root, "modules");
	const json_t *scripts = json_object_get(root, "scripts");
	bool is_read = schema != NULL && strcmp(schema, SCHEMA) == 0 && json_is_array(modules) &&
		json_is_array(scripts) && read_strings(&document, json_object_get(root, "strings"));

	for (size_t i = 0; is_read && i < json_array_size(modules); i++)
		is_read = read_module(&document, json_array_get(modules, i));
	for (size_t i = 0; is_read && i < json_array_size(scripts); i++)
		is_read = read_script(&document, json_array_get(scripts, i));
	free(document.strings);
	return is_read;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static uint64_t fnv1a(const char *bytes, size_t count) {
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < count; i++) {
		hash ^= (uint8_t)bytes[i];
		hash *= UINT64_C(0x100000001b3);
	}
	return hash;
}

/* An upper bound of the document's values, before any memory is spent on them. */
static size_t count_values(const char *payload, size_t length) {
	size_t count = 1;

	for (size_t i = 0; i < length; i++)
		count += payload[i] == ',' || payload[i] == '[' || payload[i] == '{';
	return count;
}

static bool read_fully(int fd, void *buffer, size_t length, uint64_t offset) {
	char *to = buffer;

	while (length > 0) {
		ssize_t got = pread(fd, to, length, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		length -= (size_t)got;
		offset += (uint64_t)got;
	}
	return true;
}

static enum symbol_store_status read_header(int fd, uint64_t mapped_bytes, struct block_header *header) {
	struct stat status;
	uint64_t behind;

	if (fstat(fd, &status) != 0 || status.st_size < 0 || mapped_bytes > INT64_MAX)
		return SYMBOL_STORE_UNREADABLE;
	if ((uint64_t)status.st_size <= mapped_bytes)
		return SYMBOL_STORE_ABSENT;
	behind = (uint64_t)status.st_size - mapped_bytes;
	if (behind < sizeof *header)
		return SYMBOL_STORE_TORN;
	if (!read_fully(fd, header, sizeof *header, mapped_bytes))
		return SYMBOL_STORE_UNREADABLE;
	if (memcmp(header->magic, SYMBOL_STORE_MAGIC, sizeof header->magic) != 0)
		return SYMBOL_STORE_CORRUPT;
	if (header->payload_bytes > SYMBOL_STORE_MAX_BYTES)
		return SYMBOL_STORE_CORRUPT;
	return header->payload_bytes > behind - sizeof *header ? SYMBOL_STORE_TORN : SYMBOL_STORE_OK;
}

static void swap_stores(struct symbol_store *one, struct symbol_store *other) {
	struct symbol_store kept = *one;

	*one = *other;
	*other = kept;
}

static bool is_empty(const struct symbol_store *store) {
	return store->modules == NULL && store->strings == NULL;
}

static bool parse_payload(struct symbol_store *store, const char *payload, size_t length) {
	json_t *root = json_loadb(payload, length, JSON_REJECT_DUPLICATES, NULL);
	bool is_read = root != NULL && read_document(store, root);

	json_decref(root);
	return is_read;
}

/* Into a store of its own first: half a document is not a document. */
static enum symbol_store_status add_payload(struct symbol_store *store, const char *payload, size_t length) {
	struct symbol_store read = {0};
	bool is_read = parse_payload(&read, payload, length);

	if (is_read && is_empty(store))
		swap_stores(store, &read);
	else if (is_read)
		is_read = parse_payload(store, payload, length);
	empty_store(&read);
	return is_read ? SYMBOL_STORE_OK : SYMBOL_STORE_CORRUPT;
}

enum symbol_store_status symbol_store_load_from(struct symbol_store *store, int fd, uint64_t mapped_bytes) {
	struct block_header header;
	enum symbol_store_status status = read_header(fd, mapped_bytes, &header);
	char *payload;

	if (status != SYMBOL_STORE_OK)
		return status;
	payload = malloc(header.payload_bytes + 1);
	if (payload == NULL)
		return SYMBOL_STORE_NO_MEMORY;
	if (!read_fully(fd, payload, header.payload_bytes, mapped_bytes + sizeof header))
		status = SYMBOL_STORE_UNREADABLE;
	else if (fnv1a(payload, header.payload_bytes) != header.checksum ||
		 count_values(payload, header.payload_bytes) > VALUES_MAX)
		status = SYMBOL_STORE_CORRUPT;
	else
		status = add_payload(store, payload, header.payload_bytes);
	free(payload);
	return status;
}

enum symbol_store_status symbol_store_load(struct symbol_store *store, const char *path,
					   uint64_t mapped_bytes) {
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	enum symbol_store_status status;

	if (fd < 0)
		return errno == ENOENT ? SYMBOL_STORE_ABSENT : SYMBOL_STORE_UNREADABLE;
	status = symbol_store_load_from(store, fd, mapped_bytes);
	close(fd);
	return status;
}

/* ---- Store -> document ----------------------------------------------------------------------- */

static json_t *write_strings(const struct symbol_store *store) {
	json_t *array = json_array();

	for (const struct kept_string *string = store->strings; string != NULL; string = string->hh.next)
		json_array_append_new(array, json_string(string->text));
	return array;
}

static json_t *write_string_number(const struct kept_string *string) {
	return json_integer(string != NULL ? string->number : 0);
}

static json_t *write_address(const struct kept_address *address) {
	json_t *values = json_array();

	json_array_append_new(values, json_integer((json_int_t)address->address));
	for (size_t i = 0; i < address->frame_count; i++) {
		const struct kept_frame *frame = &address->frames[i];
		json_array_append_new(values, write_string_number(frame->function));
		json_array_append_new(values, write_string_number(frame->file));
		json_array_append_new(values, json_integer(frame->line));
		json_array_append_new(values, json_integer(frame->inlined));
	}
	return values;
}

static json_t *write_module(const struct kept_module *module) {
	json_t *addresses = json_array();

	for (const struct kept_address *address = module->addresses; address != NULL;
	     address = address->hh.next)
		json_array_append_new(addresses, write_address(address));
	return json_pack("{s:o, s:s, s:I, s:o}", "path", write_string_number(module->path), "build_id",
			 module->build_id, "file_bytes", (json_int_t)module->file_bytes, "addresses",
			 addresses);
}

/* A text to free(), NULL when out of memory. */
static char *write_document(const struct symbol_store *store) {
	json_t *modules = json_array();
	json_t *scripts = json_array();
	json_t *root;
	char *text;

	for (const struct kept_module *module = store->modules; module != NULL; module = module->hh.next)
		json_array_append_new(modules, write_module(module));
	for (const struct kept_script *script = store->scripts; script != NULL; script = script->hh.next)
		json_array_append_new(scripts,
				      json_pack("[o, o]", write_string_number(script->file),
						write_string_number(script->in_project)));
	root = json_pack("{s:s, s:o, s:o, s:o}", "schema", SCHEMA, "strings", write_strings(store), "modules",
			 modules, "scripts", scripts);
	text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	return text;
}

/* ---- Saving ---------------------------------------------------------------------------------- */

struct errno_status {
	int error;
	enum symbol_store_status status;
};

static const struct errno_status ERRNO_STATUSES[] = {
	{EACCES, SYMBOL_STORE_DENIED},     {EPERM, SYMBOL_STORE_DENIED},
	{EROFS, SYMBOL_STORE_DENIED},      {ELOOP, SYMBOL_STORE_DENIED},
	{ETXTBSY, SYMBOL_STORE_DENIED},    {ENOSPC, SYMBOL_STORE_FULL},
	{EDQUOT, SYMBOL_STORE_FULL},       {EFBIG, SYMBOL_STORE_FULL},
	{EWOULDBLOCK, SYMBOL_STORE_BUSY},  {ENOENT, SYMBOL_STORE_NOT_LEDGER},
	{EISDIR, SYMBOL_STORE_NOT_LEDGER}, {ENXIO, SYMBOL_STORE_NOT_LEDGER},
};

static enum symbol_store_status status_of_errno(int error) {
	for (size_t i = 0; i < sizeof ERRNO_STATUSES / sizeof *ERRNO_STATUSES; i++) {
		if (ERRNO_STATUSES[i].error == error)
			return ERRNO_STATUSES[i].status;
	}
	return SYMBOL_STORE_FAILED;
}

/* 0 or an errno. */
static int write_fully(int fd, const void *buffer, size_t length, uint64_t offset) {
	const char *from = buffer;

	while (length > 0) {
		ssize_t put = pwrite(fd, from, length, (off_t)offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : EIO;
		from += put;
		length -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

/* Space first: a full file system is noticed while the older block is still whole. */
static int reserve_space(int fd, uint64_t offset, uint64_t length) {
	if (fallocate(fd, 0, (off_t)offset, (off_t)length) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return errno;
}

/* The header last: until it is there, what a reader finds does not match its checksum. */
static int write_block(int fd, uint64_t mapped_bytes, const char *payload, size_t length) {
	struct block_header header = {.payload_bytes = length, .checksum = fnv1a(payload, length)};
	uint64_t end = mapped_bytes + sizeof header + length;
	int error = reserve_space(fd, mapped_bytes, sizeof header + length);

	memcpy(header.magic, SYMBOL_STORE_MAGIC, sizeof header.magic);
	if (error == 0)
		error = write_fully(fd, payload, length, mapped_bytes + sizeof header);
	if (error == 0)
		error = write_fully(fd, &header, sizeof header, mapped_bytes);
	if (error == 0 && ftruncate(fd, (off_t)end) != 0)
		error = errno;
	return error;
}

static enum symbol_store_status append_block(int fd, uint64_t mapped_bytes, const char *payload,
					     size_t length) {
	struct stat status;
	int error;

	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return status_of_errno(errno);
	if (fstat(fd, &status) != 0)
		return status_of_errno(errno);
	if (!S_ISREG(status.st_mode) || mapped_bytes > INT64_MAX || (uint64_t)status.st_size < mapped_bytes)
		return SYMBOL_STORE_NOT_LEDGER;
	error = write_block(fd, mapped_bytes, payload, length);
	if (error == 0)
		return SYMBOL_STORE_OK;
	if (ftruncate(fd, status.st_size) != 0)
		return SYMBOL_STORE_FAILED;
	return status_of_errno(error);
}

static enum symbol_store_status save_document(const char *path, uint64_t mapped_bytes, const char *payload) {
	size_t length = strlen(payload);
	enum symbol_store_status status;
	int fd;

	if (length > SYMBOL_STORE_MAX_BYTES || count_values(payload, length) > VALUES_MAX)
		return SYMBOL_STORE_TOO_LARGE;
	fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return status_of_errno(errno);
	status = append_block(fd, mapped_bytes, payload, length);
	if (close(fd) != 0 && status == SYMBOL_STORE_OK)
		status = status_of_errno(errno);
	return status;
}

enum symbol_store_status symbol_store_save(struct symbol_store *store, const char *path,
					   uint64_t mapped_bytes) {
	char *payload = write_document(store);
	enum symbol_store_status status;

	if (payload == NULL)
		return SYMBOL_STORE_NO_MEMORY;
	status = save_document(path, mapped_bytes, payload);
	free(payload);
	if (status == SYMBOL_STORE_OK)
		store->is_changed = false;
	return status;
}
