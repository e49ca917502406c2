#include "analyzer/gate/gate_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

struct writing {
	FILE *stream;
	const struct report *report;
	const struct gate_outcome *gate;
	const char *source_root;
	struct arena arena;
};

static const char *safe(struct writing *writing, const char *text) {
	return text_printable(&writing->arena, text != NULL ? text : "?");
}

static const char *plural(int64_t count) {
	return count == 1 ? "" : "s";
}

/* ---- The first line: what was certified --------------------------------------------------------- */

static const char *duration_text(struct writing *writing, double seconds) {
	if (!isfinite(seconds))
		return "unknown duration";
	if (seconds < 1)
		return arena_text(&writing->arena, "%.0f ms", seconds * 1e3);
	if (seconds < 120)
		return arena_text(&writing->arena, "%.1f s", seconds);
	return arena_text(&writing->arena, "%.1f min", seconds / 60);
}

static bool is_leak(const char *kind) {
	static const char *const kinds[] = {"never-finished", "failed-not-finished", "exit-closed",
					    "owner-thread-gone"};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kind, kinds[i]) == 0)
			return true;
	return false;
}

static uint64_t count_leaks(const struct writing *writing, bool is_accepted_only) {
	uint64_t count = 0;
	for (size_t i = 0; i < writing->report->finding_count; i++) {
		enum gate_state state = writing->gate->findings[i].state;
		bool is_accepted = state == GATE_SAME || state == GATE_SUPPRESSED;
		if (is_leak(writing->report->findings[i].finding->kind) && (is_accepted || !is_accepted_only))
			count += writing->report->findings[i].finding->count;
	}
	return count;
}

static const char *leaks_text(struct writing *writing) {
	uint64_t leaks = count_leaks(writing, false);
	uint64_t accepted = count_leaks(writing, true);
	const char *text = arena_text(&writing->arena, "%" PRIu64 " leak%s", leaks, plural((int64_t)leaks));
	return accepted == 0
		? text
		: arena_text(&writing->arena, "%s, %" PRIu64 " of them accepted", text, accepted);
}

/* "no leaks" of a run that cannot be trusted would be a lie. */
static void write_summary(struct writing *writing) {
	static const char *const words[] = {
		[GATE_GREEN] = "passed", [GATE_RED] = "FAILED", [GATE_UNTRUSTED] = "CANNOT BE TRUSTED"};
	const struct report *report = writing->report;
	int64_t seen = report->totals.established;
	bool says_leaks = report->trust.ok || count_leaks(writing, false) > 0;
	fprintf(writing->stream, "pqlease check: %s: ", words[writing->gate->result]);
	if (seen != REPORT_UNKNOWN)
		fprintf(writing->stream, "%" PRId64 " connection%s seen in ", seen, plural(seen));
	fprintf(writing->stream, "%s%s%s%s, run %s\n", duration_text(writing, report->run.duration),
		report->run.live ? " so far, still running" : "", says_leaks ? ", " : "",
		says_leaks ? leaks_text(writing) : "", safe(writing, report->run.id));
}

/* ---- Why it is not green ------------------------------------------------------------------------ */

static void write_finding_failure(struct writing *writing, const struct gate_failure *failure) {
	const struct report_finding *from = &writing->report->findings[failure->finding];
	const struct site_frame *frame =
		report_application_frame(report_find_site(writing->report, from->site));
	const struct finding *finding = from->finding;
	fprintf(writing->stream, "%s: %s %" PRIu64 "x", finding_level_name(finding->level),
		safe(writing, finding->kind), finding->count);
	if (frame != NULL && (frame->function != NULL || frame->file == NULL))
		fprintf(writing->stream, " in %s",
			safe(writing, frame->function != NULL ? frame->function : frame->module));
	fprintf(writing->stream, ": %s", safe(writing, failure->message));
}

static void write_failure(struct writing *writing, const struct gate_failure *failure) {
	const char *file =
		failure->file != NULL ? finding_text_relative(failure->file, writing->source_root) : NULL;
	if (file != NULL && failure->line != 0)
		fprintf(writing->stream, "%s:%" PRIu32 ": ", safe(writing, file), failure->line);
	else if (file != NULL)
		fprintf(writing->stream, "%s: ", safe(writing, file));
	if (failure->finding != REPORT_UNKNOWN)
		write_finding_failure(writing, failure);
	else
		fprintf(writing->stream, "%s: %s", safe(writing, failure->item),
			safe(writing, failure->message));
	fprintf(writing->stream, " [%s, %s]\n", safe(writing, failure->item), safe(writing, failure->source));
}

/* ---- Baseline ----------------------------------------------------------------------------------- */

static size_t count_state(const struct gate_outcome *gate, size_t finding_count, enum gate_state state) {
	size_t count = 0;
	for (size_t i = 0; i < finding_count; i++)
		count += gate->findings[i].state == state;
	for (size_t i = 0; i < gate->absent_count; i++)
		count += gate->absents[i].state == state;
	return count;
}

static void write_shrunk(struct writing *writing) {
	for (size_t i = 0; i < writing->report->finding_count; i++) {
		const struct gate_finding *judged = &writing->gate->findings[i];
		const struct finding *finding = writing->report->findings[i].finding;
		if (judged->state == GATE_SAME && (int64_t)finding->count < judged->allowed)
			fprintf(writing->stream,
				"  less   %s %s: %" PRIu64 " of the %" PRId64 " that the baseline allows\n",
				finding->fingerprint, safe(writing, finding->kind), finding->count,
				judged->allowed);
	}
}

static void write_baseline(struct writing *writing) {
	static const enum gate_state states[] = {GATE_NEW, GATE_WORSE, GATE_SAME, GATE_FIXED, GATE_STALE};
	const struct gate_outcome *gate = writing->gate;
	if (!gate->has_baseline)
		return;
	fputs("baseline:", writing->stream);
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		fprintf(writing->stream, "%s %zu %s", i > 0 ? "," : "",
			count_state(gate, writing->report->finding_count, states[i]),
			gate_state_name(states[i]));
	fputc('\n', writing->stream);
	write_shrunk(writing);
	for (size_t i = 0; i < gate->absent_count; i++) {
		const struct gate_absent *absent = &gate->absents[i];
		fprintf(writing->stream, "  %-6s %s %s at %s (%s)\n", gate_state_name(absent->state),
			absent->fingerprint, safe(writing, absent->kind), safe(writing, absent->site),
			safe(writing, absent->source));
	}
}

/* ---- Suppressions ------------------------------------------------------------------------------- */

static void write_suppression(struct writing *writing, const struct gate_suppression *suppression) {
	const char *used = suppression->used == 0
		? "unused"
		: arena_text(&writing->arena, "used %" PRIu64 " time%s", suppression->used,
			     plural((int64_t)suppression->used));
	if (suppression->allowed != REPORT_UNKNOWN)
		used = arena_text(&writing->arena, "%s of %" PRId64, used, suppression->allowed);
	fprintf(writing->stream, "  %s: %s: %s (%s)\n", safe(writing, suppression->source), used,
		safe(writing, suppression->pattern), safe(writing, suppression->reason));
}

static void write_suppressions(struct writing *writing) {
	if (writing->gate->suppression_count == 0)
		return;
	fputs("suppressions:\n", writing->stream);
	for (size_t i = 0; i < writing->gate->suppression_count; i++)
		write_suppression(writing, &writing->gate->suppressions[i]);
}

void gate_text_write(const struct report *report, const char *source_root, FILE *stream) {
	struct writing writing = {
		.stream = stream, .report = report, .gate = report->gate, .source_root = source_root};
	write_summary(&writing);
	for (size_t i = 0; i < report->gate->failure_count; i++)
		write_failure(&writing, &report->gate->failures[i]);
	write_baseline(&writing);
	write_suppressions(&writing);
	arena_release(&writing.arena);
}
