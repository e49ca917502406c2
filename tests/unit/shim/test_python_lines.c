#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shim/python_lines.h"

/* ---- Tables as compilers made them ------------------------------------------------------------------------------ */

#define LINE(kind, table, first, offset) python_line(kind, table, sizeof(table), first, offset)

/* 3.8: 0 x = 1 (line 10) / 4 y (line 11) / 10 (line 9: a decorator's) */
static void test_pairs(void **state) {
	static const uint8_t table[] = {4, 1, 6, 0xfe};
	(void)state;
	assert_int_equal(10, LINE(PYTHON_LINES_PAIRS, table, 10, 0));
	assert_int_equal(10, LINE(PYTHON_LINES_PAIRS, table, 10, 2));
	assert_int_equal(11, LINE(PYTHON_LINES_PAIRS, table, 10, 4));
	assert_int_equal(11, LINE(PYTHON_LINES_PAIRS, table, 10, 8));
	assert_int_equal(9, LINE(PYTHON_LINES_PAIRS, table, 10, 10));
	assert_int_equal(9, LINE(PYTHON_LINES_PAIRS, table, 10, 1000));
}

/* Long distances are several pairs. */
static void test_long_pairs(void **state) {
	static const uint8_t table[] = {255, 0, 45, 127, 0, 73};
	(void)state;
	assert_int_equal(1, LINE(PYTHON_LINES_PAIRS, table, 1, 298));
	assert_int_equal(201, LINE(PYTHON_LINES_PAIRS, table, 1, 300));
}

/* 3.10: a range without a line, one that no instruction has, one line back. */
static void test_ranges(void **state) {
	static const uint8_t table[] = {4, 0, 2, 0x80, 0, 100, 8, 5, 2, 0xff};
	(void)state;
	assert_int_equal(7, LINE(PYTHON_LINES_RANGES, table, 7, 2));
	assert_int_equal(0, LINE(PYTHON_LINES_RANGES, table, 7, 4));
	assert_int_equal(112, LINE(PYTHON_LINES_RANGES, table, 7, 6));
	assert_int_equal(112, LINE(PYTHON_LINES_RANGES, table, 7, 13));
	assert_int_equal(111, LINE(PYTHON_LINES_RANGES, table, 7, 14));
	assert_int_equal(0, LINE(PYTHON_LINES_RANGES, table, 7, 16));
}

/* 3.11: every form of an entry; the first column of one looks like nothing else. */
static void test_locations(void **state) {
	static const uint8_t table[] = {
		0x80 | 15 << 3 | 0,              /* one instruction without a place */
		0x80 | 0 << 3 | 1,  0x11,        /* short, two instructions, same line */
		0x80 | 11 << 3 | 0, 4,        9, /* one line on */
		0x80 | 13 << 3 | 7, 0x40 | 8, 3, /* no columns, eight instructions: 8 | 3 << 6 is 100 lines on */
		0x80 | 14 << 3 | 0, 3,        0, 1, 1, /* long form: one line back */
	};
	(void)state;
	assert_int_equal(0, LINE(PYTHON_LINES_LOCATIONS, table, 50, 0));
	assert_int_equal(50, LINE(PYTHON_LINES_LOCATIONS, table, 50, 2));
	assert_int_equal(50, LINE(PYTHON_LINES_LOCATIONS, table, 50, 4));
	assert_int_equal(51, LINE(PYTHON_LINES_LOCATIONS, table, 50, 6));
	assert_int_equal(151, LINE(PYTHON_LINES_LOCATIONS, table, 50, 8));
	assert_int_equal(151, LINE(PYTHON_LINES_LOCATIONS, table, 50, 22));
	assert_int_equal(150, LINE(PYTHON_LINES_LOCATIONS, table, 50, 24));
	assert_int_equal(0, LINE(PYTHON_LINES_LOCATIONS, table, 50, 26));
}

static void test_before_the_first_instruction(void **state) {
	(void)state;
	for (int kind = PYTHON_LINES_PAIRS; kind <= PYTHON_LINES_LOCATIONS; kind++)
		assert_int_equal(42, python_line((enum python_lines)kind, (const uint8_t *)"", 0, 42, -2));
}

static void test_broken_tables_give_no_line_or_one_that_exists(void **state) {
	static const uint8_t back[] = {2, 0x81, 2, 0x81}, cut[] = {0x80 | 13 << 3, 0x7f};
	(void)state;
	assert_int_equal(0, LINE(PYTHON_LINES_PAIRS, back, 1, 100));
	assert_int_equal(0, LINE(PYTHON_LINES_RANGES, back, 1, 2));
	assert_int_equal(0, LINE(PYTHON_LINES_LOCATIONS, cut, 1, 0));
	assert_int_equal(0, python_line(PYTHON_LINES_LOCATIONS, cut, 0, 1, 0));
	assert_int_equal(5, python_line(PYTHON_LINES_PAIRS, cut, 1, 5, 0));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_long_pairs),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_locations),
		cmocka_unit_test(test_before_the_first_instruction),
		cmocka_unit_test(test_broken_tables_give_no_line_or_one_that_exists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
