/*
 * finalizer-closed: closed by a garbage collector, not by the program's own code; a note if the object was destroyed at
 * once when the program dropped its last reference (Python counts references).
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

/* Of a pool also what threads had taken that have ended: nobody else speaks of it. */
static uint64_t take_collected(const struct rule_input *input, struct finding *finding) {
	uint64_t orphans = input->group->is_pool
		? rule_take_released(input, RELEASE_COLLECTOR, RULE_ORPHANS_ONLY, finding)
		: 0;
	return orphans + rule_take_released(input, RELEASE_COLLECTOR, RULE_WITHOUT_ORPHANS, finding);
}

bool rule_finalizer_closed(const struct rule_input *input, struct finding *finding) {
	uint64_t collected = take_collected(input, finding);
	const struct site_released *dropped = &input->group->released[RELEASE_DROPPED];
	bool is_prompt = collected == 0;
	bool is_growing = input->growing[input->groups->group_of[input->group->site]];
	if (is_prompt && (input->group->is_pool || is_growing))
		return false; /* a pool that shrinks drops what it no longer needs; growing: the same leases */
	finding->count = is_prompt ? rule_take_released(input, RELEASE_DROPPED, RULE_WITHOUT_ORPHANS, finding)
				   : collected;
	if (finding->count == 0)
		return false;
	finding->level = is_prompt ? FINDING_NOTE : FINDING_WARNING;
	finding->message =
		arena_text(input->arena,
			   is_prompt ? "%" PRIu64 " of %" PRIu64
				       " connection%s taken here %s closed when the program dropped "
				       "the last reference, not by a call of its own"
				     : "%" PRIu64 " of %" PRIu64
				       " connection%s taken here %s closed by a garbage collector, "
				       "whenever it came: until then they were held for nothing",
			   finding->count, rule_count_taken(input), rule_plural(rule_count_taken(input)),
			   finding->count == 1 ? "was" : "were");
	rule_add_count(finding, "collected", collected);
	rule_add_count(finding, "dropped", dropped->count);
	rule_add_count(finding, "released", input->group->released[RELEASE_EXPLICIT].count);
	rule_add_oldest_age(finding);
	return true;
}
