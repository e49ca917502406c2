#include "analyzer/run_summary.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "analyzer/aftermath.h"
#include "analyzer/ledger_reader.h"
#include "analyzer/options.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/report.h"
#include "analyzer/symbol_source.h"
#include "analyzer/text.h"

enum { REPORT_MAX_BYTES = 256 << 20, COUNT_MAX_BITS = 53 };

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

/* ---- From JSON: nothing in it is believed ---------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key) {
	return json_string_value(json_object_get(object, key));
}

static bool parse_count(const json_t *value, uint64_t *count) {
	json_int_t number = json_integer_value(value);
	*count = (uint64_t)number;
	return json_is_integer(value) && number >= 0 && number < INT64_C(1) << COUNT_MAX_BITS;
}

static uint64_t nanoseconds(const json_t *seconds) {
	double value = json_number_value(seconds) * 1e9;
	return value > 0 && value < 1e18 ? (uint64_t)llround(value) : 0;
}

static bool parse_buckets(struct histogram *histogram, struct arena *arena, const json_t *buckets) {
	size_t i;
	json_t *pair;
	json_array_foreach(buckets, i, pair) {
		uint64_t place;
		uint64_t count;
		if (json_array_size(pair) != 2 || !parse_count(json_array_get(pair, 0), &place) ||
		    !parse_count(json_array_get(pair, 1), &count) ||
		    place >= HISTOGRAM_OCTAVES * HISTOGRAM_OCTAVE_BUCKETS)
			return false;
		histogram_add_bucket(histogram, arena, (unsigned)place / HISTOGRAM_OCTAVE_BUCKETS,
				     (unsigned)place % HISTOGRAM_OCTAVE_BUCKETS, count);
	}
	return json_is_array(buckets);
}

/* A report without buckets is older than they are. */
static const char *parse_time(struct histogram *histogram, struct arena *arena, const json_t *owner,
			      const char *key) {
	const json_t *times = json_object_get(owner, key);
	const json_t *buckets = json_object_get(times, "buckets");
	if (!parse_count(json_object_get(times, "count"), &histogram->count))
		return arena_text(arena, "%s has no count", key);
	if (buckets == NULL)
		return arena_text(arena, "%s has no buckets: the report is of an older version", key);
	histogram->min_ns = nanoseconds(json_object_get(times, "min"));
	histogram->max_ns = nanoseconds(json_object_get(times, "max"));
	histogram->sum_ns = (uint64_t)(json_number_value(json_object_get(times, "mean")) *
				       (double)histogram->count * 1e9);
	return parse_buckets(histogram, arena, buckets) ? NULL
							: arena_text(arena, "%s has a bad bucket", key);
}

static const char *parse_times(struct histogram time[RUN_SUMMARY_MEASURE_COUNT], struct arena *arena,
			       const json_t *owner) {
	const char *problem = parse_time(&time[RUN_SUMMARY_CONNECT], arena, owner, "connect_time");
	return problem != NULL ? problem : parse_time(&time[RUN_SUMMARY_HOLD], arena, owner, "hold_time");
}

/* As finding_text_frame has it. */
static const char *parse_place(struct arena *arena, const json_t *frame) {
	const char *file = text_of(frame, "file");
	const char *function = text_of(frame, "function");
	const char *module = text_of(frame, "module");
	json_int_t line = json_integer_value(json_object_get(frame, "line"));
	if (!json_is_object(frame))
		return "(place unknown)";
	const char *place = file == NULL ? (module != NULL ? module : "?") : file;
	if (file != NULL && line > 0)
		place = arena_text(arena, "%s:%lld", file, (long long)line);
	return text_printable(arena, function != NULL ? arena_text(arena, "%s %s", place, function) : place);
}

static const char *parse_site(struct run_summary_site *site, struct arena *arena, const json_t *from) {
	const char *fingerprint = text_of(from, "fingerprint");
	if (fingerprint == NULL || !parse_count(json_object_get(from, "attempts"), &site->attempts))
		return "a site without fingerprint or attempts";
	site->fingerprint = keep(arena, fingerprint);
	site->place = parse_place(arena, json_object_get(from, "application_frame"));
	return parse_times(site->time, arena, from);
}

static const char *parse_sites(struct run_summary *summary, struct arena *arena, const json_t *sites) {
	const char *problem = NULL;
	summary->site_count = json_array_size(sites);
	summary->sites = arena_array(arena, summary->site_count, sizeof *summary->sites);
	for (size_t i = 0; problem == NULL && i < summary->site_count; i++)
		problem = parse_site(&summary->sites[i], arena, json_array_get(sites, i));
	return problem;
}

/* Of a finding that is about no site. */
static const char *parse_pool(struct arena *arena, const json_t *finding, const json_t *pools) {
	const json_t *number = json_object_get(finding, "pool");
	const json_t *pool = json_is_integer(number) && json_integer_value(number) >= 0
		? json_array_get(pools, (size_t)json_integer_value(number))
		: NULL;
	const char *role = text_of(pool, "role");
	return pool == NULL
		? "(place unknown)"
		: arena_text(arena, "pool '%s'", text_printable(arena, role != NULL ? role : "?"));
}

static void find_site(struct run_summary_finding *finding, const struct run_summary *summary,
		      const json_t *sites, const json_t *id, const char *place) {
	finding->place = place;
	for (size_t i = 0; json_is_integer(id) && i < summary->site_count; i++)
		if (json_integer_value(json_object_get(json_array_get(sites, i), "id")) ==
		    json_integer_value(id)) {
			finding->place = summary->sites[i].place;
			finding->site_fingerprint = summary->sites[i].fingerprint;
		}
}

static const char *parse_findings(struct run_summary *summary, struct arena *arena, const json_t *findings,
				  const json_t *sites, const json_t *pools) {
	summary->finding_count = json_array_size(findings);
	summary->findings = arena_array(arena, summary->finding_count, sizeof *summary->findings);
	for (size_t i = 0; i < summary->finding_count; i++) {
		const json_t *from = json_array_get(findings, i);
		struct run_summary_finding *finding = &summary->findings[i];
		const char *level = text_of(from, "level");
		finding->kind = keep(arena, text_of(from, "kind"));
		finding->fingerprint = keep(arena, text_of(from, "fingerprint"));
		if (finding->kind == NULL || finding->fingerprint == NULL || level == NULL ||
		    !parse_count(json_object_get(from, "count"), &finding->count))
			return "a finding without kind, level, fingerprint or count";
		finding->is_note = strcmp(level, "note") == 0;
		find_site(finding, summary, sites, json_object_get(from, "site"),
			  parse_pool(arena, from, pools));
	}
	return NULL;
}

static const char *take_json(struct run_summary *summary, struct arena *arena, const json_t *report) {
	const char *schema = text_of(report, "schema");
	const json_t *sites = json_object_get(report, "sites");
	const json_t *findings = json_object_get(report, "findings");
	const json_t *totals = json_object_get(report, "totals");
	const json_t *is_trusted = json_object_get(json_object_get(report, "trust"), "ok");
	if (schema == NULL || strcmp(schema, REPORT_SCHEMA) != 0)
		return "not a report of schema " REPORT_SCHEMA;
	if (!json_is_array(sites) || !json_is_array(findings) || !json_is_boolean(is_trusted) ||
	    !parse_count(json_object_get(totals, "attempts"), &summary->attempts))
		return "sites, findings, trust.ok or totals.attempts is missing";
	summary->is_trusted = json_is_true(is_trusted);
	const char *problem = parse_times(summary->time, arena, report);
	if (problem == NULL)
		problem = parse_sites(summary, arena, sites);
	return problem != NULL
		? problem
		: parse_findings(summary, arena, findings, sites, json_object_get(report, "pools"));
}

const char *run_summary_parse(struct run_summary *summary, struct arena *arena, const char *bytes,
			      size_t length) {
	json_error_t error;
	json_t *report = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &error);
	if (report == NULL)
		return arena_text(arena, "line %d: %s", error.line, error.text);
	const char *problem = take_json(summary, arena, report);
	if (problem == NULL)
		run_summary_merge_sites(summary, arena);
	json_decref(report);
	return problem;
}

/* ---- From files --------------------------------------------------------------------------------------- */

static bool fail(const char *path, const char *why) {
	options_error(path, "%s", why);
	return false;
}

static bool read_json(struct run_summary *summary, struct arena *arena, const char *path, FILE *file) {
	if (fseeko(file, 0, SEEK_END) != 0)
		return fail(path, strerror(errno));
	off_t size = ftello(file);
	if (size < 0 || size > REPORT_MAX_BYTES)
		return fail(path, "too large for a report");
	rewind(file);
	char *bytes = arena_array(arena, (size_t)size + 1, 1);
	size_t length = fread(bytes, 1, (size_t)size, file);
	const char *problem = run_summary_parse(summary, arena, bytes, length);
	return problem == NULL || fail(path, problem);
}

static bool read_ledger(struct run_summary *summary, struct arena *arena, const char *path) {
	struct model model;
	struct report report;
	enum ledger_reader_status status = ledger_reader_read(&model, path);
	if (status != LEDGER_READER_OK)
		return fail(path, ledger_reader_status_text(status));
	struct liveness_observer observer = liveness_observer_here();
	aftermath_settle(&model, &observer);
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
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return fail(path, strerror(errno));
	int first = fgetc(file);
	bool is_json = first == '{';
	bool is_read = !ferror(file) && is_json && read_json(summary, arena, path, file);
	bool has_failed = ferror(file);
	fclose(file);
	if (has_failed)
		return fail(path, "cannot be read");
	return is_json ? is_read : read_ledger(summary, arena, path);
}
