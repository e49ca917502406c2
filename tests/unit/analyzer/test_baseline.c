/* Baselines: lines that are read, refused, sorted and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "analyzer/gate/baseline.h"

static struct arena arena;
static struct gate_error error;

static int release_arena(void **state) {
	(void)state;
	arena_release(&arena);
	return 0;
}

static bool parse(struct baseline *baseline, const char *text) {
	struct gate_input input;
	return gate_input_of_bytes(&input, &arena, "b", text, strlen(text), &error) &&
		baseline_parse(baseline, &arena, &input, &error);
}

#define LINE(digit, count) #digit "123456789abcdef\tkilled\t" #count "\t2026-01-31\ta.c f\twhy\n"

static void test_what_is_read(void **state) {
	(void)state;
	static const struct {
		const char *text;
		size_t count;
	} cases[] = {{"", 0},
		     {"\n\n# a comment\n", 0},
		     {BASELINE_FIRST_LINE "\n", 0},
		     {BASELINE_FIRST_LINE ": words\n" LINE(1, 3), 1},
		     {LINE(2, 3) LINE(1, 3), 2},
		     {"\xef\xbb\xbf" LINE(1, 3), 1},
		     {"0123456789abcdef\tkilled\t3\t2026-01-31\t\t\r\n", 1},
		     {"0123456789abcdef\tkilled\t3\t2026-01-31\ta\tlast line without its end", 1}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct baseline baseline;
		assert_true(parse(&baseline, cases[i].text));
		assert_int_equal(cases[i].count, baseline.count);
	}
}

static void test_what_is_refused(void **state) {
	(void)state;
	static const struct {
		const char *text;
		const char *place;
	} cases[] = {{LINE(1, 3) "hello\n", "b:2"},
		     {LINE(1, 0), "b:1"},
		     {"\n0123456789ABCDEF\tkilled\t3\t2026-01-31\ta\tb\n", "b:2"},
		     {"0123456789abcdef\tKilled\t3\t2026-01-31\ta\tb\n", "b:1"},
		     {"0123456789abcdef\tkilled\t3\t2026-01-31\ta\n", "b:1"},
		     {"0123456789abcdef\tkilled\t3\t2026-01-31\ta\tb\tc\n", "b:1"},
		     {"0123456789abcdef\tkilled\t3\tyesterday\ta\tb\n", "b:1"},
		     {"<<<<<<< HEAD\n", "b:1"},
		     {LINE(1, 3) "=======\n", "b:2"},
		     {LINE(1, 3) LINE(2, 3) ">>>>>>> topic\n", "b:3"},
		     {"|||||||\n", "b:1"},
		     {"# pqlease baseline 2\n", "b:1"},
		     {"# pqlease baseline 11\n", "b:1"}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct baseline baseline;
		assert_false(parse(&baseline, cases[i].text));
		assert_string_equal(cases[i].place, error.place);
	}
	struct baseline conflicted;
	assert_false(parse(&conflicted, LINE(1, 3) "<<<<<<< HEAD\n"));
	assert_non_null(strstr(error.why, "merge conflict marker"));
	struct gate_input input;
	assert_false(gate_input_of_bytes(&input, &arena, "b", "a\nb\0c", 5, &error));
	assert_string_equal("b:2", error.place);
}

static void test_order_does_not_matter_and_the_higher_count_stays(void **state) {
	(void)state;
	struct baseline baseline;
	assert_true(parse(&baseline, LINE(3, 1) LINE(1, 5) LINE(2, 1) LINE(1, 7) LINE(1, 6)));
	assert_int_equal(3, baseline.count);
	assert_int_equal(7, baseline_find(&baseline, "1123456789abcdef")->count);
	assert_int_equal(4, baseline_find(&baseline, "1123456789abcdef")->line);
	assert_null(baseline_find(&baseline, "4123456789abcdef"));
}

static void test_what_is_written_is_safe_for_lines(void **state) {
	(void)state;
	struct baseline_entry entries[] = {{.fingerprint = "0123456789abcdef",
					    .kind = "killed",
					    .count = 2,
					    .date = "2026-01-31",
					    .site = "a\tb\nc",
					    .reason = "\x1b[31m"}};
	const struct baseline baseline = {"b", entries, 1};
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	baseline_write(&baseline, stream);
	fclose(stream);
	struct baseline again;
	assert_true(parse(&again, text));
	assert_int_equal(1, again.count);
	assert_string_equal("a\\x09b\\x0ac", again.entries[0].site);
	assert_string_equal("\\x1b[31m", again.entries[0].reason);
	free(text);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_what_is_read, release_arena),
		cmocka_unit_test_teardown(test_what_is_refused, release_arena),
		cmocka_unit_test_teardown(test_order_does_not_matter_and_the_higher_count_stays,
					  release_arena),
		cmocka_unit_test_teardown(test_what_is_written_is_safe_for_lines, release_arena),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
