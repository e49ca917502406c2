#include "analyzer/render/render_diff.h"

#include <inttypes.h>
#include <math.h>

#include <jansson.h>

#include "analyzer/commands/options.h"
#include "analyzer/render/json_text.h"
#include "analyzer/render/text_page.h"
#include "analyzer/judge/run_diff.h"

/* ---- Text ------------------------------------------------------------------------------------- */

static enum text_page_style style_of(enum run_diff_state state, bool is_note) {
	static const enum text_page_style styles[RUN_DIFF_STATE_COUNT] = {[RUN_DIFF_NEW] = TEXT_PAGE_BAD,
									  [RUN_DIFF_WORSE] = TEXT_PAGE_BAD,
									  [RUN_DIFF_FIXED] = TEXT_PAGE_GOOD,
									  [RUN_DIFF_GONE] =
										  TEXT_PAGE_DOUBTFUL,
									  [RUN_DIFF_BETTER] = TEXT_PAGE_GOOD};
	return is_note ? TEXT_PAGE_PLAIN : styles[state];
}

static size_t count_findings(const struct run_diff *diff, enum run_diff_state state) {
	size_t count = 0;
	for (size_t i = 0; i < diff->finding_count; i++)
		count += diff->findings[i].state == state;
	return count;
}

static size_t count_times(const struct run_diff *diff, enum run_diff_state state) {
	size_t count = 0;
	for (size_t i = 0; i < diff->time_count; i++)
		count += diff->times[i].state == state;
	return count;
}

static void print_head(struct text_page *page, const struct run_diff *diff) {
	const char *word = diff->is_worse ? "worse" : "not worse";
	text_page_line(page, diff->is_worse ? TEXT_PAGE_BAD : TEXT_PAGE_GOOD, "pqlease: ",
		       "%s: findings %zu new, %zu worse, %zu better, %zu fixed; times %zu slower, %zu faster",
		       word, count_findings(diff, RUN_DIFF_NEW), count_findings(diff, RUN_DIFF_WORSE),
		       count_findings(diff, RUN_DIFF_BETTER), count_findings(diff, RUN_DIFF_FIXED),
		       count_times(diff, RUN_DIFF_WORSE), count_times(diff, RUN_DIFF_BETTER));
}

static void print_side(struct text_page *page, const char *name, struct run_diff_side side) {
	for (size_t i = 0; i < side.count; i++)
		text_page_line(page, TEXT_PAGE_PLAIN, name, "%s, %" PRIu64 " attempts%s",
			       text_page_fit(page, side.runs[i].path, 60), side.runs[i].attempts,
			       side.runs[i].is_trusted ? "" : ", not to be trusted");
}

static void print_findings(struct text_page *page, const struct run_diff *diff) {
	if (diff->finding_count > 0)
		text_page_line(page, TEXT_PAGE_HEADING, "Findings", "%s", "");
	for (size_t i = 0; i < diff->finding_count; i++) {
		const struct run_diff_finding *finding = &diff->findings[i];
		const char *head = arena_text(&page->arena, "  %-10s", run_diff_state_name(finding->state));
		text_page_line(page, style_of(finding->state, finding->is_note), head,
			       "%-20s %6" PRIu64 " -> %-6" PRIu64 " %s%s", finding->kind, finding->base_count,
			       finding->new_count, text_page_fit(page, finding->place, 44),
			       finding->state == RUN_DIFF_GONE ? " (not reached)" : "");
	}
}

static void print_time(struct text_page *page, const struct run_diff_time *time) {
	double change = time->new_p50 - time->base_p50;
	const char *head = arena_text(&page->arena, "  %-10s", run_diff_state_name(time->state));
	const char *counts = arena_text(&page->arena, "%" PRIu64 "/%" PRIu64, time->test.base_count,
					time->test.other_count);
	text_page_line(page, style_of(time->state, false), head,
		       "%-8s %13s %9s %9s %+8.1f %% %4.2f %8.2g  %s", run_diff_measure_name(time->measure),
		       counts, text_page_seconds(page, time->base_p50),
		       text_page_seconds(page, time->new_p50),
		       time->base_p50 > 0 ? 100 * change / time->base_p50 : 0, time->test.superiority,
		       time->p, text_page_fit(page, time->place, 24));
}

/* Places that are as they were say nothing. */
static void print_times(struct text_page *page, const struct run_diff *diff) {
	if (diff->time_count > 0)
		text_page_line(page, TEXT_PAGE_HEADING, "Times       ", "%22s %9s %9s %10s %4s %8s  %s", "n",
			       "base p50", "new p50", "change", "win", "p", "taken at");
	for (size_t i = 0; i < diff->time_count; i++)
		if (diff->times[i].fingerprint == NULL || diff->times[i].state == RUN_DIFF_WORSE ||
		    diff->times[i].state == RUN_DIFF_BETTER)
			print_time(page, &diff->times[i]);
}

void render_diff_text(const struct run_diff *diff, bool use_colors, FILE *stream) {
	struct text_page page = {.stream = stream, .use_colors = use_colors};
	print_head(&page, diff);
	print_side(&page, "  base ", diff->base);
	print_side(&page, "  new  ", diff->other);
	print_findings(&page, diff);
	print_times(&page, diff);
	text_page_end(&page);
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static json_t *real_value(double value) {
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *side_value(struct run_diff_side side) {
	json_t *runs = json_array();
	for (size_t i = 0; i < side.count; i++)
		json_array_append_new(runs,
				      json_pack("{s:o, s:b, s:I}", "path", json_text_value(side.runs[i].path),
						"trusted", side.runs[i].is_trusted, "attempts",
						(json_int_t)side.runs[i].attempts));
	return runs;
}

static json_t *finding_value(const struct run_diff_finding *finding) {
	return json_pack("{s:s, s:o, s:o, s:o, s:b, s:I, s:I}", "state", run_diff_state_name(finding->state),
			 "kind", json_text_value(finding->kind), "fingerprint",
			 json_text_value(finding->fingerprint), "place", json_text_value(finding->place),
			 "note", finding->is_note, "base", (json_int_t)finding->base_count, "new",
			 (json_int_t)finding->new_count);
}

static json_t *time_value(const struct run_diff_time *time) {
	json_t *object = json_pack(
		"{s:s, s:s, s:o, s:o, s:I, s:I}", "state", run_diff_state_name(time->state), "measure",
		run_diff_measure_name(time->measure), "fingerprint", json_text_value(time->fingerprint),
		"place", time->fingerprint != NULL ? json_text_value(time->place) : json_null(), "base_n",
		(json_int_t)time->test.base_count, "new_n", (json_int_t)time->test.other_count);
	json_object_set_new(object, "base_p50", real_value(time->base_p50));
	json_object_set_new(object, "new_p50", real_value(time->new_p50));
	json_object_set_new(object, "base_p95", real_value(time->base_p95));
	json_object_set_new(object, "new_p95", real_value(time->new_p95));
	json_object_set_new(object, "change",
			    real_value(time->base_p50 > 0 ? time->new_p50 / time->base_p50 - 1 : NAN));
	json_object_set_new(object, "u", real_value(time->test.u));
	json_object_set_new(object, "superiority", real_value(time->test.superiority));
	json_object_set_new(object, "p", real_value(time->p));
	json_object_set_new(object, "spread", real_value(time->spread));
	return object;
}

void render_diff_json(const struct run_diff *diff, FILE *stream) {
	json_t *findings = json_array();
	json_t *times = json_array();
	for (size_t i = 0; i < diff->finding_count; i++)
		json_array_append_new(findings, finding_value(&diff->findings[i]));
	for (size_t i = 0; i < diff->time_count; i++)
		json_array_append_new(times, time_value(&diff->times[i]));
	json_t *object =
		json_pack("{s:s, s:{s:s, s:s}, s:b, s:b, s:o, s:o, s:o, s:o}", "schema", "pqlease/diff-1",
			  "tool", "name", "pqlease", "version", PQLEASE_VERSION, "worse", diff->is_worse,
			  "trusted", diff->is_trusted, "base", side_value(diff->base), "new",
			  side_value(diff->other), "findings", findings, "times", times);
	json_dumpf(object, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	fputc('\n', stream);
	json_decref(object);
}
