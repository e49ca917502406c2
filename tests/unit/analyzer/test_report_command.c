/* What `report` writes where, and what it says when it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/output_file.h"
#include "analyzer/commands/report_command.h"
#include "tests/unit/support/ledger_builder.h"

static struct ledger_builder builder;
static char path_text[PATH_MAX];

static int open_ledger(void **state) {
	(void)state;
	ledger_builder_open(&builder, NULL);
	ledger_builder_end_run(&builder, 1, 0);
	snprintf(path_text, sizeof path_text, "%s/report", builder.directory);
	return 0;
}

static int close_ledger(void **state) {
	(void)state;
	unlink(path_text);
	ledger_builder_close(&builder);
	return 0;
}

/* Nothing else may be left in the directory. */
static size_t count_entries(void) {
	char command[PATH_MAX + 32];
	size_t count = 0;
	snprintf(command, sizeof command, "ls -A %s | wc -l", builder.directory);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_int_equal(1, fscanf(pipe, "%zu", &count));
	pclose(pipe);
	return count;
}

static char *contents(const char *path) {
	char *text = calloc(1, 1 << 16);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
	fclose(file);
	return text;
}

/* Runs the command with its standard error in a file; returns its code. */
static int run_report(char *message, size_t size_bytes, int argc, char **argv) {
	FILE *capture = tmpfile();
	int saved = dup(STDERR_FILENO);
	assert_non_null(capture);
	fflush(stderr);
	dup2(fileno(capture), STDERR_FILENO);
	optind = 0;
	int code = cmd_report(argc, argv);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(capture);
	size_t length = fread(message, 1, size_bytes - 1, capture);
	message[length] = '\0';
	fclose(capture);
	return code;
}

static void test_a_file_is_there_whole(void **state) {
	(void)state;
	char message[512];
	char *argv[] = {"report", "-o", path_text, builder.path, NULL};
	assert_int_equal(OPTIONS_EXIT_OK, run_report(message, sizeof message, 4, argv));
	assert_string_equal("", message);
	char *text = contents(path_text);
	assert_non_null(strstr(text, "pqlease: Nothing was recorded"));
	free(text);
	assert_int_equal(2, count_entries());
}

static void test_an_old_file_keeps_its_mode(void **state) {
	(void)state;
	char message[512];
	char *argv[] = {"report", "--format=json", "-o", path_text, builder.path, NULL};
	struct stat file;
	close(open(path_text, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(0, chmod(path_text, 0640));
	assert_int_equal(OPTIONS_EXIT_OK, run_report(message, sizeof message, 5, argv));
	assert_int_equal(0, stat(path_text, &file));
	assert_int_equal(0640, file.st_mode & 07777);
	char *text = contents(path_text);
	assert_int_equal('{', text[0]);
	free(text);
}

static void test_wrong_ways(void **state) {
	(void)state;
	static char *const cases[][4] = {{"--format=html"}, {"--server", "host=db password=x"},
					 {"--limit=0"},     {"--config"},
					 {"--color=pink"},  {"-o"},
					 {"a", "b"},        {"--full=yes"}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char message[512];
		char *argv[6] = {"report"};
		int argc = 1;
		while (argc < 5 && cases[i][argc - 1] != NULL) {
			argv[argc] = cases[i][argc - 1];
			argc++;
		}
		assert_int_equal(OPTIONS_EXIT_USAGE, run_report(message, sizeof message, argc, argv));
		assert_int_equal(0, strncmp(message, "pqlease: ", 9));
		assert_ptr_equal(message + strlen(message) - 1, strchr(message, '\n'));
	}
}

static void test_what_cannot_be_done(void **state) {
	(void)state;
	static const struct {
		char *output;
		char *ledger;
	} cases[] = {{"/nonexistent/report", NULL},
		     {"/dev/full", NULL},
		     {"/tmp", NULL},
		     {NULL, "/nonexistent\n\033[2J"},
		     {NULL, "/tmp"}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char message[512];
		char *argv[] = {"report", "-o", cases[i].output != NULL ? cases[i].output : path_text,
				cases[i].ledger != NULL ? cases[i].ledger : builder.path, NULL};
		assert_int_equal(OPTIONS_EXIT_CANNOT, run_report(message, sizeof message, 4, argv));
		assert_int_equal(0, strncmp(message, "pqlease: /", 10));
		assert_ptr_equal(message + strlen(message) - 1, strchr(message, '\n'));
		assert_null(strchr(message, '\033'));
	}
	assert_int_equal(1, count_entries());
}

/* A full disk: what was there before is still there. */
static void test_failed_writes_leave_the_old_file(void **state) {
	(void)state;
	struct output_file file;
	FILE *old = fopen(path_text, "w");
	assert_non_null(old);
	fputs("old", old);
	fclose(old);
	assert_int_equal(0, output_file_open(&file, path_text));
	fputs("new", file.stream);
	assert_int_equal(3, count_entries());
	int full = open("/dev/full", O_WRONLY);
	dup2(full, fileno(file.stream));
	close(full);
	assert_int_equal(ENOSPC, output_file_close(&file));
	char *text = contents(path_text);
	assert_string_equal("old", text);
	free(text);
	assert_int_equal(2, count_entries());
}

static void test_links_are_followed(void **state) {
	(void)state;
	char link_path[PATH_MAX];
	struct output_file file;
	struct stat found;
	snprintf(link_path, sizeof link_path, "%s/link", builder.directory);
	close(open(path_text, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(0, symlink("report", link_path));
	assert_int_equal(0, output_file_open(&file, link_path));
	fputs("through", file.stream);
	assert_int_equal(0, output_file_close(&file));
	assert_int_equal(0, lstat(link_path, &found));
	assert_true(S_ISLNK(found.st_mode));
	char *text = contents(path_text);
	assert_string_equal("through", text);
	free(text);
	unlink(link_path);
}

static void test_devices_are_not_replaced(void **state) {
	(void)state;
	struct output_file file;
	struct stat found;
	assert_int_equal(0, output_file_open(&file, "/dev/null"));
	fputs("gone", file.stream);
	assert_int_equal(0, output_file_close(&file));
	assert_int_equal(0, stat("/dev/null", &found));
	assert_true(S_ISCHR(found.st_mode));
}

static void test_outcome(void **state) {
	(void)state;
	FILE *sink = fopen("/dev/null", "w");
	struct report_command_request request = {.ledger_path = builder.path, .stream = sink};
	struct report_command_outcome outcome;
	assert_int_equal(OPTIONS_EXIT_OK, report_command_write(&request, &outcome));
	assert_false(outcome.is_trusted);
	assert_int_equal(0, outcome.process_total);
	fclose(sink);
}

/* By when they were created, whatever their files' times say. */
static void test_newest_ledger(void **state) {
	(void)state;
	static const uint64_t created_ns[] = {3, 9, 5};
	char newest[PATH_MAX];
	char expected[PATH_MAX];
	char directory[] = "/tmp/pqlease-search-XXXXXX";
	char made[3][PATH_MAX];
	assert_non_null(mkdtemp(directory));
	assert_false(ledger_search_newest(newest, directory, 1000));
	for (int i = 0; i < 3; i++) {
		struct ledger_map map;
		struct ledger_run_facts facts = {.tool_version = "0"};
		snprintf(made[i], sizeof made[i], "%s/pqlease.1000.%d-1.ledger", directory, i);
		assert_int_equal(LEDGER_FILE_OK,
				 ledger_file_create(&map, made[i], LEDGER_MIN_SIZE_BYTES, &facts));
		map.header->created_realtime_ns = created_ns[i];
		ledger_file_unmap(&map);
	}
	snprintf(expected, sizeof expected, "%s/pqlease.1000.1-1.ledger", directory);
	assert_true(ledger_search_newest(newest, directory, 1000));
	assert_string_equal(expected, newest);
	assert_false(ledger_search_newest(newest, directory, 100));
	for (int i = 0; i < 3; i++)
		unlink(made[i]);
	rmdir(directory);
}

#define WITH_LEDGER(test) cmocka_unit_test_setup_teardown(test, open_ledger, close_ledger)

int main(void) {
	const struct CMUnitTest tests[] = {
		WITH_LEDGER(test_a_file_is_there_whole),
		WITH_LEDGER(test_an_old_file_keeps_its_mode),
		WITH_LEDGER(test_wrong_ways),
		WITH_LEDGER(test_what_cannot_be_done),
		WITH_LEDGER(test_failed_writes_leave_the_old_file),
		WITH_LEDGER(test_links_are_followed),
		WITH_LEDGER(test_devices_are_not_replaced),
		WITH_LEDGER(test_outcome),
		cmocka_unit_test(test_newest_ledger),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
