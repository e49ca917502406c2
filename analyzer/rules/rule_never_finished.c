/*
 * never-finished: established, and the process ended itself without PQfinish.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_never_finished(const struct rule_input *input, struct finding *finding) {
	if (input->group->is_pool)
		return false; /* pool-retained */
	const unsigned hows = RULE_HOW(MODEL_EXIT) | RULE_HOW(MODEL_EXEC);
	const uint64_t *counter = input->group->totals.counter;
	uint64_t taken = rule_count_taken(input);
	finding->count = rule_take_left(input, MODEL_LEFT_OPEN, hows, finding);
	if (finding->count == 0)
		return false;
	if (taken < finding->count)
		taken = finding->count;
	finding->message = arena_text(input->arena,
				      "%" PRIu64 " of %" PRIu64
				      " connection%s taken here %s never finished: PQfinish was "
				      "not called before the process ended%s",
				      finding->count, taken, rule_plural(taken),
				      finding->count == 1 ? "was" : "were", rule_say_released(input));
	rule_add_count(finding, "taken", taken);
	rule_add_count(finding, "finished", counter[MODEL_FINISHED]);
	rule_add_count(finding, "released", input->group->released[RELEASE_EXPLICIT].count);
	rule_add_count(finding, "left_at_exit",
		       rule_count_left(input, MODEL_LEFT_OPEN, RULE_HOW(MODEL_EXIT)));
	rule_add_count(finding, "left_at_exec",
		       rule_count_left(input, MODEL_LEFT_OPEN, RULE_HOW(MODEL_EXEC)));
	rule_add_oldest_age(finding);
	return true;
}
