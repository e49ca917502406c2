#include "analyzer/report/report_snapshots.h"

#include <math.h>

#include "analyzer/instant.h"

static const char *known_text(const char *text) {
	return text != NULL && *text != '\0' ? text : NULL;
}

static int64_t known_site(const struct model *model, const struct site_frames *frames, uint32_t site) {
	return site < model->site_count && frames[site].count > 0 ? (int64_t)site : REPORT_UNKNOWN;
}

static double seconds_between(uint64_t from_ns, uint64_t to_ns) {
	if (from_ns == 0)
		return NAN;
	return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

static const char *state_of(const struct model *model, const struct model_holder *holder) {
	if (holder->state == MODEL_LEASE_CONNECTING || holder->state == MODEL_LEASE_RESETTING)
		return "connecting";
	if (!model->has_uses)
		return NULL;
	return holder->is_active ? "active" : holder->is_in_transaction ? "in_transaction" : "idle";
}

static struct report_holder holder_of(const struct model *model, const struct site_frames *frames,
				      const struct model_holder *from, uint64_t at_ns) {
	return (struct report_holder){
		.role = known_text(from->role),
		.pid = from->pid,
		.backend_pid = from->backend_pid != 0 ? from->backend_pid : REPORT_UNKNOWN,
		.site = known_site(model, frames, from->site),
		.use_site = from->use_site == MODEL_SITE_NONE ? REPORT_UNKNOWN
							      : known_site(model, frames, from->use_site),
		.state = state_of(model, from),
		.age = seconds_between(from->since_ns, at_ns),
		.state_for = seconds_between(from->changed_ns, at_ns),
		.statement = known_text(from->statement),
		.dedicated = from->is_dedicated ? 1
			: model->has_uses       ? 0
						: REPORT_UNKNOWN};
}

void report_snapshots_build(struct report *report, const struct model *model,
			    const struct site_frames *frames) {
	struct arena *arena = &report->arena;
	report->snapshot_count = model->snapshot_count;
	report->snapshots = arena_array(arena, model->snapshot_count, sizeof *report->snapshots);
	for (size_t i = 0; i < model->snapshot_count; i++) {
		const struct model_snapshot *from = &model->snapshots[i];
		struct report_holder *holders = arena_array(arena, from->holder_count, sizeof *holders);
		char *at = arena_array(arena, INSTANT_TEXT_BYTES, 1);
		for (size_t j = 0; j < from->holder_count; j++)
			holders[j] = holder_of(model, frames, &from->holders[j], from->at_ns);
		instant_format(at, model_realtime_ns(model, from->at_ns));
		report->snapshots[i] = (struct report_snapshot){.at = at,
								.failure = from->class_name,
								.sqlstate = known_text(from->sqlstate),
								.message = from->text,
								.role = known_text(from->role),
								.pid = from->pid,
								.site = known_site(model, frames, from->site),
								.holders = holders,
								.holder_count = from->holder_count,
								.missing = (int64_t)from->missing_count};
	}
}
