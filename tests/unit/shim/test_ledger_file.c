/* Making and joining ledger files, in good and in hostile places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/proc.h"
#include "tests/unit/support/shim_support.h"

static const struct ledger_run_facts facts = {.tool_version = "0.0-test"};
static const char *path;

static int set_up(void **state) {
	(void)state;
	shim_support_open();
	path = strdup(shim_support_path("a.ledger"));
	return 0;
}

static int tear_down(void **state) {
	(void)state;
	shim_support_close();
	free((char *)path);
	return 0;
}

static void create(uint64_t size_bytes) {
	struct ledger_map map;
	assert_int_equal(LEDGER_FILE_OK, ledger_file_create(&map, path, size_bytes, &facts));
	ledger_file_unmap(&map);
}

static enum ledger_file_status join(const char *where) {
	struct ledger_map map;
	enum ledger_file_status status = ledger_file_join(&map, where);
	assert_true((status == LEDGER_FILE_OK) == (map.header != NULL));
	ledger_file_unmap(&map);
	return status;
}

static uint32_t open_descriptors(void) {
	uint32_t count = 0;
	DIR *entries = opendir("/proc/self/fd");
	while (readdir(entries))
		count++;
	closedir(entries);
	return count;
}

/* ---- Create and join -------------------------------------------------------------------------------- */

static void test_what_was_made_can_be_joined(void **state) {
	(void)state;
	static const char *const command[] = {"prog", "--flag", NULL};
	struct ledger_run_facts run = {.tool_version = "9.9", .made_by_run = true, .command = command};
	struct ledger_map made, joined;
	uint32_t descriptors = open_descriptors();
	assert_int_equal(LEDGER_FILE_ABSENT, join(path));
	assert_int_equal(LEDGER_FILE_OK, ledger_file_create(&made, path, LEDGER_DEFAULT_SIZE_BYTES, &run));
	assert_int_equal(LEDGER_FILE_OK, ledger_file_join(&joined, path));
	assert_int_equal(descriptors, open_descriptors());
	assert_memory_equal(made.header, joined.header, LEDGER_HEADER_BYTES);
	assert_int_equal(LEDGER_DEFAULT_SIZE_BYTES, joined.mapped_bytes);
	made.header->open = 42;
	assert_int_equal(42, joined.header->open);
	assert_string_equal("9.9", ledger_string_text(joined.header, joined.header->tool_version));
	assert_int_equal(2, joined.header->command_count);
	assert_string_equal("--flag", ledger_string_text(joined.header, joined.header->command[1]));
	assert_int_equal(1, joined.header->made_by_run);
	assert_int_equal(getpid(), joined.header->creator_pid);
	ledger_file_unmap(&made);
	ledger_file_unmap(&joined);
	ledger_file_unmap(&joined);
}

static void test_a_taken_path_is_left_alone(void **state) {
	(void)state;
	struct ledger_map map;
	create(LEDGER_MIN_SIZE_BYTES);
	assert_int_equal(LEDGER_FILE_EXISTS, ledger_file_create(&map, path, LEDGER_MIN_SIZE_BYTES, &facts));
	assert_null(map.header);
	assert_int_equal(LEDGER_FILE_OK, join(path));
}

static void test_the_hosts_umask_is_neither_obeyed_nor_changed(void **state) {
	(void)state;
	struct stat file;
	mode_t before = umask(0777);
	create(LEDGER_MIN_SIZE_BYTES);
	assert_int_equal(0777, umask(before));
	assert_int_equal(0, stat(path, &file));
	assert_int_equal(0600, file.st_mode & 07777);
	assert_int_equal(1, file.st_nlink);
}

static void test_an_impossible_directory(void **state) {
	(void)state;
	struct ledger_map map;
	uint32_t descriptors = open_descriptors();
	const char *nowhere = shim_support_path("none/a.ledger");
	assert_int_equal(LEDGER_FILE_SYSTEM_ERROR, ledger_file_create(&map, nowhere, 1u << 20, &facts));
	assert_int_equal(ENOENT, map.error_number);
	assert_int_equal(LEDGER_FILE_ABSENT, join(nowhere));
	assert_int_equal(descriptors, open_descriptors());
}

static void test_every_status_has_a_text(void **state) {
	(void)state;
	for (int status = 0; status <= LEDGER_FILE_SYSTEM_ERROR; status++)
		assert_true(strlen(ledger_file_status_text((enum ledger_file_status)status)) > 5);
}

/* ---- Races ------------------------------------------------------------------------------------------------ */

static struct raced {
	_Atomic uint32_t created;
	_Atomic uint32_t joined;
	_Atomic uint32_t go;
} * raced;

/* As the shim does: join, else create, else join. */
static void create_or_join(void *argument, uint32_t number) {
	struct ledger_map map;
	(void)argument;
	(void)number;
	while (!raced->go)
		sched_yield();
	enum ledger_file_status status = ledger_file_join(&map, path);
	if (status == LEDGER_FILE_ABSENT)
		status = ledger_file_create(&map, path, LEDGER_MIN_SIZE_BYTES, &facts);
	raced->created += status == LEDGER_FILE_OK;
	if (status == LEDGER_FILE_EXISTS) {
		status = ledger_file_join(&map, path);
		raced->joined += status == LEDGER_FILE_OK;
	}
	if (status != LEDGER_FILE_OK)
		_exit(1);
	atomic_fetch_add(&map.header->open, 1);
}

static void test_many_make_one(void **state) {
	(void)state;
	raced = mmap(NULL, sizeof *raced, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int round = 0; round < 30; round++) {
		pid_t children[8];
		struct ledger_map map;
		raced->go = 0;
		for (uint32_t i = 0; i < 8; i++)
			children[i] = shim_support_child(create_or_join, NULL, i);
		raced->go = 1;
		for (uint32_t i = 0; i < 8; i++) {
			int status;
			assert_int_equal(children[i], waitpid(children[i], &status, 0));
			assert_int_equal(0, status);
		}
		assert_int_equal(LEDGER_FILE_OK, ledger_file_join(&map, path));
		assert_int_equal(8, map.header->open); /* all in one inode */
		ledger_file_unmap(&map);
		assert_int_equal(0, unlink(path));
	}
	assert_true(raced->joined > 0);
	munmap(raced, sizeof *raced);
}

/* ---- Refusals ---------------------------------------------------------------------------------------------- */

static void test_what_is_no_regular_file_is_refused(void **state) {
	(void)state;
	const char *other = shim_support_path("other");
	create(LEDGER_MIN_SIZE_BYTES);
	assert_int_equal(0, symlink(path, other));
	assert_int_equal(LEDGER_FILE_NOT_REGULAR, join(other));
	assert_int_equal(0, unlink(other));
	assert_int_equal(0, mkfifo(other, 0600));
	assert_int_equal(LEDGER_FILE_NOT_REGULAR, join(other)); /* and does not wait for a writer */
	assert_int_equal(0, unlink(other));
	assert_int_equal(0, mkdir(other, 0700));
	assert_int_equal(LEDGER_FILE_NOT_REGULAR, join(other));
	assert_int_equal(LEDGER_FILE_NOT_REGULAR, join("/dev/null"));
}

static void test_what_belongs_to_others_is_refused(void **state) {
	(void)state;
	const char *other = shim_support_path("other");
	create(LEDGER_MIN_SIZE_BYTES);
	assert_int_equal(0, link(path, other));
	assert_int_equal(LEDGER_FILE_LINKED, join(path));
	assert_int_equal(0, unlink(other));
	assert_int_equal(LEDGER_FILE_OK, join(path));
	if (geteuid() != 0)
		skip();
	assert_int_equal(0, chown(path, 12345, 12345));
	assert_int_equal(LEDGER_FILE_FOREIGN, join(path));
}

static void write_at(uint64_t offset, const void *bytes, size_t length_bytes) {
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(length_bytes, pwrite(fd, bytes, length_bytes, (off_t)offset));
	close(fd);
}

static void test_damaged_files_are_refused(void **state) {
	(void)state;
	static const struct {
		size_t offset;
		uint64_t value;
		size_t size_bytes;
		enum ledger_file_status status;
	} damages[] = {
		{offsetof(struct ledger_header, magic), 0, 8, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, format_version), 99, 4, LEDGER_FILE_OTHER_VERSION},
		{offsetof(struct ledger_header, byte_order), 0x04030201, 4, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, header_bytes), 4096, 4, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, section_count), 3, 4, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, mapped_bytes), 2u << 20, 8, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, mapped_bytes), 1u << 19, 8, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, mapped_bytes), UINT64_MAX, 8, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, extent_bytes), 0, 8, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, extent_bytes), 65537, 8, LEDGER_FILE_NOT_A_LEDGER},
		{offsetof(struct ledger_header, extent_bytes), 4096, 8, LEDGER_FILE_NOT_A_LEDGER},
	};
	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
		create(LEDGER_MIN_SIZE_BYTES);
		write_at(damages[i].offset, &damages[i].value, damages[i].size_bytes);
		assert_int_equal(damages[i].status, join(path));
		assert_int_equal(0, unlink(path));
	}
}

static void test_truncated_files_are_refused(void **state) {
	static const off_t lengths[] = {0, 1, 7, 100, 8191, 8192, 65536, (1 << 20) - 4096, (1 << 20) - 1};
	(void)state;
	create(LEDGER_MIN_SIZE_BYTES);
	for (size_t i = sizeof lengths / sizeof *lengths; i-- > 0;) {
		assert_int_equal(0, truncate(path, lengths[i]));
		assert_int_equal(LEDGER_FILE_NOT_A_LEDGER, join(path));
	}
}

static void test_every_damaged_section_field_is_refused(void **state) {
	(void)state;
	static const uint64_t wild[] = {0, 1, 63, UINT32_MAX, UINT64_C(1) << 40, UINT64_MAX, UINT64_MAX - 63};
	struct ledger_header whole;
	create(LEDGER_MIN_SIZE_BYTES);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(sizeof whole, pread(fd, &whole, sizeof whole, 0));
	close(fd);
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
			struct ledger_section *section = &whole.section[kind];
			struct ledger_section sound = *section;
			uint64_t at = offsetof(struct ledger_header, section) + kind * sizeof *section;
			for (int field = 0; field < 4; field++) {
				*section = sound;
				if (field == 0)
					section->kind = (uint32_t)wild[i] + kind + 1;
				else if (field == 1)
					section->entry_size_bytes = (uint32_t)wild[i];
				else if (field == 2)
					section->offset = wild[i];
				else
					section->capacity = wild[i];
				write_at(at, section, sizeof *section);
				bool is_smaller = field == 3 && section->capacity <= sound.capacity;
				if (memcmp(section, &sound, sizeof sound) != 0 && !is_smaller)
					assert_int_not_equal(LEDGER_FILE_OK, join(path));
			}
			*section = sound;
			write_at(at, section, sizeof *section);
		}
	}
	assert_int_equal(LEDGER_FILE_OK, join(path));
}

static void test_overlapping_sections_are_refused(void **state) {
	(void)state;
	struct ledger_header whole = {0};
	create(LEDGER_MIN_SIZE_BYTES);
	assert_true(ledger_file_layout(&whole, LEDGER_MIN_SIZE_BYTES));
	for (uint32_t kind = 1; kind < LEDGER_SECTION_COUNT; kind++) {
		uint64_t at = offsetof(struct ledger_header, section) + kind * sizeof(struct ledger_section) +
			offsetof(struct ledger_section, offset);
		write_at(at, &whole.section[kind - 1].offset, 8);
		assert_int_equal(LEDGER_FILE_NOT_A_LEDGER, join(path));
		write_at(at, &whole.section[kind].offset, 8);
	}
	assert_int_equal(LEDGER_FILE_OK, join(path));
}

/* Writes as a host would, so that what a join accepted must be harmless. */
static void use(struct ledger_header *ledger) {
	struct ledger_frame frame = {LEDGER_FRAME_NATIVE, 1, 2};
	uint32_t site = ledger_intern_site(ledger, &frame, 1, 0);
	uint32_t pool = ledger_intern_pool(ledger, ledger_intern_string(ledger, "role"), NULL);
	struct ledger_account account = {ledger, pool, site};
	uint32_t process = shim_support_join(ledger);
	ledger_slot_claim(ledger, process);
	ledger_add_open(&account, 1, ledger_now_ns());
	ledger_add_attempt(&account, true, ledger_now_ns());
	ledger_add_time(&account, LEDGER_CONNECT_TIME, 12345);
	ledger_history_add(ledger, &(struct ledger_ended){.begun_ns = 1});
	ledger_process_end(ledger, process, getpid(), LEDGER_ENDED_EXIT, ledger_now_ns());
}

static void test_random_damage_harms_nobody(void **state) {
	(void)state;
	uint64_t random = 7;
	uint32_t accepted = 0;
	for (int round = 0; round < 400; round++) {
		struct ledger_map map;
		create(LEDGER_MIN_SIZE_BYTES);
		for (int flips = 1 + round % 4; flips > 0; flips--) {
			uint8_t byte = (uint8_t)shim_support_random(&random);
			write_at(shim_support_random(&random) % sizeof(struct ledger_header), &byte, 1);
		}
		if (ledger_file_join(&map, path) == LEDGER_FILE_OK) {
			accepted++;
			use(map.header);
			ledger_file_unmap(&map);
		}
		assert_int_equal(0, unlink(path));
	}
	assert_true(accepted > 10);
}

/* ---- Little room ---------------------------------------------------------------------------------------------- */

/* Runs `work` in a child on a tmpfs of its own; the test is skipped where mounting is not allowed. */
static void on_small_tmpfs(const char *options, shim_support_work *work) {
	const char *place = shim_support_path("small");
	assert_int_equal(0, mkdir(place, 0700));
	pid_t child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		    mount("tmpfs", place, "tmpfs", 0, options) != 0)
			_exit(77);
		work((void *)(uintptr_t)shim_support_path("small/a.ledger"), 0);
		_exit(0);
	}
	int status;
	assert_int_equal(child, waitpid(child, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(0, status);
}

#define CHILD_ASSERT(condition)                   \
	do {                                      \
		if (!(condition))                 \
			_exit(__LINE__ % 70 + 1); \
	} while (0)

static void take_a_quarter(void *where, uint32_t number) {
	struct ledger_map map;
	(void)number;
	CHILD_ASSERT(ledger_file_create(&map, where, LEDGER_DEFAULT_SIZE_BYTES, &facts) == LEDGER_FILE_OK);
	CHILD_ASSERT(map.mapped_bytes <= 4u << 20 && map.mapped_bytes > (4u << 20) - 65536);
	CHILD_ASSERT(map.header->mapped_bytes == map.mapped_bytes);
	ledger_file_unmap(&map);
	CHILD_ASSERT(ledger_file_join(&map, where) == LEDGER_FILE_OK);
}

static void test_at_most_a_quarter_is_taken(void **state) {
	(void)state;
	on_small_tmpfs("size=16M", take_a_quarter);
}

static void find_no_space(void *where, uint32_t number) {
	struct ledger_map map;
	(void)number;
	CHILD_ASSERT(ledger_file_create(&map, where, LEDGER_DEFAULT_SIZE_BYTES, &facts) ==
		     LEDGER_FILE_NO_SPACE);
	CHILD_ASSERT(map.header == NULL);
	CHILD_ASSERT(access(where, F_OK) != 0);
}

static void test_too_little_space_is_no_ledger(void **state) {
	(void)state;
	on_small_tmpfs("size=3M", find_no_space);
}

/* Takes what is left of the file system. */
static void fill_up(const char *where) {
	static char block[4096];
	char name[300];
	snprintf(name, sizeof name, "%s.filler", where);
	int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	memset(block, 1, sizeof block);
	while (write(fd, block, sizeof block) > 0)
		;
	close(fd);
}

/* Every page that exists is still ours; what has none is refused. No signal in either case. */
static void write_on_a_full_file_system(void *where, uint32_t number) {
	struct ledger_map map;
	uint32_t refused = 0;
	(void)number;
	CHILD_ASSERT(ledger_file_create(&map, where, LEDGER_DEFAULT_SIZE_BYTES, &facts) == LEDGER_FILE_OK);
	uint32_t known = ledger_intern_string(map.header, "before");
	fill_up(where);
	for (uint64_t offset = 0; offset < map.mapped_bytes; offset += 65536)
		refused += !ledger_file_populate(map.header, offset, 65536);
	CHILD_ASSERT(refused > 10);
	CHILD_ASSERT(shim_support_lost(map.header, LEDGER_LOST_SPACE) >= refused);
	CHILD_ASSERT(ledger_intern_string(map.header, "before") == known);
	errno = 0;
	for (int i = 0; i < 20; i++)
		use(map.header);
	CHILD_ASSERT(ledger_file_join(&map, where) == LEDGER_FILE_OK);
	use(map.header);
}

static void test_a_full_file_system_is_no_signal(void **state) {
	(void)state;
	on_small_tmpfs("size=16M", write_on_a_full_file_system);
}

static void create_under_limit(void *argument, uint32_t limit) {
	struct ledger_map map;
	struct rlimit size = {limit, limit};
	uint64_t wanted = *(const uint64_t *)argument;
	signal(SIGXFSZ, SIG_DFL);
	CHILD_ASSERT(setrlimit(RLIMIT_FSIZE, &size) == 0);
	enum ledger_file_status status = ledger_file_create(&map, path, wanted, &facts);
	CHILD_ASSERT(status == (limit < LEDGER_MIN_SIZE_BYTES ? LEDGER_FILE_SIZE_LIMIT : LEDGER_FILE_OK));
	if (status == LEDGER_FILE_OK) {
		CHILD_ASSERT(map.mapped_bytes <= limit);
		use(map.header);
		unlink(path);
	}
}

static void test_a_size_limit_is_no_signal(void **state) {
	static const struct {
		uint32_t limit;
		uint64_t wanted;
	} cases[] = {{0, 1 << 20},       {4096, 1 << 20},          {(1 << 20) - 1, 1 << 20},
		     {1 << 20, 1 << 20}, {(1 << 20) + 1, 1 << 25}, {(1 << 20) + 1, (1 << 20) + 1},
		     {5000001, 5000001}, {5000001, 1 << 25}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int status;
		uint64_t wanted = cases[i].wanted;
		pid_t child = shim_support_child(create_under_limit, &wanted, cases[i].limit);
		assert_int_equal(child, waitpid(child, &status, 0));
		assert_int_equal(0, status);
	}
}

/* ---- Pure helpers ---------------------------------------------------------------------------------------------- */

static void test_fields_of_proc_stat(void **state) {
	(void)state;
	const char *line =
		"12 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21 22 23 24 888";
	assert_int_equal(1, proc_stat_field(line, 4));
	assert_int_equal(777, proc_stat_field(line, 22));
	assert_int_equal(888, proc_stat_field(line, 28));
	assert_int_equal(0, proc_stat_field(line, 29));
	assert_int_equal(0, proc_stat_field("", 22));
	assert_int_equal(0, proc_stat_field("12 (x", 22));
}

static void test_texts_that_may_be_stored(void **state) {
	static const struct {
		const char *text;
		bool is_harmless;
	} texts[] = {{"", true},
		     {"orders.py", true},
		     {"/srv/app-1.2/run_x", true},
		     {"::1", true},
		     {"a b", false},
		     {"password=x", false},
		     {"user@host", false},
		     {"p://h", false},
		     {"'q'", false},
		     {"a\\b", false},
		     {"a?b", false},
		     {"a#b", false},
		     {"line\nbreak", false},
		     {"a;b", false},
		     {"a&b", false},
		     {"\x7f", false}};
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_int_equal(texts[i].is_harmless, ledger_text_is_harmless(texts[i].text));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_what_was_made_can_be_joined),
		TEST(test_a_taken_path_is_left_alone),
		TEST(test_the_hosts_umask_is_neither_obeyed_nor_changed),
		TEST(test_an_impossible_directory),
		TEST(test_every_status_has_a_text),
		TEST(test_many_make_one),
		TEST(test_what_is_no_regular_file_is_refused),
		TEST(test_what_belongs_to_others_is_refused),
		TEST(test_damaged_files_are_refused),
		TEST(test_truncated_files_are_refused),
		TEST(test_every_damaged_section_field_is_refused),
		TEST(test_overlapping_sections_are_refused),
		TEST(test_random_damage_harms_nobody),
		TEST(test_at_most_a_quarter_is_taken),
		TEST(test_too_little_space_is_no_ledger),
		TEST(test_a_full_file_system_is_no_signal),
		TEST(test_a_size_limit_is_no_signal),
		TEST(test_fields_of_proc_stat),
		TEST(test_texts_that_may_be_stored),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
