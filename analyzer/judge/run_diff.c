#include "analyzer/judge/run_diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double significance = 0.05;
static const double least_ratio = 0.10;
static const double least_seconds = 1e-3;

const char *run_diff_state_name(enum run_diff_state state) {
	static const char *const names[RUN_DIFF_STATE_COUNT] = {"new",    "worse", "fixed",    "gone",
								"better", "same",  "undecided"};
	return names[state];
}

const char *run_diff_measure_name(enum run_summary_measure measure) {
	static const char *const names[RUN_SUMMARY_MEASURE_COUNT] = {"connect", "hold"};
	return names[measure];
}

/* ---- Findings --------------------------------------------------------------------------------- */

/* Two places of one function have one fingerprint: their counts belong together. */
static uint64_t count_in(const struct run_summary *run, const struct run_summary_finding *like) {
	uint64_t count = 0;
	for (size_t i = 0; i < run->finding_count; i++)
		if (strcmp(run->findings[i].fingerprint, like->fingerprint) == 0 &&
		    strcmp(run->findings[i].kind, like->kind) == 0)
			count += run->findings[i].count;
	return count;
}

static int compare_counts(const void *a, const void *b) {
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;
	return (left > right) - (left < right);
}

/* Sorted. */
static uint64_t *counts_of(struct arena *arena, struct run_diff_side side,
			   const struct run_summary_finding *like) {
	uint64_t *counts = arena_array(arena, side.count, sizeof *counts);
	for (size_t i = 0; i < side.count; i++)
		counts[i] = count_in(&side.runs[i], like);
	qsort(counts, side.count, sizeof *counts, compare_counts);
	return counts;
}

static bool is_reached(struct run_diff_side side, const char *site_fingerprint) {
	for (size_t i = 0; i < side.count; i++)
		if (site_fingerprint == NULL ||
		    run_summary_find_site(&side.runs[i], site_fingerprint) != NULL)
			return true;
	return false;
}

static struct run_diff_finding compare_finding(struct arena *arena, const struct run_diff *diff,
					       const struct run_summary_finding *like) {
	const uint64_t *base = counts_of(arena, diff->base, like);
	const uint64_t *other = counts_of(arena, diff->other, like);
	uint64_t base_most = base[diff->base.count - 1];
	uint64_t new_most = other[diff->other.count - 1];
	uint64_t median = other[diff->other.count / 2];
	enum run_diff_state state = RUN_DIFF_SAME;
	if (base_most == 0)
		state = RUN_DIFF_NEW;
	else if (new_most == 0)
		state = is_reached(diff->other, like->site_fingerprint) ? RUN_DIFF_FIXED : RUN_DIFF_GONE;
	else if (median > base_most)
		state = RUN_DIFF_WORSE;
	else if (median < base[0])
		state = RUN_DIFF_BETTER;
	return (struct run_diff_finding){.state = state,
					 .kind = like->kind,
					 .fingerprint = like->fingerprint,
					 .place = like->place,
					 .is_note = like->is_note,
					 .base_count = base_most,
					 .new_count = median > 0 ? median : new_most};
}

static bool is_known(const struct run_diff *diff, const struct run_summary_finding *like) {
	for (size_t i = 0; i < diff->finding_count; i++)
		if (strcmp(diff->findings[i].fingerprint, like->fingerprint) == 0 &&
		    strcmp(diff->findings[i].kind, like->kind) == 0)
			return true;
	return false;
}

static void compare_findings_of(struct run_diff *diff, struct arena *arena, struct run_diff_side side) {
	for (size_t run = 0; run < side.count; run++)
		for (size_t i = 0; i < side.runs[run].finding_count; i++)
			if (!is_known(diff, &side.runs[run].findings[i]))
				diff->findings[diff->finding_count++] =
					compare_finding(arena, diff, &side.runs[run].findings[i]);
}

static size_t count_findings(struct run_diff_side side) {
	size_t count = 0;
	for (size_t i = 0; i < side.count; i++)
		count += side.runs[i].finding_count;
	return count;
}

static int order_findings(const void *a, const void *b) {
	const struct run_diff_finding *left = a;
	const struct run_diff_finding *right = b;
	if (left->state != right->state)
		return left->state < right->state ? -1 : 1;
	if (left->is_note != right->is_note)
		return left->is_note ? 1 : -1;
	if (left->new_count != right->new_count)
		return left->new_count > right->new_count ? -1 : 1;
	int kinds = strcmp(left->kind, right->kind);
	return kinds != 0 ? kinds : strcmp(left->fingerprint, right->fingerprint);
}

/* ---- Times ------------------------------------------------------------------------------------ */

/* The values of one place in one run. */
static const struct histogram *values_in(const struct run_summary *run, const char *fingerprint,
					 enum run_summary_measure measure) {
	static const struct histogram none;
	if (fingerprint == NULL)
		return &run->time[measure];
	const struct run_summary_site *site = run_summary_find_site(run, fingerprint);
	return site != NULL ? &site->time[measure] : &none;
}

static double seconds_at(const struct histogram *values, double quantile) {
	return values->count > 0 ? histogram_quantile_ns(values, quantile) / 1e9 : NAN;
}

/* One side's values of one place. */
struct gathered {
	struct histogram all;
	double p50;    /* the middle of the medians of the runs */
	double spread; /* between the lowest and the highest of them */
};

static int compare_doubles(const void *a, const void *b) {
	double left = *(const double *)a;
	double right = *(const double *)b;
	return (left > right) - (left < right);
}

static struct gathered gather(struct arena *arena, struct run_diff_side side, const char *fingerprint,
			      enum run_summary_measure measure) {
	struct gathered gathered = {.p50 = NAN};
	double *medians = arena_array(arena, side.count, sizeof *medians);
	size_t count = 0;
	for (size_t i = 0; i < side.count; i++) {
		const struct histogram *values = values_in(&side.runs[i], fingerprint, measure);
		histogram_merge(&gathered.all, arena, values);
		if (values->count > 0)
			medians[count++] = seconds_at(values, 0.5);
	}
	if (count == 0)
		return gathered;
	qsort(medians, count, sizeof *medians, compare_doubles);
	gathered.p50 = (medians[(count - 1) / 2] + medians[count / 2]) / 2;
	gathered.spread = medians[count - 1] - medians[0];
	return gathered;
}

static enum run_diff_state judge_time(const struct run_diff_time *time) {
	double change = time->new_p50 - time->base_p50;
	if (time->test.base_count < RANK_TEST_LEAST || time->test.other_count < RANK_TEST_LEAST)
		return RUN_DIFF_UNDECIDED;
	bool is_real = time->p < significance && fabs(change) >= least_ratio * time->base_p50 &&
		fabs(change) >= least_seconds && fabs(change) > time->spread;
	bool is_agreed = (change > 0) == (time->test.superiority > 0.5);
	if (!is_real || !is_agreed)
		return RUN_DIFF_SAME;
	return change > 0 ? RUN_DIFF_WORSE : RUN_DIFF_BETTER;
}

static void add_time(struct run_diff *diff, struct arena *arena, const char *fingerprint, const char *place,
		     enum run_summary_measure measure) {
	struct gathered base = gather(arena, diff->base, fingerprint, measure);
	struct gathered other = gather(arena, diff->other, fingerprint, measure);
	if (base.all.count == 0 || other.all.count == 0)
		return;
	diff->times[diff->time_count++] =
		(struct run_diff_time){.measure = measure,
				       .fingerprint = fingerprint,
				       .place = place,
				       .test = rank_test_compare(&base.all, &other.all),
				       .base_p50 = base.p50,
				       .new_p50 = other.p50,
				       .base_p95 = seconds_at(&base.all, 0.95),
				       .new_p95 = seconds_at(&other.all, 0.95),
				       .spread = fmax(base.spread, other.spread)};
}

static int compare_sites(const void *a, const void *b) {
	const struct run_summary_site *left = *(const struct run_summary_site *const *)a;
	const struct run_summary_site *right = *(const struct run_summary_site *const *)b;
	return strcmp(left->fingerprint, right->fingerprint);
}

/* The places of the new runs, one of each fingerprint, in the order of fingerprints. */
static size_t list_places(struct arena *arena, struct run_diff_side side,
			  const struct run_summary_site ***places) {
	size_t count = 0;
	size_t distinct = 0;
	for (size_t run = 0; run < side.count; run++)
		count += side.runs[run].site_count;
	const struct run_summary_site **all = arena_array(arena, count, sizeof(struct run_summary_site *));
	count = 0;
	for (size_t run = 0; run < side.count; run++)
		for (size_t i = 0; i < side.runs[run].site_count; i++)
			all[count++] = &side.runs[run].sites[i];
	qsort(all, count, sizeof(struct run_summary_site *), compare_sites);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || strcmp(all[i]->fingerprint, all[distinct - 1]->fingerprint) != 0)
			all[distinct++] = all[i];
	*places = all;
	return distinct;
}

static void compare_times(struct run_diff *diff, struct arena *arena) {
	const struct run_summary_site **places;
	size_t place_count = list_places(arena, diff->other, &places);
	diff->times = arena_array(arena, (place_count + 1) * RUN_SUMMARY_MEASURE_COUNT, sizeof *diff->times);
	for (enum run_summary_measure measure = 0; measure < RUN_SUMMARY_MEASURE_COUNT; measure++)
		add_time(diff, arena, NULL, "all", measure);
	/* The only place of a run says the same once more. */
	for (size_t i = 0; place_count > 1 && i < place_count; i++)
		for (enum run_summary_measure measure = 0; measure < RUN_SUMMARY_MEASURE_COUNT; measure++)
			add_time(diff, arena, places[i]->fingerprint, places[i]->place, measure);
	for (size_t i = 0; i < diff->time_count; i++) {
		struct run_diff_time *time = &diff->times[i];
		time->p = fmin(1, time->test.p * (double)diff->time_count);
		time->state = judge_time(time);
	}
}

/* ---- Both ------------------------------------------------------------------------------------- */

static bool is_side_trusted(struct run_diff_side side) {
	for (size_t i = 0; i < side.count; i++)
		if (!side.runs[i].is_trusted)
			return false;
	return true;
}

static bool is_worse(enum run_diff_state state) {
	return state == RUN_DIFF_NEW || state == RUN_DIFF_WORSE;
}

void run_diff_compare(struct run_diff *diff, struct arena *arena, struct run_diff_side base,
		      struct run_diff_side other) {
	*diff = (struct run_diff){.base = base, .other = other};
	diff->is_trusted = is_side_trusted(base) && is_side_trusted(other);
	diff->findings =
		arena_array(arena, count_findings(base) + count_findings(other), sizeof *diff->findings);
	compare_findings_of(diff, arena, other);
	compare_findings_of(diff, arena, base);
	qsort(diff->findings, diff->finding_count, sizeof *diff->findings, order_findings);
	compare_times(diff, arena);
	for (size_t i = 0; i < diff->finding_count; i++)
		diff->is_worse |= is_worse(diff->findings[i].state) && !diff->findings[i].is_note;
	for (size_t i = 0; i < diff->time_count; i++)
		diff->is_worse |= is_worse(diff->times[i].state);
}
