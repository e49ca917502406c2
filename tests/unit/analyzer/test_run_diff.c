/* What counts as new, fixed, worse and better, on summaries made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "analyzer/judge/run_diff.h"

static struct arena arena;

static struct run_summary run_with(struct run_summary_finding *findings, size_t count) {
	return (struct run_summary){
		.path = "x", .is_trusted = true, .findings = findings, .finding_count = count};
}

static struct run_summary_finding finding(const char *fingerprint, uint64_t count) {
	return (struct run_summary_finding){.kind = "never-finished",
					    .fingerprint = fingerprint,
					    .site_fingerprint = "s",
					    .place = "a.c:1 f",
					    .count = count};
}

static void fill(struct histogram *histogram, double seconds, unsigned count, double step) {
	for (unsigned i = 0; i < count; i++)
		histogram_add_value(histogram, &arena, (uint64_t)((seconds + i * step) * 1e9));
}

static struct run_diff compare(struct run_summary *base, size_t base_count, struct run_summary *other,
			       size_t other_count) {
	struct run_diff diff;
	run_diff_compare(&diff, &arena, (struct run_diff_side){base, base_count},
			 (struct run_diff_side){other, other_count});
	return diff;
}

static enum run_diff_state state_of_counts(uint64_t base_count, uint64_t new_count, bool is_reached) {
	struct run_summary_finding before = finding("f", base_count);
	struct run_summary_finding after = finding("f", new_count);
	struct run_summary_site site = {.fingerprint = "s", .place = "a.c:1 f"};
	struct run_summary base = run_with(&before, base_count > 0);
	struct run_summary other = run_with(&after, new_count > 0);
	other.sites = &site;
	other.site_count = is_reached;
	struct run_diff diff = compare(&base, 1, &other, 1);
	assert_int_equal(1, diff.finding_count);
	assert_int_equal(diff.is_worse, new_count > base_count);
	return diff.findings[0].state;
}

static void test_findings(void **state) {
	(void)state;
	assert_int_equal(RUN_DIFF_NEW, state_of_counts(0, 1, true));
	assert_int_equal(RUN_DIFF_WORSE, state_of_counts(1, 2, true));
	assert_int_equal(RUN_DIFF_SAME, state_of_counts(2, 2, true));
	assert_int_equal(RUN_DIFF_BETTER, state_of_counts(3, 2, true));
	assert_int_equal(RUN_DIFF_FIXED, state_of_counts(3, 0, true));
	assert_int_equal(RUN_DIFF_GONE, state_of_counts(3, 0, false));
	arena_release(&arena);
}

static void test_findings_of_several_runs(void **state) {
	(void)state;
	struct run_summary_finding counts[] = {finding("f", 3), finding("f", 5), finding("f", 4),
					       finding("f", 9)};
	struct run_summary base[] = {run_with(&counts[0], 1), run_with(&counts[1], 1)};
	struct run_summary alike[] = {run_with(&counts[0], 1), run_with(&counts[2], 1),
				      run_with(&counts[3], 1)};
	struct run_summary worse[] = {run_with(&counts[3], 1), run_with(&counts[3], 1),
				      run_with(&counts[2], 1)};
	struct run_diff diff = compare(base, 2, alike, 3);
	assert_int_equal(RUN_DIFF_SAME, diff.findings[0].state);
	diff = compare(base, 2, worse, 3);
	assert_int_equal(RUN_DIFF_WORSE, diff.findings[0].state);
	assert_int_equal(5, diff.findings[0].base_count);
	assert_int_equal(9, diff.findings[0].new_count);
	arena_release(&arena);
}

static enum run_diff_state state_of_times(double base_s, double new_s, unsigned count) {
	struct run_summary base = run_with(NULL, 0);
	struct run_summary other = run_with(NULL, 0);
	fill(&base.time[RUN_SUMMARY_CONNECT], base_s, count, base_s / 1000);
	fill(&other.time[RUN_SUMMARY_CONNECT], new_s, count, base_s / 1000);
	struct run_diff diff = compare(&base, 1, &other, 1);
	assert_int_equal(1, diff.time_count);
	assert_int_equal(diff.is_worse, diff.times[0].state == RUN_DIFF_WORSE);
	return diff.times[0].state;
}

static void test_times(void **state) {
	(void)state;
	assert_int_equal(RUN_DIFF_WORSE, state_of_times(0.020, 0.024, 30));
	assert_int_equal(RUN_DIFF_BETTER, state_of_times(0.024, 0.020, 30));
	assert_int_equal(RUN_DIFF_SAME, state_of_times(0.020, 0.0215, 30)); /* less than a tenth */
	assert_int_equal(RUN_DIFF_SAME, state_of_times(0.002, 0.0028, 30)); /* less than a millisecond */
	assert_int_equal(RUN_DIFF_UNDECIDED, state_of_times(0.020, 0.024, 9));
	arena_release(&arena);
}

/* Runs of one side that differ by more than the change say nothing about it. */
static void test_spread(void **state) {
	(void)state;
	struct run_summary base[] = {run_with(NULL, 0), run_with(NULL, 0)};
	struct run_summary other = run_with(NULL, 0);
	fill(&base[0].time[RUN_SUMMARY_HOLD], 0.020, 30, 1e-5);
	fill(&base[1].time[RUN_SUMMARY_HOLD], 0.026, 30, 1e-5);
	fill(&other.time[RUN_SUMMARY_HOLD], 0.0265, 30, 1e-5);
	struct run_diff diff = compare(base, 2, &other, 1);
	assert_int_equal(RUN_DIFF_SAME, diff.times[0].state);
	assert_true(diff.times[0].p < 0.05);
	diff = compare(base, 1, &other, 1);
	assert_int_equal(RUN_DIFF_WORSE, diff.times[0].state);
	arena_release(&arena);
}

/* A hundred places are a hundred chances: p is multiplied by the comparisons made. */
static void test_many_places(void **state) {
	(void)state;
	static char names[100][8];
	struct run_summary_site sites[2][100];
	struct run_summary runs[2] = {run_with(NULL, 0), run_with(NULL, 0)};
	memset(sites, 0, sizeof sites);
	for (unsigned i = 0; i < 100; i++)
		for (unsigned side = 0; side < 2; side++) {
			snprintf(names[i], sizeof names[i], "%u", i);
			sites[side][i].fingerprint = names[i];
			sites[side][i].place = "a.c:1 f";
			fill(&sites[side][i].time[RUN_SUMMARY_CONNECT], 0.020 + 0.004 * side, 10, 1e-3);
		}
	for (unsigned side = 0; side < 2; side++) {
		runs[side].sites = sites[side];
		runs[side].site_count = 100;
		run_summary_merge_sites(&runs[side], &arena);
	}
	struct run_diff diff = compare(&runs[0], 1, &runs[1], 1);
	assert_int_equal(100, diff.time_count);
	assert_true(diff.times[0].test.p < 0.05 && diff.times[0].p > 0.05);
	assert_false(diff.is_worse);
	arena_release(&arena);
}

static void test_bad_reports(void **state) {
	(void)state;
	static const char *const texts[] = {"",
					    "{}",
					    "[",
					    "{\"schema\": \"pqlease/report-2\"}",
					    "{\"schema\": \"pqlease/report-1\"}",
					    "{\"schema\": \"pqlease/report-1\", \"sites\": [], \"findings\": "
					    "[], \"trust\": {\"ok\": true}, "
					    "\"totals\": {\"attempts\": -1}}",
					    "{\"schema\": \"pqlease/report-1\", \"sites\": [], \"findings\": "
					    "[], \"trust\": {\"ok\": true}, "
					    "\"totals\": {\"attempts\": 1}, \"connect_time\": {\"count\": 1, "
					    "\"buckets\": [[99999, 1]]}}"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct run_summary summary = {0};
		assert_non_null(run_summary_parse(&summary, &arena, texts[i], strlen(texts[i])));
	}
	arena_release(&arena);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_findings),    cmocka_unit_test(test_findings_of_several_runs),
		cmocka_unit_test(test_times),       cmocka_unit_test(test_spread),
		cmocka_unit_test(test_many_places), cmocka_unit_test(test_bad_reports)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
