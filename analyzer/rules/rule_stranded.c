/*
 * stranded: a connection that was used, lies idle, and was not used again while the same thread opened more at the same
 * place: perhaps it was lost on its way back to a pool. Never more than a suspicion: a second pool, or one connection
 * per thread, looks nearly the same. These are left out as far as they show: another place, another thread.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

static bool is_candidate(const struct rule_input *input, const struct model_lease *lease, double threshold) {
	return rule_is_open(lease) && lease->uses > 0 && !lease->is_in_use && !lease->is_dedicated &&
		!rule_is_blamed_open(input, lease) && !lease->is_broken &&
		lease->until_ns > lease->last_event_ns &&
		(double)(lease->until_ns - lease->last_event_ns) / 1e9 >= threshold;
}

/* Who came to the same place after it lay idle, and did not get it. */
static uint64_t count_opened_since(const struct rule_input *input, const struct model_lease *idle) {
	uint64_t count = 0;
	for (size_t i = 0; i < input->group->taken_count; i++) {
		const struct model_lease *other = input->group->taken[i];
		count += other != idle && other->pid == idle->pid && other->pool == idle->pool &&
			other->thread == idle->thread && other->begun_ns > idle->last_event_ns &&
			other->state != MODEL_LEASE_FAILED;
	}
	return count;
}

bool rule_stranded(const struct rule_input *input, struct finding *finding) {
	double threshold = input->settings->thresholds.stranded;
	uint64_t opened_since = 0;
	if (!input->model->has_uses || input->group->taken_count < 2)
		return false;
	for (size_t i = 0; i < input->group->taken_count; i++) {
		const struct model_lease *lease = input->group->taken[i];
		uint64_t count = is_candidate(input, lease, threshold) ? count_opened_since(input, lease) : 0;
		if (count == 0)
			continue;
		rule_add_lease(input, finding, lease, lease->last_event_ns);
		opened_since += count;
	}
	if (finding->count == 0)
		return false;
	finding->message = arena_text(
		input->arena,
		"%" PRIu64 " connection%s taken here lie%s idle since the last use, for more than "
		"%s, while %" PRIu64 " more %s opened here by the same thread: perhaps lost on the way "
		"back to a pool",
		finding->count, rule_plural(finding->count), finding->count == 1 ? "s" : "",
		rule_duration(input->arena, threshold), opened_since, opened_since == 1 ? "was" : "were");
	rule_add_count(finding, "idle", finding->count);
	rule_add_count(finding, "opened_since", opened_since);
	rule_add_oldest_age(finding);
	return true;
}
