/*
 * never-finished: established, and the process ended itself without PQfinish. A pool's lease only if it was in use: blamed
 * where it was used.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

static uint64_t take_own(const struct rule_input *input, struct finding *finding) {
	const unsigned hows = RULE_HOW(MODEL_EXIT) | RULE_HOW(MODEL_EXEC);
	uint64_t taken = rule_count_taken(input);
	if (input->group->is_pool)
		return 0; /* pool-retained */
	finding->count = rule_take_left(input, MODEL_LEFT_OPEN, hows, finding);
	if (finding->count == 0)
		return 0;
	if (taken < finding->count)
		taken = finding->count;
	finding->message = arena_text(input->arena,
				      "%" PRIu64 " of %" PRIu64
				      " connection%s taken here %s never finished: PQfinish was "
				      "not called before the process ended%s",
				      finding->count, taken, rule_plural(taken),
				      finding->count == 1 ? "was" : "were", rule_say_released(input));
	rule_add_count(finding, "taken", taken);
	rule_add_count(finding, "finished", input->group->totals.counter[MODEL_FINISHED]);
	rule_add_count(finding, "released", input->group->released[RELEASE_EXPLICIT].count);
	rule_add_count(finding, "left_at_exit",
		       rule_count_left(input, MODEL_LEFT_OPEN, RULE_HOW(MODEL_EXIT)));
	rule_add_count(finding, "left_at_exec",
		       rule_count_left(input, MODEL_LEFT_OPEN, RULE_HOW(MODEL_EXEC)));
	return finding->count;
}

bool rule_never_finished(const struct rule_input *input, struct finding *finding) {
	uint64_t own = take_own(input, finding);
	uint64_t of_pools = rule_take_checkouts(input, SITE_CHECKOUT_LEFT, finding);
	if (own + of_pools == 0)
		return false;
	if (of_pools > 0)
		rule_add_count(finding, "checked_out", of_pools);
	rule_add_oldest_age(finding);
	return true;
}
