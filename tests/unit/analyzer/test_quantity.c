/* Counts, times, percents and days as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "analyzer/gate/quantity.h"

static void test_counts(void **state) {
	(void)state;
	static const struct {
		const char *text;
		int64_t count; /* -1: refused */
	} cases[] = {{"0", 0},    {"60", 60},
		     {"007", 7},  {"", -1},
		     {"-1", -1},  {"+1", -1},
		     {"1 ", -1},  {"0x10", -1},
		     {"1e3", -1}, {"999999999999999", 999999999999999},
		     {"1.5", -1}, {"9999999999999999", -1}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t count = 0;
		assert_int_equal(cases[i].count >= 0, quantity_parse_count(cases[i].text, &count));
		if (cases[i].count >= 0)
			assert_int_equal(cases[i].count, count);
	}
}

static void check_real(bool is_taken, double expected, double value) {
	assert_int_equal(!isnan(expected), is_taken);
	if (is_taken)
		assert_true(fabs(expected - value) < 1e-12);
}

static void test_seconds(void **state) {
	(void)state;
	static const struct {
		const char *text;
		double seconds;
	} cases[] = {{"100ms", 0.1}, {"1.5 s", 1.5}, {"5 min", 300}, {"2h", 7200},   {"250us", 250e-6},
		     {"0s", 0},      {"5", NAN},     {"", NAN},      {"s", NAN},     {"-1s", NAN},
		     {"1.s", NAN},   {".5s", NAN},   {"1,5s", NAN},  {"inf s", NAN}, {"nan", NAN},
		     {"1 m", NAN},   {"1s ", NAN},   {"0x1s", NAN},  {"1e3s", NAN}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		double seconds = 0;
		bool is_taken = quantity_parse_seconds(cases[i].text, &seconds);
		check_real(is_taken, cases[i].seconds, seconds);
	}
}

static void test_percents(void **state) {
	(void)state;
	static const struct {
		const char *text;
		double ratio;
	} cases[] = {{"90%", 0.9},    {"90", 0.9},  {"12.5 %", 0.125}, {"150%", 1.5},
		     {"ninety", NAN}, {"-5%", NAN}, {"9 %%", NAN},     {"", NAN}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		double ratio = 0;
		bool is_taken = quantity_parse_percent(cases[i].text, &ratio);
		check_real(is_taken, cases[i].ratio, ratio);
	}
}

static void test_dates(void **state) {
	(void)state;
	static const char *const good[] = {"1970-01-01", "2024-02-29", "2027-01-31", "2999-12-31"};
	static const char *const bad[] = {
		"",           "2026-02-29", "2026-13-01", "2026-00-10",  "2026-1-1",
		"2026-01-32", "26-01-01",   "soon",       "2026-01-01x", "2026/01/01"};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		int64_t day;
		char text[11];
		assert_true(quantity_parse_date(good[i], &day));
		quantity_format_date(text, day);
		assert_string_equal(good[i], text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int64_t day;
		assert_false(quantity_parse_date(bad[i], &day));
	}
	int64_t first = 0;
	int64_t second = 0;
	assert_true(quantity_parse_date("2024-02-29", &first));
	assert_true(quantity_parse_date("2024-03-01", &second));
	assert_int_equal(1, second - first);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_percents),
		cmocka_unit_test(test_dates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
