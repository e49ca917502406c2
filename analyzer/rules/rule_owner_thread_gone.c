/*
 * owner-thread-gone: the thread that took it has ended, nobody used it since, and it was not given back: it is open, was left,
 * or was closed by nothing but a collector or the end of the process.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

static void take_open(const struct rule_input *input, struct finding *finding) {
	for (size_t i = 0; i < input->group->taken_count; i++)
		if (input->group->taken[i]->is_orphan)
			rule_add_lease(input, finding, input->group->taken[i],
				       input->group->taken[i]->established_ns);
}

bool rule_owner_thread_gone(const struct rule_input *input, struct finding *finding) {
	const unsigned all = (1u << MODEL_HOW_COUNT) - 1;
	if (input->group->is_pool)
		return false; /* a pool lends to one thread what another has opened */
	take_open(input, finding);
	uint64_t open = finding->count;
	uint64_t left = rule_take_left(input, MODEL_LEFT_ORPHANED, all, finding);
	uint64_t closed = rule_take_released(input, RELEASE_EXIT, RULE_ORPHANS_ONLY, finding) +
		rule_take_released(input, RELEASE_COLLECTOR, RULE_ORPHANS_ONLY, finding);
	finding->count = open + left + closed;
	if (finding->count == 0)
		return false;
	/* Without a word on its uses, another thread may have it. */
	if (!input->model->has_uses)
		finding->certainty = FINDING_SUSPICION;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " of %" PRIu64
			   " connection%s taken here %s held on after the thread that took %s had "
			   "ended, and used by nobody since%s",
			   finding->count, rule_count_taken(input), rule_plural(rule_count_taken(input)),
			   finding->count == 1 ? "was" : "were", finding->count == 1 ? "it" : "them",
			   rule_say_released(input));
	rule_add_count(finding, "taken", rule_count_taken(input));
	rule_add_count(finding, "released", input->group->released[RELEASE_EXPLICIT].count);
	rule_add_count(finding, "open", open);
	rule_add_count(finding, "left", left);
	rule_add_count(finding, "closed_at_exit_or_collected", closed);
	rule_add_oldest_age(finding);
	return true;
}
