/*
 * low-available: of a known capacity hardly anything is left: now, or in an ended run on average. An inferred capacity is
 * what was in use at most, so that it says nothing here.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "analyzer/rules/rule.h"

bool rule_low_available(const struct rule_input *input, struct finding *finding) {
	const struct thresholds *thresholds = &input->settings->thresholds;
	const struct report_pool *pool = input->pool;
	if (pool->capacity == REPORT_UNKNOWN || isnan(pool->utilization) ||
	    strcmp(pool->capacity_source, "inferred") == 0)
		return false;
	double available = (double)pool->capacity * (1 - pool->utilization);
	double limit =
		fmin(thresholds->available_low, thresholds->available_low_ratio * (double)pool->capacity);
	if (available >= limit)
		return false;
	finding->count = (uint64_t)round(available);
	finding->message =
		arena_text(input->arena, "only %.1f of %" PRId64 " connections are available%s: %s",
			   available, pool->capacity, input->report->run.live ? "" : " on average",
			   pool->sentence != NULL ? pool->sentence : "the pool is nearly full");
	rule_add_count(finding, "capacity", (uint64_t)pool->capacity);
	rule_add_count(finding, "in_use_peak", (uint64_t)pool->peak_in_use);
	return true;
}
