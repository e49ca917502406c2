#include "analyzer/server/backend_search.h"

#include <stdlib.h>

static uint64_t first_known(uint64_t instant_ns, uint64_t other_ns) {
	return instant_ns != 0 ? instant_ns : other_ns;
}

/* The latest process of this number that was there at the time. */
static const struct model_process *process_of(const struct model *model, int32_t pid, uint64_t at_ns) {
	const struct model_process *found = NULL;
	for (size_t i = 0; i < model->process_count; i++) {
		const struct model_process *process = &model->processes[i];
		if (process->pid == pid && process->attached_ns <= at_ns &&
		    (found == NULL || process->attached_ns > found->attached_ns))
			found = process;
	}
	return found;
}

static struct backend_match match_of_lease(const struct model *model, const struct model_lease *lease) {
	return (struct backend_match){
		.state = lease->is_owner_gone ? BACKEND_LEFT : BACKEND_OPEN,
		.process = lease->process != MODEL_NO_PROCESS ? &model->processes[lease->process] : NULL,
		.lease = lease->is_owner_gone ? NULL : lease,
		.pid = lease->pid,
		.thread = lease->thread,
		.role = lease->role,
		.test = lease->test,
		.site = lease->site,
		.use_site = lease->last_use_site,
		.taken_ns = first_known(lease->established_ns, lease->begun_ns),
		.until_ns = lease->until_ns};
}

static struct backend_match match_of_ended(const struct model *model, const struct model_ended *ended,
					   enum backend_state state) {
	uint64_t taken_ns = first_known(ended->established_ns, ended->begun_ns);
	return (struct backend_match){
		.state = state,
		.process = process_of(model, ended->pid, first_known(taken_ns, ended->ended_ns)),
		.pid = ended->pid,
		.thread = ended->thread,
		.role = ended->role,
		.test = ended->test,
		.site = ended->site,
		.release_site = ended->release_site,
		.release_facts = ended->release_facts,
		.taken_ns = taken_ns,
		.until_ns = ended->ended_ns};
}

/* An example of what was done with a lease, which says nothing of its end: the lease itself is a match, too. */
static bool is_misuse(const struct model_ended *example) {
	return example->release == MODEL_RELEASE_CONCURRENT_USE ||
		example->release == MODEL_RELEASE_NESTED_LEASE;
}

static int compare_matches(const void *a, const void *b) {
	const struct backend_match *left = a;
	const struct backend_match *right = b;
	if (left->taken_ns != right->taken_ns)
		return left->taken_ns > right->taken_ns ? -1 : 1;
	return (left->state > right->state) - (left->state < right->state);
}

void backend_search(struct backend_matches *found, struct arena *arena, const struct model *model,
		    int32_t backend_pid) {
	size_t room = model->lease_count + model->history_count + model->example_count;
	found->count = 0;
	found->matches = arena_array(arena, room, sizeof *found->matches);
	for (size_t i = 0; i < model->lease_count; i++)
		if (model->leases[i].backend_pid == backend_pid)
			found->matches[found->count++] = match_of_lease(model, &model->leases[i]);
	for (size_t i = 0; i < model->history_count; i++)
		if (model->history[i].backend_pid == backend_pid)
			found->matches[found->count++] =
				match_of_ended(model, &model->history[i], BACKEND_RELEASED);
	for (size_t i = 0; i < model->example_count; i++) {
		const struct model_ended *example = &model->examples[i];
		bool is_borrowed = example->release == MODEL_RELEASE_BY_OTHER_PROCESS;
		if (example->backend_pid == backend_pid && !is_misuse(example))
			found->matches[found->count++] = match_of_ended(
				model, example, is_borrowed ? BACKEND_OTHER_PROCESS : BACKEND_LEFT);
	}
	if (found->count > 1)
		qsort(found->matches, found->count, sizeof *found->matches, compare_matches);
}
