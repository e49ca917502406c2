/* Symbols kept behind the mapped part of a file, and what damage does to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "analyzer/symbols/symbol_source.h"
#include "analyzer/symbols/symbol_store.h"

#define MAPPED_BYTES 8192u
#define HEADER_BYTES 24u
#define FRAMES 8

static char directory[] = "/tmp/pqlease-symbol-store-XXXXXX";
static char ledger[PATH_MAX];

static const uint8_t BUILD_ID[20] = {0xde, 0xad, 0xbe, 0xef, 1, 2, 3};
static const struct symbol_module PROGRAM = {
	.path = "/opt/app/server",
	.build_id = BUILD_ID,
	.build_id_length = sizeof BUILD_ID,
	.file_bytes = 1234,
};
static const struct symbol_module OLD_LIBRARY = {.path = "/opt/app/old.so", .file_bytes = 777};
static const struct symbol_frame CHAIN[] = {
	{"app::Pool::reuse(int) const", "/src/pool.cc", 12, true},
	{"app::Pool::acquire(char const*)", "/src/pool.cc", 40, true},
	{"handle \"request\"\n\x01", NULL, 0, false},
};

/* ---- In place of the C library's: some file systems cannot do it ---------------------------- */

static bool can_reserve = true;

int fallocate(int fd, int mode, off_t offset, off_t length) {
	if (can_reserve)
		return (int)syscall(SYS_fallocate, fd, mode, offset, length);
	errno = EOPNOTSUPP;
	return -1;
}

/* ---- Helpers -------------------------------------------------------------------------------- */

/* What the mapped part holds does not matter, only that it stays. */
static void make_ledger(void) {
	FILE *file = fopen(ledger, "w");

	assert_non_null(file);
	for (unsigned i = 0; i < MAPPED_BYTES; i++)
		fputc((int)(i * 7 % 251), file);
	assert_int_equal(0, fclose(file));
}

static off_t ledger_bytes(void) {
	struct stat status;

	assert_int_equal(0, stat(ledger, &status));
	return status.st_size;
}

static void assert_mapped_part_is_untouched(void) {
	FILE *file = fopen(ledger, "r");

	assert_non_null(file);
	for (unsigned i = 0; i < MAPPED_BYTES; i++)
		assert_int_equal(i * 7 % 251, fgetc(file));
	fclose(file);
}

static void write_behind(const void *bytes, size_t size) {
	int fd = open(ledger, O_WRONLY | O_CLOEXEC);

	assert_int_equal(0, ftruncate(fd, MAPPED_BYTES));
	assert_int_equal(size, pwrite(fd, bytes, size, MAPPED_BYTES));
	close(fd);
}

static size_t read_behind(char **bytes) {
	size_t size = (size_t)ledger_bytes() - MAPPED_BYTES;
	int fd = open(ledger, O_RDONLY | O_CLOEXEC);

	*bytes = calloc(1, size + 1);
	assert_int_equal(size, pread(fd, *bytes, size, MAPPED_BYTES));
	close(fd);
	return size;
}

static uint64_t checksum(const char *bytes, size_t size) {
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (uint8_t)bytes[i]) * UINT64_C(1099511628211);
	return hash;
}

/* A block whose checksum is right, whatever the document. */
static void write_document(const char *document, size_t size) {
	char *block = malloc(HEADER_BYTES + size);
	uint64_t length = size;
	uint64_t check = checksum(document, size);

	memcpy(block, "PQLSYMS1", 8);
	memcpy(block + 8, &length, 8);
	memcpy(block + 16, &check, 8);
	memcpy(block + HEADER_BYTES, document, size);
	write_behind(block, HEADER_BYTES + size);
	free(block);
}

static enum symbol_store_status load(struct symbol_store **store) {
	*store = symbol_store_new();
	return symbol_store_load(*store, ledger, MAPPED_BYTES);
}

static enum symbol_store_status load_and_free(void) {
	struct symbol_store *store;
	enum symbol_store_status status = load(&store);

	symbol_store_free(store);
	return status;
}

static void assert_frames(const struct symbol_frame *expected, const struct symbol_frame *actual,
			  size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (expected[i].function != NULL)
			assert_string_equal(expected[i].function, actual[i].function);
		else
			assert_null(actual[i].function);
		if (expected[i].file != NULL)
			assert_string_equal(expected[i].file, actual[i].file);
		else
			assert_null(actual[i].file);
		assert_int_equal(expected[i].line, actual[i].line);
		assert_int_equal(expected[i].inlined, actual[i].inlined);
	}
}

static struct symbol_store *new_example(void) {
	struct symbol_store *store = symbol_store_new();

	assert_true(symbol_store_put(store, &PROGRAM, 0x1001, SYMBOL_RETURN_ADDRESS, CHAIN, 3));
	assert_true(symbol_store_put(store, &PROGRAM, UINT64_MAX, SYMBOL_EXACT_ADDRESS, CHAIN + 1, 2));
	assert_true(symbol_store_put(store, &OLD_LIBRARY, 0x1001, SYMBOL_RETURN_ADDRESS, CHAIN + 2, 1));
	return store;
}

static void assert_example(const struct symbol_store *store) {
	struct symbol_frame frames[FRAMES];

	assert_int_equal(3,
			 symbol_store_lookup(store, &PROGRAM, 0x1001, SYMBOL_RETURN_ADDRESS, frames, FRAMES));
	assert_frames(CHAIN, frames, 3);
	assert_int_equal(3,
			 symbol_store_lookup(store, &PROGRAM, 0x1000, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
	assert_int_equal(
		2, symbol_store_lookup(store, &PROGRAM, UINT64_MAX, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
	assert_frames(CHAIN + 1, frames, 2);
	assert_int_equal(
		1, symbol_store_lookup(store, &OLD_LIBRARY, 0x1001, SYMBOL_RETURN_ADDRESS, frames, FRAMES));
	assert_frames(CHAIN + 2, frames, 1);
	assert_int_equal(0,
			 symbol_store_lookup(store, &PROGRAM, 0x1001, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
}

static void save_example(void) {
	struct symbol_store *store = new_example();

	make_ledger();
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
	symbol_store_free(store);
}

/* ---- Keeping ---------------------------------------------------------------------------------- */

static void what_was_put_is_found(void **state) {
	struct symbol_store *store = new_example();
	struct symbol_frame frames[FRAMES];

	(void)state;
	assert_example(store);
	assert_true(symbol_store_put(store, &PROGRAM, 0x1001, SYMBOL_RETURN_ADDRESS, CHAIN + 2, 1));
	assert_int_equal(1,
			 symbol_store_lookup(store, &PROGRAM, 0x1000, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
	symbol_store_free(store);
	symbol_store_free(NULL);
}

static void other_files_are_not_confused(void **state) {
	struct symbol_store *store = new_example();
	struct symbol_frame frames[FRAMES];
	struct symbol_module other = PROGRAM;
	uint8_t build_id[20] = {0};

	(void)state;
	other.build_id = build_id;
	assert_int_equal(0,
			 symbol_store_lookup(store, &other, 0x1001, SYMBOL_RETURN_ADDRESS, frames, FRAMES));
	other = PROGRAM;
	other.path = "/opt/app/server2";
	assert_int_equal(0,
			 symbol_store_lookup(store, &other, 0x1001, SYMBOL_RETURN_ADDRESS, frames, FRAMES));
	other = OLD_LIBRARY;
	other.file_bytes++;
	assert_int_equal(0,
			 symbol_store_lookup(store, &other, 0x1001, SYMBOL_RETURN_ADDRESS, frames, FRAMES));
	other.path = NULL;
	assert_int_equal(0,
			 symbol_store_lookup(store, &other, 0x1001, SYMBOL_RETURN_ADDRESS, frames, FRAMES));
	assert_false(symbol_store_put(store, &other, 1, SYMBOL_EXACT_ADDRESS, CHAIN, 1));
	assert_false(symbol_store_put(store, &PROGRAM, 1, SYMBOL_EXACT_ADDRESS, CHAIN, 0));
	symbol_store_free(store);
}

static void chains_that_do_not_fit_keep_both_ends(void **state) {
	struct symbol_store *store = new_example();
	struct symbol_frame frames[FRAMES];

	(void)state;
	assert_int_equal(2, symbol_store_lookup(store, &PROGRAM, 0x1000, SYMBOL_EXACT_ADDRESS, frames, 2));
	assert_frames(&CHAIN[0], &frames[0], 1);
	assert_frames(&CHAIN[2], &frames[1], 1);
	assert_int_equal(0, symbol_store_lookup(store, &PROGRAM, 0x1000, SYMBOL_EXACT_ADDRESS, frames, 0));
	symbol_store_free(store);
}

static void symbols_survive_in_the_file(void **state) {
	struct symbol_store *store;

	(void)state;
	save_example();
	assert_mapped_part_is_untouched();
	assert_int_equal(SYMBOL_STORE_OK, load(&store));
	assert_example(store);
	assert_false(symbol_store_is_changed(store));
	/* Also when they are added to others. */
	assert_true(symbol_store_put(store, &PROGRAM, 5, SYMBOL_EXACT_ADDRESS, CHAIN + 2, 1));
	assert_true(symbol_store_is_changed(store));
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_load(store, ledger, MAPPED_BYTES));
	assert_example(store);
	symbol_store_free(store);
}

static void places_of_scripts_survive_in_the_file(void **state) {
	struct symbol_store *store = symbol_store_new();

	(void)state;
	make_ledger();
	assert_null(symbol_store_lookup_script(store, "/home/a/shop/web/views.py"));
	assert_true(symbol_store_put_script(store, "/home/a/shop/web/views.py", "web/views.py"));
	assert_true(symbol_store_put_script(store, "/home/a/shop/\xff.py", "\xff.py"));
	assert_true(symbol_store_is_changed(store));
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
	symbol_store_free(store);
	store = symbol_store_new();
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_load(store, ledger, MAPPED_BYTES));
	assert_string_equal("web/views.py", symbol_store_lookup_script(store, "/home/a/shop/web/views.py"));
	assert_string_equal("\\xff.py", symbol_store_lookup_script(store, "/home/a/shop/\xff.py"));
	assert_null(symbol_store_lookup_script(store, "/home/a/shop/views.py"));
	assert_false(symbol_store_is_changed(store));
	symbol_store_free(store);
}

static void older_blocks_are_replaced(void **state) {
	struct symbol_store *small = symbol_store_new();
	struct symbol_store *store;
	off_t large_bytes;

	(void)state;
	save_example();
	large_bytes = ledger_bytes();
	assert_true(symbol_store_put(small, &PROGRAM, 5, SYMBOL_EXACT_ADDRESS, CHAIN + 2, 1));
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(small, ledger, MAPPED_BYTES));
	assert_false(symbol_store_is_changed(small));
	assert_true(ledger_bytes() < large_bytes);
	symbol_store_free(small);
	assert_mapped_part_is_untouched();
	assert_int_equal(SYMBOL_STORE_OK, load(&store));
	symbol_store_free(store);
	store = new_example();
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
	assert_int_equal(large_bytes, ledger_bytes());
	symbol_store_free(store);
}

static void an_empty_store_can_be_kept(void **state) {
	struct symbol_store *store = symbol_store_new();

	(void)state;
	make_ledger();
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
	symbol_store_free(store);
	assert_int_equal(SYMBOL_STORE_OK, load_and_free());
}

struct repair {
	const char *raw;
	const char *kept;
};

static const struct repair REPAIRS[] = {
	{"caf\xe9", "caf\\xe9"},
	{"caf\xc3\xa9", "caf\xc3\xa9"},
	{"\xf0\x9f\x90\x98", "\xf0\x9f\x90\x98"},
	{"\xc3", "\\xc3"},
	{"\xc0\x80", "\\xc0\\x80"},                   /* overlong */
	{"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
	{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
	{"\xff\xfe", "\\xff\\xfe"},
	{"\x80", "\\x80"},
	{"a\xe2\x82", "a\\xe2\\x82"}, /* cut */
};

static void names_that_are_not_utf8_are_spelled_out(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof REPAIRS / sizeof *REPAIRS; i++) {
		struct symbol_module module = {.path = REPAIRS[i].raw, .file_bytes = 1};
		struct symbol_frame frame = {REPAIRS[i].raw, REPAIRS[i].raw, 3, false};
		struct symbol_frame kept = {REPAIRS[i].kept, REPAIRS[i].kept, 3, false};
		struct symbol_frame found;
		struct symbol_store *store = symbol_store_new();
		make_ledger();
		assert_true(symbol_store_put(store, &module, 9, SYMBOL_EXACT_ADDRESS, &frame, 1));
		assert_int_equal(1, symbol_store_lookup(store, &module, 9, SYMBOL_EXACT_ADDRESS, &found, 1));
		assert_frames(&kept, &found, 1);
		assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
		symbol_store_free(store);
		assert_int_equal(SYMBOL_STORE_OK, load(&store));
		assert_int_equal(1, symbol_store_lookup(store, &module, 9, SYMBOL_EXACT_ADDRESS, &found, 1));
		assert_frames(&kept, &found, 1);
		symbol_store_free(store);
	}
}

static void many_symbols_are_kept(void **state) {
	struct symbol_store *store = symbol_store_new();
	struct symbol_frame found;
	char name[32];

	(void)state;
	make_ledger();
	for (uint32_t i = 0; i < 20000; i++) {
		struct symbol_frame frame = {name, "/src/many.c", i, false};
		snprintf(name, sizeof name, "function_%u", i);
		assert_true(symbol_store_put(store, &PROGRAM, i * 16, SYMBOL_EXACT_ADDRESS, &frame, 1));
	}
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
	symbol_store_free(store);
	assert_int_equal(SYMBOL_STORE_OK, load(&store));
	for (uint32_t i = 0; i < 20000; i += 777) {
		struct symbol_frame frame = {name, "/src/many.c", i, false};
		snprintf(name, sizeof name, "function_%u", i);
		assert_int_equal(
			1, symbol_store_lookup(store, &PROGRAM, i * 16, SYMBOL_EXACT_ADDRESS, &found, 1));
		assert_frames(&frame, &found, 1);
	}
	symbol_store_free(store);
}

/* ---- Damage ----------------------------------------------------------------------------------- */

static void absence_is_no_error(void **state) {
	struct symbol_store *store = symbol_store_new();

	(void)state;
	make_ledger();
	assert_int_equal(SYMBOL_STORE_ABSENT, load_and_free());
	assert_int_equal(SYMBOL_STORE_ABSENT, symbol_store_load(store, "/nowhere/at/all", MAPPED_BYTES));
	assert_int_equal(SYMBOL_STORE_ABSENT, symbol_store_load(store, ledger, MAPPED_BYTES * 2));
	assert_int_equal(SYMBOL_STORE_UNREADABLE, symbol_store_load(store, ledger, UINT64_MAX));
	assert_int_equal(SYMBOL_STORE_UNREADABLE, symbol_store_load_from(store, -1, MAPPED_BYTES));
	symbol_store_free(store);
}

static void every_cut_is_noticed(void **state) {
	char *block;
	size_t size;

	(void)state;
	save_example();
	size = read_behind(&block);
	for (size_t kept = 0; kept < size; kept++) {
		write_behind(block, kept);
		assert_int_equal(kept == 0 ? SYMBOL_STORE_ABSENT : SYMBOL_STORE_TORN, load_and_free());
	}
	free(block);
}

static void every_changed_byte_is_noticed(void **state) {
	char *block;
	size_t size;

	(void)state;
	save_example();
	size = read_behind(&block);
	for (size_t at = 0; at < size; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct symbol_store *store;
			struct symbol_frame frames[FRAMES];
			block[at] = (char)(block[at] ^ (1 << bit));
			write_behind(block, size);
			assert_int_not_equal(SYMBOL_STORE_OK, load(&store));
			assert_int_equal(0,
					 symbol_store_lookup(store, &PROGRAM, 0x1001, SYMBOL_RETURN_ADDRESS,
							     frames, FRAMES));
			symbol_store_free(store);
			block[at] = (char)(block[at] ^ (1 << bit));
		}
	}
	free(block);
}

/* As somebody would do it who computes a checksum as well. */
static void changed_documents_do_no_harm(void **state) {
	static const char REPLACEMENTS[] = "0-9[]{}\",:\\ \xff";
	char *block;
	size_t size;

	(void)state;
	save_example();
	size = read_behind(&block);
	for (size_t at = HEADER_BYTES; at < size; at++) {
		char kept = block[at];
		for (const char *replacement = REPLACEMENTS; *replacement != '\0'; replacement++) {
			block[at] = *replacement;
			write_document(block + HEADER_BYTES, size - HEADER_BYTES);
			load_and_free();
		}
		block[at] = kept;
	}
	free(block);
}

#define DOCUMENT(strings, modules) \
	"{\"schema\":\"pqlease/symbols-2\",\"strings\":" strings ",\"modules\":" modules ",\"scripts\":[]}"
#define SCRIPTS(scripts) \
	"{\"schema\":\"pqlease/symbols-2\",\"strings\":[\"p\"],\"modules\":[],\"scripts\":" scripts "}"
#define MODULE(addresses) "[{\"path\":1,\"build_id\":\"ab\",\"file_bytes\":0,\"addresses\":" addresses "}]"

static const char *const BAD_DOCUMENTS[] = {
	"",
	"null",
	"[]",
	"{}",
	"{\"schema\":\"pqlease/symbols-1\",\"strings\":[],\"modules\":[],\"scripts\":[]}",
	"{\"schema\":\"pqlease/symbols-2\",\"strings\":[],\"modules\":[]}",
	SCRIPTS("{}"),
	SCRIPTS("[1]"),
	SCRIPTS("[[]]"),
	SCRIPTS("[[1]]"),
	SCRIPTS("[[1,0]]"),
	SCRIPTS("[[0,1]]"),
	SCRIPTS("[[1,2]]"),
	SCRIPTS("[[1,1,1]]"),
	SCRIPTS("[[1,\"p\"]]"),
	DOCUMENT("{}", "{}"),
	DOCUMENT("[1]", "[]"),
	DOCUMENT("[\"\xff\"]", "[]"),
	DOCUMENT("[\"\\u0000\"]", "[]"),
	DOCUMENT("[\"\\ud800\"]", "[]"),
	DOCUMENT("[\"p\"]", "[1]"),
	DOCUMENT("[\"p\"]", "[{}]"),
	DOCUMENT("[\"p\"]", "[{\"path\":0,\"build_id\":\"ab\",\"file_bytes\":0,\"addresses\":[]}]"),
	DOCUMENT("[\"p\"]", "[{\"path\":2,\"build_id\":\"ab\",\"file_bytes\":0,\"addresses\":[]}]"),
	DOCUMENT("[\"p\"]", "[{\"path\":1,\"build_id\":\"AB\",\"file_bytes\":0,\"addresses\":[]}]"),
	DOCUMENT("[\"p\"]", "[{\"path\":1,\"build_id\":\"abc\",\"file_bytes\":0,\"addresses\":[]}]"),
	DOCUMENT("[\"p\"]", "[{\"path\":1,\"build_id\":5,\"file_bytes\":0,\"addresses\":[]}]"),
	DOCUMENT("[\"p\"]", MODULE("{}")),
	DOCUMENT("[\"p\"]", MODULE("[7]")),
	DOCUMENT("[\"p\"]", MODULE("[[]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,1,1,1]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,1,1,1,0,1]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,2,1,1,0]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,-1,1,1,0]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,1,1,-1,0]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,1,1,4294967296,0]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,1,1,1,\"\"]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7.5,1,1,1,0]]")),
	DOCUMENT("[\"p\"]", MODULE("[[7,1,1,1,0]]")) " x",
};

static void wrong_documents_are_refused(void **state) {
	(void)state;
	make_ledger();
	for (size_t i = 0; i < sizeof BAD_DOCUMENTS / sizeof *BAD_DOCUMENTS; i++) {
		write_document(BAD_DOCUMENTS[i], strlen(BAD_DOCUMENTS[i]));
		if (load_and_free() != SYMBOL_STORE_CORRUPT)
			fail_msg("was not refused: %s", BAD_DOCUMENTS[i]);
	}
	write_document(DOCUMENT("[\"p\"]", MODULE("[[7,1,1,1,0]]")),
		       strlen(DOCUMENT("[\"p\"]", MODULE("[[7,1,1,1,0]]"))));
	assert_int_equal(SYMBOL_STORE_OK, load_and_free());
}

static void deep_and_huge_documents_are_refused(void **state) {
	size_t size = 5u << 20;
	char *document = malloc(size);
	char header[HEADER_BYTES] = "PQLSYMS1";
	uint64_t length = SYMBOL_STORE_MAX_BYTES + 1;

	(void)state;
	make_ledger();
	memset(document, '[', size);
	write_document(document, size);
	assert_int_equal(SYMBOL_STORE_CORRUPT, load_and_free());
	write_document(document, 100000);
	assert_int_equal(SYMBOL_STORE_CORRUPT, load_and_free());
	free(document);
	memcpy(header + 8, &length, 8);
	write_behind(header, sizeof header);
	assert_int_equal(SYMBOL_STORE_CORRUPT, load_and_free());
	length = UINT64_MAX;
	memcpy(header + 8, &length, 8);
	write_behind(header, sizeof header);
	assert_int_equal(SYMBOL_STORE_CORRUPT, load_and_free());
}

/* Every value costs memory, also one that nobody looks at. */
static void documents_of_many_small_values_are_refused(void **state) {
	static const char END[] =
		"0],\"schema\":\"pqlease/symbols-2\",\"strings\":[],\"modules\":[],\"scripts\":[]}";
	size_t count = (size_t)5 << 20;
	char *document = malloc(8 + count * 2 + sizeof END);

	(void)state;
	make_ledger();
	memcpy(document, "{\"x\": [", 7);
	for (size_t i = 0; i < count; i++)
		memcpy(document + 7 + 2 * i, "0,", 2);
	memcpy(document + 7 + 2 * count, END, sizeof END);
	write_document(document, strlen(document));
	assert_int_equal(SYMBOL_STORE_CORRUPT, load_and_free());
	count = 1000;
	memcpy(document + 7 + 2 * count, END, sizeof END);
	write_document(document, strlen(document));
	assert_int_equal(SYMBOL_STORE_OK, load_and_free());
	free(document);
}

static void what_no_reader_would_accept_is_not_written(void **state) {
	struct symbol_store *store = symbol_store_new();
	struct symbol_frame frames[SYMBOL_FRAMES_MAX] = {{0}};

	(void)state;
	make_ledger();
	for (uint64_t i = 0; i < 4200; i++)
		assert_true(symbol_store_put(store, &PROGRAM, i, SYMBOL_EXACT_ADDRESS, frames,
					     SYMBOL_FRAMES_MAX));
	assert_int_equal(SYMBOL_STORE_TOO_LARGE, symbol_store_save(store, ledger, MAPPED_BYTES));
	assert_int_equal(MAPPED_BYTES, ledger_bytes());
	assert_false(
		symbol_store_put(store, &PROGRAM, 1, SYMBOL_EXACT_ADDRESS, frames, SYMBOL_FRAMES_MAX + 1));
	symbol_store_free(store);
}

/* ---- Files that cannot be written ------------------------------------------------------------- */

static void files_that_are_no_ledger_are_left_alone(void **state) {
	struct symbol_store *store = new_example();
	char link_path[PATH_MAX + 8];
	char pipe_path[PATH_MAX + 8];

	(void)state;
	make_ledger();
	snprintf(link_path, sizeof link_path, "%s.link", ledger);
	snprintf(pipe_path, sizeof pipe_path, "%s.pipe", ledger);
	assert_int_equal(0, symlink(ledger, link_path));
	assert_int_equal(0, mkfifo(pipe_path, 0600));
	assert_int_equal(SYMBOL_STORE_DENIED, symbol_store_save(store, link_path, MAPPED_BYTES));
	assert_int_equal(SYMBOL_STORE_NOT_LEDGER, symbol_store_save(store, pipe_path, MAPPED_BYTES));
	assert_int_equal(SYMBOL_STORE_NOT_LEDGER, symbol_store_save(store, ledger, MAPPED_BYTES + 1));
	assert_int_equal(SYMBOL_STORE_NOT_LEDGER, symbol_store_save(store, ledger, UINT64_MAX));
	assert_int_equal(SYMBOL_STORE_NOT_LEDGER, symbol_store_save(store, "/nowhere/at/all", MAPPED_BYTES));
	assert_int_equal(SYMBOL_STORE_NOT_LEDGER, symbol_store_save(store, directory, MAPPED_BYTES));
	assert_true(symbol_store_is_changed(store));
	assert_int_equal(MAPPED_BYTES, ledger_bytes());
	assert_mapped_part_is_untouched();
	unlink(link_path);
	unlink(pipe_path);
	symbol_store_free(store);
}

static void a_full_file_keeps_its_length_and_its_older_block(void **state) {
	struct symbol_store *store = new_example();
	struct symbol_store *loaded;
	struct rlimit kept;
	struct rlimit small;
	off_t former_bytes;

	(void)state;
	save_example();
	former_bytes = ledger_bytes();
	for (uint64_t i = 0; i < 1000; i++)
		assert_true(symbol_store_put(store, &PROGRAM, i, SYMBOL_EXACT_ADDRESS, CHAIN, 3));
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(0, getrlimit(RLIMIT_FSIZE, &kept));
	small = kept;
	small.rlim_cur = (rlim_t)former_bytes + 100;
	assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &small));
	assert_int_equal(SYMBOL_STORE_FULL, symbol_store_save(store, ledger, MAPPED_BYTES));
	assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &kept));
	signal(SIGXFSZ, SIG_DFL);
	symbol_store_free(store);
	assert_int_equal(former_bytes, ledger_bytes());
	assert_mapped_part_is_untouched();
	assert_int_equal(SYMBOL_STORE_OK, load(&loaded));
	assert_example(loaded);
	symbol_store_free(loaded);
}

/* On a file system that cannot reserve space the older block is lost, the length is not. */
static void a_full_file_without_reserving_keeps_its_length(void **state) {
	struct symbol_store *store = new_example();
	struct rlimit kept;
	struct rlimit small;
	off_t former_bytes;

	(void)state;
	save_example();
	former_bytes = ledger_bytes();
	for (uint64_t i = 0; i < 1000; i++)
		assert_true(symbol_store_put(store, &PROGRAM, i, SYMBOL_EXACT_ADDRESS, CHAIN, 3));
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(0, getrlimit(RLIMIT_FSIZE, &kept));
	small = kept;
	small.rlim_cur = (rlim_t)former_bytes + 100;
	assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &small));
	can_reserve = false;
	assert_int_equal(SYMBOL_STORE_FULL, symbol_store_save(store, ledger, MAPPED_BYTES));
	assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &kept));
	assert_int_equal(former_bytes, ledger_bytes());
	assert_mapped_part_is_untouched();
	assert_int_equal(SYMBOL_STORE_CORRUPT, load_and_free());
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
	can_reserve = true;
	signal(SIGXFSZ, SIG_DFL);
	symbol_store_free(store);
	assert_int_equal(SYMBOL_STORE_OK, load_and_free());
}

static void two_do_not_write_at_once(void **state) {
	struct symbol_store *store = new_example();
	int fd;

	(void)state;
	make_ledger();
	fd = open(ledger, O_RDONLY | O_CLOEXEC);
	assert_int_equal(0, flock(fd, LOCK_EX));
	assert_int_equal(SYMBOL_STORE_BUSY, symbol_store_save(store, ledger, MAPPED_BYTES));
	close(fd);
	assert_int_equal(SYMBOL_STORE_OK, symbol_store_save(store, ledger, MAPPED_BYTES));
	symbol_store_free(store);
}

static void every_status_has_a_sentence(void **state) {
	(void)state;
	for (int status = 0; status <= SYMBOL_STORE_STATUS_COUNT; status++)
		assert_true(strlen(symbol_store_status_text((enum symbol_store_status)status)) > 10);
}

/* ---- The store and the files of this machine together ------------------------------------------- */

static uint64_t compile_small_program(const char *path) {
	char command[2 * PATH_MAX + 256];
	unsigned long long address = 0;
	FILE *output;

	snprintf(command, sizeof command,
		 "echo 'int main(void) { return 0; }' | gcc -g -Wl,--build-id=none -no-pie -x c -o %1$s - && "
		 "nm %1$s | sed -n 's/ T main$//p'",
		 path);
	output = popen(command, "r");
	assert_non_null(output);
	assert_int_equal(1, fscanf(output, "%llx", &address));
	pclose(output);
	return address;
}

static void a_source_remembers_what_it_resolved(void **state) {
	char path[PATH_MAX] = "";
	struct stat status;
	struct symbol_module own = {.path = path};
	struct symbol_frame frames[FRAMES];
	struct symbol_source *source;
	enum symbol_store_status loaded;
	uint64_t address;

	(void)state;
	snprintf(path, sizeof path, "%s/copy", directory);
	address = compile_small_program(path);
	assert_int_equal(0, stat(path, &status));
	own.file_bytes = (uint64_t)status.st_size;
	make_ledger();
	source = symbol_source_open(ledger, MAPPED_BYTES, &loaded);
	assert_int_equal(SYMBOL_STORE_ABSENT, loaded);
	assert_int_equal(1,
			 symbol_source_resolve(source, &own, address, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
	assert_string_equal("main", frames[0].function);
	assert_int_equal(0, symbol_source_resolve(source, &own, 1, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
	assert_int_equal(SYMBOL_STORE_OK, symbol_source_save(source, ledger, MAPPED_BYTES));
	symbol_source_close(source);
	assert_int_equal(0, unlink(path));
	source = symbol_source_open(ledger, MAPPED_BYTES, &loaded);
	assert_int_equal(SYMBOL_STORE_OK, loaded);
	assert_int_equal(1,
			 symbol_source_resolve(source, &own, address, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
	assert_string_equal("main", frames[0].function);
	assert_int_equal(1, frames[0].line);
	/* Nothing new: nothing is written, not even to a file that could not be. */
	assert_int_equal(SYMBOL_STORE_OK, symbol_source_save(source, "/nowhere/at/all", MAPPED_BYTES));
	symbol_source_close(source);
	source = symbol_source_open(NULL, 0, NULL);
	assert_int_equal(0,
			 symbol_source_resolve(source, &own, address, SYMBOL_EXACT_ADDRESS, frames, FRAMES));
	symbol_source_close(source);
	symbol_source_close(NULL);
}

/* ---- Setting up ---------------------------------------------------------------------------------- */

static int enter_directory(void **state) {
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(ledger, sizeof ledger, "%s/ledger", directory);
	return 0;
}

static int remove_directory(void **state) {
	(void)state;
	unlink(ledger);
	return rmdir(directory);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_found),
		cmocka_unit_test(other_files_are_not_confused),
		cmocka_unit_test(chains_that_do_not_fit_keep_both_ends),
		cmocka_unit_test(symbols_survive_in_the_file),
		cmocka_unit_test(places_of_scripts_survive_in_the_file),
		cmocka_unit_test(older_blocks_are_replaced),
		cmocka_unit_test(an_empty_store_can_be_kept),
		cmocka_unit_test(names_that_are_not_utf8_are_spelled_out),
		cmocka_unit_test(many_symbols_are_kept),
		cmocka_unit_test(absence_is_no_error),
		cmocka_unit_test(every_cut_is_noticed),
		cmocka_unit_test(every_changed_byte_is_noticed),
		cmocka_unit_test(changed_documents_do_no_harm),
		cmocka_unit_test(wrong_documents_are_refused),
		cmocka_unit_test(deep_and_huge_documents_are_refused),
		cmocka_unit_test(documents_of_many_small_values_are_refused),
		cmocka_unit_test(what_no_reader_would_accept_is_not_written),
		cmocka_unit_test(files_that_are_no_ledger_are_left_alone),
		cmocka_unit_test(a_full_file_keeps_its_length_and_its_older_block),
		cmocka_unit_test(a_full_file_without_reserving_keeps_its_length),
		cmocka_unit_test(two_do_not_write_at_once),
		cmocka_unit_test(every_status_has_a_sentence),
		cmocka_unit_test(a_source_remembers_what_it_resolved),
	};
	return cmocka_run_group_tests(tests, enter_directory, remove_directory);
}
