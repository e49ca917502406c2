/*
 * server-closed: the server ended a session that was established, and a command found out.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_server_closed(const struct rule_input *input, struct finding *finding) {
	if (!rule_take_counted(input, MODEL_SERVER_CLOSED, MODEL_SERVER_CLOSED_SEEN, finding))
		return false;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " command%s sent here found that the server had ended the session, or "
			   "the network had: a restart, an idle timeout, pg_terminate_backend",
			   finding->count, rule_plural(finding->count));
	rule_add_count(finding, "commands", finding->count);
	return true;
}
