/*
 * The level that a pool has been at for the whole of a window, from timelines made by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "analyzer/judge/pool_load.h"
#include "analyzer/judge/pool_window.h"

#define SECOND UINT64_C(1000000000)
#define ORIGIN (1000 * SECOND)

static struct model_timeline timeline;
static struct model_pool pool;

static struct model model_of(const struct model_cell *cells, size_t count, uint64_t age_s) {
	timeline = (struct model_timeline){0};
	timeline.series[MODEL_SECONDS][MODEL_METRIC_IN_USE] = (struct model_series){cells, count};
	pool = (struct model_pool){.timeline = &timeline};
	return (struct model){
		.run = {.created_ns = ORIGIN, .until_ns = ORIGIN + age_s * SECOND, .is_live = true},
		.pools = &pool,
		.pool_count = 1,
		.has_uses = true};
}

static const char *status_of(const struct model *model, double now) {
	struct thresholds thresholds = thresholds_standard();
	double level = fmin(now, pool_window_level(model, 0, thresholds.utilization_window));
	return pool_load_status(level, 10, false, &thresholds);
}

/* Cells are changes: what was not written did not change. */
static void test_a_level_counts_when_it_has_lasted(void **state) {
	static const struct model_cell cells[] = {{0, 1}, {1000, 9}};
	(void)state;
	struct model model = model_of(cells, 2, 1000 + 240);
	assert_string_equal("healthy", status_of(&model, 9));
	model = model_of(cells, 2, 1000 + 299);
	assert_string_equal("critical", status_of(&model, 9));
	model = model_of(cells, 2, 5000);
	assert_string_equal("critical", status_of(&model, 9));
}

/* Ten hours of quiet weigh nothing, and neither do ten hours of trouble: the mean of a life would tell both wrong. */
static void test_what_was_before_the_window_is_forgotten(void **state) {
	static const struct model_cell rose[] = {{0, 1}, {36000, 10}};
	static const struct model_cell fell[] = {{0, 10}, {36000, 2}};
	(void)state;
	struct model model = model_of(rose, 2, 36000 + 320);
	assert_string_equal("critical", status_of(&model, 10));
	model = model_of(fell, 2, 36000 + 70);
	assert_string_equal("healthy", status_of(&model, 10));
}

static void test_a_dip_of_a_second_hides_nothing(void **state) {
	static const struct model_cell cells[] = {{0, 10}, {500, 4}, {501, 10}};
	(void)state;
	struct model model = model_of(cells, 3, 700);
	assert_string_equal("critical", status_of(&model, 10));
}

static void test_a_young_pool_is_judged_by_what_there_is(void **state) {
	static const struct model_cell cells[] = {{20, 10}};
	(void)state;
	struct model model = model_of(cells, 1, 20);
	assert_string_equal("critical", status_of(&model, 10));
	model = model_of(cells, 1, 100);
	assert_string_equal("critical", status_of(&model, 10));
	/* Now counts as well. */
	assert_string_equal("healthy", status_of(&model, 1));
}

static void test_a_long_window_is_looked_at_in_minutes(void **state) {
	static const struct model_cell minutes[] = {{0, 3}, {30, 8}};
	(void)state;
	struct model model = model_of(NULL, 0, 60 * 60);
	timeline.series[MODEL_MINUTES][MODEL_METRIC_IN_USE] = (struct model_series){minutes, 2};
	assert_true(pool_window_level(&model, 0, 1800) == 8);
	assert_true(pool_window_level(&model, 0, 3600) == 3);
}

static void test_nothing_in_use_and_nothing_known(void **state) {
	(void)state;
	struct model model = model_of(NULL, 0, 50);
	assert_true(pool_window_level(&model, 0, 300) == 0);
	model.has_uses = false;
	assert_true(isnan(pool_window_level(&model, 0, 300)));
	model.has_uses = true;
	pool.timeline = NULL;
	assert_true(isnan(pool_window_level(&model, 0, 300)));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_level_counts_when_it_has_lasted),
		cmocka_unit_test(test_what_was_before_the_window_is_forgotten),
		cmocka_unit_test(test_a_dip_of_a_second_hides_nothing),
		cmocka_unit_test(test_a_young_pool_is_judged_by_what_there_is),
		cmocka_unit_test(test_a_long_window_is_looked_at_in_minutes),
		cmocka_unit_test(test_nothing_in_use_and_nothing_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
