/*
 * Two sides of runs compared: findings by fingerprint, times by distribution.
 *
 * A time is worse (or better) only if all of this holds: both sides have at least RANK_TEST_LEAST values; the rank sum
 * test, corrected for the number of comparisons made, gives p < 0.05; the median changed by at least a tenth and by
 * at least a millisecond; and, where a side has several runs, by more than their medians differ among each other.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_RUN_DIFF_H
#define PQLEASE_ANALYZER_JUDGE_RUN_DIFF_H

#include "analyzer/judge/rank_test.h"
#include "analyzer/judge/run_summary.h"

enum run_diff_state {
	RUN_DIFF_NEW,   /* in no run of the base */
	RUN_DIFF_WORSE, /* the median of the new counts is above every count of the base */
	RUN_DIFF_FIXED, /* in no new run, though its place was reached */
	RUN_DIFF_GONE,  /* in no new run, and nothing reached its place */
	RUN_DIFF_BETTER,
	RUN_DIFF_SAME,
	RUN_DIFF_UNDECIDED, /* a time with too few values */
	RUN_DIFF_STATE_COUNT
};

struct run_diff_side {
	const struct run_summary *runs;
	size_t count;
};

struct run_diff_finding {
	enum run_diff_state state;
	const char *kind;
	const char *fingerprint;
	const char *place;
	bool is_note;        /* shown, but makes nothing worse */
	uint64_t base_count; /* the highest of the runs */
	uint64_t new_count;  /* the median of the runs, the highest if that is zero */
};

struct run_diff_time {
	enum run_diff_state state;
	enum run_summary_measure measure;
	const char *fingerprint; /* of the site; NULL: the whole run */
	const char *place;
	struct rank_test test;
	double p;        /* corrected */
	double base_p50; /* with several runs: the middle of their medians */
	double new_p50;
	double base_p95;
	double new_p95;
	double spread; /* seconds between the medians of the runs of one side, the larger of both */
};

struct run_diff {
	bool is_worse;
	bool is_trusted;
	struct run_diff_side base;
	struct run_diff_side other;
	struct run_diff_finding *findings; /* by state */
	size_t finding_count;
	struct run_diff_time *times; /* of the whole run first, then by place */
	size_t time_count;
};

void run_diff_compare(struct run_diff *diff, struct arena *arena, struct run_diff_side base,
		      struct run_diff_side other);

const char *run_diff_state_name(enum run_diff_state state);
const char *run_diff_measure_name(enum run_summary_measure measure);

#endif
