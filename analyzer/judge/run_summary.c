#include "analyzer/judge/run_summary.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/ledger/ledger_load.h"
#include "analyzer/commands/options.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/report/report.h"
#include "analyzer/report/report_reader.h"
#include "analyzer/symbols/symbol_source.h"

/* ---- Sites ------------------------------------------------------------------------------------- */

static int compare_sites(const void *a, const void *b) {
	return strcmp(((const struct run_summary_site *)a)->fingerprint,
		      ((const struct run_summary_site *)b)->fingerprint);
}

void run_summary_merge_sites(struct run_summary *summary, struct arena *arena) {
	size_t kept = 0;
	if (summary->site_count > 1)
		qsort(summary->sites, summary->site_count, sizeof *summary->sites, compare_sites);
	for (size_t i = 0; i < summary->site_count; i++) {
		struct run_summary_site *last = kept > 0 ? &summary->sites[kept - 1] : NULL;
		if (last == NULL || compare_sites(last, &summary->sites[i]) != 0) {
			summary->sites[kept++] = summary->sites[i];
			continue;
		}
		last->attempts += summary->sites[i].attempts;
		for (int measure = 0; measure < RUN_SUMMARY_MEASURE_COUNT; measure++)
			histogram_merge(&last->time[measure], arena, &summary->sites[i].time[measure]);
	}
	summary->site_count = kept;
}

const struct run_summary_site *run_summary_find_site(const struct run_summary *summary,
						     const char *fingerprint) {
	const struct run_summary_site key = {.fingerprint = fingerprint};
	if (summary->site_count == 0)
		return NULL;
	return bsearch(&key, summary->sites, summary->site_count, sizeof key, compare_sites);
}

/* ---- From a report in memory ------------------------------------------------------------------- */

static const char *keep(struct arena *arena, const char *text) {
	return text != NULL ? arena_copy(arena, text, strlen(text)) : NULL;
}

static void take_time(struct histogram *to, struct arena *arena, const struct report_times *times) {
	if (times->distribution != NULL)
		histogram_merge(to, arena, times->distribution);
}

static void take_site(struct run_summary_site *to, struct arena *arena, const struct report *report,
		      const struct report_site *site) {
	*to = (struct run_summary_site){.fingerprint = keep(arena, site->fingerprint),
					.place = finding_text_place(arena, report, site->id, NULL),
					.attempts = (uint64_t)site->attempts};
	take_time(&to->time[RUN_SUMMARY_CONNECT], arena, &site->connect_time);
	take_time(&to->time[RUN_SUMMARY_HOLD], arena, &site->hold_time);
}

static void take_finding(struct run_summary_finding *to, struct arena *arena, const struct report *report,
			 const struct report_finding *finding) {
	const struct report_site *site = report_find_site(report, finding->site);
	*to = (struct run_summary_finding){.kind = keep(arena, finding->finding->kind),
					   .fingerprint = keep(arena, finding->finding->fingerprint),
					   .site_fingerprint =
						   site != NULL ? keep(arena, site->fingerprint) : NULL,
					   .place = finding_text_where(arena, report, finding, NULL),
					   .is_note = finding->finding->level == FINDING_NOTE,
					   .count = finding->finding->count};
}

void run_summary_take(struct run_summary *summary, struct arena *arena, const struct report *report) {
	summary->is_trusted = report->trust.ok;
	summary->attempts = (uint64_t)report->totals.attempts;
	take_time(&summary->time[RUN_SUMMARY_CONNECT], arena, &report->connect_time);
	take_time(&summary->time[RUN_SUMMARY_HOLD], arena, &report->hold_time);
	summary->site_count = report->site_count;
	summary->sites = arena_array(arena, report->site_count, sizeof *summary->sites);
	for (size_t i = 0; i < report->site_count; i++)
		take_site(&summary->sites[i], arena, report, &report->sites[i]);
	summary->finding_count = report->finding_count;
	summary->findings = arena_array(arena, report->finding_count, sizeof *summary->findings);
	for (size_t i = 0; i < report->finding_count; i++)
		take_finding(&summary->findings[i], arena, report, &report->findings[i]);
	run_summary_merge_sites(summary, arena);
}

/* ---- From JSON ------------------------------------------------------------------------------------- */

static bool lacks_times(const struct report_times *times) {
	return times->count == REPORT_UNKNOWN || times->distribution == NULL;
}

/* What a report may lack elsewhere, and a comparison cannot do without. */
static const char *find_gap(const struct report *report) {
	bool lacks = lacks_times(&report->connect_time) || lacks_times(&report->hold_time);
	for (size_t i = 0; i < report->site_count; i++) {
		const struct report_site *site = &report->sites[i];
		if (site->attempts == REPORT_UNKNOWN)
			return "a site has no attempts";
		lacks |= lacks_times(&site->connect_time) || lacks_times(&site->hold_time);
	}
	return lacks ? "times without buckets: the report is of an older version" : NULL;
}

/* Releases the report. */
static const char *take_read(struct run_summary *summary, struct arena *arena, struct report *report,
			     bool is_read, const struct gate_error *error) {
	const char *problem = is_read ? find_gap(report) : keep(arena, error->why);
	if (problem == NULL)
		run_summary_take(summary, arena, report);
	report_release(report);
	return problem;
}

const char *run_summary_parse(struct run_summary *summary, struct arena *arena, const char *bytes,
			      size_t length) {
	struct report report;
	struct gate_error error = {"", ""};
	bool is_read = report_reader_parse(&report, "", bytes, length, &error);
	return take_read(summary, arena, &report, is_read, &error);
}

/* ---- From files --------------------------------------------------------------------------------------- */

static bool fail(const char *path, const char *why) {
	options_error(path, "%s", why);
	return false;
}

static bool read_json(struct run_summary *summary, struct arena *arena, const char *path) {
	struct report report;
	struct gate_error error = {path, ""};
	bool is_read = report_reader_read(&report, path, &error);
	const char *place = is_read ? path : keep(arena, error.place);
	const char *problem = take_read(summary, arena, &report, is_read, &error);
	return problem == NULL || fail(place, problem);
}

static bool read_ledger(struct run_summary *summary, struct arena *arena, const char *path) {
	struct model model;
	struct report report;
	const char *problem = ledger_load(&model, path);
	if (problem != NULL)
		return fail(path, problem);
	struct symbol_source *symbols = symbol_source_open(path, model.mapped_bytes, NULL);
	struct report_settings settings = report_settings_standard();
	report_build(&report, &model, symbols, &settings);
	run_summary_take(summary, arena, &report);
	report_release(&report);
	symbol_source_close(symbols);
	model_release(&model);
	return true;
}

bool run_summary_read(struct run_summary *summary, struct arena *arena, const char *path) {
	*summary = (struct run_summary){.path = path};
	return report_reader_is_json(path) ? read_json(summary, arena, path)
					   : read_ledger(summary, arena, path);
}
