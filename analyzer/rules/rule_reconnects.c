/*
 * reconnects: sessions that were reset or that the server ended, per hour. A run shorter than an hour is taken as
 * one.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

enum { HOUR_S = 3600 };

bool rule_reconnects(const struct rule_input *input, struct finding *finding) {
	const struct thresholds *thresholds = &input->settings->thresholds;
	const struct model_totals *totals = &input->model->pools[input->pool->number].totals;
	uint64_t resets = totals->counter[MODEL_RESETS];
	uint64_t closed = totals->counter[MODEL_SERVER_CLOSED];
	/* A reset is the answer to a closed session: one event, not two. */
	uint64_t count = resets > closed ? resets : closed;
	double span_s = (double)(totals->last_ns - totals->first_ns) / 1e9;
	double per_hour = (double)count * HOUR_S / (span_s > HOUR_S ? span_s : HOUR_S);
	if (per_hour <= thresholds->reconnects_warning)
		return false;
	finding->count = count;
	finding->level = per_hour > thresholds->reconnects_critical ? FINDING_ERROR : FINDING_WARNING;
	finding->first_ns = totals->first_ns;
	finding->last_ns = totals->last_ns;
	finding->message = arena_text(
		input->arena,
		"%.0f reconnects per hour (%" PRIu64 " resets, %" PRIu64
		" sessions ended by the server): look for restarts and idle timeouts of server or pooler",
		per_hour, resets, closed);
	rule_add_count(finding, "resets", resets);
	rule_add_count(finding, "server_closed", closed);
	rule_add_count(finding, "per_hour", (uint64_t)(per_hour + 0.5));
	return true;
}
