#include "analyzer/report/report_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "analyzer/render/json_fields.h"
#include "analyzer/report/report.h"
#include "analyzer/rules/rule.h"

/* Beyond it doubles lose counts, and sums could overflow. */
#define COUNT_MAX (INT64_C(1) << 53)

struct reading {
	struct report *report;
	struct arena *arena;
	const char *name;
	struct gate_error *error;
};

/* A JSON object and how messages call it: "findings[3]". */
struct place {
	const json_t *object;
	const char *name;
};

static bool refuse(struct reading *reading, const struct place *place, const char *key, const char *why) {
	const char *dot = *place->name != '\0' && *key != '\0' ? "." : "";
	return gate_input_refuse(reading->error, reading->arena, reading->name, 0, 0, "%s%s%s: %s",
				 place->name, dot, key, why);
}

/* ---- Values ----------------------------------------------------------------------------------- */

static bool is_absent(const json_t *value) {
	return value == NULL || json_is_null(value);
}

static bool read_count(struct reading *reading, const struct place *place, const char *key, int64_t *count) {
	const json_t *value = json_object_get(place->object, key);
	*count = REPORT_UNKNOWN;
	if (is_absent(value))
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > COUNT_MAX)
		return refuse(reading, place, key, "not a count");
	*count = json_integer_value(value);
	return true;
}

static bool read_real(struct reading *reading, const struct place *place, const char *key, double *real) {
	const json_t *value = json_object_get(place->object, key);
	*real = NAN;
	if (is_absent(value))
		return true;
	if (!json_is_number(value))
		return refuse(reading, place, key, "not a number");
	*real = json_number_value(value);
	return true;
}

/* Zero bytes inside are refused by jansson. */
static bool read_text(struct reading *reading, const struct place *place, const char *key,
		      const char **text) {
	const json_t *value = json_object_get(place->object, key);
	*text = NULL;
	if (is_absent(value))
		return true;
	if (!json_is_string(value))
		return refuse(reading, place, key, "not a text");
	*text = arena_copy(reading->arena, json_string_value(value), json_string_length(value));
	return true;
}

static bool read_bool(struct reading *reading, const struct place *place, const char *key, bool *is_true) {
	const json_t *value = json_object_get(place->object, key);
	if (!json_is_boolean(value))
		return refuse(reading, place, key, "not true or false");
	*is_true = json_is_true(value);
	return true;
}

static bool read_flag(struct reading *reading, const struct place *place, const char *key, int64_t *flag) {
	bool is_true = false;
	*flag = REPORT_UNKNOWN;
	if (is_absent(json_object_get(place->object, key)))
		return true;
	if (!read_bool(reading, place, key, &is_true))
		return false;
	*flag = is_true;
	return true;
}

/* ---- Objects by their tables -------------------------------------------------------------------- */

static bool read_fields(struct reading *reading, const struct place *place, const struct json_field *fields,
			void *structure);

static bool enter(struct reading *reading, const struct place *place, const char *key, struct place *inner) {
	inner->object = json_object_get(place->object, key);
	inner->name = *place->name != '\0' ? arena_text(reading->arena, "%s.%s", place->name, key) : key;
	return json_is_object(inner->object) || refuse(reading, place, key, "not an object");
}

static bool read_bucket(struct histogram *histogram, struct arena *arena, const json_t *bucket) {
	json_int_t number = json_integer_value(json_array_get(bucket, 0));
	json_int_t count = json_integer_value(json_array_get(bucket, 1));
	if (json_array_size(bucket) != 2 || number < 0 || count <= 0 || count > COUNT_MAX ||
	    number >= HISTOGRAM_OCTAVES * HISTOGRAM_OCTAVE_BUCKETS)
		return false;
	histogram_add_bucket(histogram, arena, (unsigned)number / HISTOGRAM_OCTAVE_BUCKETS,
			     (unsigned)number % HISTOGRAM_OCTAVE_BUCKETS, (uint64_t)count);
	return true;
}

static uint64_t nanoseconds(double seconds) {
	return seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds * 1e9 + 0.5) : 0;
}

/* The distribution behind the numbers, where the writer had one. */
static bool read_buckets(struct reading *reading, const struct place *place, struct report_times *times) {
	const json_t *list = json_object_get(place->object, "buckets");
	if (is_absent(list))
		return true;
	struct histogram *histogram = arena_new(reading->arena, struct histogram);
	bool is_read = json_is_array(list) && times->count != REPORT_UNKNOWN;
	for (size_t i = 0; is_read && i < json_array_size(list); i++)
		is_read = read_bucket(histogram, reading->arena, json_array_get(list, i));
	if (!is_read)
		return refuse(reading, place, "buckets", "not a list of numbers and counts");
	histogram->count = (uint64_t)times->count;
	histogram->min_ns = nanoseconds(times->min);
	histogram->max_ns = nanoseconds(times->max);
	histogram->sum_ns = nanoseconds(times->mean * (double)times->count);
	times->distribution = histogram;
	return true;
}

static bool read_times(struct reading *reading, const struct place *place, const char *key,
		       struct report_times *times) {
	static const struct place nowhere = {NULL, ""};
	struct place inner;
	if (is_absent(json_object_get(place->object, key)))
		return read_fields(reading, &nowhere, json_fields.times, times);
	return enter(reading, place, key, &inner) && read_fields(reading, &inner, json_fields.times, times) &&
		read_buckets(reading, &inner, times);
}

static bool read_field(struct reading *reading, const struct place *place, const struct json_field *field,
		       void *member) {
	switch (field->type) {
	case FIELD_COUNT:
		return read_count(reading, place, field->key, member);
	case FIELD_REAL:
		return read_real(reading, place, field->key, member);
	case FIELD_TEXT:
		return read_text(reading, place, field->key, member);
	case FIELD_BOOL:
		return read_bool(reading, place, field->key, member);
	case FIELD_FLAG:
		return read_flag(reading, place, field->key, member);
	case FIELD_TIMES:
		return read_times(reading, place, field->key, member);
	}
	return false;
}

static bool read_fields(struct reading *reading, const struct place *place, const struct json_field *fields,
			void *structure) {
	for (const struct json_field *field = fields; field->key != NULL; field++)
		if (!read_field(reading, place, field, (char *)structure + field->offset))
			return false;
	return true;
}

/* What a writer always writes; the keys end with NULL. */
static bool require(struct reading *reading, const struct place *place, const char *const *keys) {
	for (; *keys != NULL; keys++)
		if (is_absent(json_object_get(place->object, *keys)))
			return refuse(reading, place, *keys, "is missing");
	return true;
}

/* ---- Lists -------------------------------------------------------------------------------------- */

typedef bool element_reader(struct reading *reading, const struct place *place, void *element);

/* `*elements` and `*count` are filled; a list that is missing is refused. */
static bool read_list(struct reading *reading, const struct place *place, const char *key,
		      element_reader *read_element, size_t element_bytes, void *elements, size_t *count) {
	const json_t *list = json_object_get(place->object, key);
	if (!json_is_array(list))
		return refuse(reading, place, key, "not a list");
	char *array = arena_array(reading->arena, json_array_size(list), element_bytes);
	*(void **)elements = array;
	for (*count = 0; *count < json_array_size(list); (*count)++) {
		struct place inner = {json_array_get(list, *count),
				      arena_text(reading->arena, "%s%s%s[%zu]", place->name,
						 *place->name != '\0' ? "." : "", key, *count)};
		if (!json_is_object(inner.object))
			return refuse(reading, &inner, "", "not an object");
		if (!read_element(reading, &inner, array + *count * element_bytes))
			return false;
	}
	return true;
}

#define READ_LIST(reading, place, key, read_element, structure, elements, count)                            \
	read_list(reading, place, key, read_element, sizeof *(structure)->elements, &(structure)->elements, \
		  &(structure)->count)

static bool read_texts(struct reading *reading, const struct place *place, const char *key,
		       const char *const **texts, size_t *count) {
	const json_t *list = json_object_get(place->object, key);
	if (!json_is_array(list))
		return refuse(reading, place, key, "not a list");
	const char **array = arena_array(reading->arena, json_array_size(list) + 1, sizeof *array);
	*count = json_array_size(list);
	*texts = array;
	for (size_t i = 0; i < *count; i++) {
		const json_t *text = json_array_get(list, i);
		if (!json_is_string(text))
			return refuse(reading, place, key, "not a list of texts");
		array[i] = arena_copy(reading->arena, json_string_value(text), json_string_length(text));
	}
	return true;
}

/* ---- Run, verdict, trust, totals ---------------------------------------------------------------- */

static bool read_run(struct reading *reading, const struct place *root) {
	static const char *const required[] = {"id", "host", "started", NULL};
	struct report_run *run = &reading->report->run;
	struct place place;
	return enter(reading, root, "run", &place) && require(reading, &place, required) &&
		read_text(reading, &place, "id", &run->id) &&
		read_text(reading, &place, "host", &run->host) &&
		read_texts(reading, &place, "command", &run->command, &run->command_count) &&
		read_fields(reading, &place, json_fields.run, run);
}

static bool read_verdict_evidence(struct reading *reading, const struct place *verdict_place) {
	struct report_verdict *verdict = &reading->report->verdict;
	struct place place;
	const char *key;
	json_t *value;
	if (!enter(reading, verdict_place, "evidence", &place))
		return false;
	struct report_count *counts =
		arena_array(reading->arena, json_object_size(place.object), sizeof *counts);
	json_object_foreach((json_t *)place.object, key, value) {
		if (!json_is_integer(value))
			continue; /* what is no count has no place among counts */
		counts[verdict->evidence_count++] = (struct report_count){
			arena_copy(reading->arena, key, strlen(key)), json_integer_value(value)};
	}
	verdict->evidence = counts;
	return true;
}

static bool read_verdict(struct reading *reading, const struct place *root) {
	static const char *const required[] = {"cause", "message", NULL};
	struct report_verdict *verdict = &reading->report->verdict;
	struct place place;
	return enter(reading, root, "verdict", &place) && require(reading, &place, required) &&
		read_text(reading, &place, "cause", &verdict->cause) &&
		read_text(reading, &place, "message", &verdict->message) &&
		read_texts(reading, &place, "candidates", &verdict->candidates, &verdict->candidate_count) &&
		read_texts(reading, &place, "advice", &verdict->advice, &verdict->advice_count) &&
		read_verdict_evidence(reading, &place);
}

static bool read_trust(struct reading *reading, const struct place *root) {
	static const char *const required[] = {"ok", "reasons", "processes", "lost", NULL};
	struct report_trust *trust = &reading->report->trust;
	struct place place;
	struct place lost;
	return enter(reading, root, "trust", &place) && require(reading, &place, required) &&
		read_bool(reading, &place, "ok", &trust->ok) &&
		read_texts(reading, &place, "reasons", &trust->reasons, &trust->reason_count) &&
		read_count(reading, &place, "processes", &trust->processes) &&
		read_count(reading, &place, "history_overwritten", &trust->history_overwritten) &&
		enter(reading, &place, "lost", &lost) &&
		read_fields(reading, &lost, json_fields.lost, &trust->lost);
}

static bool read_totals(struct reading *reading, const struct place *root) {
	static const char *const required[] = {"attempts", "established", "failed",        "abandoned",
					       "probes",   "resets",      "in_progress",   "finished",
					       "open",     "unreleased",  "finish_unseen", "double_finish",
					       NULL};
	struct place place;
	return enter(reading, root, "totals", &place) && require(reading, &place, required) &&
		read_fields(reading, &place, json_fields.totals, &reading->report->totals);
}

static bool read_phases(struct reading *reading, const struct place *root) {
	struct report_phases *phases = &reading->report->connect_phases;
	struct place place;
	phases->is_known = !is_absent(json_object_get(root->object, "connect_phases"));
	if (!phases->is_known)
		return true;
	return enter(reading, root, "connect_phases", &place) &&
		read_fields(reading, &place, json_fields.phases, phases);
}

static bool read_counted_times(struct reading *reading, const struct place *root, const char *key,
			       struct report_times *times) {
	return read_times(reading, root, key, times) &&
		(times->count != REPORT_UNKNOWN || refuse(reading, root, key, "has no count"));
}

static bool read_distributions(struct reading *reading, const struct place *root) {
	struct report *report = reading->report;
	struct place held;
	return read_phases(reading, root) &&
		read_counted_times(reading, root, "connect_time", &report->connect_time) &&
		read_counted_times(reading, root, "failed_time", &report->failed_time) &&
		read_counted_times(reading, root, "hold_time", &report->hold_time) &&
		read_times(reading, root, "use_time", &report->use_time) &&
		enter(reading, root, "held", &held) &&
		read_fields(reading, &held, json_fields.held, &report->held);
}

/* ---- Flat lists --------------------------------------------------------------------------------- */

static bool read_failure(struct reading *reading, const struct place *place, void *element) {
	static const char *const required[] = {"class", "count", "message", NULL};
	return require(reading, place, required) && read_fields(reading, place, json_fields.failure, element);
}

static bool read_pool(struct reading *reading, const struct place *place, void *element) {
	static const char *const required[] = {"role", "status", NULL};
	struct report_pool *pool = element;
	if (!require(reading, place, required) || !read_fields(reading, place, json_fields.pool, pool))
		return false;
	pool->name = pool->role;
	return true;
}

static bool read_process(struct reading *reading, const struct place *place, void *element) {
	static const char *const required[] = {"pid", "role", "how_ended", "open", NULL};
	return require(reading, place, required) && read_fields(reading, place, json_fields.process, element);
}

static bool read_lease(struct reading *reading, const struct place *place, void *element) {
	static const char *const required[] = {"state", NULL};
	return require(reading, place, required) && read_fields(reading, place, json_fields.lease, element);
}

static bool read_unmatched(struct reading *reading, const struct place *place, void *element) {
	return read_fields(reading, place, json_fields.unmatched, element);
}

static bool read_server(struct reading *reading, const struct place *root) {
	struct place place;
	if (is_absent(json_object_get(root->object, "server")))
		return true;
	struct report_server *server = arena_new(reading->arena, struct report_server);
	reading->report->server = server;
	return enter(reading, root, "server", &place) &&
		read_fields(reading, &place, json_fields.server, server) &&
		READ_LIST(reading, &place, "unmatched", read_unmatched, server, unmatched, unmatched_count);
}

/* ---- Sites -------------------------------------------------------------------------------------- */

static bool is_fingerprint(const char *text) {
	return text != NULL && strlen(text) == SITE_FINGERPRINT_BYTES - 1 &&
		strspn(text, "0123456789abcdef") == SITE_FINGERPRINT_BYTES - 1;
}

static bool read_language(struct reading *reading, const struct place *place, enum model_language *language) {
	const char *name;
	if (!read_text(reading, place, "language", &name))
		return false;
	for (int i = MODEL_NATIVE; name != NULL && i < MODEL_LANGUAGE_END; i++)
		if (strcmp(name, model_language_name((enum model_language)i)) == 0) {
			*language = (enum model_language)i;
			return true;
		}
	return refuse(reading, place, "language", "not a known one");
}

static bool read_frame(struct reading *reading, const struct place *place, void *element) {
	struct site_frame *frame = element;
	int64_t line;
	int64_t offset;
	if (!read_language(reading, place, &frame->language) ||
	    !read_text(reading, place, "function", &frame->function) ||
	    !read_text(reading, place, "file", &frame->file) ||
	    !read_text(reading, place, "module", &frame->module) ||
	    !read_count(reading, place, "line", &line) ||
	    !read_bool(reading, place, "inlined", &frame->is_inlined))
		return false;
	frame->line = line > 0 && line <= UINT32_MAX ? (uint32_t)line : 0;
	/* An address may be any word; jansson has signed ones. */
	const json_t *value = json_object_get(place->object, "offset");
	offset = json_is_integer(value) ? json_integer_value(value) : 0;
	frame->offset = (uint64_t)offset;
	return true;
}

static bool is_same_text(const char *a, const char *b) {
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* The writer's choice counts, should our own table of known code be another one. */
static bool read_application_frame(struct reading *reading, const struct place *site_place,
				   struct site_frames *frames) {
	struct place place;
	struct site_frame said = {0};
	int64_t line;
	bool is_fallback = false;
	site_frames_classify(frames);
	if (is_absent(json_object_get(site_place->object, "application_frame")))
		return true;
	if (!enter(reading, site_place, "application_frame", &place) ||
	    !read_text(reading, &place, "function", &said.function) ||
	    !read_text(reading, &place, "file", &said.file) ||
	    !read_text(reading, &place, "module", &said.module) ||
	    !read_count(reading, &place, "line", &line) ||
	    !read_bool(reading, &place, "fallback", &is_fallback))
		return false;
	for (size_t i = 0; i < frames->count; i++) {
		const struct site_frame *frame = &frames->frames[i];
		if (is_same_text(frame->function, said.function) && is_same_text(frame->file, said.file) &&
		    is_same_text(frame->module, said.module) &&
		    (line <= 0 || frame->line == (uint32_t)line)) {
			frames->application = i;
			frames->is_fallback = is_fallback;
			return true;
		}
	}
	return refuse(reading, site_place, "application_frame", "is none of the frames");
}

static bool read_released(struct reading *reading, const struct place *site_place,
			  struct report_released *released) {
	struct place place = {NULL, ""};
	if (!is_absent(json_object_get(site_place->object, "released")) &&
	    !enter(reading, site_place, "released", &place))
		return false;
	return read_fields(reading, &place, json_fields.released, released);
}

static bool read_site(struct reading *reading, const struct place *place, void *element) {
	struct report_site *site = element;
	struct site_frames *frames = arena_new(reading->arena, struct site_frames);
	site->frames = frames;
	frames->application = SITE_NO_FRAME;
	if (!read_count(reading, place, "id", &site->id) || site->id == REPORT_UNKNOWN)
		return refuse(reading, place, "id", "not a count");
	if (!read_text(reading, place, "fingerprint", &site->fingerprint) ||
	    !is_fingerprint(site->fingerprint))
		return refuse(reading, place, "fingerprint", "not 16 hexadecimal digits");
	memcpy(frames->fingerprint, site->fingerprint, SITE_FINGERPRINT_BYTES);
	return READ_LIST(reading, place, "frames", read_frame, frames, frames, count) &&
		read_bool(reading, place, "truncated", &frames->is_truncated) &&
		read_application_frame(reading, place, frames) &&
		read_released(reading, place, &site->released) &&
		read_fields(reading, place, json_fields.site, site);
}

static bool check_order_of_sites(struct reading *reading, const struct place *root) {
	const struct report *report = reading->report;
	for (size_t i = 1; i < report->site_count; i++)
		if (report->sites[i].id <= report->sites[i - 1].id)
			return refuse(reading, root, "sites", "not in the order of their ids");
	return true;
}

/* ---- Findings ----------------------------------------------------------------------------------- */

static bool is_word(const char *text) {
	return text != NULL && *text != '\0' &&
		strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static bool read_level(struct reading *reading, const struct place *place, struct finding *finding) {
	const char *name;
	if (!read_text(reading, place, "level", &name))
		return false;
	for (int i = FINDING_ERROR; name != NULL && i <= FINDING_NOTE; i++)
		if (strcmp(name, finding_level_name((enum finding_level)i)) == 0) {
			finding->level = (enum finding_level)i;
			return true;
		}
	return refuse(reading, place, "level", "not error, warning or note");
}

static bool read_certainty(struct reading *reading, const struct place *place, struct finding *finding) {
	const char *name;
	if (!read_text(reading, place, "certainty", &name))
		return false;
	for (int i = FINDING_FACT; name != NULL && i <= FINDING_SUSPICION; i++)
		if (strcmp(name, finding_certainty_name((enum finding_certainty)i)) == 0) {
			finding->certainty = (enum finding_certainty)i;
			return true;
		}
	return refuse(reading, place, "certainty", "not fact or suspicion");
}

static bool read_example(struct reading *reading, const struct place *place, void *element) {
	return read_fields(reading, place, json_fields.example, element);
}

static void take_evidence(struct reading *reading, struct finding *finding, const char *key,
			  const json_t *value) {
	if (!json_is_number(value) || finding->evidence_count == FINDING_EVIDENCE_MAX)
		return;
	struct finding_evidence *evidence = &finding->evidence[finding->evidence_count++];
	evidence->key = arena_copy(reading->arena, key, strlen(key));
	evidence->is_seconds = json_is_real(value);
	evidence->seconds = json_number_value(value);
	evidence->count = json_is_integer(value) ? (uint64_t)json_integer_value(value) : 0;
	if (strcmp(key, "oldest_age") == 0 && evidence->seconds > 0 && evidence->seconds < 1e9)
		finding->oldest_age_ns = (uint64_t)(evidence->seconds * 1e9);
}

static bool read_evidence(struct reading *reading, const struct place *finding_place,
			  struct report_finding *from, struct finding *finding) {
	struct place place;
	struct {
		struct report_example *examples;
		size_t count;
	} read;
	const char *key;
	json_t *value;
	if (!enter(reading, finding_place, "evidence", &place) ||
	    !READ_LIST(reading, &place, "examples", read_example, &read, examples, count))
		return false;
	from->examples = read.examples;
	from->example_count = read.count;
	json_object_foreach((json_t *)place.object, key, value) take_evidence(reading, finding, key, value);
	return true;
}

static bool read_identity(struct reading *reading, const struct place *place, struct finding *finding) {
	const char *fingerprint;
	int64_t count;
	if (!read_text(reading, place, "kind", &finding->kind) || !is_word(finding->kind))
		return refuse(reading, place, "kind", "not a word");
	if (!read_text(reading, place, "fingerprint", &fingerprint) || !is_fingerprint(fingerprint))
		return refuse(reading, place, "fingerprint", "not 16 hexadecimal digits");
	if (!read_count(reading, place, "count", &count) || count < 0)
		return refuse(reading, place, "count", "not a count");
	memcpy(finding->fingerprint, fingerprint, sizeof finding->fingerprint);
	finding->count = (uint64_t)count;
	return true;
}

static bool read_finding(struct reading *reading, const struct place *place, void *element) {
	struct report_finding *from = element;
	struct finding *finding = arena_new(reading->arena, struct finding);
	from->finding = finding;
	if (!read_identity(reading, place, finding) || !read_level(reading, place, finding) ||
	    !read_certainty(reading, place, finding) ||
	    !read_text(reading, place, "message", &finding->message) ||
	    !read_count(reading, place, "site", &from->site) ||
	    !read_count(reading, place, "pool", &from->pool) ||
	    !read_text(reading, place, "first", &from->first) ||
	    !read_text(reading, place, "last", &from->last) || !read_evidence(reading, place, from, finding))
		return false;
	if (finding->message == NULL)
		return refuse(reading, place, "message", "is missing");
	if (from->site != REPORT_UNKNOWN && report_find_site(reading->report, from->site) == NULL)
		return refuse(reading, place, "site", "is none of the sites");
	if (from->pool != REPORT_UNKNOWN && (size_t)from->pool >= reading->report->pool_count)
		return refuse(reading, place, "pool", "is none of the pools");
	finding->scope = rule_scope(finding->kind);
	finding->site = from->site != REPORT_UNKNOWN ? (uint32_t)from->site : MODEL_SITE_NONE;
	return true;
}

/* ---- The report --------------------------------------------------------------------------------- */

static bool check_schema(struct reading *reading, const struct place *root) {
	const char *schema;
	if (!json_is_object(root->object))
		return refuse(reading, root, "", "not an object");
	if (!read_text(reading, root, "schema", &schema))
		return false;
	if (schema == NULL || strcmp(schema, REPORT_SCHEMA) != 0)
		return refuse(reading, root, "schema",
			      "not " REPORT_SCHEMA ": no report of this version of pqlease");
	return true;
}

static bool read_report(struct reading *reading, const struct place *root) {
	struct report *report = reading->report;
	return check_schema(reading, root) && read_run(reading, root) && read_verdict(reading, root) &&
		read_trust(reading, root) && read_totals(reading, root) &&
		read_distributions(reading, root) &&
		READ_LIST(reading, root, "failures", read_failure, report, failures, failure_count) &&
		READ_LIST(reading, root, "pools", read_pool, report, pools, pool_count) &&
		READ_LIST(reading, root, "processes", read_process, report, processes, process_count) &&
		READ_LIST(reading, root, "sites", read_site, report, sites, site_count) &&
		check_order_of_sites(reading, root) &&
		READ_LIST(reading, root, "findings", read_finding, report, findings, finding_count) &&
		READ_LIST(reading, root, "open_leases", read_lease, report, open_leases, open_lease_count) &&
		read_server(reading, root);
}

static bool read_json(struct report *report, const char *name, json_t *json, const json_error_t *problem,
		      struct gate_error *error) {
	struct reading reading = {report, &report->arena, name, error};
	struct place root = {json, ""};
	if (json == NULL)
		return gate_input_refuse(
			error, &report->arena, name, problem->line > 0 ? (size_t)problem->line : 0,
			problem->column > 0 ? (size_t)problem->column : 0, "%s", problem->text);
	bool is_read = read_report(&reading, &root);
	json_decref(json);
	return is_read;
}

bool report_reader_parse(struct report *report, const char *name, const char *bytes, size_t length,
			 struct gate_error *error) {
	json_error_t problem;
	*report = (struct report){0};
	json_t *json = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &problem);
	return read_json(report, name, json, &problem, error);
}

bool report_reader_read(struct report *report, const char *path, struct gate_error *error) {
	json_error_t problem;
	*report = (struct report){0};
	FILE *stream = fopen(path, "re");
	if (stream == NULL)
		return gate_input_refuse(error, &report->arena, path, 0, 0, "%s", strerror(errno));
	json_t *json = json_loadf(stream, JSON_REJECT_DUPLICATES, &problem);
	fclose(stream);
	return read_json(report, path, json, &problem, error);
}

bool report_reader_is_json(const char *path) {
	char bytes[64];
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (descriptor < 0)
		return false;
	ssize_t length = read(descriptor, bytes, sizeof bytes - 1);
	close(descriptor);
	bytes[length > 0 ? length : 0] = '\0';
	return bytes[strspn(bytes, " \t\r\n")] == '{';
}
