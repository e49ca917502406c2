/*
 * exhausted: somebody was refused for lack of slots, on the server, for the role, the database, or in a pooler. A fact: the
 * server said so. Who held the slots at that moment is in the report's snapshots.
 */
#include <inttypes.h>
#include <string.h>

#include "analyzer/pool_load.h"
#include "analyzer/rules/rule.h"

static const char *words_of(const char *class_name) {
	static const struct {
		const char *class_name;
		const char *words;
	} known[] = {{"too_many_clients", "the server has no slot left (max_connections)"},
		     {"reserved_slots", "the slots left are reserved for superusers"},
		     {"role_limit", "the role's connection limit is reached"},
		     {"database_limit", "the database's connection limit is reached"},
		     {"pooler_limit", "the pooler lets no more clients in"}};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(known[i].class_name, class_name) == 0)
			return known[i].words;
	return class_name;
}

/* The first moment of which the holders are known; its class has the words. */
static void take_snapshot(const struct rule_input *input, struct finding *finding) {
	const struct model_snapshot *snapshot = input->model->snapshots;
	if (input->model->snapshot_count == 0)
		return;
	finding->site = snapshot->site;
	for (size_t i = 0; i < input->report->pool_count; i++)
		if (input->report->pools[i].number == snapshot->pool) {
			finding->has_pool = true;
			finding->pool = i;
		}
	rule_add_count(finding, "held_then", snapshot->holder_count + snapshot->missing_count);
}

bool rule_exhausted(const struct rule_input *input, struct finding *finding) {
	const struct model_failure *worst = NULL;
	for (size_t i = 0; i < input->model->failure_count; i++) {
		const struct model_failure *failure = &input->model->failures[i];
		if (!pool_load_is_for_lack_of_slots(failure->class_name))
			continue;
		finding->count += failure->count;
		if (worst == NULL || failure->count > worst->count)
			worst = failure;
		if (finding->first_ns == 0 || failure->first_ns < finding->first_ns)
			finding->first_ns = failure->first_ns;
		if (failure->last_ns > finding->last_ns)
			finding->last_ns = failure->last_ns;
	}
	if (worst == NULL)
		return false;
	finding->message = arena_text(input->arena, "%" PRIu64 " connection%s refused for lack of slots: %s",
				      finding->count, finding->count == 1 ? " was" : "s were",
				      words_of(worst->class_name));
	rule_add_count(finding, "refused", finding->count);
	take_snapshot(input, finding);
	if (input->report->server != NULL)
		rule_add_count(finding, "max_connections", (uint64_t)input->report->server->max_connections);
	return true;
}
