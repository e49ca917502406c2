#include "analyzer/render/render_github.h"

#include <inttypes.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

/* A workflow command ends with its line, its properties at ',' and its head at '::'. */
static void write_escaped(const char *text, bool is_property, FILE *stream) {
	for (; *text != '\0'; text++) {
		bool is_special = *text == '%' || *text == '\r' || *text == '\n' ||
			(is_property && (*text == ':' || *text == ','));
		if (is_special)
			fprintf(stream, "%%%02X", (unsigned char)*text);
		else
			fputc(*text, stream);
	}
}

struct annotation {
	const char *command; /* error, warning, notice */
	const char *file;    /* NULL: none */
	uint32_t line;       /* 0: none */
	const char *title;
	const char *message;
};

static void write_property(const char *name, const char *value, FILE *stream) {
	fprintf(stream, "%s=", name);
	write_escaped(value, true, stream);
}

static void write_annotation(struct arena *arena, const struct annotation *annotation, FILE *stream) {
	fprintf(stream, "::%s ", annotation->command);
	if (annotation->file != NULL) {
		write_property("file", text_printable(arena, annotation->file), stream);
		if (annotation->line != 0)
			fprintf(stream, ",line=%" PRIu32, annotation->line);
		fputc(',', stream);
	}
	write_property("title", annotation->title, stream);
	fputs("::", stream);
	write_escaped(annotation->message, false, stream);
	fputc('\n', stream);
}

/* With a gate red is what fails it, and nothing else. */
static const char *command_of(const struct report *report, size_t index) {
	static const char *const commands[] = {
		[FINDING_ERROR] = "error", [FINDING_WARNING] = "warning", [FINDING_NOTE] = "notice"};
	const struct gate_finding *judged = finding_text_gate(report, index);
	if (judged == NULL)
		return commands[report->findings[index].finding->level];
	if (judged->failed_item != NULL)
		return "error";
	bool is_known = judged->state == GATE_SAME;
	return is_known || report->findings[index].finding->level == FINDING_NOTE ? "notice" : "warning";
}

static void write_finding(struct arena *arena, const struct report *report, size_t index,
			  const char *source_root, FILE *stream) {
	const struct report_finding *finding = &report->findings[index];
	const struct site_frame *frame = report_application_frame(report_find_site(report, finding->site));
	write_annotation(
		arena,
		&(struct annotation){.command = command_of(report, index),
				     .file = frame != NULL ? finding_text_relative(frame->file, source_root)
							   : NULL,
				     .line = frame != NULL ? frame->line : 0,
				     .title = arena_text(arena, "pqlease: %s", finding->finding->kind),
				     .message = finding_text_details(arena, report, finding, source_root)},
		stream);
}

static void write_distrust(struct arena *arena, const struct report *report, FILE *stream) {
	for (size_t i = 0; !report->trust.ok && i < report->trust.reason_count; i++)
		write_annotation(
			arena,
			&(struct annotation){.command = report->gate != NULL ? "error" : "warning",
					     .title = "pqlease: not to be trusted",
					     .message = text_printable(arena, report->trust.reasons[i])},
			stream);
}

static void write_gate_items(struct arena *arena, const struct report *report, FILE *stream) {
	const struct gate_outcome *gate = report->gate;
	for (size_t i = 0; gate != NULL && i < gate->failure_count; i++)
		if (gate->failures[i].finding == REPORT_UNKNOWN &&
		    strcmp(gate->failures[i].item, "trust") != 0)
			write_annotation(
				arena,
				&(struct annotation){
					.command = "error",
					.title = arena_text(arena, "pqlease: %s", gate->failures[i].item),
					.message = text_printable(arena, gate->failures[i].message)},
				stream);
}

void render_github(const struct report *report, const struct render_options *options, FILE *stream) {
	struct arena arena = {NULL};
	write_distrust(&arena, report, stream);
	for (size_t i = 0; i < report->finding_count; i++)
		if (!finding_text_is_suppressed(report, i))
			write_finding(&arena, report, i, options->source_root, stream);
	write_gate_items(&arena, report, stream);
	arena_release(&arena);
}
