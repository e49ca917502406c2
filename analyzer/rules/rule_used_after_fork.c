/*
 * used-after-fork: a command or PQfinish on a connection by a process that did not open it.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_used_after_fork(const struct rule_input *input, struct finding *finding) {
	const struct model_totals *totals = &input->group->totals;
	uint64_t finished = totals->counter[MODEL_INHERITED_FINISH];
	finding->count = totals->counter[MODEL_INHERITED_USE];
	if (finding->count == 0)
		return false;
	finding->first_ns = totals->first_finding_ns[MODEL_INHERITED_SEEN];
	finding->last_ns = totals->last_finding_ns[MODEL_INHERITED_SEEN];
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " connection%s opened by another process before a fork %s used here%s",
			   finding->count, rule_plural(finding->count), finding->count == 1 ? "was" : "were",
			   finished > 0 ? "; PQfinish ends the session of the process that opened it"
					: ": two processes on one session corrupt its protocol");
	rule_add_count(finding, "finished_here", finished);
	rule_take_borrowed_examples(input, finding);
	return true;
}
