/* The rank sum test, against what SciPy 1.10 gives (mannwhitneyu, asymptotic, two-sided, continuity correction). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "analyzer/judge/rank_test.h"

static struct arena arena;

/* Values are bucket numbers: their order is all that counts. */
static struct histogram of(const unsigned *values, size_t count) {
	struct histogram histogram = {.count = count};
	for (size_t i = 0; i < count; i++)
		histogram_add_bucket(&histogram, &arena, values[i] / HISTOGRAM_OCTAVE_BUCKETS,
				     values[i] % HISTOGRAM_OCTAVE_BUCKETS, 1);
	return histogram;
}

#define OF(...) \
	of((const unsigned[]){__VA_ARGS__}, sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

static void assert_test(struct histogram base, struct histogram other, double u, double p) {
	struct rank_test test = rank_test_compare(&base, &other);
	struct rank_test mirrored = rank_test_compare(&other, &base);
	assert_true(fabs(test.u - u) < 1e-9);
	assert_true(fabs(test.p - p) < 1e-9 * (1 + 1 / p));
	assert_true(fabs(mirrored.p - test.p) < 1e-12);
	assert_true(fabs(mirrored.superiority + test.superiority - 1) < 1e-12);
}

static void test_known_values(void **state) {
	(void)state;
	assert_test(OF(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), OF(5, 6, 7, 8, 9, 10, 11, 12, 13, 14), 87.5,
		    0.005075392315273923);
	assert_test(OF(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), OF(20, 21, 22, 23, 24, 25, 26, 27, 28, 29), 100,
		    0.00018267179110955002);
	assert_test(OF(1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3), OF(2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3), 118,
		    0.0047932246737123875);
	assert_test(OF(106, 107, 100, 96, 94, 100, 94, 92, 100, 100, 102, 95, 100, 99, 92, 102, 101, 111, 101,
		       99, 106, 100, 104, 98, 101, 105, 103, 100, 94, 102, 100, 103, 101, 105, 99, 101, 103,
		       94, 97, 97),
		    OF(112, 102, 106, 106, 101, 95, 107, 100, 106, 96, 100, 109, 110, 96, 96, 102, 106, 103,
		       104, 98, 105, 108, 100, 95, 99, 106, 94, 102, 98, 102),
		    746, 0.08303425800101881);
	arena_release(&arena);
}

static void test_nothing_to_tell(void **state) {
	(void)state;
	assert_test(OF(7, 7, 7, 7), OF(7, 7, 7, 7), 8, 1);
	struct histogram empty = {0};
	struct histogram some = OF(1, 2, 3);
	assert_true(rank_test_compare(&empty, &some).p == 1);
	assert_true(rank_test_compare(&some, &empty).p == 1);
	assert_true(rank_test_compare(&empty, &empty).p == 1);
	arena_release(&arena);
}

static void test_many_values(void **state) {
	(void)state;
	struct histogram base = {0};
	struct histogram other = {0};
	for (unsigned i = 0; i < 100; i++) {
		histogram_add_bucket(&base, &arena, i / 32, i % 32, 100000000000u);
		histogram_add_bucket(&other, &arena, (i + 1) / 32, (i + 1) % 32, 100000000000u);
	}
	struct rank_test test = rank_test_compare(&base, &other);
	assert_true(test.p >= 0 && test.p < 1e-9);
	assert_true(test.superiority > 0.5 && test.superiority < 0.52);
	arena_release(&arena);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_values),
					   cmocka_unit_test(test_nothing_to_tell),
					   cmocka_unit_test(test_many_values)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
