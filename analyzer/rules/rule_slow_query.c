/*
 * slow-query: commands that took longer than the threshold, or are in flight for longer. Work, not a leak: a note. Ended
 * commands were counted at one and at ten seconds, so a threshold in between counts those of ten seconds.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

enum { COUNTED_SLOW_S = 1, COUNTED_VERY_SLOW_S = 10 };

static uint64_t count_ended(const struct rule_input *input, double threshold) {
	const uint64_t *counter = input->group->totals.counter;
	return threshold <= COUNTED_SLOW_S         ? counter[MODEL_SLOW_QUERIES]
		: threshold <= COUNTED_VERY_SLOW_S ? counter[MODEL_VERY_SLOW_QUERIES]
						   : 0;
}

bool rule_slow_query(const struct rule_input *input, struct finding *finding) {
	const struct thresholds *thresholds = &input->settings->thresholds;
	const struct model_totals *totals = &input->group->totals;
	uint64_t ended = count_ended(input, thresholds->slow_query_note);
	uint64_t in_flight = 0;
	if (ended > 0) {
		finding->first_ns = totals->first_finding_ns[MODEL_SLOW_QUERY_SEEN];
		finding->last_ns = totals->last_finding_ns[MODEL_SLOW_QUERY_SEEN];
	}
	for (size_t i = 0; i < input->group->using_count; i++) {
		const struct model_lease *lease = input->group->using_here[i];
		double age = lease->until_ns > lease->command_begun_ns
			? (double)(lease->until_ns - lease->command_begun_ns) / 1e9
			: 0;
		if (!rule_is_open(lease) || !lease->is_active || lease->is_dedicated ||
		    lease->command_begun_ns == 0 || age < thresholds->slow_query_note)
			continue;
		rule_add_lease(input, finding, lease, lease->command_begun_ns);
		in_flight++;
	}
	finding->count = ended + in_flight;
	if (finding->count == 0)
		return false;
	finding->message = arena_text(
		input->arena, "%" PRIu64 " command%s of this place took longer than %s%s", finding->count,
		rule_plural(finding->count), rule_duration(input->arena, thresholds->slow_query_note),
		in_flight > 0 ? arena_text(input->arena, ", %" PRIu64 " of them still in flight", in_flight)
			      : "");
	rule_add_count(finding, "ended", ended);
	rule_add_count(finding, "very_slow", totals->counter[MODEL_VERY_SLOW_QUERIES]);
	rule_add_count(finding, "in_flight", in_flight);
	return true;
}
