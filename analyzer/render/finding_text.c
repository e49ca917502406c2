#include "analyzer/render/finding_text.h"

#include <inttypes.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/text.h"

/* ---- Places ----------------------------------------------------------------------------------- */

const char *finding_text_relative(const char *file, const char *source_root) {
	if (file == NULL)
		return NULL;
	size_t length = source_root != NULL ? strlen(source_root) : 0;
	while (length > 0 && source_root[length - 1] == '/')
		length--;
	if (source_root != NULL && strncmp(file, source_root, length) == 0 && file[length] == '/')
		file += length + strspn(file + length, "/");
	while (strncmp(file, "./", 2) == 0)
		file += 1 + strspn(file + 1, "/");
	return file;
}

static const char *frame_location(struct arena *arena, const struct site_frame *frame,
				  const char *source_root) {
	if (frame->file != NULL && frame->line != 0)
		return arena_text(arena, "%s:%" PRIu32, finding_text_relative(frame->file, source_root),
				  frame->line);
	if (frame->file != NULL)
		return finding_text_relative(frame->file, source_root);
	const char *module = frame->module != NULL ? frame->module : "?";
	return frame->language == MODEL_NATIVE ? arena_text(arena, "%s+0x%" PRIx64, module, frame->offset)
					       : module;
}

const char *finding_text_frame(struct arena *arena, const struct site_frame *frame, const char *source_root) {
	const char *location = frame_location(arena, frame, source_root);
	return text_printable(arena,
			      frame->function != NULL ? arena_text(arena, "%s %s", location, frame->function)
						      : location);
}

const char *finding_text_place(struct arena *arena, const struct report *report, int64_t site,
			       const char *source_root) {
	const struct site_frame *frame = report_application_frame(report_find_site(report, site));
	return frame != NULL ? finding_text_frame(arena, frame, source_root) : "(place unknown)";
}

const char *finding_text_where(struct arena *arena, const struct report *report,
			       const struct report_finding *finding, const char *source_root) {
	bool has_pool = finding->pool >= 0 && (size_t)finding->pool < report->pool_count;
	if (finding->finding->scope == FINDING_OF_SITE || finding->site != REPORT_UNKNOWN)
		return finding_text_place(arena, report, finding->site, source_root);
	if (finding->finding->scope != FINDING_OF_POOL || !has_pool)
		return "the whole run";
	const char *role = report->pools[finding->pool].role;
	return arena_text(arena, "pool '%s'", text_printable(arena, role != NULL ? role : "?"));
}

/* ---- Findings --------------------------------------------------------------------------------- */

const char *finding_text_title(struct arena *arena, const struct report *report,
			       const struct report_finding *finding, const char *source_root) {
	return arena_text(arena, "%" PRIu64 "x %s at %s", finding->finding->count, finding->finding->kind,
			  finding_text_where(arena, report, finding, source_root));
}

static const char *append(struct arena *arena, const char *text, const char *line) {
	return arena_text(arena, "%s%s%s", text, *text != '\0' ? "\n" : "", text_printable(arena, line));
}

static const char *add_instants(struct arena *arena, const char *text, const struct report_finding *finding) {
	if (finding->first == NULL)
		return text;
	bool is_once = finding->last == NULL || strcmp(finding->first, finding->last) == 0;
	return append(arena, text,
		      is_once ? arena_text(arena, "at %s", finding->first)
			      : arena_text(arena, "first %s, last %s", finding->first, finding->last));
}

static const char *add_example(struct arena *arena, const char *text, const struct report_example *example) {
	const char *backend = example->backend_pid != REPORT_UNKNOWN
		? arena_text(arena, ", backend %" PRId64, example->backend_pid)
		: "";
	const char *test = example->test != NULL ? arena_text(arena, ", test %s", example->test) : "";
	const char *taken = example->taken != NULL ? arena_text(arena, ", taken %s", example->taken) : "";
	return append(arena, text,
		      arena_text(arena, "pid %" PRId64 "%s%s%s", example->pid, backend, taken, test));
}

const char *finding_text_details(struct arena *arena, const struct report *report,
				 const struct report_finding *finding, const char *source_root) {
	enum { EXAMPLES_SHOWN = 5 };
	const char *text = append(arena, "", finding->finding->message);
	text = add_instants(arena, text, finding);
	for (size_t i = 0; i < finding->example_count && i < EXAMPLES_SHOWN; i++)
		text = add_example(arena, text, &finding->examples[i]);
	const struct report_site *site = report_find_site(report, finding->site);
	for (size_t i = 0; site != NULL && i < site->frames->count; i++)
		text = append(arena, text,
			      arena_text(arena, "%s %s", i == site->frames->application ? ">" : " ",
					 finding_text_frame(arena, &site->frames->frames[i], source_root)));
	return text;
}

/* ---- The gate --------------------------------------------------------------------------------- */

const struct gate_finding *finding_text_gate(const struct report *report, size_t finding) {
	return report->gate != NULL ? &report->gate->findings[finding] : NULL;
}

bool finding_text_fails(const struct report *report, size_t finding) {
	const struct gate_finding *judged = finding_text_gate(report, finding);
	if (judged == NULL)
		return report->findings[finding].finding->level == FINDING_ERROR;
	return judged->failed_item != NULL;
}

bool finding_text_is_suppressed(const struct report *report, size_t finding) {
	const struct gate_finding *judged = finding_text_gate(report, finding);
	return judged != NULL && judged->state == GATE_SUPPRESSED;
}
