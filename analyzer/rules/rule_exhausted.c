/*
 * exhausted: somebody was refused for lack of slots, on the server, for the role, the database, or in a pooler, or waited
 * beyond the threshold while there was none. A fact: the server said so, or the wait was seen. Who held the slots at the
 * moment of a refusal is in the report's snapshots.
 */
#include <inttypes.h>
#include <string.h>

#include "analyzer/judge/pool_load.h"
#include "analyzer/judge/pool_waits.h"
#include "analyzer/rules/rule.h"

static const char *words_of(const char *class_name) {
	static const struct {
		const char *class_name;
		const char *words;
	} known[] = {{"too_many_clients", "the server has no slot left (max_connections)"},
		     {"reserved_slots", "the slots left are reserved for superusers"},
		     {"role_limit", "the role's connection limit is reached"},
		     {"database_limit", "the database's connection limit is reached"},
		     {"pooler_limit", "the pooler had no connection to give"}};
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

/* Refused callers, and of what class most of them were; NULL: none. */
static const struct model_failure *take_refusals(const struct rule_input *input, struct finding *finding) {
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
	return worst;
}

/* Callers that got a connection in the end, after a wait that nobody would call short. */
static struct pool_waits take_waits(const struct rule_input *input, struct finding *finding) {
	struct pool_waits all = {0};
	for (size_t i = 0; i < input->report->pool_count; i++) {
		struct pool_waits waits =
			pool_waits_long(input->model, &input->report->pools[i], &input->settings->thresholds);
		all.count += waits.count;
		if (waits.count == 0)
			continue;
		if (finding->first_ns == 0 || waits.first_ns < finding->first_ns)
			finding->first_ns = waits.first_ns;
		if (waits.last_ns > finding->last_ns)
			finding->last_ns = waits.last_ns;
		if (waits.longest_ns <= all.longest_ns)
			continue;
		all.longest_ns = waits.longest_ns;
		finding->site = waits.site;
		finding->has_pool = true;
		finding->pool = i;
	}
	finding->count += all.count;
	return all;
}

static const char *say_waits(const struct rule_input *input, const struct pool_waits *waits) {
	return arena_text(input->arena, "%" PRIu64 " waited %s or more for a connection, the longest %s",
			  waits->count,
			  rule_duration(input->arena, input->settings->thresholds.connect_critical),
			  rule_duration(input->arena, (double)waits->longest_ns / 1e9));
}

static const char *say_refusals(const struct rule_input *input, const struct model_failure *worst,
				uint64_t refused) {
	return arena_text(input->arena, "%" PRIu64 " connection%s refused for lack of slots: %s", refused,
			  refused == 1 ? " was" : "s were", words_of(worst->class_name));
}

bool rule_exhausted(const struct rule_input *input, struct finding *finding) {
	const struct model_failure *worst = take_refusals(input, finding);
	uint64_t refused = finding->count;
	struct pool_waits waits = take_waits(input, finding);
	if (worst == NULL && waits.count == 0)
		return false;
	if (worst == NULL)
		finding->message = say_waits(input, &waits);
	else if (waits.count == 0)
		finding->message = say_refusals(input, worst, refused);
	else
		finding->message = arena_text(input->arena, "%s; %s", say_refusals(input, worst, refused),
					      say_waits(input, &waits));
	rule_add_count(finding, "refused", refused);
	if (waits.count > 0) {
		rule_add_count(finding, "waited", waits.count);
		rule_add_seconds(finding, "longest_wait", (double)waits.longest_ns / 1e9);
	}
	if (worst != NULL)
		take_snapshot(input, finding);
	if (input->report->server != NULL)
		rule_add_count(finding, "max_connections", (uint64_t)input->report->server->max_connections);
	return true;
}
