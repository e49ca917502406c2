/*
 * finish-unseen: libpq gave the address of an open lease out again, so it was finished by a way that
 * the shim does not see.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_finish_unseen(const struct rule_input *input, struct finding *finding) {
	const struct model_totals *totals = &input->group->totals;
	finding->count = totals->counter[MODEL_FINISH_UNSEEN];
	if (finding->count == 0)
		return false;
	finding->first_ns = totals->first_ns;
	finding->last_ns = totals->last_ns;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " connection%s taken here %s finished in a way that was not recorded",
			   finding->count, rule_plural(finding->count), finding->count == 1 ? "was" : "were");
	return true;
}
