/*
 * killed: established and held by a process that was killed, as far as anybody could see. Of a pool also what threads had
 * taken that ended before.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

static uint64_t count_left(const struct rule_input *input, enum model_how_ended how) {
	return rule_count_left(input, MODEL_LEFT_OPEN, RULE_HOW(how)) +
		(input->group->is_pool ? rule_count_left(input, MODEL_LEFT_ORPHANED, RULE_HOW(how)) : 0);
}

bool rule_killed(const struct rule_input *input, struct finding *finding) {
	const unsigned hows = RULE_HOW(MODEL_KILLED) | RULE_HOW(MODEL_UNKNOWN);
	uint64_t killed = count_left(input, MODEL_KILLED);
	uint64_t unknown = count_left(input, MODEL_UNKNOWN);
	finding->count = killed + unknown;
	if (finding->count == 0 || input->growing[input->groups->group_of[input->group->site]])
		return false; /* growing: the same leases */
	rule_take_left(input, MODEL_LEFT_OPEN, hows, finding);
	if (input->group->is_pool)
		rule_take_left(input, MODEL_LEFT_ORPHANED, hows, finding);
	const char *why = unknown == 0 ? "was killed"
		: killed == 0
		? "ended without a mark: killed, crashed or replaced by an image without the shim"
		: "was killed, or ended without a mark: killed, crashed or replaced by an image "
		  "without the shim";
	finding->certainty = unknown == 0 ? FINDING_FACT : FINDING_SUSPICION;
	finding->message = arena_text(
		input->arena, "%" PRIu64 " connection%s taken here %s still held when the process %s",
		finding->count, rule_plural(finding->count), finding->count == 1 ? "was" : "were", why);
	rule_add_count(finding, "killed", killed);
	rule_add_count(finding, "unknown", unknown);
	rule_add_oldest_age(finding);
	return true;
}
