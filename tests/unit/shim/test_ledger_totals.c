/* Totals, histograms, gauges and timelines: exact, whoever adds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/shim_support.h"

static struct ledger_header *ledger;
static struct ledger_histogram histogram;
static struct ledger_account account;

static int set_up(void **state) {
	(void)state;
	shim_support_open();
	ledger = shim_support_ledger(LEDGER_DEFAULT_SIZE_BYTES);
	memset(&histogram, 0, sizeof histogram);
	account = (struct ledger_account){ledger, ledger_intern_pool(ledger, 1, NULL), LEDGER_SITE_NONE};
	return 0;
}

static int tear_down(void **state) {
	(void)state;
	shim_support_release(ledger);
	shim_support_close();
	return 0;
}

static struct ledger_pool *pool(void) {
	return ledger_unit(ledger, LEDGER_POOLS, account.pool);
}

/* ---- Histograms ------------------------------------------------------------------------------------ */

static uint64_t *bucket_at(uint32_t octave, uint32_t bucket) {
	uint32_t number = histogram.octave[octave];
	struct ledger_octave *counters = number ? ledger_unit(ledger, LEDGER_OCTAVES, number - 1) : NULL;
	return counters ? (uint64_t *)&counters->bucket[bucket] : NULL;
}

static long double square_root(long double value) {
	long double root = value;
	for (int i = 0; i < 60; i++)
		root = (root + value / root) / 2;
	return root;
}

/* 2^(log2 + bucket / 32) */
static long double boundary_of(int log2, uint32_t bucket) {
	long double step = 2;
	long double boundary = (long double)(UINT64_C(1) << log2);
	for (int i = 0; i < 5; i++) {
		step = square_root(step);
		if (bucket >> (4 - i) & 1)
			boundary *= step;
	}
	return boundary;
}

/* Where a value belongs by the definition: the largest index whose boundary it reaches. */
static long double roots[LEDGER_OCTAVE_BUCKETS]; /* 2^(bucket / 32) */

static void definition(uint64_t value, uint32_t *octave, uint32_t *bucket) {
	for (uint32_t i = 0; roots[LEDGER_OCTAVE_BUCKETS - 1] == 0 && i < LEDGER_OCTAVE_BUCKETS; i++)
		roots[i] = boundary_of(0, i);
	int log2 = value ? 63 - __builtin_clzll(value) : 0;
	int index = log2 - (int)LEDGER_OCTAVE_FIRST_LOG2;
	*octave = index < 0                         ? 0
		: index >= (int)LEDGER_OCTAVE_COUNT ? LEDGER_OCTAVE_COUNT - 1
						    : (uint32_t)index;
	*bucket = index < 0 ? 0 : LEDGER_OCTAVE_BUCKETS - 1;
	if (index < 0 || index >= (int)LEDGER_OCTAVE_COUNT)
		return;
	while (*bucket > 0 && (long double)value < (long double)(UINT64_C(1) << log2) * roots[*bucket])
		--*bucket;
}

static void assert_lands_where_defined(uint64_t value) {
	uint32_t octave, bucket;
	definition(value, &octave, &bucket);
	const uint64_t *counter = bucket_at(octave, bucket);
	uint64_t before = counter ? *counter : 0;
	ledger_histogram_add(ledger, &histogram, value);
	counter = bucket_at(octave, bucket);
	if (!counter || *counter != before + 1)
		fail_msg("%llu is not in bucket %u of octave %u", (unsigned long long)value, bucket, octave);
}

static void test_a_million_random_values_land_where_defined(void **state) {
	(void)state;
	uint64_t random = 1;
	for (int i = 0; i < 1000000; i++) {
		uint64_t bits = shim_support_random(&random);
		assert_lands_where_defined(shim_support_random(&random) >> (bits % 64));
	}
	assert_int_equal(1000000, histogram.count);
}

/* The boundaries are kept in 32 bits: next to them a value may fall on either side. */
static void test_boundaries_land_where_defined(void **state) {
	(void)state;
	for (int log2 = 0; log2 < 64; log2++) {
		for (int bucket = 0; bucket < 32; bucket++) {
			uint64_t boundary = (uint64_t)boundary_of(log2, (uint32_t)bucket);
			uint64_t margin = 1 + (boundary >> 31);
			assert_lands_where_defined(boundary - margin);
			assert_lands_where_defined(boundary + margin);
		}
	}
	assert_lands_where_defined(0);
	assert_lands_where_defined(UINT64_MAX);
}

static void test_sum_and_extremes_are_exact(void **state) {
	(void)state;
	static const uint64_t values[] = {500, 3, 7000000, 0, 42};
	uint64_t sum = 0;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		ledger_histogram_add(ledger, &histogram, values[i]);
		sum += values[i];
	}
	assert_int_equal(5, histogram.count);
	assert_int_equal(sum, histogram.sum_ns);
	assert_int_equal(0, ~histogram.inverted_min_ns);
	assert_int_equal(7000000, histogram.max_ns);
}

#define ADDITIONS 20000u
#define THREADS 8u

static void add_durations(void *argument, uint32_t number) {
	(void)argument;
	uint64_t random = number;
	for (uint32_t i = 0; i < ADDITIONS; i++) {
		ledger_add(&account, LEDGER_ESTABLISHED, 1, 1000 + i);
		ledger_add_time(&account, LEDGER_HOLD_TIME, 1 + shim_support_random(&random) % 1000000);
	}
}

static uint64_t sum_of_buckets(const struct ledger_histogram *of) {
	uint64_t sum = 0;
	for (uint32_t octave = 0; octave < LEDGER_OCTAVE_COUNT; octave++)
		for (uint32_t i = 0; of->octave[octave] && i < LEDGER_OCTAVE_BUCKETS; i++)
			sum += ((struct ledger_octave *)ledger_unit(ledger, LEDGER_OCTAVES,
								    of->octave[octave] - 1u))
				       ->bucket[i];
	return sum;
}

static void test_threads_lose_no_addition(void **state) {
	(void)state;
	uint64_t sum = 0, smallest = UINT64_MAX, largest = 0;
	shim_support_threads(THREADS, add_durations, NULL);
	for (uint32_t number = 0; number < THREADS; number++) {
		uint64_t random = number;
		for (uint32_t i = 0; i < ADDITIONS; i++) {
			uint64_t value = 1 + shim_support_random(&random) % 1000000;
			sum += value;
			smallest = value < smallest ? value : smallest;
			largest = value > largest ? value : largest;
		}
	}
	const struct ledger_histogram *held = &pool()->totals.time[LEDGER_HOLD_TIME];
	assert_int_equal(THREADS * ADDITIONS, held->count);
	assert_int_equal(sum, held->sum_ns);
	assert_int_equal(smallest, ~held->inverted_min_ns);
	assert_int_equal(largest, held->max_ns);
	assert_int_equal(THREADS * ADDITIONS, sum_of_buckets(held));
	assert_int_equal(THREADS * ADDITIONS, shim_support_counter(ledger, LEDGER_ESTABLISHED));
	assert_int_equal(1000, ~pool()->totals.inverted_first_ns);
	assert_int_equal(1000 + ADDITIONS - 1, pool()->totals.last_ns);
}

static void test_exhausted_octaves_are_counted(void **state) {
	(void)state;
	struct ledger_section *octaves = &ledger->section[LEDGER_OCTAVES];
	octaves->used = octaves->capacity - 1;
	ledger_histogram_add(ledger, &histogram, 1000);
	ledger_histogram_add(ledger, &histogram, 1000000);
	ledger_histogram_add(ledger, &histogram, 1001);
	assert_int_equal(1, shim_support_lost(ledger, LEDGER_LOST_OCTAVES));
	assert_int_equal(3, histogram.count);
	assert_int_equal(1002001, histogram.sum_ns);
	assert_int_equal(2, sum_of_buckets(&histogram));
	assert_int_equal(octaves->capacity, octaves->used);
}

static void test_unknown_accounts_are_booked_on_the_reserved_ones(void **state) {
	(void)state;
	struct ledger_account nowhere = {ledger, UINT32_MAX, UINT32_MAX};
	ledger_add(&nowhere, LEDGER_FAILED, 2, 1);
	const struct ledger_pool *other = ledger_unit(ledger, LEDGER_POOLS, LEDGER_POOL_OTHER);
	const struct ledger_site *lost = ledger_unit(ledger, LEDGER_SITES, LEDGER_SITE_LOST);
	assert_int_equal(2, other->totals.counter[LEDGER_FAILED]);
	assert_int_equal(2, lost->totals.counter[LEDGER_FAILED]);
}

static void test_failures_and_findings_remember_their_times(void **state) {
	(void)state;
	static const uint64_t times[] = {50, 20, 90};
	for (size_t i = 0; i < 3; i++) {
		ledger_add_failure(ledger, 4, times[i]);
		ledger_add_unreleased(&account, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, times[i]);
		ledger_add_misuse(&account, LEDGER_DOUBLE_FINISH, LEDGER_FINDING_DOUBLE_FINISH, times[i] + 1);
	}
	ledger_add_failure(ledger, LEDGER_FAILURE_CAPACITY, 1); /* no such reason: nothing happens */
	const struct ledger_failure *failure = ledger_unit(ledger, LEDGER_FAILURES, 4);
	assert_int_equal(3, failure->count);
	assert_int_equal(20, ~failure->inverted_first_ns);
	assert_int_equal(90, failure->last_ns);
	const struct ledger_site *site = ledger_unit(ledger, LEDGER_SITES, LEDGER_SITE_NONE);
	assert_int_equal(3, site->totals.unreleased[LEDGER_LEFT_OPEN][LEDGER_ENDED_EXIT]);
	assert_int_equal(20, ~site->totals.inverted_first_finding_ns[LEDGER_FINDING_LEFT + LEDGER_LEFT_OPEN]);
	assert_int_equal(90, site->totals.last_finding_ns[LEDGER_FINDING_LEFT + LEDGER_LEFT_OPEN]);
	assert_int_equal(21, ~site->totals.inverted_first_finding_ns[LEDGER_FINDING_DOUBLE_FINISH]);
	assert_int_equal(91, site->totals.last_finding_ns[LEDGER_FINDING_DOUBLE_FINISH]);
	assert_int_equal(3, shim_support_counter(ledger, LEDGER_DOUBLE_FINISH));
}

/* ---- Trends --------------------------------------------------------------------------------------------- */

static uint64_t trend_word(uint32_t stage, uint32_t cell) {
	const struct ledger_site *site = ledger_unit(ledger, LEDGER_SITES, LEDGER_SITE_NONE);
	const struct ledger_trend *trend = ledger_unit(ledger, LEDGER_TRENDS, site->trend - 1);
	assert_non_null(trend);
	return trend->bank[stage % 2][cell];
}

static uint64_t word_of(uint64_t stage, uint64_t least, uint64_t last) {
	return (stage + 1) << 56 | least << 28 | last;
}

static uint64_t inside(uint32_t stage, uint32_t cell) {
	return ledger->created_monotonic_ns + ledger_trend_begin_ns(stage, cell) + 1;
}

static void test_a_trend_begins_when_two_are_open(void **state) {
	(void)state;
	const struct ledger_site *site = ledger_unit(ledger, LEDGER_SITES, LEDGER_SITE_NONE);
	ledger_add_open(&account, 1, inside(0, 3));
	ledger_add_open(&account, -1, inside(0, 4));
	assert_int_equal(0, site->trend);
	ledger_add_open(&account, 1, inside(0, 5));
	ledger_add_open(&account, 1, inside(0, 6));
	assert_int_not_equal(0, site->trend);
	assert_true(word_of(0, 1, 2) == trend_word(0, 6));
}

/* The least of a cell is kept, also when it was before the first change in it. */
static void test_a_trend_keeps_the_least_and_the_last(void **state) {
	(void)state;
	for (int i = 0; i < 6; i++)
		ledger_add_open(&account, 1, inside(2, 1));
	ledger_add_open(&account, -1, inside(2, 9));
	ledger_add_open(&account, -1, inside(2, 9));
	ledger_add_open(&account, 1, inside(2, 9));
	ledger_add_open(&account, 1, inside(2, 10));
	assert_true(word_of(2, 4, 5) == trend_word(2, 9));
	assert_true(word_of(2, 5, 6) == trend_word(2, 10));
}

/* Two stages are there at every age; an older one never comes back over a younger. */
static void test_a_trend_grows_with_the_run(void **state) {
	(void)state;
	for (int i = 0; i < 3; i++)
		ledger_add_open(&account, 1, inside(0, 0));
	for (uint32_t stage = 1; stage < 30; stage++) {
		ledger_add_open(&account, 1, inside(stage, 31));
		assert_true(word_of(stage, stage + 2, stage + 3) == trend_word(stage, 31));
		if (stage > 1)
			assert_true(word_of(stage - 1, stage + 1, stage + 2) == trend_word(stage - 1, 31));
	}
	uint64_t kept = trend_word(29, 31);
	ledger_add_open(&account, 1, inside(27, 31)); /* a writer that slept */
	assert_true(kept == trend_word(29, 31));
}

static void test_stages_follow_each_other(void **state) {
	(void)state;
	for (uint32_t stage = 0; stage < 38; stage++) {
		uint64_t end_ns = ledger_trend_begin_ns(stage, LEDGER_TREND_CELLS);
		assert_int_equal(stage, ledger_trend_stage(ledger_trend_begin_ns(stage, 0)));
		assert_int_equal(stage, ledger_trend_stage(end_ns - 1));
		assert_true(end_ns == ledger_trend_begin_ns(stage + 1, 0));
	}
}

static void leave_one_of_a_hundred(void *argument, uint32_t number) {
	(void)argument;
	for (int i = 0; i < 2000; i++) {
		ledger_add_open(&account, 1, inside(3, number % 4));
		if (i % 100 != 0)
			ledger_add_open(&account, -1, inside(3, number % 4));
	}
}

static void test_threads_agree_on_a_trend(void **state) {
	(void)state;
	shim_support_threads(8, leave_one_of_a_hundred, NULL);
	ledger_add_open(&account, 1, inside(3, 20));
	assert_true(word_of(3, 160, 161) == trend_word(3, 20));
	assert_true((trend_word(3, 1) & 0xfffffff) <= 168);
}

static void test_full_trends_are_counted_once_per_site(void **state) {
	(void)state;
	ledger->section[LEDGER_TRENDS].used = ledger->section[LEDGER_TRENDS].capacity;
	for (int i = 0; i < 5; i++)
		ledger_add_open(&account, 1, inside(1, 1));
	assert_int_equal(1, shim_support_lost(ledger, LEDGER_LOST_TRENDS));
}

/* ---- Who released what ------------------------------------------------------------------------------------ */

static void test_releases_are_counted_by_place_and_circumstances(void **state) {
	(void)state;
	for (uint64_t i = 0; i < 5; i++) {
		ledger_add_release(&account, 7, 0, 0, 100 + i);
		ledger_add_release(&account, 8, LEDGER_FACT_FINALIZING, 0, 50 - i);
	}
	ledger_add_release(&account, 7, LEDGER_FACT_FINALIZING, 0, 1);
	assert_int_equal(3, ledger->section[LEDGER_RELEASERS].used);
	const struct ledger_releaser *first = ledger_unit(ledger, LEDGER_RELEASERS, 0);
	const struct ledger_releaser *second = ledger_unit(ledger, LEDGER_RELEASERS, 1);
	assert_int_equal(5, first->count);
	assert_int_equal(100, ~first->inverted_first_ns);
	assert_int_equal(104, first->last_ns);
	assert_int_equal(5, second->count);
	assert_int_equal(46, ~second->inverted_first_ns);
	assert_int_equal(50, second->last_ns);
}

static void test_releasers_without_room_are_counted(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_RELEASERS].capacity;
	for (uint32_t i = 0; i < capacity + 5; i++)
		ledger_add_release(&account, i, 0, 0, 100);
	assert_int_equal(5, shim_support_lost(ledger, LEDGER_LOST_RELEASERS));
}

/* ---- Gauges and timelines ------------------------------------------------------------------------------ */

static struct ledger_timeline *run_timeline(void) {
	return ledger_unit(ledger, LEDGER_TIMELINES, 0);
}

static uint64_t at_second(uint64_t second) {
	return ledger->created_monotonic_ns + second * 1000000000u + 5;
}

static void assert_cell(const _Atomic uint64_t *cells, uint32_t count, uint32_t epoch, uint32_t value) {
	assert_int_equal((uint64_t)epoch + 1, cells[epoch % count] >> 32);
	assert_int_equal(value, (uint32_t)cells[epoch % count]);
}

static void assert_second(enum ledger_metric metric, uint32_t second, uint32_t value) {
	assert_cell(run_timeline()->second[metric], LEDGER_SECOND_CELLS, second, value);
	const struct ledger_timeline *own = ledger_unit(ledger, LEDGER_TIMELINES, pool()->timeline);
	assert_cell(own->second[metric], LEDGER_SECOND_CELLS, second, value);
}

static void test_gauges_and_peaks_follow(void **state) {
	(void)state;
	static const int changes[] = {1, 1, 1, -1, 1, -1, -1};
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
		ledger_add_open(&account, changes[i], at_second(10));
	assert_int_equal(1, ledger->open);
	assert_int_equal(3, ledger->open_peak);
	assert_int_equal(1, pool()->totals.open);
	assert_int_equal(3, pool()->totals.open_peak);
	assert_second(LEDGER_METRIC_OPEN, 10, 1);
	assert_second(LEDGER_METRIC_OPEN_PEAK, 10, 3);
}

/* A second that begins with a release had one more open before it. */
static void test_a_peak_counts_what_was_open_before(void **state) {
	(void)state;
	for (int i = 0; i < 5; i++)
		ledger_add_open(&account, 1, at_second(1));
	ledger_add_open(&account, -1, at_second(2));
	assert_second(LEDGER_METRIC_OPEN_PEAK, 2, 5);
	assert_second(LEDGER_METRIC_OPEN, 2, 4);
	assert_cell(run_timeline()->minute[LEDGER_METRIC_OPEN_PEAK], LEDGER_MINUTE_CELLS, 0, 5);
	assert_cell(run_timeline()->hour[LEDGER_METRIC_OPEN], LEDGER_HOUR_CELLS, 0, 4);
}

static void test_attempts_and_failures_per_epoch(void **state) {
	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		ledger_add_attempt(&account, i % 3 == 0, at_second(59 + i / 5));
	assert_second(LEDGER_METRIC_ATTEMPTS, 59, 5);
	assert_second(LEDGER_METRIC_ATTEMPTS, 60, 5);
	assert_second(LEDGER_METRIC_FAILURES, 59, 2);
	assert_second(LEDGER_METRIC_FAILURES, 60, 2);
	assert_cell(run_timeline()->minute[LEDGER_METRIC_ATTEMPTS], LEDGER_MINUTE_CELLS, 0, 5);
	assert_cell(run_timeline()->minute[LEDGER_METRIC_ATTEMPTS], LEDGER_MINUTE_CELLS, 1, 5);
	assert_cell(run_timeline()->hour[LEDGER_METRIC_ATTEMPTS], LEDGER_HOUR_CELLS, 0, 10);
}

static void test_rings_turn_and_never_go_back(void **state) {
	(void)state;
	ledger_add_attempt(&account, false, at_second(7));
	ledger_add_attempt(&account, false, at_second(7 + LEDGER_SECOND_CELLS));
	assert_second(LEDGER_METRIC_ATTEMPTS, 7 + LEDGER_SECOND_CELLS, 1);
	ledger_add_attempt(&account, false, at_second(7)); /* late: its second is overwritten already */
	assert_second(LEDGER_METRIC_ATTEMPTS, 7 + LEDGER_SECOND_CELLS, 1);
}

static void test_before_the_ledger_is_second_zero(void **state) {
	(void)state;
	ledger_add_attempt(&account, false, 1);
	assert_second(LEDGER_METRIC_ATTEMPTS, 0, 1);
}

#define RACERS 2u
#define RACES 20000u

static _Atomic uint32_t arrivals;
static uint32_t stale_values;

static void meet(uint32_t turn) {
	arrivals++;
	while (arrivals < turn * RACERS)
		sched_yield();
}

static void open_and_close(void *argument, uint32_t number) {
	(void)argument;
	for (uint32_t i = 0; i < RACES; i++) {
		meet(3 * i + 1);
		ledger_add_open(&account, 1, at_second(3));
		ledger_add_open(&account, -1, at_second(3));
		meet(3 * i + 2);
		if (number == 0)
			stale_values += (uint32_t)run_timeline()->second[LEDGER_METRIC_OPEN][3] != 0;
		meet(3 * i + 3);
	}
}

/* The reader carries the last value forward for ever: it must be the true one. */
static void test_the_last_open_of_a_race_is_the_true_one(void **state) {
	(void)state;
	shim_support_threads(RACERS, open_and_close, NULL);
	assert_int_equal(0, stale_values);
	assert_second(LEDGER_METRIC_OPEN, 3, 0);
	assert_int_equal(0, ledger->open);
	assert_true(ledger->open_peak <= (int64_t)RACERS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_a_million_random_values_land_where_defined),
		TEST(test_boundaries_land_where_defined),
		TEST(test_sum_and_extremes_are_exact),
		TEST(test_threads_lose_no_addition),
		TEST(test_exhausted_octaves_are_counted),
		TEST(test_unknown_accounts_are_booked_on_the_reserved_ones),
		TEST(test_failures_and_findings_remember_their_times),
		TEST(test_a_trend_begins_when_two_are_open),
		TEST(test_a_trend_keeps_the_least_and_the_last),
		TEST(test_a_trend_grows_with_the_run),
		TEST(test_stages_follow_each_other),
		TEST(test_threads_agree_on_a_trend),
		TEST(test_full_trends_are_counted_once_per_site),
		TEST(test_releases_are_counted_by_place_and_circumstances),
		TEST(test_releasers_without_room_are_counted),
		TEST(test_gauges_and_peaks_follow),
		TEST(test_a_peak_counts_what_was_open_before),
		TEST(test_attempts_and_failures_per_epoch),
		TEST(test_rings_turn_and_never_go_back),
		TEST(test_before_the_ledger_is_second_zero),
		TEST(test_the_last_open_of_a_race_is_the_true_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
