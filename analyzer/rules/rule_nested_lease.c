/*
 * nested-lease: a thread inside a transaction took a connection, or began to use another one. When all threads
 * of a pool do so at once, each waits for what another holds.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_nested_lease(const struct rule_input *input, struct finding *finding) {
	if (!rule_take_counted(input, MODEL_NESTED_LEASE, MODEL_NESTED_LEASE_SEEN, finding))
		return false;
	finding->message = arena_text(
		input->arena,
		"%" PRIu64 " time%s a thread inside a transaction%s took or began to use another "
		"connection here: as many such threads as the pool has connections block each other",
		finding->count, rule_plural(finding->count),
		rule_say_other_site(input, MODEL_RELEASE_NESTED_LEASE, RULE_SECOND_SITE));
	rule_add_count(finding, "times", finding->count);
	return true;
}
