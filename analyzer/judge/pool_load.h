/*
 * How loaded the pools of a report are: capacity, what of it is in use, and whether that is healthy.
 *
 * A pool is the leases of one role at one endpoint. Its capacity is what a configuration or --limit says, else what its
 * traffic shows (all connections in use at once while more threads took turns than there were connections), else what the
 * server grants to the role; else it is unknown, and so are utilization and status.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_POOL_LOAD_H
#define PQLEASE_ANALYZER_JUDGE_POOL_LOAD_H

#include "analyzer/report/report.h"

/* Fills capacity, base size and all that follows from it in every pool of the report. Needs pools, failures and run. */
void pool_load_fill(struct report *report, const struct model *model, const struct report_settings *settings);

/* healthy, warning, critical, or unknown if either number is; `in_use` may be a mean. Refused callers of a pool that is
 * full make it "exhausted", whatever its mean. */
const char *pool_load_status(double in_use, int64_t capacity, bool has_refused,
			     const struct thresholds *thresholds);

/* Whether failures of this class mean that somebody else held what was asked for. */
bool pool_load_is_for_lack_of_slots(const char *class_name);

/* How a run began, and what came of it. */
struct pool_load_start {
	uint64_t begun_ns;    /* first attempt, to the second or minute */
	uint64_t attempts;    /* within the window */
	uint64_t failures;    /* of these */
	uint64_t peak;        /* most open connections within the window */
	uint64_t steady_peak; /* most open connections at any time behind the window */
};

/* False if nothing came behind the window, or nothing is known of it. Of a run longer than five minutes the first minute
 * is the window. */
bool pool_load_measure_start(struct pool_load_start *start, const struct model *model, double window_s);

/* The role, with the endpoint behind it if the role has several; in the report's memory. */
const char *pool_load_name(struct report *report, const struct report_pool *pool);

#endif
