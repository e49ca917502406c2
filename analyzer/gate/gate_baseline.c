#include "analyzer/gate/gate_baseline.h"

#include <inttypes.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/gate/quantity.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

static const char *site_text(struct arena *arena, const struct report *report,
			     const struct report_finding *from) {
	const struct site_frame *frame = report_application_frame(report_find_site(report, from->site));
	if (frame == NULL)
		return "?";
	const char *place = frame->file != NULL ? frame->file : frame->module;
	return arena_text(arena, "%s %s", place != NULL ? text_basename(place) : "?",
			  frame->function != NULL ? frame->function : "?");
}

static bool is_worth_a_line(const struct report *report, size_t index) {
	const struct gate_finding *judged = &report->gate->findings[index];
	if (judged->state == GATE_SUPPRESSED)
		return false;
	return report->findings[index].finding->level <= FINDING_WARNING || judged->failed_item != NULL ||
		judged->state != GATE_NEW;
}

static struct baseline_entry entry_of(struct arena *arena, const struct report *report, size_t index,
				      const struct baseline *old, const char *reason) {
	const struct report_finding *from = &report->findings[index];
	const struct baseline_entry *before =
		old != NULL ? baseline_find(old, from->finding->fingerprint) : NULL;
	char *today = arena_array(arena, 11, 1);
	struct baseline_entry entry = {.kind = from->finding->kind,
				       .count = from->finding->count,
				       .site = site_text(arena, report, from),
				       .reason = reason,
				       .date = today};
	memcpy(entry.fingerprint, from->finding->fingerprint, sizeof entry.fingerprint);
	quantity_format_date(today, quantity_today());
	if (before != NULL && before->count >= entry.count) {
		entry.reason = before->reason;
		entry.date = before->date;
	}
	return entry;
}

static bool is_stale(const struct report *report, const char *fingerprint) {
	for (size_t i = 0; i < report->gate->absent_count; i++)
		if (strcmp(report->gate->absents[i].fingerprint, fingerprint) == 0)
			return report->gate->absents[i].state == GATE_STALE;
	return false;
}

void gate_baseline_build(struct baseline *baseline, struct arena *arena, const struct report *report,
			 const struct baseline *old, bool is_update, const char *reason) {
	size_t old_count = old != NULL && is_update ? old->count : 0;
	baseline->count = 0;
	baseline->entries = arena_array(arena, report->finding_count + old_count, sizeof *baseline->entries);
	for (size_t i = 0; i < report->finding_count; i++)
		if (is_worth_a_line(report, i))
			baseline->entries[baseline->count++] = entry_of(arena, report, i, old, reason);
	for (size_t i = 0; i < old_count; i++)
		if (is_stale(report, old->entries[i].fingerprint))
			baseline->entries[baseline->count++] = old->entries[i];
	baseline->count = baseline_sort(baseline->entries, baseline->count);
}
