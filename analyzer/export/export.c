#include "analyzer/export/export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/report/report_tests.h"
#include "analyzer/text.h"

static const struct {
	const char *name;
	export_function *function;
} exports[] = {
#define EXPORT(name, function) {name, function},
#include "analyzer/export/exports.def"
#undef EXPORT
};

enum { EXPORT_COUNT = sizeof exports / sizeof exports[0] };

export_function *export_find(const char *name) {
	for (int i = 0; i < EXPORT_COUNT; i++)
		if (strcmp(exports[i].name, name) == 0)
			return exports[i].function;
	return NULL;
}

const char *export_names(void) {
	static char names[256];
	names[0] = '\0';
	for (int i = 0; i < EXPORT_COUNT; i++)
		snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i > 0 ? ", " : "",
			 exports[i].name);
	return names;
}

/* ---- Names ------------------------------------------------------------------------------------ */

const char *export_frame_name(struct arena *arena, const struct site_frame *frame) {
	const char *function = frame->function;
	if (function == NULL && frame->file == NULL)
		function =
			arena_text(arena, "%s+0x%" PRIx64,
				   frame->module != NULL ? text_basename(frame->module) : "?", frame->offset);
	if (function == NULL)
		function = "?";
	if (frame->file != NULL && frame->line != 0)
		function = arena_text(arena, "%s (%s:%" PRIu32 ")", function, text_basename(frame->file),
				      frame->line);
	return text_printable(arena, function);
}

const char *export_place(struct arena *arena, const struct report_site *site) {
	const struct site_frame *frame = report_application_frame(site);
	return frame != NULL ? export_frame_name(arena, frame) : "(place unknown)";
}

/* ---- Sites ------------------------------------------------------------------------------------ */

static bool is_lease(const struct model_lease *lease) {
	if (lease->is_owner_gone)
		return lease->left == MODEL_LEFT_OPEN || lease->left == MODEL_LEFT_RESETTING;
	return lease->state == MODEL_LEASE_OPEN || lease->state == MODEL_LEASE_RESETTING;
}

static uint64_t span_ns(uint64_t from_ns, uint64_t to_ns) {
	return from_ns != 0 && to_ns > from_ns ? to_ns - from_ns : 0;
}

static uint64_t count_left(const struct model_totals *totals) {
	uint64_t count = 0;
	for (int how = 0; how < MODEL_HOW_COUNT; how++)
		count += totals->unreleased[MODEL_LEFT_OPEN][how] +
			totals->unreleased[MODEL_LEFT_RESETTING][how];
	return count;
}

static struct export_site site_of(const struct model *model, const struct report_site *site) {
	const struct model_totals *totals = &model->sites[site->id].totals;
	struct export_site gathered = {.site = site,
				       .leases = totals->time[MODEL_HOLD_TIME].count + count_left(totals),
				       .held_ns = totals->time[MODEL_HOLD_TIME].sum_ns +
					       totals->counter[MODEL_LEFT_HELD_NS]};
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		if (lease->site != site->id || !is_lease(lease))
			continue;
		gathered.leases++;
		gathered.held_ns += span_ns(lease->established_ns, lease->until_ns);
	}
	return gathered;
}

static void gather_sites(struct export_run *run) {
	run->sites = arena_array(run->arena, run->report->site_count, sizeof *run->sites);
	for (size_t i = 0; i < run->report->site_count; i++) {
		struct export_site site = site_of(run->model, &run->report->sites[i]);
		if (site.leases > 0)
			run->sites[run->site_count++] = site;
	}
}

/* ---- Leases ----------------------------------------------------------------------------------- */

static int64_t known(int64_t number) {
	return number != 0 ? number : REPORT_UNKNOWN;
}

static void add_current(struct export_run *run, const struct model_lease *from) {
	run->leases[run->lease_count++] =
		(struct export_lease){.pid = from->pid,
				      .thread = known(from->thread),
				      .backend_pid = known(from->backend_pid),
				      .role = from->role,
				      .test = report_tests_name(run->arena, from->test),
				      .site = report_find_site(run->report, from->site),
				      .begun_ns = from->begun_ns,
				      .established_ns = from->established_ns,
				      .ended_ns = from->is_owner_gone ? from->until_ns : 0,
				      .end = from->is_owner_gone ? "left" : "open",
				      .uses = from->uses};
}

static void add_ended(struct export_run *run, const struct model_ended *from) {
	static const char *const ends[MODEL_RELEASE_COUNT] = {
		[MODEL_RELEASE_FINISHED] = "finished",   [MODEL_RELEASE_FAILED] = "failed",
		[MODEL_RELEASE_ABANDONED] = "abandoned", [MODEL_RELEASE_CUT_SHORT] = "abandoned",
		[MODEL_RELEASE_UNSEEN] = "unseen",       [MODEL_RELEASE_OWNER_GONE] = "left"};
	if (from->release == MODEL_RELEASE_BY_OTHER_PROCESS || ends[from->release] == NULL)
		return;
	run->leases[run->lease_count++] =
		(struct export_lease){.pid = from->pid,
				      .thread = known(from->thread),
				      .backend_pid = known(from->backend_pid),
				      .role = from->role,
				      .test = report_tests_name(run->arena, from->test),
				      .site = report_find_site(run->report, from->site),
				      .begun_ns = from->begun_ns,
				      .established_ns = from->established_ns,
				      .ended_ns = from->ended_ns,
				      .end = ends[from->release],
				      .uses = from->uses};
}

static int compare_leases(const void *a, const void *b) {
	const struct export_lease *left = a;
	const struct export_lease *right = b;
	if (left->begun_ns != right->begun_ns)
		return left->begun_ns < right->begun_ns ? -1 : 1;
	if (left->pid != right->pid)
		return left->pid < right->pid ? -1 : 1;
	return (left->backend_pid > right->backend_pid) - (left->backend_pid < right->backend_pid);
}

static void gather_leases(struct export_run *run) {
	const struct model *model = run->model;
	size_t most = model->lease_count + model->history_count + model->example_count;
	run->leases = arena_array(run->arena, most, sizeof *run->leases);
	for (size_t i = 0; i < model->lease_count; i++)
		add_current(run, &model->leases[i]);
	for (size_t i = 0; i < model->history_count; i++)
		add_ended(run, &model->history[i]);
	for (size_t i = 0; i < model->example_count; i++)
		add_ended(run, &model->examples[i]);
	qsort(run->leases, run->lease_count, sizeof *run->leases, compare_leases);
}

void export_gather(struct export_run *run, struct arena *arena, const struct model *model,
		   const struct report *report) {
	*run = (struct export_run){.arena = arena, .model = model, .report = report};
	gather_sites(run);
	gather_leases(run);
}
