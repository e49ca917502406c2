/*
 * use-after-finish: a command on a PGconn that had been given to PQfinish.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_use_after_finish(const struct rule_input *input, struct finding *finding) {
	if (!rule_take_counted(input, MODEL_USE_AFTER_FINISH, MODEL_USE_AFTER_FINISH_SEEN, finding))
		return false;
	finding->message = arena_text(
		input->arena, "%" PRIu64 " command%s sent here on a connection that was finished already",
		finding->count, finding->count == 1 ? " was" : "s were");
	rule_add_count(finding, "commands", finding->count);
	return true;
}
