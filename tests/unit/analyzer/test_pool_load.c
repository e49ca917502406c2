/*
 * How loaded a pool is called: the levels that pool monitors of other languages use, and their examples.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "analyzer/judge/pool_load.h"

static void assert_status(const char *status, double in_use, int64_t capacity) {
	struct thresholds thresholds = thresholds_standard();
	assert_string_equal(status, pool_load_status(in_use, capacity, false, &thresholds));
}

static void test_known_examples(void **state) {
	(void)state;
	assert_status("healthy", 5, 30);
	assert_status("warning", 24, 30);
	assert_status("critical", 28, 30);
	assert_status("warning", 15, 20);
	assert_status("critical", 18, 20);
	assert_status("healthy", 7, 30);
}

/* A base of 50 and 5 more: high load from 50 on; what lies between healthy and that is a warning. */
static void test_bands_of_a_pool_with_a_reserve(void **state) {
	(void)state;
	for (int in_use = 0; in_use <= 41; in_use++)
		assert_status("healthy", in_use, 55);
	for (int in_use = 42; in_use <= 49; in_use++)
		assert_status("warning", in_use, 55);
	for (int in_use = 50; in_use <= 55; in_use++)
		assert_status("critical", in_use, 55);
}

static void test_refused_is_exhausted_and_unknown_is_unknown(void **state) {
	(void)state;
	struct thresholds thresholds = thresholds_standard();
	assert_string_equal("exhausted", pool_load_status(1, 60, true, &thresholds));
	assert_string_equal("exhausted", pool_load_status(NAN, REPORT_UNKNOWN, true, &thresholds));
	assert_status("unknown", NAN, 30);
	assert_status("unknown", 5, REPORT_UNKNOWN);
}

static void test_edges_are_exact_and_thresholds_move_them(void **state) {
	(void)state;
	struct thresholds thresholds = thresholds_standard();
	assert_status("critical", 0.9 * 10, 10);
	assert_status("warning", 0.7500000001 * 1000, 1000);
	thresholds.utilization_warning = 0.5;
	assert_string_equal("warning", pool_load_status(15, 30, false, &thresholds));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_examples),
		cmocka_unit_test(test_bands_of_a_pool_with_a_reserve),
		cmocka_unit_test(test_refused_is_exhausted_and_unknown_is_unknown),
		cmocka_unit_test(test_edges_are_exact_and_thresholds_move_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
