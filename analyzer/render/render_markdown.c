#include "analyzer/render/render_markdown.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

enum {
	FINDINGS_SHOWN = 30,
	REASONS_SHOWN = 20,
	TEXT_WIDTH = 300,
	DETAILS_BYTES = 12000 /* a job summary takes a megabyte in all */
};

/* ---- Escaping: foreign text is never markup -------------------------------------------------------- */

static bool is_plain(char byte) {
	static const char plain[] = " .,/-+=()'";
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
		(unsigned char)byte >= 0x80 || (byte != '\0' && strchr(plain, byte) != NULL);
}

/* All punctuation that Markdown or HTML might obey becomes a character reference, but the colon of "file:line". */
static const char *escaped(struct arena *arena, const char *text) {
	char *result = arena_array(arena, strlen(text) * strlen("&#255;") + 1, 1);
	char *to = result;
	for (; *text != '\0'; text++) {
		bool is_number_mark = *text == ':' && text[1] >= '0' && text[1] <= '9';
		bool is_space = *text == ':' && text[1] == ' ';
		if (is_plain(*text) || is_number_mark || is_space || *text == '\n')
			*to++ = *text;
		else
			to += sprintf(to, "&#%d;", (unsigned char)*text);
	}
	*to = '\0';
	return result;
}

static const char *sentence(struct arena *arena, const char *text) {
	return escaped(arena, text_shorten_end(arena, text_printable(arena, text), TEXT_WIDTH));
}

/* Names go into <code>, where nobody is mentioned and no issue is linked. */
static const char *code(struct arena *arena, const char *text) {
	return arena_text(
		arena, "<code>%s</code>",
		escaped(arena, text_shorten_middle(arena, text_printable(arena, text), TEXT_WIDTH)));
}

/* ---- Sections -------------------------------------------------------------------------------------- */

struct markdown {
	const struct report *report;
	const struct render_options *options;
	struct arena arena;
	FILE *stream;
};

static const char *heading_of(const struct report *report) {
	if (report->gate != NULL) {
		static const char *const results[] = {[GATE_GREEN] = "passed",
						      [GATE_RED] = "failed",
						      [GATE_UNTRUSTED] = "cannot be trusted"};
		return results[report->gate->result];
	}
	return report->trust.ok ? "report" : "not to be trusted";
}

static void write_head(struct markdown *markdown) {
	const struct report_verdict *verdict = &markdown->report->verdict;
	fprintf(markdown->stream, "## pqlease: %s\n\n%s\n", heading_of(markdown->report),
		sentence(&markdown->arena, verdict->message));
	for (size_t i = 0; i < verdict->advice_count; i++)
		fprintf(markdown->stream, "\n%s\n", sentence(&markdown->arena, verdict->advice[i]));
}

static const char *state_of(const struct report *report, size_t index) {
	const struct gate_finding *judged = finding_text_gate(report, index);
	return judged != NULL ? gate_state_name(judged->state)
			      : finding_certainty_name(report->findings[index].finding->certainty);
}

static const char *test_of(struct markdown *markdown, const struct report_finding *finding) {
	for (size_t i = 0; i < finding->example_count; i++)
		if (finding->examples[i].test != NULL)
			return code(&markdown->arena, finding->examples[i].test);
	return "";
}

static void write_table(struct markdown *markdown, size_t shown) {
	const struct report *report = markdown->report;
	fprintf(markdown->stream,
		"\n| level | finding | count | taken at | test | %s |\n|---|---|---:|---|---|---|\n",
		report->gate != NULL ? "state" : "certainty");
	for (size_t i = 0; i < shown; i++) {
		const struct report_finding *finding = &report->findings[i];
		fprintf(markdown->stream, "| %s | %s | %" PRIu64 " | %s | %s | %s |\n",
			finding_level_name(finding->finding->level), finding->finding->kind,
			finding->finding->count,
			code(&markdown->arena,
			     finding_text_where(&markdown->arena, report, finding,
						markdown->options->source_root)),
			test_of(markdown, finding), state_of(report, i));
	}
}

static void write_details(struct markdown *markdown, const struct report_finding *finding) {
	struct arena *arena = &markdown->arena;
	const char *root = markdown->options->source_root;
	const char *details = escaped(arena, finding_text_details(arena, markdown->report, finding, root));
	size_t length = strlen(details);
	bool is_cut = length > DETAILS_BYTES;
	if (is_cut) {
		length = DETAILS_BYTES;
		while (length > 0 && details[length - 1] != '\n')
			length--;
	}
	fprintf(markdown->stream,
		"\n<details><summary>%s, %" PRIu64 "x</summary>\n<pre>\n%.*s%s\n</pre>\n</details>\n",
		finding->finding->kind, finding->finding->count, (int)length, details,
		is_cut ? "(more in the text report)" : "");
}

static void write_findings(struct markdown *markdown) {
	const struct report *report = markdown->report;
	size_t shown = report->finding_count < FINDINGS_SHOWN ? report->finding_count : FINDINGS_SHOWN;
	if (shown == 0)
		return;
	write_table(markdown, shown);
	if (shown < report->finding_count)
		fprintf(markdown->stream, "\n%zu more findings are not shown here.\n",
			report->finding_count - shown);
	for (size_t i = 0; i < shown; i++)
		write_details(markdown, &report->findings[i]);
}

static void write_gate(struct markdown *markdown) {
	const struct gate_outcome *gate = markdown->report->gate;
	size_t shown =
		gate != NULL && gate->failure_count < REASONS_SHOWN ? gate->failure_count : REASONS_SHOWN;
	if (gate == NULL || gate->failure_count == 0)
		return;
	fputs("\n### Gate\n\n", markdown->stream);
	for (size_t i = 0; i < shown; i++)
		fprintf(markdown->stream, "- %s: %s\n", code(&markdown->arena, gate->failures[i].item),
			sentence(&markdown->arena, gate->failures[i].message));
	if (shown < gate->failure_count)
		fprintf(markdown->stream, "- %zu more\n", gate->failure_count - shown);
}

static void write_trust(struct markdown *markdown) {
	const struct report_trust *trust = &markdown->report->trust;
	if (trust->reason_count == 0)
		return;
	fprintf(markdown->stream, "\n### %s\n\n", trust->ok ? "Remarks" : "Not to be trusted");
	for (size_t i = 0; i < trust->reason_count && i < REASONS_SHOWN; i++)
		fprintf(markdown->stream, "- %s\n", sentence(&markdown->arena, trust->reasons[i]));
}

static const char *count_text(struct arena *arena, int64_t count) {
	return count != REPORT_UNKNOWN ? arena_text(arena, "%" PRId64, count) : "unknown";
}

static const char *milliseconds(struct arena *arena, double seconds) {
	return isfinite(seconds) ? arena_text(arena, "%.2f ms", seconds * 1e3) : "unknown";
}

static void write_numbers(struct markdown *markdown) {
	struct arena *arena = &markdown->arena;
	const struct report *report = markdown->report;
	const struct report_totals *totals = &report->totals;
	const struct {
		const char *name;
		const char *value;
	} rows[] = {{"attempts", count_text(arena, totals->attempts)},
		    {"failed", count_text(arena, totals->failed)},
		    {"finished", count_text(arena, totals->finished)},
		    {"left by processes that ended", count_text(arena, totals->unreleased)},
		    {"open", count_text(arena, totals->open)},
		    {"peak open", count_text(arena, totals->peak_open)},
		    {"connect p50", milliseconds(arena, report->connect_time.p50)},
		    {"connect p95", milliseconds(arena, report->connect_time.p95)},
		    {"hold p50", milliseconds(arena, report->hold_time.p50)},
		    {"hold p95", milliseconds(arena, report->hold_time.p95)}};
	fputs("\n| connections | |\n|---|---:|\n", markdown->stream);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		fprintf(markdown->stream, "| %s | %s |\n", rows[i].name, rows[i].value);
}

void render_markdown(const struct report *report, const struct render_options *options, FILE *stream) {
	struct markdown markdown = {.report = report, .options = options, .stream = stream};
	write_head(&markdown);
	write_gate(&markdown);
	write_findings(&markdown);
	write_trust(&markdown);
	write_numbers(&markdown);
	arena_release(&markdown.arena);
}
