/*
 * abandoned-start: PQconnectStart or PQresetStart whose attempt reached neither OK nor FAILED.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

/* Only what happened is told. */
static const char *say_parts(struct arena *arena, uint64_t given_up, uint64_t cut_short, uint64_t left) {
	const struct {
		uint64_t count;
		const char *text;
	} parts[] = {{given_up, "given up before the connection was there"},
		     {cut_short, "cut short by a jump, an exception or a cancellation"},
		     {left, "left at the end of the process"}};
	const char *line = "";
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (parts[i].count > 0)
			line = arena_text(arena, "%s%s %" PRIu64 " %s", line, *line != '\0' ? "," : ":",
					  parts[i].count, parts[i].text);
	return line;
}

bool rule_abandoned_start(const struct rule_input *input, struct finding *finding) {
	const unsigned hows = RULE_HOW(MODEL_EXIT) | RULE_HOW(MODEL_EXEC);
	const struct model_totals *totals = &input->group->totals;
	uint64_t left = rule_take_left(input, MODEL_LEFT_CONNECTING, hows, finding) +
		rule_take_left(input, MODEL_LEFT_RESETTING, hows, finding);
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
	finding->message = arena_text(
		input->arena, "%" PRIu64 " connection attempt%s started here never ended%s", finding->count,
		rule_plural(finding->count), say_parts(input->arena, given_up, cut_short, left));
	rule_add_count(finding, "given_up", given_up);
	rule_add_count(finding, "cut_short", cut_short);
	rule_add_count(finding, "left", left);
	rule_add_oldest_age(finding);
	return true;
}
