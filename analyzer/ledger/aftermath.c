#include "analyzer/ledger/aftermath.h"

#include <string.h>

#include "analyzer/ledger/use_timeline.h"

/* ---- Processes -------------------------------------------------------------------------------- */

static void settle_process(const struct model *model, struct model_process *process,
			   const struct liveness_observer *observer) {
	struct liveness_subject subject = {.pid_namespace = process->pid_namespace,
					   .pid = process->pid,
					   .start_ticks = process->start_ticks,
					   .stack_start = process->stack_start};
	memcpy(subject.boot_id, model->run.boot_id, sizeof subject.boot_id);
	process->is_gone = true;
	if (process->has_marked_end)
		return;
	switch (liveness_of(observer, &subject)) {
	case LIVENESS_RUNNING:
		process->is_gone = false;
		process->how_ended = MODEL_RUNNING;
		break;
	case LIVENESS_REPLACED:
		process->how_ended = MODEL_EXEC;
		break;
	case LIVENESS_UNKNOWN:
		process->is_gone = false;
		process->how_ended = MODEL_UNKNOWN;
		break;
	case LIVENESS_GONE:
		process->how_ended = MODEL_UNKNOWN;
		break;
	}
}

/* ---- The run ---------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b) {
	return a > b ? a : b;
}

/* The last instant that anything in the ledger speaks of. */
static uint64_t last_event_ns(const struct model *model) {
	uint64_t last_ns = model->run.created_ns;
	for (size_t i = 0; i < model->process_count; i++)
		last_ns =
			later(last_ns, later(model->processes[i].attached_ns, model->processes[i].ended_ns));
	for (size_t i = 0; i < model->pool_count; i++)
		last_ns = later(last_ns, model->pools[i].totals.last_ns);
	for (size_t i = 0; i < model->lease_count; i++)
		last_ns = later(last_ns, later(model->leases[i].begun_ns, model->leases[i].last_event_ns));
	return last_ns;
}

static bool creator_is_there(const struct model *model, const struct liveness_observer *observer) {
	struct liveness_subject subject = {.pid_namespace = model->run.pid_namespace,
					   .pid = model->run.creator_pid,
					   .start_ticks = model->run.creator_start_ticks};
	memcpy(subject.boot_id, model->run.boot_id, sizeof subject.boot_id);
	return liveness_of(observer, &subject) == LIVENESS_RUNNING;
}

static bool any_process_runs(const struct model *model) {
	for (size_t i = 0; i < model->process_count; i++)
		if (model->processes[i].how_ended == MODEL_RUNNING)
			return true;
	return false;
}

static void settle_run(struct model *model, const struct liveness_observer *observer) {
	struct model_run *run = &model->run;
	bool is_over = run->ended_ns != 0;
	run->is_live = !is_over && (any_process_runs(model) || creator_is_there(model, observer));
	/* What COMMAND started may go on after its end, and what it does then is recorded. */
	run->until_ns = later(run->ended_ns, last_event_ns(model));
	if (run->is_live && liveness_is_same_boot(observer, run->boot_id))
		run->until_ns = later(run->until_ns, observer->now_ns);
	run->until_ns = later(run->until_ns, run->created_ns);
}

/* ---- Leases ----------------------------------------------------------------------------------- */

/* As reapers judge it (shim/ledger_processes.c). */
static enum model_left what_was_left(const struct model_lease *lease) {
	switch (lease->state) {
	case MODEL_LEASE_FAILED:
		return MODEL_LEFT_FAILED;
	case MODEL_LEASE_CONNECTING:
		return lease->is_async ? MODEL_LEFT_CONNECTING : MODEL_LEFT_IN_CALL;
	case MODEL_LEASE_RESETTING:
		return lease->was_established ? MODEL_LEFT_RESETTING : MODEL_LEFT_FAILED;
	default:
		return lease->was_established ? MODEL_LEFT_OPEN : MODEL_LEFT_FAILED;
	}
}

/* As long as LEDGER_ORPHAN_AFTER_NS says, so that live and ended leases are judged alike. */
#define ORPHAN_AFTER_NS UINT64_C(5000000000)

static bool is_orphan_at(const struct model_lease *lease, uint64_t now_ns) {
	return lease->thread_gone_ns != 0 && lease->last_event_ns <= lease->thread_gone_ns &&
		now_ns > lease->thread_gone_ns && now_ns - lease->thread_gone_ns > ORPHAN_AFTER_NS;
}

/* A thread that the shim did not see end may be gone all the same. When is not known: not before it last did something
 * with the lease. */
static void look_for_thread(struct model_lease *lease, const struct liveness_observer *observer) {
	if (lease->thread_gone_ns == 0 && lease->thread != 0 &&
	    !liveness_has_thread(observer, lease->pid, lease->thread))
		lease->thread_gone_ns = lease->last_event_ns;
}

static void settle_orphan(struct model_lease *lease, const struct liveness_observer *observer) {
	if (lease->state != MODEL_LEASE_OPEN || lease->is_active)
		return;
	look_for_thread(lease, observer);
	lease->is_orphan = is_orphan_at(lease, lease->until_ns);
}

static void settle_lease(const struct model *model, struct model_lease *lease,
			 const struct liveness_observer *observer) {
	const struct model_process *process =
		lease->process != MODEL_NO_PROCESS ? &model->processes[lease->process] : NULL;
	lease->until_ns = model->run.until_ns;
	lease->is_owner_gone = process == NULL || process->is_gone;
	if (!lease->is_owner_gone && process->how_ended == MODEL_RUNNING)
		settle_orphan(lease, observer);
	if (!lease->is_owner_gone)
		return;
	lease->how = process != NULL ? process->how_ended : MODEL_UNKNOWN;
	lease->left = what_was_left(lease);
	if (process != NULL && process->ended_ns != 0)
		lease->until_ns = process->ended_ns;
	if (lease->left == MODEL_LEFT_OPEN && process != NULL && process->ended_ns != 0 &&
	    is_orphan_at(lease, process->ended_ns))
		lease->left = MODEL_LEFT_ORPHANED;
}

static void count_open(struct model *model, const struct model_lease *lease) {
	if (!lease->is_owner_gone && lease->state == MODEL_LEASE_OPEN)
		model->processes[lease->process].open_count++;
}

static void count_torn(struct model *model) {
	for (size_t i = 0; i < model->moving_count; i++) {
		size_t owner = model->moving_owners[i];
		if (owner == MODEL_NO_PROCESS || model->processes[owner].is_gone)
			model->lost[MODEL_TORN]++;
	}
	model->moving_count = 0;
}

void aftermath_settle(struct model *model, const struct liveness_observer *observer) {
	for (size_t i = 0; i < model->process_count; i++)
		settle_process(model, &model->processes[i], observer);
	settle_run(model, observer);
	for (size_t i = 0; i < model->lease_count; i++) {
		settle_lease(model, &model->leases[i], observer);
		count_open(model, &model->leases[i]);
	}
	count_torn(model);
	use_timeline_fill(model);
}
