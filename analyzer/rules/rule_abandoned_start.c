/*
 * abandoned-start: PQconnectStart or PQresetStart whose attempt reached neither OK nor FAILED.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_abandoned_start(const struct rule_input *input, struct finding *finding) {
	const unsigned hows = RULE_HOW(MODEL_EXIT) | RULE_HOW(MODEL_EXEC);
	const struct model_totals *totals = &input->group->totals;
	uint64_t left = rule_take_left(input, MODEL_LEFT_CONNECTING, hows, finding);
	uint64_t abandoned = totals->counter[MODEL_ABANDONED];
	uint64_t cut_short = totals->counter[MODEL_CUT_SHORT];
	uint64_t given_up = abandoned > cut_short ? abandoned - cut_short : 0;
	finding->count = left + given_up + cut_short;
	if (finding->count == 0)
		return false;
	if (left == 0) {
		finding->first_ns = totals->first_ns;
		finding->last_ns = totals->last_ns;
	}
	finding->message = arena_text(input->arena,
				      "%" PRIu64 " connection attempt%s started here never ended: %" PRIu64
				      " given up before the connection was there, %" PRIu64
				      " cut short by a jump, an exception or a cancellation, %" PRIu64
				      " left at the end of the process",
				      finding->count, rule_plural(finding->count), given_up, cut_short, left);
	rule_add_count(finding, "given_up", given_up);
	rule_add_count(finding, "cut_short", cut_short);
	rule_add_count(finding, "left", left);
	rule_add_oldest_age(input, MODEL_LEFT_CONNECTING, hows, finding);
	return true;
}
