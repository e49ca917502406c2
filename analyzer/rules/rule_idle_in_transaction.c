/*
 * idle-in-transaction: a transaction is open and the program sends nothing. It keeps its locks, and its connection from
 * everybody else. Spans that ended and those that go on are counted where the use began.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

static double idle_since(const struct model_lease *lease) {
	return lease->until_ns > lease->last_event_ns ? (double)(lease->until_ns - lease->last_event_ns) / 1e9
						      : 0;
}

static bool is_idle_in_transaction(const struct model_lease *lease) {
	return rule_is_waiting_in_use(lease) && lease->is_in_transaction && !lease->is_dedicated;
}

/* At least so long: spans that ended, and connections that still are. */
static uint64_t count_longer(const struct rule_input *input, double seconds, struct finding *finding) {
	uint64_t count = rule_count_longer(input, MODEL_IDLE_SPAN_TIME, seconds);
	for (size_t i = 0; i < input->group->using_count; i++) {
		const struct model_lease *lease = input->group->using_here[i];
		if (!is_idle_in_transaction(lease) || idle_since(lease) < seconds)
			continue;
		count++;
		if (finding != NULL)
			rule_add_lease(input, finding, lease, lease->last_event_ns);
	}
	return count;
}

bool rule_idle_in_transaction(const struct rule_input *input, struct finding *finding) {
	const struct thresholds *thresholds = &input->settings->thresholds;
	const struct model_totals *totals = &input->group->totals;
	uint64_t noted = count_longer(input, thresholds->idle_in_transaction_note, finding);
	uint64_t warned = count_longer(input, thresholds->idle_in_transaction_warning, NULL);
	uint64_t errors = count_longer(input, thresholds->idle_in_transaction_error, NULL);
	uint64_t now = finding->count;
	if (noted == 0)
		return false;
	finding->count = noted;
	finding->level = errors > 0 ? FINDING_ERROR : warned > 0 ? FINDING_WARNING : FINDING_NOTE;
	if (finding->first_ns == 0)
		finding->first_ns = totals->first_finding_ns[MODEL_IDLE_SPAN_SEEN];
	if (finding->last_ns == 0)
		finding->last_ns = totals->last_finding_ns[MODEL_IDLE_SPAN_SEEN];
	finding->message = arena_text(
		input->arena,
		"%" PRIu64 " time%s a transaction begun here waited for its program for more than %s%s",
		noted, rule_plural(noted), rule_duration(input->arena, thresholds->idle_in_transaction_note),
		now > 0 ? arena_text(input->arena, "; %" PRIu64 " wait%s now", now, now == 1 ? "s" : "")
			: "");
	rule_add_count(finding, "noted", noted);
	rule_add_count(finding, "warned", warned);
	rule_add_count(finding, "errors", errors);
	rule_add_count(finding, "now", now);
	rule_add_oldest_age(finding);
	return true;
}
