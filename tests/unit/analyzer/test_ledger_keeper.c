/* The few writes to a ledger that run makes, masking, and who may be removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analyzer/ledger/ledger_keeper.h"
#include "shim/ledger_file.h"
#include "shim/ledger_format.h"

static char directory[64];
static char ledger_path[128];
static char *const command[] = {"true", NULL};

static int make_directory(void **state) {
	(void)state;
	strcpy(directory, "/dev/shm/pqlease-keeper-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(ledger_path, sizeof ledger_path, "%s/run.ledger", directory);
	return 0;
}

static int remove_directory(void **state) {
	(void)state;
	unlink(ledger_path);
	return rmdir(directory);
}

/* ---- Masking ---- */

static void assert_masked(const char *expected, char *const *words) {
	char text[512] = "";
	const char **masked = ledger_keeper_mask_command(words);
	for (size_t i = 0; masked[i]; i++) {
		strcat(text, i > 0 ? " " : "");
		strcat(text, masked[i]);
	}
	free(masked);
	assert_string_equal(expected, text);
}

#define ASSERT_MASKED(expected, ...) assert_masked(expected, (char *const[]){__VA_ARGS__, NULL})

static void what_cannot_be_a_secret_is_kept(void **state) {
	(void)state;
	ASSERT_MASKED("psql -XAtc ***", "psql", "-XAtc", "select 'x'");
	ASSERT_MASKED("psql -h /tmp -p 5432 --no-psqlrc", "psql", "-h", "/tmp", "-p", "5432", "--no-psqlrc");
	ASSERT_MASKED("pgbench -c8 -j 2 -P5 ***", "pgbench", "-c8", "-j", "2", "-P5", "127.0.0.1");
	ASSERT_MASKED("a - --", "a", "-", "--");
}

static void what_may_be_a_secret_is_masked(void **state) {
	(void)state;
	ASSERT_MASKED("psql ***", "psql", "postgresql://u:hunter2@h/db");
	ASSERT_MASKED("psql *** ***", "psql", "host=h password=hunter2", "hunter2");
	ASSERT_MASKED("x *** *** *** ***", "x", "--dbname=hunter2", "-phunter2", "-phu", "-Uhunter2");
	ASSERT_MASKED("x *** ***", "x", "--x_hunter2", "--abcdefghijklmnopqrstuvwxyz0123456789");
	ASSERT_MASKED("x *** *** ***", "x", "", "1234567890123456", "-\xc3\xa4");
}

static void the_word_after_a_secret_option_is_masked(void **state) {
	(void)state;
	ASSERT_MASKED("x --password ***", "x", "--password", "123");
	ASSERT_MASKED("x --API-Token *** ***", "x", "--API-Token", "/tmp", "5");
	ASSERT_MASKED("x --pin *** *** -W *** -p ***", "x", "--pin", "1234", "4711", "-W", "99", "-p",
		      "98765432");
	ASSERT_MASKED("x ***", "x", "--hunter2secret");
	ASSERT_MASKED("x --pw *** --key ***", "x", "--pw", "1", "--key", "-a");
	ASSERT_MASKED("x --client-secret ***", "x", "--client-secret", "7");
}

static void only_files_with_harmless_names_are_kept(void **state) {
	char name[128];
	(void)state;
	snprintf(name, sizeof name, "%s/password=hunter2", directory);
	assert_int_equal(0, mkdir(name, 0700));
	ASSERT_MASKED("x *** /tmp", "x", name, "/tmp");
	assert_int_equal(0, rmdir(name));
}

static void long_commands_are_cut(void **state) {
	char *words[64];
	(void)state;
	for (int i = 0; i < 63; i++)
		words[i] = "-x";
	words[63] = NULL;
	const char **masked = ledger_keeper_mask_command(words);
	assert_string_equal("-x", masked[LEDGER_COMMAND_WORDS - 1]);
	assert_null(masked[LEDGER_COMMAND_WORDS]);
	free(masked);
}

static void sizes_are_parsed_strictly(void **state) {
	static const struct {
		const char *text;
		uint64_t size_bytes;
	} cases[] = {
		{NULL, LEDGER_DEFAULT_SIZE_BYTES},
		{"", LEDGER_DEFAULT_SIZE_BYTES},
		{"4M", 4u << 20},
		{"2097152", 2u << 20},
		{"2048K", 2u << 20},
		{"1G", 1u << 30},
		{"4G", LEDGER_MAX_SIZE_BYTES},
		{"5G", LEDGER_DEFAULT_SIZE_BYTES},
		{"1K", LEDGER_DEFAULT_SIZE_BYTES},
		{"4MB", LEDGER_DEFAULT_SIZE_BYTES},
		{"-4M", LEDGER_DEFAULT_SIZE_BYTES},
		{" 4M", LEDGER_DEFAULT_SIZE_BYTES},
		{"4T", LEDGER_DEFAULT_SIZE_BYTES},
		{"99999999999999999999", LEDGER_DEFAULT_SIZE_BYTES},
		{"18446744073709551615G", LEDGER_DEFAULT_SIZE_BYTES},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(cases[i].size_bytes, ledger_keeper_size_bytes(cases[i].text));
}

/* ---- A run's ledger ---- */

static void create(struct ledger_keeper *keeper) {
	const char *reason = ledger_keeper_create(keeper, ledger_path, "2M", command);
	if (reason)
		fail_msg("%s", reason);
}

static enum ledger_keeper_state state_of(const char *path) {
	struct ledger_keeper_glance glance;
	ledger_keeper_glance(&glance, path);
	return glance.state;
}

/* A ledger whose run is over: its creator was a child of ours. */
static void make_ended_ledger(const char *path) {
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct ledger_keeper keeper;
		if (ledger_keeper_create(&keeper, path, "2M", command))
			_exit(1);
		ledger_keeper_mark_ended(&keeper, 3, 0);
		_exit(0);
	}
	int status;
	assert_int_equal(pid, waitpid(pid, &status, 0));
	assert_int_equal(0, status);
}

static void the_end_is_written_and_read_back(void **state) {
	struct ledger_keeper keeper;
	(void)state;
	create(&keeper);
	const struct ledger_header *header = keeper.header;
	assert_int_equal(1, header->made_by_run);
	assert_int_equal(0, atomic_load(&header->ended_ns));
	assert_false(ledger_keeper_has_processes(&keeper));
	ledger_keeper_mark_ended(&keeper, 143, 15);
	assert_int_equal(143, header->exit_status);
	assert_int_equal(15, header->exit_signal);
	assert_true(atomic_load(&header->ended_ns) > header->created_monotonic_ns);
	ledger_keeper_discard(&keeper);
	assert_int_equal(-1, access(ledger_path, F_OK));
}

static uint64_t process_word(enum ledger_process_state process_state, int32_t pid) {
	return (uint64_t)process_state << 56 | UINT64_C(7) << 32 | (uint32_t)pid;
}

static struct ledger_process *put_process(struct ledger_keeper *keeper,
					  enum ledger_process_state process_state, int32_t pid,
					  uint64_t start_ticks) {
	struct ledger_header *header = keeper->header;
	struct ledger_section *section = &header->section[LEDGER_PROCESSES];
	uint64_t number = atomic_fetch_add(&section->used, 1);
	uint64_t offset = section->offset + number * sizeof(struct ledger_process);
	assert_true(ledger_file_populate(header, offset, sizeof(struct ledger_process)));
	struct ledger_process *process = (struct ledger_process *)((char *)header + offset);
	process->start_ticks = start_ticks;
	process->pid_namespace = header->pid_namespace;
	atomic_store(&process->word, process_word(process_state, pid));
	return process;
}

static void only_the_running_record_of_the_child_is_marked(void **state) {
	struct ledger_keeper keeper;
	(void)state;
	create(&keeper);
	struct ledger_process *right = put_process(&keeper, LEDGER_PROCESS_RUNNING, 4711, 100);
	struct ledger_process *reused = put_process(&keeper, LEDGER_PROCESS_RUNNING, 4711, 99);
	struct ledger_process *ended = put_process(&keeper, LEDGER_PROCESS_ENDED, 4711, 100);
	struct ledger_process *foreign = put_process(&keeper, LEDGER_PROCESS_RUNNING, 4711, 100);
	foreign->pid_namespace++;
	ledger_keeper_mark_killed(&keeper, 4711, 0, SIGKILL);
	assert_int_equal(process_word(LEDGER_PROCESS_RUNNING, 4711), atomic_load(&right->word));
	ledger_keeper_mark_killed(&keeper, 4711, 100, SIGKILL);
	assert_int_equal(process_word(LEDGER_PROCESS_ENDED, 4711), atomic_load(&right->word));
	assert_int_equal(LEDGER_ENDED_KILLED, atomic_load(&right->how_ended));
	assert_int_equal(SIGKILL, atomic_load(&right->exit_signal));
	assert_true(atomic_load(&right->ended_ns) > 0);
	assert_int_equal(LEDGER_ENDED_NOT, atomic_load(&reused->how_ended));
	assert_int_equal(LEDGER_ENDED_NOT, atomic_load(&ended->how_ended));
	assert_int_equal(LEDGER_ENDED_NOT, atomic_load(&foreign->how_ended));
	assert_true(ledger_keeper_has_processes(&keeper));
	ledger_keeper_discard(&keeper);
}

static void a_mark_of_the_process_itself_stands(void **state) {
	struct ledger_keeper keeper;
	(void)state;
	create(&keeper);
	struct ledger_process *process = put_process(&keeper, LEDGER_PROCESS_RUNNING, 4711, 100);
	atomic_store(&process->how_ended, LEDGER_ENDED_EXIT);
	ledger_keeper_mark_killed(&keeper, 4711, 100, SIGKILL);
	assert_int_equal(LEDGER_ENDED_EXIT, atomic_load(&process->how_ended));
	assert_int_equal(0, atomic_load(&process->exit_signal));
	ledger_keeper_discard(&keeper);
}

/* ---- Live or ended ---- */

static void the_ledger_of_a_living_run_is_not_replaced(void **state) {
	struct ledger_keeper first;
	struct ledger_keeper second;
	(void)state;
	create(&first);
	assert_int_equal(LEDGER_KEEPER_LIVE, state_of(ledger_path));
	assert_string_equal("a live ledger, in use by another run",
			    ledger_keeper_create(&second, ledger_path, NULL, command));
	assert_null(second.header);
	ledger_keeper_discard(&first);
}

static void an_ended_ledger_is_replaced(void **state) {
	struct ledger_keeper keeper;
	struct stat before;
	struct stat after;
	(void)state;
	make_ended_ledger(ledger_path);
	assert_int_equal(LEDGER_KEEPER_ENDED, state_of(ledger_path));
	assert_int_equal(0, stat(ledger_path, &before));
	create(&keeper);
	assert_int_equal(0, stat(ledger_path, &after));
	assert_int_equal(0, atomic_load(&((struct ledger_header *)keeper.header)->ended_ns));
	ledger_keeper_discard(&keeper);
}

static void a_process_left_behind_keeps_a_ledger_live(void **state) {
	struct ledger_map map;
	struct ledger_keeper keeper = {0};
	(void)state;
	make_ended_ledger(ledger_path);
	assert_int_equal(LEDGER_FILE_OK, ledger_file_join(&map, ledger_path));
	keeper.header = map.header;
	keeper.mapped_bytes = map.mapped_bytes;
	struct ledger_process *process = put_process(&keeper, LEDGER_PROCESS_RUNNING, getpid(), 1);
	assert_int_equal(LEDGER_KEEPER_ENDED, state_of(ledger_path)); /* the number was reused */
	process->start_ticks = 0;
	assert_int_equal(LEDGER_KEEPER_LIVE, state_of(ledger_path));
	atomic_store(&process->word, process_word(LEDGER_PROCESS_ENDED, getpid()));
	assert_int_equal(LEDGER_KEEPER_ENDED, state_of(ledger_path));
	atomic_store(&process->word, process_word(LEDGER_PROCESS_RUNNING, 999999999));
	assert_int_equal(LEDGER_KEEPER_ENDED, state_of(ledger_path));
	process->pid_namespace++;
	assert_int_equal(LEDGER_KEEPER_LIVE, state_of(ledger_path)); /* nobody can tell */
	map.header->boot_id[0] ^= 1;
	assert_int_equal(LEDGER_KEEPER_ENDED, state_of(ledger_path));
	snprintf(keeper.path, sizeof keeper.path, "%s", ledger_path);
	ledger_keeper_discard(&keeper);
}

static void a_ledger_named_after_a_living_process_is_live(void **state) {
	char path[PATH_MAX];
	(void)state;
	assert_true(ledger_keeper_default_path(path, directory));
	make_ended_ledger(path);
	assert_int_equal(LEDGER_KEEPER_LIVE, state_of(path));
	snprintf(path + strlen(directory), sizeof path - strlen(directory), "/pqlease.0.%d-17.ledger",
		 (int)getpid());
	make_ended_ledger(path); /* the shim's names have another number behind the pid */
	assert_int_equal(LEDGER_KEEPER_LIVE, state_of(path));
	assert_int_equal(0, unlink(path));
	assert_true(ledger_keeper_default_path(path, directory));
	assert_int_equal(0, unlink(path));
}

static void a_process_younger_than_the_ledger_is_not_its_namesake(void **state) {
	char path[PATH_MAX];
	struct ledger_map map;
	(void)state;
	assert_true(ledger_keeper_default_path(path, directory));
	make_ended_ledger(path);
	assert_int_equal(LEDGER_FILE_OK, ledger_file_join(&map, path));
	map.header->created_monotonic_ns = 1;
	assert_int_equal(LEDGER_KEEPER_ENDED, state_of(path));
	ledger_file_unmap(&map);
	assert_int_equal(0, unlink(path));
}

static void the_attempts_of_all_pools_and_slots_are_counted(void **state) {
	struct ledger_keeper keeper;
	struct ledger_keeper_glance glance;
	(void)state;
	create(&keeper);
	struct ledger_header *header = keeper.header;
	struct ledger_pool *other =
		(struct ledger_pool *)((char *)header + header->section[LEDGER_POOLS].offset);
	atomic_store(&other->totals.counter[LEDGER_ESTABLISHED], 5);
	atomic_store(&other->totals.counter[LEDGER_FAILED], 2);
	atomic_store(&other->totals.counter[LEDGER_ABANDONED], 1);
	struct ledger_section *leases = &header->section[LEDGER_LEASES];
	assert_true(ledger_file_populate(header, leases->offset, 2 * sizeof(struct ledger_lease)));
	struct ledger_lease *lease = (struct ledger_lease *)((char *)header + leases->offset);
	atomic_store(&lease[0].word, (uint64_t)LEDGER_LEASE_CONNECTING << 56);
	atomic_store(&lease[1].word, (uint64_t)LEDGER_LEASE_OPEN << 56);
	atomic_store(&leases->used, 2);
	ledger_keeper_glance(&glance, ledger_path);
	assert_int_equal(9, glance.attempts);
	assert_string_equal("true", glance.command);
	ledger_keeper_discard(&keeper);
}

static void what_is_no_ledger_is_left_alone(void **state) {
	struct ledger_keeper keeper;
	struct ledger_keeper_glance glance;
	char target_path[128];
	(void)state;
	FILE *file = fopen(ledger_path, "w");
	assert_non_null(file);
	fputs("precious", file);
	fclose(file);
	assert_non_null(ledger_keeper_create(&keeper, ledger_path, NULL, command));
	ledger_keeper_glance(&glance, ledger_path);
	assert_int_equal(LEDGER_KEEPER_UNREADABLE, glance.state);
	assert_false(ledger_keeper_remove_ended(&glance, ledger_path));
	assert_int_equal(0, unlink(ledger_path));

	snprintf(target_path, sizeof target_path, "%s/target", directory);
	make_ended_ledger(target_path);
	assert_int_equal(0, symlink(target_path, ledger_path));
	assert_non_null(ledger_keeper_create(&keeper, ledger_path, NULL, command));
	ledger_keeper_glance(&glance, ledger_path);
	assert_int_equal(LEDGER_KEEPER_UNREADABLE, glance.state);
	assert_false(ledger_keeper_remove_ended(&glance, ledger_path));
	assert_int_equal(0, unlink(ledger_path));
	assert_int_equal(0, unlink(target_path));
}

static void a_file_that_took_the_name_meanwhile_is_left_alone(void **state) {
	struct ledger_keeper_glance glance;
	char second_path[128];
	(void)state;
	make_ended_ledger(ledger_path);
	ledger_keeper_glance(&glance, ledger_path);
	snprintf(second_path, sizeof second_path, "%s/second", directory);
	make_ended_ledger(second_path);
	assert_int_equal(0, rename(second_path, ledger_path));
	assert_false(ledger_keeper_remove_ended(&glance, ledger_path));
	assert_int_equal(0, access(ledger_path, F_OK));
	ledger_keeper_glance(&glance, ledger_path);
	assert_true(ledger_keeper_remove_ended(&glance, ledger_path));
	assert_int_equal(-1, access(ledger_path, F_OK));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_a_secret_is_kept),
		cmocka_unit_test(what_may_be_a_secret_is_masked),
		cmocka_unit_test(the_word_after_a_secret_option_is_masked),
		cmocka_unit_test(only_files_with_harmless_names_are_kept),
		cmocka_unit_test(long_commands_are_cut),
		cmocka_unit_test(sizes_are_parsed_strictly),
		cmocka_unit_test(the_end_is_written_and_read_back),
		cmocka_unit_test(only_the_running_record_of_the_child_is_marked),
		cmocka_unit_test(a_mark_of_the_process_itself_stands),
		cmocka_unit_test(the_ledger_of_a_living_run_is_not_replaced),
		cmocka_unit_test(an_ended_ledger_is_replaced),
		cmocka_unit_test(a_process_left_behind_keeps_a_ledger_live),
		cmocka_unit_test(a_ledger_named_after_a_living_process_is_live),
		cmocka_unit_test(a_process_younger_than_the_ledger_is_not_its_namesake),
		cmocka_unit_test(the_attempts_of_all_pools_and_slots_are_counted),
		cmocka_unit_test(what_is_no_ledger_is_left_alone),
		cmocka_unit_test(a_file_that_took_the_name_meanwhile_is_left_alone),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
