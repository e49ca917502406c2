/*
 * never-used: established and held for longer than the threshold without one command. What is blamed for its end already
 * is left out.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

/* By a collector or the end of the process, or after its thread had gone. */
static bool is_end_blamed(const struct rule_input *input, const struct model_ended *ended) {
	enum release_kind kind =
		release_kind_of(&input->groups->frames[ended->release_site], ended->release_facts);
	return !input->group->is_pool && (kind == RELEASE_EXIT || kind == RELEASE_COLLECTOR);
}

/* Finished ones are in the history, as far as it reaches. */
static uint64_t count_finished(const struct rule_input *input, double threshold) {
	uint64_t count = 0;
	if (input->group->totals.counter[MODEL_FINISHED_UNUSED] == 0)
		return 0;
	for (size_t i = 0; i < input->model->history_count; i++) {
		const struct model_ended *ended = &input->model->history[i];
		bool is_long = ended->established_ns != 0 && ended->ended_ns > ended->established_ns &&
			(double)(ended->ended_ns - ended->established_ns) / 1e9 >= threshold;
		count += is_long && ended->release == MODEL_RELEASE_FINISHED && ended->commands == 0 &&
			!ended->is_dedicated && rule_is_here(input, ended->site) &&
			!is_end_blamed(input, ended);
	}
	return count;
}

/* What a process left in its pool is there still, as a note only. */
static bool is_unused(const struct rule_input *input, const struct model_lease *lease, double threshold) {
	bool is_left_in_pool = lease->is_owner_gone && input->group->is_pool && lease->how != MODEL_KILLED;
	return lease->state == MODEL_LEASE_OPEN && lease->was_established && lease->commands == 0 &&
		(!lease->is_owner_gone || is_left_in_pool) && !lease->is_dedicated &&
		!rule_is_blamed_open(input, lease) && lease->until_ns > lease->established_ns &&
		(double)(lease->until_ns - lease->established_ns) / 1e9 >= threshold;
}

bool rule_never_used(const struct rule_input *input, struct finding *finding) {
	double threshold = input->settings->thresholds.never_used;
	if (!input->model->has_uses)
		return false;
	for (size_t i = 0; i < input->group->taken_count; i++)
		if (is_unused(input, input->group->taken[i], threshold))
			rule_add_lease(input, finding, input->group->taken[i],
				       input->group->taken[i]->established_ns);
	uint64_t open = finding->count;
	uint64_t finished = count_finished(input, threshold);
	finding->count = open + finished;
	if (finding->count == 0)
		return false;
	finding->message = arena_text(
		input->arena, "%" PRIu64 " connection%s taken here for more than %s without one command",
		finding->count, finding->count == 1 ? " was" : "s were",
		rule_duration(input->arena, threshold));
	rule_add_count(finding, "open", open);
	rule_add_count(finding, "finished", finished);
	rule_add_oldest_age(finding);
	return true;
}
