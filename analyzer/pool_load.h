/*
 * How loaded the pools of a report are: capacity, what of it is in use, and whether that is healthy.
 *
 * A pool is the leases of one role at one endpoint. Its capacity is what a configuration or --limit says, else what its
 * traffic shows (all connections in use at once while more threads took turns than there were connections), else what the
 * server grants to the role; else it is unknown, and so are utilization and status.
 */
#ifndef PQLEASE_ANALYZER_POOL_LOAD_H
#define PQLEASE_ANALYZER_POOL_LOAD_H

#include "analyzer/report.h"

/* Fills capacity, base size and all that follows from it in every pool of the report. Needs pools, failures and run. */
void pool_load_fill(struct report *report, const struct model *model, const struct report_settings *settings);

/* healthy, warning, critical, or unknown if either number is; `in_use` may be a mean. Refused callers of a pool that is
 * full make it "exhausted", whatever its mean. */
const char *pool_load_status(double in_use, int64_t capacity, bool has_refused,
			     const struct thresholds *thresholds);

/* The role, with the endpoint behind it if the role has several; in the report's memory. */
const char *pool_load_name(struct report *report, const struct report_pool *pool);

#endif
