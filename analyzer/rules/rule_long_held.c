/*
 * long-held: in use for longer than the threshold, and no command in flight. A suspicion, by age alone: who gives the
 * connection back later is counted in totals.returned_late. What is known to be held on purpose (LISTEN, replication,
 * advisory locks) is not meant.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_long_held(const struct rule_input *input, struct finding *finding) {
	double threshold = input->settings->thresholds.long_held;
	for (size_t i = 0; i < input->group->using_count; i++) {
		const struct model_lease *lease = input->group->using_here[i];
		double age = lease->until_ns > lease->use_begun_ns
			? (double)(lease->until_ns - lease->use_begun_ns) / 1e9
			: 0;
		if (rule_is_waiting_in_use(lease) && !lease->is_dedicated && age >= threshold)
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
