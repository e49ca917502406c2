#include "analyzer/render/render_gitlab.h"

#include <string.h>

#include <jansson.h>

#include "analyzer/gate/gate.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/render/json_text.h"
#include "analyzer/report/report.h"

/* GitLab takes entries with one fingerprint for one: two lines of one function need two. */
static json_t *fingerprint_of(struct arena *arena, const struct report *report, size_t index) {
	const char *fingerprint = report->findings[index].finding->fingerprint;
	size_t before = 0;
	for (size_t i = 0; i < index; i++)
		before += strcmp(report->findings[i].finding->fingerprint, fingerprint) == 0;
	return json_string(before > 0 ? arena_text(arena, "%s-%zu", fingerprint, before + 1) : fingerprint);
}

static const char *severity_of(const struct report *report, size_t index) {
	static const char *const names[] = {
		[FINDING_ERROR] = "critical", [FINDING_WARNING] = "major", [FINDING_NOTE] = "info"};
	bool is_forgiven = report->gate != NULL && !finding_text_fails(report, index);
	return is_forgiven ? "info" : names[report->findings[index].finding->level];
}

/* A location is required: without a line of code it is the module, or at least our name. */
static json_t *location_of(const struct report *report, size_t index, const char *source_root) {
	const struct site_frame *frame =
		report_application_frame(report_find_site(report, report->findings[index].site));
	const char *path = frame != NULL ? finding_text_relative(frame->file, source_root) : NULL;
	if (path == NULL)
		path = frame != NULL && frame->module != NULL ? frame->module : "pqlease";
	json_int_t line = frame != NULL && frame->file != NULL && frame->line != 0 ? frame->line : 1;
	return json_pack("{s:o, s:{s:I}}", "path", json_text_value(path), "lines", "begin", line);
}

static json_t *entry_of(struct arena *arena, const struct report *report, size_t index,
			const char *source_root) {
	const struct report_finding *finding = &report->findings[index];
	const char *place = finding_text_where(arena, report, finding, source_root);
	json_t *entry = json_object();
	json_object_set_new(
		entry, "description",
		json_text_printable(arena_text(arena, "%s (%s)", finding->finding->message, place)));
	json_object_set_new(entry, "check_name", json_text_value(finding->finding->kind));
	json_object_set_new(entry, "fingerprint", fingerprint_of(arena, report, index));
	json_object_set_new(entry, "severity", json_string(severity_of(report, index)));
	json_object_set_new(entry, "location", location_of(report, index, source_root));
	return entry;
}

void render_gitlab(const struct report *report, const struct render_options *options, FILE *stream) {
	struct arena arena = {NULL};
	json_t *entries = json_array();
	for (size_t i = 0; i < report->finding_count; i++)
		if (!finding_text_is_suppressed(report, i))
			json_array_append_new(entries, entry_of(&arena, report, i, options->source_root));
	json_dumpf(entries, stream, JSON_INDENT(2));
	fputc('\n', stream);
	json_decref(entries);
	arena_release(&arena);
}
