/* Quantiles against exact ones of sorted samples; merging; edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "analyzer/histogram.h"

enum { SAMPLES = 20000 };

static struct arena arena;
static uint64_t samples[SAMPLES];

static int release_arena(void **state) {
	(void)state;
	arena_release(&arena);
	return 0;
}

static uint64_t random_state;

static double random_unit(void) {
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double)(random_state >> 11) / (double)(UINT64_C(1) << 53);
}

static int compare(const void *a, const void *b) {
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;
	return (left > right) - (left < right);
}

/* Nearest rank, as histogram_quantile_ns defines it. */
static double exact_quantile(size_t count, double quantile) {
	size_t rank = (size_t)ceil(quantile * (double)count);
	return (double)samples[rank > 0 ? rank - 1 : 0];
}

static void check_quantiles(size_t count) {
	static const double quantiles[] = {0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1};
	struct histogram histogram = {0};
	for (size_t i = 0; i < count; i++)
		histogram_add_value(&histogram, &arena, samples[i]);
	qsort(samples, count, sizeof samples[0], compare);
	for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
		double exact = exact_quantile(count, quantiles[i]);
		double got = histogram_quantile_ns(&histogram, quantiles[i]);
		assert_true(fabs(got - exact) <= 0.011 * exact + 1e-9);
	}
	assert_int_equal(count, histogram.count);
	assert_int_equal(samples[0], histogram.min_ns);
	assert_int_equal(samples[count - 1], histogram.max_ns);
}

static void test_lognormal_latencies(void **state) {
	(void)state;
	random_state = 1;
	for (size_t i = 0; i < SAMPLES; i++) {
		double normal = sqrt(-2 * log(1 - random_unit())) * cos(2 * 3.14159265358979 * random_unit());
		samples[i] = (uint64_t)exp(14.2 + normal) + 256;
	}
	check_quantiles(SAMPLES);
}

static void test_uniform_over_all_octaves(void **state) {
	(void)state;
	random_state = 2;
	for (size_t i = 0; i < SAMPLES; i++)
		samples[i] = (uint64_t)exp2(8 + 40 * random_unit());
	check_quantiles(SAMPLES);
}

static void test_few_samples(void **state) {
	(void)state;
	random_state = 3;
	for (size_t count = 1; count < 40; count++) {
		for (size_t i = 0; i < count; i++)
			samples[i] = 1000 + (uint64_t)(1e9 * random_unit());
		check_quantiles(count);
	}
}

static void test_bucket_boundaries(void **state) {
	(void)state;
	for (size_t i = 0; i < 1280; i++)
		samples[i] = (uint64_t)ceil(exp2(8 + (double)i / 32));
	check_quantiles(1280);
}

static void test_one_value_is_itself(void **state) {
	(void)state;
	static const uint64_t values[] = {0, 1, 255, 256, 1000000, UINT64_MAX / 2};
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct histogram histogram = {0};
		histogram_add_value(&histogram, &arena, values[i]);
		histogram_add_value(&histogram, &arena, values[i]);
		assert_true(histogram_quantile_ns(&histogram, 0.5) == (double)values[i]);
		assert_true(histogram_mean_ns(&histogram) == (double)values[i] || i == 5);
	}
}

static void test_empty(void **state) {
	(void)state;
	struct histogram histogram = {0};
	assert_true(histogram_quantile_ns(&histogram, 0.5) == 0);
	assert_true(histogram_mean_ns(&histogram) == 0);
}

static void test_merge_equals_one_histogram(void **state) {
	(void)state;
	struct histogram all = {0};
	struct histogram parts[3] = {0};
	struct histogram merged = {0};
	random_state = 4;
	for (size_t i = 0; i < SAMPLES; i++) {
		uint64_t value = (uint64_t)exp2(6 + 30 * random_unit());
		histogram_add_value(&all, &arena, value);
		histogram_add_value(&parts[i % 3], &arena, value);
	}
	for (size_t i = 0; i < 3; i++)
		histogram_merge(&merged, &arena, &parts[i]);
	histogram_merge(&merged, &arena, &(struct histogram){0});
	assert_int_equal(all.count, merged.count);
	assert_int_equal(all.sum_ns, merged.sum_ns);
	assert_int_equal(all.min_ns, merged.min_ns);
	assert_int_equal(all.max_ns, merged.max_ns);
	for (double quantile = 0; quantile <= 1; quantile += 0.01)
		assert_true(histogram_quantile_ns(&all, quantile) ==
			    histogram_quantile_ns(&merged, quantile));
}

/* A full octave table loses buckets but neither count nor extremes. */
static void test_quantiles_of_what_found_a_bucket(void **state) {
	(void)state;
	struct histogram histogram = {.count = 10, .sum_ns = 10000000, .min_ns = 900000, .max_ns = 1100000};
	assert_true(histogram_quantile_ns(&histogram, 0.5) == 1100000);
	histogram_add_bucket(&histogram, &arena, 47, 31, 4);
	assert_true(histogram_quantile_ns(&histogram, 0.1) == 1100000);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lognormal_latencies),
		cmocka_unit_test(test_uniform_over_all_octaves),
		cmocka_unit_test(test_few_samples),
		cmocka_unit_test(test_bucket_boundaries),
		cmocka_unit_test(test_one_value_is_itself),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_merge_equals_one_histogram),
		cmocka_unit_test(test_quantiles_of_what_found_a_bucket),
	};
	return cmocka_run_group_tests(tests, NULL, release_arena);
}
