/*
 * long-held: in use for longer than the threshold, and no command in flight. A suspicion, by age alone: who gives the
 * connection back later is counted in totals.returned_late. What is known to be held on purpose (LISTEN, replication,
 * advisory locks) is not meant, nor a transaction that waits so long that it is a finding of its own.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

static double seconds_since(const struct model_lease *lease, uint64_t since_ns) {
	return lease->until_ns > since_ns ? (double)(lease->until_ns - since_ns) / 1e9 : 0;
}

static bool is_suspect(const struct rule_input *input, const struct model_lease *lease) {
	const struct thresholds *thresholds = &input->settings->thresholds;
	bool waits_in_transaction = lease->is_in_transaction &&
		seconds_since(lease, lease->last_event_ns) >= thresholds->idle_in_transaction_warning;
	return rule_is_waiting_in_use(lease) && !lease->is_dedicated && !waits_in_transaction &&
		seconds_since(lease, lease->use_begun_ns) >= thresholds->long_held &&
		!rule_is_blamed_open(input, lease);
}

bool rule_long_held(const struct rule_input *input, struct finding *finding) {
	double threshold = input->settings->thresholds.long_held;
	for (size_t i = 0; i < input->group->using_count; i++) {
		const struct model_lease *lease = input->group->using_here[i];
		if (is_suspect(input, lease))
			rule_add_lease(input, finding, lease, lease->use_begun_ns);
	}
	if (finding->count == 0)
		return false;
	finding->message = arena_text(
		input->arena,
		"%" PRIu64 " connection%s in use since here for more than %s, and no command is in "
		"flight: perhaps never given back",
		finding->count, finding->count == 1 ? " is" : "s are",
		rule_duration(input->arena, threshold));
	rule_add_count(finding, "held", finding->count);
	rule_add_oldest_age(finding);
	return true;
}
