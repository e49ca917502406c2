/*
 * Connections in use at the end of each second, from what was written and from the uses themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/ledger/use_timeline.h"

#define SECOND UINT64_C(1000000000)
#define ORIGIN (1000 * SECOND)

static uint64_t at(double seconds) {
	return ORIGIN + (uint64_t)(seconds * 1e9);
}

static uint32_t value(const struct model *model, enum model_resolution resolution, uint32_t epoch) {
	const struct model_series *series = &model->timeline.series[resolution][MODEL_METRIC_IN_USE];
	for (size_t i = 0; i < series->cell_count; i++)
		if (series->cells[i].epoch == epoch)
			return series->cells[i].value;
	fail_msg("no cell of epoch %u", epoch);
	return 0;
}

static struct model model_until(double seconds) {
	return (struct model){.run = {.created_ns = ORIGIN, .until_ns = at(seconds)}, .has_uses = true};
}

static void test_uses_are_seen_in_the_seconds_that_they_span(void **state) {
	struct model_use uses[] = {
		{.begun_ns = at(0.1), .ended_ns = at(0.9)}, /* at the end of no second */
		{.begun_ns = at(0.5), .ended_ns = at(3.5)},
		{.begun_ns = at(2.0),
		 .ended_ns = at(4.0)}, /* seen at the very end of second 1, not of second 3 */
	};
	struct model_lease leases[] = {{.use_begun_ns = at(3.2)},
				       {.use_begun_ns = 0},
				       {.use_begun_ns = at(1), .is_owner_gone = true}};
	struct model model = model_until(5.5);
	(void)state;
	model.uses = uses;
	model.use_count = 3;
	model.leases = leases;
	model.lease_count = 3;
	use_timeline_fill(&model);
	static const uint32_t expected[] = {1, 2, 2, 1, 1, 1};
	for (uint32_t epoch = 0; epoch < 6; epoch++)
		assert_int_equal(expected[epoch], value(&model, MODEL_SECONDS, epoch));
	assert_int_equal(1, value(&model, MODEL_MINUTES, 0));
	assert_int_equal(1, value(&model, MODEL_HOURS, 0));
	arena_release(&model.arena);
}

static void test_what_was_written_is_kept_where_it_is_higher(void **state) {
	struct model_cell written[] = {{1, 5}, {3, 0}};
	struct model_use use = {.begun_ns = at(0.5), .ended_ns = at(4.5)};
	struct model model = model_until(5);
	(void)state;
	model.timeline.series[MODEL_SECONDS][MODEL_METRIC_IN_USE] = (struct model_series){written, 2};
	model.uses = &use;
	model.use_count = 1;
	use_timeline_fill(&model);
	static const uint32_t expected[] = {1, 5, 5, 1, 0, 0};
	for (uint32_t epoch = 0; epoch < 6; epoch++)
		assert_int_equal(expected[epoch], value(&model, MODEL_SECONDS, epoch));
	arena_release(&model.arena);
}

static void test_only_what_a_ledger_keeps_is_rewritten(void **state) {
	struct model_lease lease = {.use_begun_ns = at(10)};
	struct model model = model_until(100000);
	(void)state;
	model.leases = &lease;
	model.lease_count = 1;
	use_timeline_fill(&model);
	assert_int_equal(300, model.timeline.series[MODEL_SECONDS][MODEL_METRIC_IN_USE].cell_count);
	assert_int_equal(720, model.timeline.series[MODEL_MINUTES][MODEL_METRIC_IN_USE].cell_count);
	assert_int_equal(1, value(&model, MODEL_SECONDS, 99701));
	assert_int_equal(1, value(&model, MODEL_SECONDS, 100000));
	arena_release(&model.arena);
}

static void test_a_pool_with_a_timeline_has_its_own_uses(void **state) {
	struct model_cell written = {2, 3};
	struct model_timeline timeline = {0};
	struct model_pool pools[] = {{.role = "other"}, {.role = "web", .timeline = &timeline}};
	struct model_use uses[] = {{.begun_ns = at(0.5), .ended_ns = at(1.5), .pool = 0},
				   {.begun_ns = at(0.5), .ended_ns = at(2.5), .pool = 1}};
	struct model_lease lease = {.use_begun_ns = at(0.7), .pool = 0};
	struct model model = model_until(3);
	(void)state;
	timeline.series[MODEL_SECONDS][MODEL_METRIC_IN_USE] = (struct model_series){&written, 1};
	model.pools = pools;
	model.pool_count = 2;
	model.uses = uses;
	model.use_count = 2;
	model.leases = &lease;
	model.lease_count = 1;
	use_timeline_fill(&model);
	static const uint32_t expected[] = {1, 1, 3, 3};
	for (uint32_t epoch = 0; epoch < 4; epoch++)
		assert_int_equal(expected[epoch],
				 timeline.series[MODEL_SECONDS][MODEL_METRIC_IN_USE].cells[epoch].value);
	assert_int_equal(3, value(&model, MODEL_SECONDS, 0));
	arena_release(&model.arena);
}

static void test_nonsense_is_survived(void **state) {
	struct model_use uses[] = {{.begun_ns = UINT64_MAX, .ended_ns = 0},
				   {.begun_ns = 5, .ended_ns = UINT64_MAX}};
	struct model model = model_until(0);
	(void)state;
	model.run.until_ns = 3; /* before it was created */
	model.uses = uses;
	model.use_count = 2;
	use_timeline_fill(&model);
	assert_int_equal(1, model.timeline.series[MODEL_SECONDS][MODEL_METRIC_IN_USE].cell_count);
	arena_release(&model.arena);
}

static void test_unknown_uses_stay_unknown(void **state) {
	struct model model = model_until(5);
	(void)state;
	model.has_uses = false;
	use_timeline_fill(&model);
	assert_int_equal(0, model.timeline.series[MODEL_SECONDS][MODEL_METRIC_IN_USE].cell_count);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uses_are_seen_in_the_seconds_that_they_span),
		cmocka_unit_test(test_what_was_written_is_kept_where_it_is_higher),
		cmocka_unit_test(test_only_what_a_ledger_keeps_is_rewritten),
		cmocka_unit_test(test_a_pool_with_a_timeline_has_its_own_uses),
		cmocka_unit_test(test_nonsense_is_survived),
		cmocka_unit_test(test_unknown_uses_stay_unknown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
