/* Symbols of programs that are compiled here, in the ways programs are compiled and shipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/symbols/demangle.h"
#include "analyzer/symbols/span_table.h"
#include "analyzer/symbols/symbolizer.h"

#define FRAMES 16

static char sources[PATH_MAX];   /* the directory of the fixtures */
static char directory[PATH_MAX]; /* of what is compiled, removed at the end */
static struct symbolizer *symbolizer;

/* ---- Helpers -------------------------------------------------------------------------------- */

/* Runs a shell command in the directory, with $S for the sources. */
static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...) {
	char command[4096];
	va_list values;

	va_start(values, format);
	vsnprintf(command, sizeof command, format, values);
	va_end(values);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

struct program {
	char path[PATH_MAX];
	uint8_t build_id[SYMBOL_BUILD_ID_MAX_BYTES];
	struct symbol_module module;
};

static void read_build_id(struct program *program) {
	int fd = open(program->path, O_RDONLY | O_CLOEXEC);
	const void *bytes;
	ssize_t length;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	length = dwelf_elf_gnu_build_id(elf, &bytes);
	if (length > 0)
		memcpy(program->build_id, bytes, (size_t)length);
	program->module.build_id_length = length > 0 ? (size_t)length : 0;
	elf_end(elf);
	close(fd);
}

/* What the shim would have recorded of a file in the directory. */
static void record(struct program *program, const char *name) {
	struct stat status;

	memset(program, 0, sizeof *program);
	assert_true(snprintf(program->path, sizeof program->path, "%s/%s", directory, name) < PATH_MAX);
	assert_int_equal(0, stat(program->path, &status));
	program->module.path = program->path;
	program->module.build_id = program->build_id;
	program->module.file_bytes = (uint64_t)status.st_size;
	read_build_id(program);
}

static void record_without_build_id(struct program *program, const char *name) {
	record(program, name);
	program->module.build_id_length = 0;
}

/* A value of the symbol table of a file that is not stripped. */
static uint64_t address_of(const char *name, const char *symbol) {
	char command[2 * PATH_MAX];
	unsigned long long value = 0;
	FILE *output;

	snprintf(command, sizeof command, "nm '%s/%s' | awk '$3 == \"%s\" {print $1}'", directory, name,
		 symbol);
	output = popen(command, "r");
	assert_non_null(output);
	if (fscanf(output, "%llx", &value) != 1)
		fail_msg("%s has no symbol %s", name, symbol);
	pclose(output);
	return value;
}

/* The line of a source that ends with this mark. */
static uint32_t line_of(const char *source, const char *mark) {
	char path[2 * PATH_MAX];
	char wanted[64];
	char text[512];
	uint32_t line = 0;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", sources, source);
	snprintf(wanted, sizeof wanted, "/* line: %s */", mark);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(text, sizeof text, file) != NULL) {
		line++;
		if (strstr(text, wanted) != NULL) {
			fclose(file);
			return line;
		}
	}
	fail_msg("%s has no line %s", source, mark);
	return 0;
}

static size_t resolve(const struct program *program, uint64_t address, struct symbol_frame *frames) {
	return symbolizer_resolve(symbolizer, &program->module, address, SYMBOL_EXACT_ADDRESS, frames,
				  FRAMES);
}

static void assert_frame(const struct symbol_frame *frame, const char *function, const char *source,
			 const char *mark, bool inlined) {
	char path[2 * PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", sources, source);
	assert_string_equal(function, frame->function);
	assert_string_equal(path, frame->file);
	assert_int_equal(line_of(source, mark), frame->line);
	assert_int_equal(inlined, frame->inlined);
}

static void assert_bare(const struct program *program, uint64_t address, const char *function) {
	struct symbol_frame frames[FRAMES];

	assert_int_equal(1, resolve(program, address, frames));
	assert_string_equal(function, frames[0].function);
	assert_null(frames[0].file);
	assert_int_equal(0, frames[0].line);
	assert_false(frames[0].inlined);
}

static void assert_nothing(const struct program *program, uint64_t address) {
	struct symbol_frame frames[FRAMES];

	assert_int_equal(0, resolve(program, address, frames));
}

static void assert_whole_chain(const struct program *program, uint64_t address) {
	struct symbol_frame frames[FRAMES];

	assert_int_equal(3, resolve(program, address, frames));
	assert_frame(&frames[0], "pool_take", "chain.c", "take", true);
	assert_frame(&frames[1], "pool_acquire", "chain.c", "acquire", true);
	assert_frame(&frames[2], "handle_request", "chain.c", "handle", false);
}

/* ---- Ways of compiling ------------------------------------------------------------------------ */

static const char *const COMPILATIONS[] = {
	"gcc -g -O0",
	"gcc -g -O2",
	"gcc -g -O3 -march=x86-64",
	"gcc -gdwarf-4 -O2",
	"gcc -gdwarf-5 -O2",
	"gcc -g -O2 -gz",
	"gcc -g -O2 -flto",
	"gcc -g -O2 -gsplit-dwarf",
	"gcc -g -O2 -shared -fPIC",
	"gcc -g -O2 -no-pie",
	"gcc -g -O2 -ffunction-sections -Wl,--gc-sections",
	"clang -g -O0",
	"clang -g -O2",
	"clang -gdwarf-4 -O2",
	"clang -gdwarf-5 -O2",
	"clang -gdwarf-5 -O2 -gsplit-dwarf",
	"clang -g -O2 -ffunction-sections -Wl,--gc-sections",
};

static void inlined_calls_are_found_however_it_was_compiled(void **state) {
	struct program program;
	struct symbol_frame frames[FRAMES];

	(void)state;
	for (size_t i = 0; i < sizeof COMPILATIONS / sizeof *COMPILATIONS; i++) {
		char name[32];
		snprintf(name, sizeof name, "chain%zu", i);
		print_message("# %s\n", COMPILATIONS[i]);
		run("%s -Wl,--build-id -o %s $S/chain.c", COMPILATIONS[i], name);
		record(&program, name);
		assert_true(program.module.build_id_length > 0);
		assert_whole_chain(&program, address_of(name, "mark_take"));
		assert_int_equal(2, resolve(&program, address_of(name, "mark_acquire"), frames));
		assert_frame(&frames[0], "pool_acquire", "chain.c", "acquired", true);
		assert_frame(&frames[1], "handle_request", "chain.c", "handle", false);
		assert_int_equal(1, resolve(&program, address_of(name, "mark_handle"), frames));
		assert_frame(&frames[0], "handle_request", "chain.c", "handled", false);
		assert_int_equal(1, resolve(&program, address_of(name, "mark_hidden"), frames));
		assert_frame(&frames[0], "hidden_helper", "chain.c", "hidden", false);
	}
}

static void return_addresses_belong_to_the_call_before(void **state) {
	struct program program;
	struct symbol_frame frames[FRAMES];
	uint64_t mark;

	(void)state;
	run("gcc -g -O2 -o returns $S/chain.c");
	record(&program, "returns");
	mark = address_of("returns", "mark_take");
	assert_int_equal(3,
			 symbolizer_resolve(symbolizer, &program.module, mark + 1, SYMBOL_RETURN_ADDRESS,
					    frames, FRAMES));
	assert_frame(&frames[0], "pool_take", "chain.c", "take", true);
	/* The trap is the last instruction (2 bytes) of its function; a call there returns behind it. */
	mark = address_of("returns", "mark_give_up") + 3;
	assert_true(symbolizer_resolve(symbolizer, &program.module, mark, SYMBOL_RETURN_ADDRESS, frames,
				       FRAMES) > 0);
	assert_string_equal("give_up", frames[0].function);
	if (symbolizer_resolve(symbolizer, &program.module, mark, SYMBOL_EXACT_ADDRESS, frames, FRAMES) > 0 &&
	    frames[0].function != NULL)
		assert_string_not_equal("give_up", frames[0].function);
	assert_int_equal(
		0, symbolizer_resolve(symbolizer, &program.module, 0, SYMBOL_RETURN_ADDRESS, frames, FRAMES));
	assert_nothing(&program, UINT64_MAX);
}

static void chains_that_do_not_fit_keep_both_ends(void **state) {
	struct program program;
	struct symbol_frame frames[2];
	uint64_t mark;

	(void)state;
	run("gcc -g -O2 -o fit $S/chain.c");
	record(&program, "fit");
	mark = address_of("fit", "mark_take");
	assert_int_equal(
		2, symbolizer_resolve(symbolizer, &program.module, mark, SYMBOL_EXACT_ADDRESS, frames, 2));
	assert_frame(&frames[0], "pool_take", "chain.c", "take", true);
	assert_frame(&frames[1], "handle_request", "chain.c", "handle", false);
	assert_int_equal(
		0, symbolizer_resolve(symbolizer, &program.module, mark, SYMBOL_EXACT_ADDRESS, frames, 0));
}

/* ---- Names ------------------------------------------------------------------------------------ */

static void check_cpp_names(const char *compiler, const char *name) {
	struct program program;
	struct symbol_frame frames[FRAMES];

	run("%s -Wl,--build-id -o %s $S/names.cc", compiler, name);
	record(&program, name);
	assert_int_equal(1, resolve(&program, address_of(name, "mark_acquire"), frames));
	assert_frame(&frames[0], "app::Pool::acquire(char const*)", "names.cc", "acquire", false);
	assert_int_equal(2, resolve(&program, address_of(name, "mark_reuse"), frames));
	assert_frame(&frames[0], "app::Pool::reuse(int) const", "names.cc", "reuse", true);
	assert_frame(&frames[1], "app::Pool::acquire(char const*)", "names.cc", "call of reuse", false);
	assert_int_equal(1, resolve(&program, address_of(name, "mark_grow"), frames));
	assert_string_equal("app::Pool::grow<long>(long)", frames[0].function);
	assert_int_equal(1, resolve(&program, address_of(name, "mark_unseen"), frames));
	assert_string_equal("app::(anonymous namespace)::unseen(int)", frames[0].function);
	assert_int_equal(1, resolve(&program, address_of(name, "mark_plain"), frames));
	assert_string_equal("plain_name", frames[0].function);
}

static void cpp_names_are_qualified(void **state) {
	(void)state;
	check_cpp_names("g++ -g -O2", "names_gcc");
	check_cpp_names("clang++ -g -O2", "names_clang");
	check_cpp_names("g++ -g -O2 -flto", "names_lto");
	check_cpp_names("g++ -gdwarf-4 -O2", "names_gcc4");
}

struct name {
	const char *linkage;
	const char *shown;
};

static const struct name NAMES[] = {
	{"main", "main"},
	{"", ""},
	{"_", "_"},
	{"_Z", "_Z"},
	{"_R", "_R"},
	{"_ZN", "_ZN"},
	{"handle.constprop.0", "handle"},
	{"handle.part.0.isra.0", "handle"},
	{"handle.cold", "handle"},
	{".cold", ".cold"},
	{"_ZN3app4Pool7acquireEPKc", "app::Pool::acquire(char const*)"},
	{"_ZN3app4Pool7acquireEPKc.constprop.0", "app::Pool::acquire(char const*)"},
	{"_ZN3app4growIlEET_S1_", "app::grow<long>(long)"},
	{"_ZN3fooC4Ev", "foo::foo()"},
	{"_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"},
	{"_ZN4test4main28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "test::main::{{closure}}"},
	{"_RNvC6_123foo3bar", "123foo::bar"},
	{"_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"},
	{"_RNCNvCsgStHSCytQ6I_7mycrate4main0B3_", "mycrate::main::{closure#0}"},
};

static void names_are_shown_as_people_wrote_them(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
		char *shown = demangle(NAMES[i].linkage);
		assert_non_null(shown);
		assert_string_equal(NAMES[i].shown, shown);
		free(shown);
	}
}

/* Every template argument doubles the one before: 2^40 times "int" in 300 bytes. */
static void names_that_explode_are_cut(void **state) {
	static const char DIGITS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char linkage[1024] = "_Z1fI1aIiiE";
	char *shown;

	(void)state;
	for (size_t i = 0; i < 30; i++) {
		char pair[32];
		char reference[8] = "S_";
		if (i > 0)
			snprintf(reference, sizeof reference, "S%c_", DIGITS[i]);
		snprintf(pair, sizeof pair, "S_I%s%sE", reference, reference);
		strcat(linkage, pair);
	}
	strcat(linkage, "Evv");
	shown = demangle(linkage);
	assert_non_null(shown);
	assert_int_equal(DEMANGLE_MAX_BYTES - 1, strlen(shown));
	assert_memory_equal("f<a<int, int>, ", shown, 15);
	free(shown);
}

static void long_names_are_cut(void **state) {
	char *linkage = malloc(20100);
	char *shown;

	(void)state;
	assert_non_null(linkage);
	memcpy(linkage, "_ZN3app20000", 12);
	memset(linkage + 12, 'x', 20000);
	strcpy(linkage + 20012, "Ev");
	shown = demangle(linkage);
	assert_non_null(shown);
	assert_true(strlen(shown) < DEMANGLE_MAX_BYTES);
	free(shown);
	free(linkage);
}

/* ---- Stripped files and separate debug files ---------------------------------------------------- */

static void stripped_libraries_have_exported_names(void **state) {
	struct program program;
	uint64_t handled;
	uint64_t hidden;

	(void)state;
	run("gcc -g -O2 -shared -fPIC -o exported.full $S/chain.c && strip -o exported exported.full");
	record(&program, "exported");
	handled = address_of("exported.full", "mark_handle");
	hidden = address_of("exported.full", "mark_hidden");
	assert_bare(&program, handled, "handle_request");
	assert_bare(&program, address_of("exported.full", "mark_take"), "handle_request");
	assert_nothing(&program, hidden); /* never the neighbour's name */
}

static void programs_without_debug_information_have_symbols(void **state) {
	struct program program;

	(void)state;
	run("gcc -O2 -o symbols $S/chain.c");
	record(&program, "symbols");
	assert_bare(&program, address_of("symbols", "mark_take"), "handle_request");
	assert_bare(&program, address_of("symbols", "mark_hidden"), "hidden_helper");
}

static void stripped_programs_have_nothing(void **state) {
	struct program program;

	(void)state;
	run("gcc -g -O2 -o naked.full $S/chain.c && strip -o naked naked.full");
	record(&program, "naked");
	assert_nothing(&program, address_of("naked.full", "mark_take"));
	assert_nothing(&program, address_of("naked.full", "mark_handle"));
}

struct link_case {
	const char *build_id;
	const char *place; /* of the debug file, from the directory */
};

static const struct link_case LINK_CASES[] = {
	{"", "."},
	{"", ".debug"},
	{"-Wl,--build-id=none", "."},
	{"-Wl,--build-id=none", ".debug"},
};

static void debug_links_are_followed(void **state) {
	struct program program;

	(void)state;
	for (size_t i = 0; i < sizeof LINK_CASES / sizeof *LINK_CASES; i++) {
		const struct link_case *wanted = &LINK_CASES[i];
		char name[32];
		snprintf(name, sizeof name, "linked%zu", i);
		run("gcc -g -O2 %s -o %s.full $S/chain.c && mkdir -p %s && objcopy --only-keep-debug %s.full "
		    "%s/%s.debug",
		    wanted->build_id, name, wanted->place, name, wanted->place, name);
		run("cd %s && objcopy --strip-all --add-gnu-debuglink=%s.debug $OLDPWD/%s.full $OLDPWD/%s",
		    wanted->place, name, name, name);
		record(&program, name);
		run("mv %s.full %s.kept", name, name);
		snprintf(name, sizeof name, "linked%zu.kept", i);
		assert_whole_chain(&program, address_of(name, "mark_take"));
	}
}

static void debug_links_work_below_the_debug_root(void **state) {
	struct program program;
	char root[2 * PATH_MAX];

	(void)state;
	run("gcc -g -O2 -Wl,--build-id=none -o rooted.full $S/chain.c && mkdir -p \"root$PWD\" &&"
	    "objcopy --only-keep-debug rooted.full \"root$PWD/rooted.debug\" &&"
	    "objcopy --strip-all --add-gnu-debuglink=\"root$PWD/rooted.debug\" rooted.full rooted");
	record(&program, "rooted");
	assert_nothing(&program, address_of("rooted.full", "mark_take"));
	symbolizer_free(symbolizer);
	symbolizer = symbolizer_new();
	snprintf(root, sizeof root, "%s/root", directory);
	assert_true(symbolizer_set_debug_root(symbolizer, root));
	assert_whole_chain(&program, address_of("rooted.full", "mark_take"));
}

static void wrong_debug_files_are_refused(void **state) {
	struct program program;

	(void)state;
	run("gcc -g -O2 -Wl,--build-id=none -o crc.full $S/chain.c && objcopy --only-keep-debug crc.full "
	    "crc.debug &&"
	    "objcopy --strip-all --add-gnu-debuglink=crc.debug crc.full crc && printf x >> crc.debug");
	record(&program, "crc");
	assert_nothing(&program, address_of("crc.full", "mark_take"));
	run("gcc -g -O2 -o other.full $S/chain.c && objcopy --only-keep-debug other.full other.debug &&"
	    "objcopy --strip-all --add-gnu-debuglink=other.debug other.full other &&"
	    "gcc -g -O1 -o another $S/chain.c && objcopy --only-keep-debug another other.debug");
	record(&program, "other");
	assert_nothing(&program, address_of("other.full", "mark_take"));
}

static void file_under_build_id(const struct program *program, const char *debug_file) {
	char hex[2 * SYMBOL_BUILD_ID_MAX_BYTES + 1] = "";

	for (size_t i = 0; i < program->module.build_id_length; i++)
		sprintf(hex + 2 * i, "%02x", program->build_id[i]);
	run("mkdir -p by_id/.build-id/%.2s && cp %s by_id/.build-id/%.2s/%s.debug", hex, debug_file, hex,
	    hex + 2);
}

static void debug_files_are_found_by_build_id(void **state) {
	struct program program;
	char root[2 * PATH_MAX];
	uint64_t mark;

	(void)state;
	snprintf(root, sizeof root, "%s/by_id", directory);
	assert_true(symbolizer_set_debug_root(symbolizer, root));
	run("gcc -g -O2 -Wl,--build-id -o filed.full $S/chain.c && objcopy --only-keep-debug filed.full "
	    "filed.dbg &&"
	    "strip -o filed filed.full");
	record(&program, "filed");
	file_under_build_id(&program, "filed.dbg");
	mark = address_of("filed.full", "mark_take");
	assert_whole_chain(&program, mark);
	/* Also when the program itself is gone. */
	symbolizer_free(symbolizer);
	symbolizer = symbolizer_new();
	assert_true(symbolizer_set_debug_root(symbolizer, root));
	run("rm filed");
	assert_whole_chain(&program, mark);
}

/* ---- Files that are not what was recorded -------------------------------------------------------- */

static void replaced_files_have_nothing(void **state) {
	struct program program;
	uint64_t mark;

	(void)state;
	run("gcc -g -O2 -Wl,--build-id -o replaced $S/chain.c");
	record(&program, "replaced");
	mark = address_of("replaced", "mark_take");
	run("rm replaced && gcc -g -O1 -DREBUILT -Wl,--build-id -o replaced $S/chain.c");
	assert_nothing(&program, mark);
	run("rm replaced && gcc -g -O2 -Wl,--build-id=none -o replaced $S/chain.c");
	assert_nothing(&program, mark);
}

static void without_build_id_the_size_decides(void **state) {
	struct program program;
	uint64_t mark;

	(void)state;
	run("gcc -g -O2 -Wl,--build-id=none -o sized $S/chain.c");
	record(&program, "sized");
	mark = address_of("sized", "mark_take");
	assert_int_equal(0, program.module.build_id_length);
	assert_whole_chain(&program, mark);
	program.module.file_bytes++;
	assert_nothing(&program, mark);
	program.module.file_bytes = 0;
	assert_nothing(&program, mark);
}

static void what_is_no_file_has_nothing(void **state) {
	static const char *const PATHS[] = {"/dev/zero", "/", "/nowhere/at/all", "relative", "", "[vdso]"};
	struct program program;

	(void)state;
	run("gcc -g -O2 -o real $S/chain.c && mkfifo pipe && : >empty && echo text >text");
	record_without_build_id(&program, "real");
	for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
		program.module.path = PATHS[i];
		assert_nothing(&program, 4096);
	}
	program.module.path = NULL;
	assert_nothing(&program, 4096);
	record_without_build_id(&program, "text");
	assert_nothing(&program, 4096);
	snprintf(program.path, sizeof program.path, "%.4000s/pipe", directory);
	program.module.path = program.path;
	assert_nothing(&program, 4096);
}

/* ---- Damaged files ------------------------------------------------------------------------------ */

struct image {
	uint8_t *bytes;
	size_t size;
};

static struct image read_image(const char *name) {
	struct image image = {0};
	char path[2 * PATH_MAX];
	struct stat status;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	assert_int_equal(0, stat(path, &status));
	image.size = (size_t)status.st_size;
	image.bytes = malloc(image.size);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(image.size, fread(image.bytes, 1, image.size, file));
	fclose(file);
	return image;
}

/* Resolves addresses of a damaged file; it does not matter how many frames come out. */
static size_t try_image(const uint8_t *bytes, size_t size, uint64_t first, uint64_t last) {
	struct symbol_frame frames[FRAMES];
	size_t found = 0;
	struct program program = {0};
	struct symbolizer *fresh = symbolizer_new();
	FILE *file;

	snprintf(program.path, sizeof program.path, "%.4000s/damaged", directory);
	file = fopen(program.path, "w");
	assert_non_null(file);
	fwrite(bytes, 1, size, file);
	fclose(file);
	program.module = (struct symbol_module){.path = program.path, .file_bytes = size};
	for (uint64_t address = first; address < last; address += 5) {
		size_t count = symbolizer_resolve(fresh, &program.module, address, SYMBOL_EXACT_ADDRESS,
						  frames, FRAMES);
		assert_true(count <= FRAMES);
		found += count;
		for (size_t i = 0; i < count; i++)
			assert_true(frames[i].function == NULL ||
				    strlen(frames[i].function) < DEMANGLE_MAX_BYTES);
	}
	symbolizer_free(fresh);
	return found;
}

static const char *const DAMAGED[] = {"gcc -gdwarf-5 -O2", "gcc -gdwarf-4 -O2", "clang -gdwarf-5 -O2"};

static void damaged_files_do_no_harm(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof DAMAGED / sizeof *DAMAGED; i++) {
		struct image image;
		uint64_t mark;
		run("%s -Wl,--build-id -shared -fPIC -nostdlib -o whole $S/chain.c", DAMAGED[i]);
		image = read_image("whole");
		mark = address_of("whole", "mark_take");
		assert_true(try_image(image.bytes, image.size, mark, mark + 1) == 3);
		for (size_t size = 0; size < image.size; size += 97)
			try_image(image.bytes, size, mark - 20, mark + 40);
		for (size_t at = 0; at < image.size; at += at < 64 ? 1 : 5) {
			uint8_t kept = image.bytes[at];
			static const uint8_t PATTERNS[] = {0xff, 0x80, 0x01};
			for (size_t pattern = 0; pattern < sizeof PATTERNS; pattern++) {
				image.bytes[at] = kept ^ PATTERNS[(pattern + at) % 3];
				try_image(image.bytes, image.size, mark - 20, mark + 40);
				if (at >= 64)
					break;
			}
			image.bytes[at] = kept;
		}
		free(image.bytes);
	}
}

static void randomly_damaged_files_do_no_harm(void **state) {
	struct image image;
	uint64_t mark;
	uint64_t random = 88172645463325252;

	(void)state;
	run("gcc -g -O2 -Wl,--build-id -shared -fPIC -nostdlib -o whole $S/chain.c");
	image = read_image("whole");
	mark = address_of("whole", "mark_take");
	for (int round = 0; round < 1500; round++) {
		uint8_t *bytes = malloc(image.size);
		memcpy(bytes, image.bytes, image.size);
		for (int i = 0; i < 1 + round % 40; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			bytes[64 + random % (image.size - 64)] = (uint8_t)(random >> 40);
		}
		try_image(bytes, image.size, mark - 20, mark + 40);
		free(bytes);
	}
	free(image.bytes);
}

/* ---- Another opinion: addr2line ------------------------------------------------------------------ */

static char *next_line(FILE *file, char *text, size_t size) {
	if (fgets(text, (int)size, file) == NULL)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void format_frame(const struct symbol_frame *frame, char *text, size_t size) {
	snprintf(text, size, "%s %s:%u", frame->function, frame->file != NULL ? frame->file : "??",
		 frame->line);
}

/* Of "function", "file:line (discriminator N)". */
static bool read_opinion(FILE *output, char *text, size_t size) {
	char function[256];
	char place[PATH_MAX - 512];
	char *discriminator;
	char *line;

	if (next_line(output, function, sizeof function) == NULL ||
	    next_line(output, place, sizeof place) == NULL)
		return false;
	discriminator = strstr(place, " (discriminator");
	if (discriminator != NULL)
		*discriminator = '\0';
	line = strrchr(place, ':');
	if (line != NULL && line[1] == '?')
		line[1] = '0';
	snprintf(text, size, "%s %s", function, place);
	return true;
}

/* The instructions of the fixture's own functions; those of the C runtime have no debug information. */
static void write_addresses(const char *name) {
	run("objdump -d --no-show-raw-insn --disassemble=handle_request %s >%s.text", name, name);
	run("for f in hidden_helper give_up main; do objdump -d --no-show-raw-insn --disassemble=$f %s; done "
	    ">>%s.text",
	    name, name);
	run("sed -n 's/^ *\\([0-9a-f]*\\):\t.*/0x\\1/p' %s.text >%s.addresses", name, name);
}

static size_t compare_opinions(const char *name) {
	char command[2 * PATH_MAX];
	char ours[PATH_MAX];
	char theirs[PATH_MAX];
	char text[64];
	struct symbol_frame frames[FRAMES];
	struct program program;
	size_t addresses = 0;
	FILE *list;

	write_addresses(name);
	record(&program, name);
	snprintf(command, sizeof command, "%.2000s/%s.addresses", directory, name);
	list = fopen(command, "r");
	assert_non_null(list);
	while (next_line(list, text, sizeof text) != NULL) {
		size_t count = resolve(&program, strtoull(text, NULL, 16), frames);
		FILE *output;
		snprintf(command, sizeof command, "addr2line -fie '%.2000s/%s' %s", directory, name, text);
		output = popen(command, "r");
		assert_non_null(output);
		for (size_t i = 0; i < count; i++) {
			format_frame(&frames[i], ours, sizeof ours);
			assert_true(read_opinion(output, theirs, sizeof theirs));
			assert_string_equal(theirs, ours);
		}
		assert_false(read_opinion(output, theirs, sizeof theirs));
		pclose(output);
		addresses++;
	}
	fclose(list);
	return addresses;
}

static void addr2line_agrees_on_every_instruction(void **state) {
	(void)state;
	/* Not clang's DWARF 5: addr2line of binutils 2.40 cannot read its range lists. */
	run("gcc -gdwarf-5 -O2 -o opinion5 $S/chain.c && gcc -gdwarf-4 -O1 -o opinion4 $S/chain.c");
	run("clang -gdwarf-4 -O2 -o opinion_clang $S/chain.c");
	assert_true(compare_opinions("opinion5") > 30);
	assert_true(compare_opinions("opinion4") > 30);
	assert_true(compare_opinions("opinion_clang") > 30);
}

/* ---- Ranges --------------------------------------------------------------------------------------- */

static void ranges_that_nest_are_found_inside_out(void **state) {
	struct span_table table = {0};
	size_t cursor = SPAN_TABLE_START;

	(void)state;
	assert_true(span_table_add(&table, 100, 200, 1, 0));
	assert_true(span_table_add(&table, 120, 140, 2, 0));
	assert_true(span_table_add(&table, 120, 140, 3, 9));
	assert_true(span_table_add(&table, 150, 150, 4, 0)); /* empty */
	assert_true(span_table_add(&table, 300, UINT64_MAX, 5, 0));
	span_table_sort(&table);
	assert_int_equal(3, span_table_next(&table, 139, &cursor)->value);
	assert_int_equal(2, span_table_next(&table, 139, &cursor)->value);
	assert_int_equal(1, span_table_next(&table, 139, &cursor)->value);
	assert_null(span_table_next(&table, 139, &cursor));
	assert_null(span_table_next(&table, 139, &cursor));
	cursor = SPAN_TABLE_START;
	assert_int_equal(1, span_table_next(&table, 150, &cursor)->value);
	cursor = SPAN_TABLE_START;
	assert_null(span_table_next(&table, 200, &cursor));
	cursor = SPAN_TABLE_START;
	assert_null(span_table_next(&table, 99, &cursor));
	span_table_release(&table);
}

/* ---- Setting up ------------------------------------------------------------------------------------ */

static int enter_directory(void **state) {
	char own[] = __FILE__;
	char relative[PATH_MAX];
	const char *temporary = getenv("TMPDIR");

	(void)state;
	snprintf(relative, sizeof relative, "%s/../../fixtures/symbols", dirname(own));
	if (realpath(relative, sources) == NULL || setenv("S", sources, 1) != 0)
		return -1;
	snprintf(relative, sizeof relative, "%s/pqlease-symbols-XXXXXX",
		 temporary != NULL ? temporary : "/tmp");
	if (mkdtemp(relative) == NULL || realpath(relative, directory) == NULL)
		return -1;
	return chdir(directory);
}

static int remove_directory(void **state) {
	char command[2 * PATH_MAX];

	(void)state;
	snprintf(command, sizeof command, "cd / && rm -rf '%s'", directory);
	return system(command);
}

static int make_symbolizer(void **state) {
	(void)state;
	symbolizer = symbolizer_new();
	return symbolizer != NULL ? 0 : -1;
}

static int drop_symbolizer(void **state) {
	(void)state;
	symbolizer_free(symbolizer);
	return 0;
}

#define SYMBOLS(test) cmocka_unit_test_setup_teardown(test, make_symbolizer, drop_symbolizer)

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_that_nest_are_found_inside_out),
		cmocka_unit_test(names_are_shown_as_people_wrote_them),
		cmocka_unit_test(names_that_explode_are_cut),
		cmocka_unit_test(long_names_are_cut),
		SYMBOLS(inlined_calls_are_found_however_it_was_compiled),
		SYMBOLS(return_addresses_belong_to_the_call_before),
		SYMBOLS(chains_that_do_not_fit_keep_both_ends),
		SYMBOLS(cpp_names_are_qualified),
		SYMBOLS(stripped_libraries_have_exported_names),
		SYMBOLS(programs_without_debug_information_have_symbols),
		SYMBOLS(stripped_programs_have_nothing),
		SYMBOLS(debug_links_are_followed),
		SYMBOLS(debug_links_work_below_the_debug_root),
		SYMBOLS(wrong_debug_files_are_refused),
		SYMBOLS(debug_files_are_found_by_build_id),
		SYMBOLS(replaced_files_have_nothing),
		SYMBOLS(without_build_id_the_size_decides),
		SYMBOLS(what_is_no_file_has_nothing),
		SYMBOLS(addr2line_agrees_on_every_instruction),
		cmocka_unit_test(damaged_files_do_no_harm),
		cmocka_unit_test(randomly_damaged_files_do_no_harm),
	};
	return cmocka_run_group_tests(tests, enter_directory, remove_directory);
}
