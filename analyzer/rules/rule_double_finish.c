/*
 * double-finish: PQfinish of a PGconn that had been finished already.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_double_finish(const struct rule_input *input, struct finding *finding) {
	const struct model_totals *totals = &input->group->totals;
	finding->count = totals->counter[MODEL_DOUBLE_FINISH];
	if (finding->count == 0)
		return false;
	finding->first_ns = totals->first_finding_ns[MODEL_DOUBLE_FINISH_SEEN];
	finding->last_ns = totals->last_finding_ns[MODEL_DOUBLE_FINISH_SEEN];
	finding->message =
		arena_text(input->arena,
			   "PQfinish was called here %" PRIu64 " time%s for a connection that had been "
			   "finished already: it works on freed memory",
			   finding->count, rule_plural(finding->count));
	return true;
}
