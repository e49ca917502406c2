/*
 * churn: a place that opens a connection, uses it once and closes it, many times a second. Says what of the run went
 * into connecting, which a pool would save.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

enum { ENOUGH = 50 };

struct churn {
	uint64_t leases;      /* finished ones of the group in the history */
	uint64_t single_uses; /* of these, used exactly once */
	double connect_s;
	double hold_s;
};

static struct churn measure(const struct rule_input *input) {
	struct churn churn = {0};
	for (size_t i = 0; i < input->model->history_count; i++) {
		const struct model_ended *ended = &input->model->history[i];
		if (ended->release != MODEL_RELEASE_FINISHED || !rule_is_here(input, ended->site))
			continue;
		churn.leases++;
		churn.single_uses += ended->uses == 1;
		churn.connect_s += (double)ended->connect_ns / 1e9;
		churn.hold_s += (double)(ended->ended_ns - ended->established_ns) / 1e9;
	}
	return churn;
}

bool rule_churn(const struct rule_input *input, struct finding *finding) {
	const struct thresholds *thresholds = &input->settings->thresholds;
	const struct model_totals *totals = &input->group->totals;
	uint64_t finished = totals->counter[MODEL_FINISHED];
	double span_s = (double)(totals->last_ns - totals->first_ns) / 1e9;
	if (finished < ENOUGH || span_s < thresholds->churn_window ||
	    (double)finished / span_s < thresholds->churn_rate)
		return false;
	struct churn churn = measure(input);
	/* The history is a sample of the last ones; nearly all of them must be of this shape. */
	if (churn.leases == 0 || churn.single_uses * 10 < churn.leases * 9)
		return false;
	double rate = (double)finished / span_s;
	double connect_ms = 1e3 * churn.connect_s / (double)churn.leases;
	if (rate * connect_ms / 1e3 < thresholds->churn_share)
		return false;
	finding->count = finished;
	finding->first_ns = totals->first_ns;
	finding->last_ns = totals->last_ns;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " connections were opened here, used once and closed, %.0f per second: "
			   "%.0f ms of every second went into connecting, which a pool would save",
			   finished, rate, rate * connect_ms);
	rule_add_count(finding, "per_second", (uint64_t)(rate + 0.5));
	rule_add_count(finding, "connecting_ms_per_second", (uint64_t)(rate * connect_ms + 0.5));
	rule_add_seconds(finding, "connect_mean", connect_ms / 1e3);
	rule_add_seconds(finding, "hold_mean", churn.hold_s / (double)churn.leases);
	return true;
}
