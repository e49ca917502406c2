/*
 * Budgets: what a run, a role, a pool or a place may take. Peaks of several pools do not happen at one instant, so
 * their sum is an upper bound, and is called one.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "analyzer/gate/gate_judging.h"

/* What a budget is compared with. */
struct measured {
	double value;   /* NAN: unknown */
	bool is_bound;  /* the value is the most it can have been */
	size_t parts;   /* pools or sites it is of */
	const char *of; /* whose value it is: the pool or the place; NULL: of all that was selected */
	const struct report_site *site; /* the place to look at, NULL unknown */
};

static bool matches(const char *pattern, const char *text) {
	return pattern == NULL || (text != NULL && fnmatch(pattern, text, 0) == 0);
}

static bool selects_sites(const struct gate_selector *selector) {
	return selector->function != NULL || selector->file != NULL;
}

static bool selects_pools(const struct gate_selector *selector) {
	return selector->role != NULL || selector->endpoint != NULL || selector->database != NULL ||
		selector->user != NULL;
}

/* ---- Pools ---------------------------------------------------------------------------------------- */

static const char *endpoint_of(struct arena *arena, const struct report_pool *pool) {
	if (pool->host == NULL)
		return NULL;
	return arena_text(arena, "%s:%s", pool->host, pool->port != NULL ? pool->port : "");
}

static bool selects_pool(struct arena *arena, const struct gate_selector *selector,
			 const struct report_pool *pool) {
	return matches(selector->role, pool->role) && matches(selector->database, pool->database) &&
		matches(selector->user, pool->user) &&
		(selector->endpoint == NULL || matches(selector->endpoint, endpoint_of(arena, pool)));
}

static const char *pool_name(struct arena *arena, const struct report_pool *pool) {
	const char *endpoint = endpoint_of(arena, pool);
	return arena_text(arena, "role %s at %s/%s", pool->role != NULL ? pool->role : "?",
			  endpoint != NULL ? endpoint : "?", pool->database != NULL ? pool->database : "?");
}

static double count_value(int64_t count) {
	return count == REPORT_UNKNOWN ? NAN : (double)count;
}

static double oldest_open(const struct report *report, const char *role, int64_t site) {
	double oldest = 0;
	for (size_t i = 0; i < report->open_lease_count; i++) {
		const struct report_lease *lease = &report->open_leases[i];
		bool is_meant = (site == REPORT_UNKNOWN || lease->site == site) && matches(role, lease->role);
		if (is_meant && lease->age > oldest)
			oldest = lease->age;
	}
	return oldest;
}

/* At the peak, of a capacity that somebody said: one inferred from the peak itself would always be used up. */
static double peak_utilization(const struct report_pool *pool) {
	int64_t peak = pool->peak_in_use != REPORT_UNKNOWN ? pool->peak_in_use : pool->peak_open;
	bool is_said = pool->capacity_source != NULL && strcmp(pool->capacity_source, "inferred") != 0;
	if (peak == REPORT_UNKNOWN || pool->capacity <= 0 || !is_said)
		return NAN;
	return (double)peak / (double)pool->capacity;
}

/* The value of one pool for metrics that are judged pool by pool. 0 if nothing happened there. */
static double pool_value(const struct report_pool *pool, enum gate_metric metric) {
	switch (metric) {
	case GATE_MAX_UTILIZATION:
		return peak_utilization(pool);
	case GATE_P95_ACQUIRE:
		return pool->connect_time.count > 0 ? pool->connect_time.p95 : 0;
	case GATE_MAX_HOLD:
		return pool->hold_time.count > 0 ? pool->hold_time.max : 0;
	default:
		return count_value(pool->peak_open);
	}
}

static bool is_summed(enum gate_metric metric) {
	return metric == GATE_MAX_OPEN || metric == GATE_RESERVED || metric == GATE_EXPECTED;
}

/* Takes a part into the whole: a sum, or the worst; an unknown part makes the whole unknown. */
static void take_part(struct measured *measured, enum gate_metric metric, double value, const char *of,
		      const struct report_site *site) {
	measured->parts++;
	if (isnan(measured->value))
		return;
	if (is_summed(metric)) {
		measured->value += value;
		measured->is_bound = measured->parts > 1;
		return;
	}
	if (!isnan(value) && value <= measured->value && measured->parts > 1)
		return;
	measured->value = value;
	measured->of = of;
	measured->site = site;
}

static struct measured measure_pools(struct gate_judging *judging, const struct gate_budget *budget) {
	const struct report *report = judging->report;
	struct measured measured = {0};
	for (size_t i = 0; i < report->pool_count; i++)
		if (selects_pool(judging->arena, &budget->selector, &report->pools[i]))
			take_part(&measured, budget->metric, pool_value(&report->pools[i], budget->metric),
				  pool_name(judging->arena, &report->pools[i]), NULL);
	if (budget->metric == GATE_MAX_HOLD && measured.parts > 0 && !isnan(measured.value)) {
		double oldest = oldest_open(report, budget->selector.role, REPORT_UNKNOWN);
		measured.value = oldest > measured.value ? oldest : measured.value;
	}
	return measured;
}

/* ---- Sites ------------------------------------------------------------------------------------------ */

static bool selects_site(const struct gate_selector *selector, const struct report_site *site) {
	const struct site_frame *frame = report_application_frame(site);
	return frame != NULL && matches(selector->function, frame->function) &&
		matches(selector->file, frame->file);
}

static double site_value(const struct report *report, const struct report_site *site,
			 enum gate_metric metric) {
	double value = 0;
	switch (metric) {
	case GATE_P95_ACQUIRE:
		return site->connect_time.count > 0 ? site->connect_time.p95 : 0;
	case GATE_MAX_HOLD:
		value = oldest_open(report, NULL, site->id);
		return site->hold_time.count > 0 && site->hold_time.max > value ? site->hold_time.max : value;
	default:
		return count_value(site->peak_open);
	}
}

static struct measured measure_sites(struct gate_judging *judging, const struct gate_budget *budget) {
	const struct report *report = judging->report;
	struct measured measured = {0};
	for (size_t i = 0; i < report->site_count; i++)
		if (selects_site(&budget->selector, &report->sites[i]))
			take_part(&measured, budget->metric,
				  site_value(report, &report->sites[i], budget->metric), NULL,
				  &report->sites[i]);
	return measured;
}

/* The place that did most of it, for a reader who must begin somewhere. */
static const struct report_site *worst_site(const struct report *report, enum gate_metric metric) {
	const struct report_site *worst = NULL;
	for (size_t i = 0; i < report->site_count; i++)
		if (worst == NULL ||
		    site_value(report, &report->sites[i], metric) > site_value(report, worst, metric))
			worst = &report->sites[i];
	return worst;
}

/* ---- The run ---------------------------------------------------------------------------------------- */

static struct measured measure_run(struct gate_judging *judging, const struct gate_budget *budget) {
	const struct report *report = judging->report;
	struct measured measured = {.parts = 1};
	switch (budget->metric) {
	case GATE_MAX_UTILIZATION:
		return measure_pools(judging, budget);
	case GATE_P95_ACQUIRE:
		measured.value = report->connect_time.count > 0 ? report->connect_time.p95 : 0;
		break;
	case GATE_MAX_HOLD:
		measured.value = oldest_open(report, NULL, REPORT_UNKNOWN);
		if (report->hold_time.count > 0 && report->hold_time.max > measured.value)
			measured.value = report->hold_time.max;
		break;
	default:
		measured.value = count_value(report->totals.peak_open);
	}
	measured.site = worst_site(report, budget->metric);
	return measured;
}

/* ---- Judging ---------------------------------------------------------------------------------------- */

static struct measured measure(struct gate_judging *judging, const struct gate_budget *budget) {
	if (selects_sites(&budget->selector))
		return measure_sites(judging, budget);
	if (selects_pools(&budget->selector))
		return measure_pools(judging, budget);
	return measure_run(judging, budget);
}

static const char *describe_excess(struct gate_judging *judging, const struct gate_budget *budget,
				   const struct measured *measured) {
	static const char *const quantities[GATE_METRIC_COUNT] = {
		[GATE_MAX_OPEN] = "peak of open connections",
		[GATE_MAX_UTILIZATION] = "peak utilization",
		[GATE_P95_ACQUIRE] = "95 % of connects took up to",
		[GATE_MAX_HOLD] = "longest hold",
		[GATE_RESERVED] = "peak of open connections",
		[GATE_EXPECTED] = "peak of open connections",
	};
	struct arena *arena = judging->arena;
	const char *subject =
		measured->of != NULL ? measured->of : gate_policy_selector_text(arena, &budget->selector);
	const char *limit = gate_policy_limit_text(arena, budget->metric, budget->limit);
	const char *seen = gate_policy_limit_text(arena, budget->metric, measured->value);
	const char *text = arena_text(arena, "%s: %s %s%s", subject, quantities[budget->metric],
				      measured->is_bound ? "at most " : "", seen);
	if (measured->is_bound)
		text = arena_text(arena, "%s (the sum of %zu peaks)", text, measured->parts);
	if (budget->metric == GATE_EXPECTED)
		return arena_text(arena, "%s, expected %s", text, limit);
	if (budget->metric == GATE_RESERVED)
		return arena_text(arena, "%s, allowed %s: of %" PRId64 " slots %" PRId64 " must stay free",
				  text, limit, budget->total, budget->free);
	return arena_text(arena, "%s, allowed %s", text, limit);
}

static const char *describe_unknown(struct gate_judging *judging, const struct gate_budget *budget,
				    const struct measured *measured) {
	struct arena *arena = judging->arena;
	const char *subject =
		measured->of != NULL ? measured->of : gate_policy_selector_text(arena, &budget->selector);
	return budget->metric == GATE_MAX_UTILIZATION
		? arena_text(arena,
			     "%s: cannot be judged, its capacity is not known: give it in the configuration "
			     "or by --limit",
			     subject)
		: arena_text(arena, "%s: cannot be judged, the report does not say", subject);
}

static bool is_kept(const struct gate_budget *budget, const struct measured *measured) {
	if (budget->metric == GATE_EXPECTED)
		return measured->value == budget->limit;
	return measured->value <= budget->limit;
}

static void judge_budget(struct gate_judging *judging, const struct gate_budget *budget) {
	struct measured measured = measure(judging, budget);
	bool is_unknown = isnan(measured.value);
	if (!is_unknown && is_kept(budget, &measured))
		return;
	struct gate_failure failure = {.item = gate_metric_name(budget->metric),
				       .source = budget->source,
				       .finding = REPORT_UNKNOWN,
				       .is_untrusted = is_unknown};
	failure.message = is_unknown ? describe_unknown(judging, budget, &measured)
				     : describe_excess(judging, budget, &measured);
	gate_judging_place(&failure, measured.site);
	gate_judging_fail(judging, &failure);
}

void gate_budgets_judge(struct gate_judging *judging) {
	for (size_t i = 0; i < judging->policy->budget_count; i++)
		judge_budget(judging, &judging->policy->budgets[i]);
}
