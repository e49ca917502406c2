/*
 * failed-not-finished: a connect returned CONNECTION_BAD and its PGconn was never given to PQfinish.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_failed_not_finished(const struct rule_input *input, struct finding *finding) {
	const unsigned hows = RULE_HOW(MODEL_EXIT) | RULE_HOW(MODEL_EXEC);
	const uint64_t *counter = input->group->totals.counter;
	finding->count = rule_take_left(input, MODEL_LEFT_FAILED, hows, finding);
	if (finding->count == 0)
		return false;
	finding->message = arena_text(
		input->arena,
		"%" PRIu64 " connection%s that failed here %s never finished: also a failed PGconn "
		"keeps memory, and maybe a socket, until PQfinish",
		finding->count, rule_plural(finding->count), finding->count == 1 ? "was" : "were");
	rule_add_count(finding, "failed", counter[MODEL_FAILED]);
	rule_add_count(finding, "failed_finished", counter[MODEL_FAILED_FINISHED]);
	rule_add_oldest_age(finding);
	return true;
}
