/*
 * pool-retained: members of a known connection pool that nobody closed before the process ended. It keeps them on
 * purpose; closing it would be tidy. What was in use then had been taken from the pool: never-finished or exit-closed
 * where it was used.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

static uint64_t without(uint64_t all, uint64_t some) {
	return all > some ? all - some : 0;
}

bool rule_pool_retained(const struct rule_input *input, struct finding *finding) {
	const unsigned hows = RULE_HOW(MODEL_EXIT) | RULE_HOW(MODEL_EXEC);
	if (!input->group->is_pool)
		return false;
	uint64_t left = rule_take_left(input, MODEL_LEFT_OPEN, hows, finding) +
		rule_take_left(input, MODEL_LEFT_ORPHANED, hows, finding);
	uint64_t closed = rule_take_released(input, RELEASE_EXIT, RULE_WITHOUT_ORPHANS, finding) +
		rule_take_released(input, RELEASE_EXIT, RULE_ORPHANS_ONLY, finding);
	left = without(left, input->group->in_use_at_end[SITE_CHECKOUT_LEFT]);
	closed = without(closed, input->group->in_use_at_end[SITE_CHECKOUT_CLOSED_AT_EXIT]);
	finding->count = left + closed;
	if (finding->count == 0)
		return false;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " of %" PRIu64
			   " connection%s taken by a connection pool %s open when the process ended, "
			   "and not in use",
			   finding->count, rule_count_taken(input), rule_plural(rule_count_taken(input)),
			   finding->count == 1 ? "was" : "were");
	rule_add_count(finding, "taken", rule_count_taken(input));
	rule_add_count(finding, "left", left);
	rule_add_count(finding, "closed_at_exit", closed);
	rule_add_oldest_age(finding);
	return true;
}
