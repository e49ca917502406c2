/*
 * concurrent-use: two threads were inside calls on one PGconn at once.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_concurrent_use(const struct rule_input *input, struct finding *finding) {
	if (!rule_take_counted(input, MODEL_CONCURRENT_USE, MODEL_CONCURRENT_USE_SEEN, finding))
		return false;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " call%s made here while another thread was inside a call on the same "
			   "connection%s: a PGconn is for one thread at a time",
			   finding->count, finding->count == 1 ? " was" : "s were",
			   rule_say_other_site(input, MODEL_RELEASE_CONCURRENT_USE, RULE_FIRST_SITE));
	rule_add_count(finding, "calls", finding->count);
	return true;
}
