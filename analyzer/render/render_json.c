#include "analyzer/render/render_json.h"

#include <math.h>
#include <string.h>

#include <jansson.h>

#include "analyzer/gate/gate.h"
#include "analyzer/commands/options.h"
#include "analyzer/render/json_fields.h"
#include "analyzer/render/json_text.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

/* Fifteen digits hold every nanosecond of ten days and show no noise of binary fractions. */
enum { DUMP_FLAGS = JSON_REAL_PRECISION(15) };

/* ---- Values ----------------------------------------------------------------------------------- */

static json_t *count_value(int64_t count) {
	return count != REPORT_UNKNOWN ? json_integer(count) : json_null();
}

static json_t *real_value(double value) {
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *flag_value(int64_t flag) {
	return flag != REPORT_UNKNOWN ? json_boolean(flag) : json_null();
}

static json_t *text_list(const char *const *texts, size_t count) {
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_text_value(texts[i]));
	return list;
}

/* ---- Flat objects, by tables of their members --------------------------------------------------- */

#define FIELD(type, structure, member) \
	{ #member, FIELD_##type, offsetof(struct structure, member) }
#define FIELD_AS(type, structure, member, key) \
	{ key, FIELD_##type, offsetof(struct structure, member) }
#define FIELD_END \
	{ NULL, FIELD_COUNT, 0 }

static const struct json_field times_fields[] = {
	FIELD(COUNT, report_times, count), FIELD(REAL, report_times, min), FIELD(REAL, report_times, mean),
	FIELD(REAL, report_times, p50),    FIELD(REAL, report_times, p90), FIELD(REAL, report_times, p95),
	FIELD(REAL, report_times, p99),    FIELD(REAL, report_times, max), FIELD_END};

static void add_fields(json_t *object, const struct json_field *fields, const void *structure);

static json_t *object_of(const struct json_field *fields, const void *structure) {
	json_t *object = json_object();
	add_fields(object, fields, structure);
	return object;
}

/* [number, count] of each bucket that is not empty; bucket i holds [2^(8+i/32), 2^(8+(i+1)/32)) ns. */
static json_t *buckets_value(const struct histogram *histogram) {
	json_t *list = json_array();
	for (unsigned i = 0; i < HISTOGRAM_OCTAVES * HISTOGRAM_OCTAVE_BUCKETS; i++) {
		const uint64_t *octave = histogram->octave[i / HISTOGRAM_OCTAVE_BUCKETS];
		if (octave != NULL && octave[i % HISTOGRAM_OCTAVE_BUCKETS] > 0)
			json_array_append_new(list,
					      json_pack("[i, I]", (int)i,
							(json_int_t)octave[i % HISTOGRAM_OCTAVE_BUCKETS]));
	}
	return list;
}

static json_t *times_value(const struct report_times *times) {
	json_t *object = object_of(times_fields, times);
	if (times->distribution != NULL)
		json_object_set_new(object, "buckets", buckets_value(times->distribution));
	return object;
}

static json_t *field_value(const struct json_field *field, const void *member) {
	switch (field->type) {
	case FIELD_COUNT:
		return count_value(*(const int64_t *)member);
	case FIELD_REAL:
		return real_value(*(const double *)member);
	case FIELD_TEXT:
		return json_text_value(*(const char *const *)member);
	case FIELD_BOOL:
		return json_boolean(*(const bool *)member);
	case FIELD_FLAG:
		return flag_value(*(const int64_t *)member);
	case FIELD_TIMES:
		return times_value(member);
	}
	return json_null();
}

static void add_fields(json_t *object, const struct json_field *fields, const void *structure) {
	for (const struct json_field *field = fields; field->key != NULL; field++)
		json_object_set_new(object, field->key,
				    field_value(field, (const char *)structure + field->offset));
}

static json_t *list_of(const struct json_field *fields, const void *elements, size_t count,
		       size_t element_bytes) {
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, object_of(fields, (const char *)elements + i * element_bytes));
	return list;
}

static const struct json_field run_fields[] = {
	FIELD(TEXT, report_run, started),  FIELD(TEXT, report_run, ended),
	FIELD(REAL, report_run, duration), FIELD(COUNT, report_run, exit_code),
	FIELD(BOOL, report_run, live),     FIELD_END};

static const struct json_field lost_fields[] = {
	FIELD(COUNT, report_lost, leases),    FIELD(COUNT, report_lost, sites),
	FIELD(COUNT, report_lost, processes), FIELD(COUNT, report_lost, torn),
	FIELD(COUNT, report_lost, other),     FIELD_END};

static const struct json_field totals_fields[] = {FIELD(COUNT, report_totals, attempts),
						  FIELD(COUNT, report_totals, established),
						  FIELD(COUNT, report_totals, failed),
						  FIELD(COUNT, report_totals, abandoned),
						  FIELD(COUNT, report_totals, in_progress),
						  FIELD(COUNT, report_totals, probes),
						  FIELD(COUNT, report_totals, probes_answered),
						  FIELD(COUNT, report_totals, resets),
						  FIELD(COUNT, report_totals, resets_succeeded),
						  FIELD(COUNT, report_totals, finished),
						  FIELD(COUNT, report_totals, failed_finished),
						  FIELD(COUNT, report_totals, finish_unseen),
						  FIELD(COUNT, report_totals, double_finish),
						  FIELD(COUNT, report_totals, inherited_finish),
						  FIELD(COUNT, report_totals, unreleased),
						  FIELD(COUNT, report_totals, open),
						  FIELD(COUNT, report_totals, peak_open),
						  FIELD(REAL, report_totals, mean_open),
						  FIELD(COUNT, report_totals, uses),
						  FIELD(COUNT, report_totals, in_use),
						  FIELD(COUNT, report_totals, peak_in_use),
						  FIELD(COUNT, report_totals, inherited_use),
						  FIELD(COUNT, report_totals, returned_late),
						  FIELD_END};

static const struct json_field phases_fields[] = {FIELD(TIMES, report_phases, tcp),
						  FIELD(TIMES, report_phases, tls),
						  FIELD(TIMES, report_phases, auth), FIELD_END};

static const struct json_field held_fields[] = {FIELD(REAL, report_held, in_query),
						FIELD(REAL, report_held, idle_in_transaction),
						FIELD(REAL, report_held, idle), FIELD_END};

static const struct json_field failure_fields[] = {FIELD_AS(TEXT, report_failure, class_name, "class"),
						   FIELD(COUNT, report_failure, count),
						   FIELD(TEXT, report_failure, sqlstate),
						   FIELD(TEXT, report_failure, message),
						   FIELD(TEXT, report_failure, first),
						   FIELD(TEXT, report_failure, last),
						   FIELD_END};

static const struct json_field pool_fields[] = {FIELD(TEXT, report_pool, role),
						FIELD(TEXT, report_pool, host),
						FIELD(TEXT, report_pool, port),
						FIELD(TEXT, report_pool, database),
						FIELD(TEXT, report_pool, user),
						FIELD(TEXT, report_pool, application_name),
						FIELD(COUNT, report_pool, open),
						FIELD(COUNT, report_pool, peak_open),
						FIELD(REAL, report_pool, mean_open),
						FIELD(COUNT, report_pool, in_use),
						FIELD(COUNT, report_pool, peak_in_use),
						FIELD(REAL, report_pool, mean_in_use),
						FIELD(COUNT, report_pool, idle),
						FIELD(COUNT, report_pool, waiting),
						FIELD(COUNT, report_pool, capacity),
						FIELD(TEXT, report_pool, capacity_source),
						FIELD(COUNT, report_pool, base_size),
						FIELD(COUNT, report_pool, available),
						FIELD(COUNT, report_pool, overflow),
						FIELD(REAL, report_pool, utilization),
						FIELD(REAL, report_pool, share),
						FIELD(TEXT, report_pool, status),
						FIELD(TIMES, report_pool, connect_time),
						FIELD(TIMES, report_pool, hold_time),
						FIELD(TIMES, report_pool, use_time),
						FIELD(TIMES, report_pool, first_command_time),
						FIELD_END};

static const struct json_field process_fields[] = {
	FIELD(COUNT, report_process, pid),   FIELD(COUNT, report_process, parent),
	FIELD(TEXT, report_process, role),   FIELD(TEXT, report_process, exe),
	FIELD(TEXT, report_process, script), FIELD(TEXT, report_process, started),
	FIELD(TEXT, report_process, ended),  FIELD(TEXT, report_process, how_ended),
	FIELD(COUNT, report_process, open),  FIELD_END};

static const struct json_field released_fields[] = {
	FIELD(COUNT, report_released, by_program),    FIELD(COUNT, report_released, dropped),
	FIELD(COUNT, report_released, collector),     FIELD(COUNT, report_released, at_exit),
	FIELD(COUNT, report_released, other_process), FIELD(COUNT, report_released, unknown),
	FIELD(COUNT, report_released, never),         FIELD_END};

static const struct json_field site_fields[] = {FIELD(COUNT, report_site, leases),
						FIELD(COUNT, report_site, attempts),
						FIELD(COUNT, report_site, failed),
						FIELD(COUNT, report_site, open),
						FIELD(COUNT, report_site, peak_open),
						FIELD(COUNT, report_site, finished),
						FIELD(TIMES, report_site, connect_time),
						FIELD(TIMES, report_site, hold_time),
						FIELD_END};

static const struct json_field example_fields[] = {FIELD(COUNT, report_example, pid),
						   FIELD(COUNT, report_example, backend_pid),
						   FIELD(TEXT, report_example, taken),
						   FIELD(REAL, report_example, age),
						   FIELD(TEXT, report_example, test),
						   FIELD(COUNT, report_example, taken_site),
						   FIELD_END};

static const struct json_field test_fields[] = {FIELD(TEXT, report_test, name),
						FIELD(COUNT, report_test, attempts), FIELD_END};

static const struct json_field lease_fields[] = {FIELD(COUNT, report_lease, pid),
						 FIELD(COUNT, report_lease, backend_pid),
						 FIELD(COUNT, report_lease, thread),
						 FIELD(TEXT, report_lease, role),
						 FIELD(TEXT, report_lease, state),
						 FIELD(REAL, report_lease, age),
						 FIELD(REAL, report_lease, idle_for),
						 FIELD(COUNT, report_lease, site),
						 FIELD(COUNT, report_lease, last_use_site),
						 FIELD(FLAG, report_lease, dedicated),
						 FIELD_END};

static const struct json_field holder_fields[] = {FIELD(TEXT, report_holder, role),
						  FIELD(COUNT, report_holder, pid),
						  FIELD(COUNT, report_holder, backend_pid),
						  FIELD(COUNT, report_holder, site),
						  FIELD(COUNT, report_holder, use_site),
						  FIELD(TEXT, report_holder, state),
						  FIELD(REAL, report_holder, age),
						  FIELD(REAL, report_holder, state_for),
						  FIELD(TEXT, report_holder, statement),
						  FIELD(FLAG, report_holder, dedicated),
						  FIELD_END};

static const struct json_field snapshot_fields[] = {FIELD(TEXT, report_snapshot, at),
						    FIELD(TEXT, report_snapshot, failure),
						    FIELD(TEXT, report_snapshot, sqlstate),
						    FIELD(TEXT, report_snapshot, message),
						    FIELD(TEXT, report_snapshot, role),
						    FIELD(COUNT, report_snapshot, pid),
						    FIELD(COUNT, report_snapshot, site),
						    FIELD(COUNT, report_snapshot, missing),
						    FIELD_END};

static const struct json_field unmatched_fields[] = {
	FIELD(TEXT, report_unmatched, side), FIELD(COUNT, report_unmatched, backend_pid),
	FIELD(COUNT, report_unmatched, pid), FIELD(TEXT, report_unmatched, database),
	FIELD(TEXT, report_unmatched, user), FIELD(TEXT, report_unmatched, application_name),
	FIELD(TEXT, report_unmatched, why),  FIELD_END};

static const struct json_field server_fields[] = {FIELD(TEXT, report_server, version),
						  FIELD(COUNT, report_server, max_connections),
						  FIELD(COUNT, report_server, reserved),
						  FIELD(COUNT, report_server, role_limit),
						  FIELD(COUNT, report_server, database_limit),
						  FIELD(COUNT, report_server, clients),
						  FIELD(COUNT, report_server, sessions_abandoned_delta),
						  FIELD(COUNT, report_server, sessions_delta),
						  FIELD(FLAG, report_server, agrees),
						  FIELD_AS(BOOL, report_server, is_pooled, "pooled"),
						  FIELD(TEXT, report_server, message),
						  FIELD_END};

const struct json_fields json_fields = {
	.run = run_fields,
	.lost = lost_fields,
	.totals = totals_fields,
	.times = times_fields,
	.phases = phases_fields,
	.held = held_fields,
	.failure = failure_fields,
	.pool = pool_fields,
	.process = process_fields,
	.site = site_fields,
	.released = released_fields,
	.example = example_fields,
	.lease = lease_fields,
	.server = server_fields,
	.unmatched = unmatched_fields,
};

/* ---- Objects with lists inside ------------------------------------------------------------------ */

static json_t *tool_value(void) {
	return json_pack("{s:s, s:s}", "name", "pqlease", "version", PQLEASE_VERSION);
}

static json_t *run_value(const struct report_run *run) {
	json_t *object = json_object();
	json_object_set_new(object, "id", json_text_value(run->id));
	json_object_set_new(object, "host", json_text_value(run->host));
	json_object_set_new(object, "command", text_list(run->command, run->command_count));
	add_fields(object, run_fields, run);
	return object;
}

static json_t *verdict_value(const struct report_verdict *verdict) {
	json_t *object = json_object();
	json_t *evidence = json_object();
	for (size_t i = 0; i < verdict->evidence_count; i++)
		json_object_set_new(evidence, verdict->evidence[i].key,
				    count_value(verdict->evidence[i].value));
	json_object_set_new(object, "cause", json_text_value(verdict->cause));
	json_object_set_new(object, "candidates", text_list(verdict->candidates, verdict->candidate_count));
	json_object_set_new(object, "message", json_text_value(verdict->message));
	json_object_set_new(object, "evidence", evidence);
	json_object_set_new(object, "advice", text_list(verdict->advice, verdict->advice_count));
	return object;
}

static json_t *trust_value(const struct report_trust *trust) {
	json_t *object = json_object();
	json_object_set_new(object, "ok", json_boolean(trust->ok));
	json_object_set_new(object, "reasons", text_list(trust->reasons, trust->reason_count));
	json_object_set_new(object, "processes", count_value(trust->processes));
	json_object_set_new(object, "lost", object_of(lost_fields, &trust->lost));
	json_object_set_new(object, "history_overwritten", count_value(trust->history_overwritten));
	return object;
}

static json_t *line_value(const struct site_frame *frame) {
	return frame->line != 0 ? json_integer(frame->line) : json_null();
}

static json_t *frame_value(const struct site_frame *frame) {
	json_t *object = json_object();
	json_object_set_new(object, "language", json_string(model_language_name(frame->language)));
	json_object_set_new(object, "function", json_text_value(frame->function));
	json_object_set_new(object, "file", json_text_value(frame->file));
	json_object_set_new(object, "line", line_value(frame));
	json_object_set_new(object, "module", json_text_value(frame->module));
	json_object_set_new(object, "offset",
			    frame->language == MODEL_NATIVE ? json_integer((json_int_t)frame->offset)
							    : json_null());
	json_object_set_new(object, "inlined", json_boolean(frame->is_inlined));
	return object;
}

static json_t *application_frame_value(const struct report_site *site) {
	const struct site_frame *frame = report_application_frame(site);
	if (frame == NULL)
		return json_null();
	json_t *object = json_object();
	json_object_set_new(object, "function", json_text_value(frame->function));
	json_object_set_new(object, "file", json_text_value(frame->file));
	json_object_set_new(object, "line", line_value(frame));
	json_object_set_new(object, "module", json_text_value(frame->module));
	json_object_set_new(object, "fallback", json_boolean(site->frames->is_fallback));
	return object;
}

static json_t *site_value(const void *element) {
	const struct report_site *site = element;
	const struct site_frame *application = report_application_frame(site);
	json_t *object = json_object();
	json_t *frames = json_array();
	for (size_t i = 0; i < site->frames->count; i++)
		json_array_append_new(frames, frame_value(&site->frames->frames[i]));
	json_object_set_new(object, "id", json_integer(site->id));
	json_object_set_new(object, "fingerprint", json_text_value(site->fingerprint));
	json_object_set_new(object, "language",
			    application != NULL ? json_text_value(model_language_name(application->language))
						: json_null());
	json_object_set_new(object, "application_frame", application_frame_value(site));
	json_object_set_new(object, "frames", frames);
	add_fields(object, site_fields, site);
	json_object_set_new(object, "released", object_of(released_fields, &site->released));
	json_object_set_new(object, "truncated", json_boolean(site->frames->is_truncated));
	return object;
}

static json_t *evidence_value(const struct report_finding *from) {
	const struct finding *finding = from->finding;
	json_t *object = json_object();
	for (size_t i = 0; i < finding->evidence_count; i++) {
		const struct finding_evidence *evidence = &finding->evidence[i];
		json_object_set_new(object, evidence->key,
				    evidence->is_seconds ? real_value(evidence->seconds)
							 : json_integer((json_int_t)evidence->count));
	}
	json_object_set_new(
		object, "examples",
		list_of(example_fields, from->examples, from->example_count, sizeof *from->examples));
	return object;
}

static json_t *finding_value(const void *element) {
	const struct report_finding *from = element;
	const struct finding *finding = from->finding;
	json_t *object = json_object();
	json_object_set_new(object, "kind", json_text_value(finding->kind));
	json_object_set_new(object, "level", json_text_value(finding_level_name(finding->level)));
	json_object_set_new(object, "certainty", json_text_value(finding_certainty_name(finding->certainty)));
	json_object_set_new(object, "fingerprint", json_text_value(finding->fingerprint));
	json_object_set_new(object, "count", json_integer((json_int_t)finding->count));
	json_object_set_new(object, "site", count_value(from->site));
	json_object_set_new(object, "pool", count_value(from->pool));
	json_object_set_new(object, "first", json_text_value(from->first));
	json_object_set_new(object, "last", json_text_value(from->last));
	json_object_set_new(object, "message", json_text_value(finding->message));
	json_object_set_new(object, "evidence", evidence_value(from));
	return object;
}

static json_t *server_value(const struct report_server *server) {
	if (server == NULL)
		return json_null();
	json_t *object = object_of(server_fields, server);
	json_object_set_new(object, "unmatched",
			    list_of(unmatched_fields, server->unmatched, server->unmatched_count,
				    sizeof *server->unmatched));
	return object;
}

/* ---- The gate ----------------------------------------------------------------------------------- */

static json_t *gate_failure_value(const struct gate_failure *failure) {
	json_t *object = json_object();
	json_object_set_new(object, "item", json_text_value(failure->item));
	json_object_set_new(object, "message", json_text_value(failure->message));
	json_object_set_new(object, "source", json_text_value(failure->source));
	json_object_set_new(object, "finding", count_value(failure->finding));
	json_object_set_new(object, "file", json_text_value(failure->file));
	json_object_set_new(object, "line", failure->line != 0 ? json_integer(failure->line) : json_null());
	return object;
}

static json_t *gate_finding_value(const struct gate_finding *finding) {
	json_t *object = json_object();
	json_object_set_new(object, "state", json_text_value(gate_state_name(finding->state)));
	json_object_set_new(object, "allowed", count_value(finding->allowed));
	json_object_set_new(object, "suppressed_by", json_text_value(finding->suppressed_by));
	json_object_set_new(object, "reason", json_text_value(finding->suppression));
	json_object_set_new(object, "failed", json_text_value(finding->failed_item));
	return object;
}

static json_t *gate_absent_value(const struct gate_absent *absent) {
	json_t *object = json_object();
	json_object_set_new(object, "state", json_text_value(gate_state_name(absent->state)));
	json_object_set_new(object, "kind", json_text_value(absent->kind));
	json_object_set_new(object, "fingerprint", json_text_value(absent->fingerprint));
	json_object_set_new(object, "allowed", count_value(absent->allowed));
	json_object_set_new(object, "site", json_text_value(absent->site));
	return object;
}

/* `findings` are those of the report, in its order. */
static json_t *gate_value(const struct report *report) {
	static const char *const results[] = {
		[GATE_GREEN] = "green", [GATE_RED] = "red", [GATE_UNTRUSTED] = "untrusted"};
	const struct gate_outcome *gate = report->gate;
	if (gate == NULL)
		return json_null();
	json_t *object = json_object();
	json_t *failures = json_array();
	json_t *findings = json_array();
	json_t *absents = json_array();
	for (size_t i = 0; i < gate->failure_count; i++)
		json_array_append_new(failures, gate_failure_value(&gate->failures[i]));
	for (size_t i = 0; i < report->finding_count; i++)
		json_array_append_new(findings, gate_finding_value(&gate->findings[i]));
	for (size_t i = 0; i < gate->absent_count; i++)
		json_array_append_new(absents, gate_absent_value(&gate->absents[i]));
	json_object_set_new(object, "result", json_string(results[gate->result]));
	json_object_set_new(object, "failures", failures);
	json_object_set_new(object, "findings", findings);
	json_object_set_new(object, "absent", absents);
	return object;
}

/* ---- The report: a member per line, an element of a list per line ------------------------------- */

/* Elements are written and dropped one by one: a full ledger's sites are a hundred megabytes. */
struct writing {
	FILE *stream;
	bool has_members;
};

/* jansson writes a few bytes at a time: locks would cost as much as all the rest. */
static int write_bytes(const char *bytes, size_t length, void *stream) {
	return fwrite_unlocked(bytes, 1, length, stream) == length ? 0 : -1;
}

static void write_value(const struct writing *writing, json_t *value) {
	json_dump_callback(value, write_bytes, writing->stream, DUMP_FLAGS | JSON_ENCODE_ANY);
	json_decref(value);
}

static void write_key(struct writing *writing, const char *key) {
	fprintf(writing->stream, "%s\n  \"%s\": ", writing->has_members ? "," : "{", key);
	writing->has_members = true;
}

static void write_member(struct writing *writing, const char *key, json_t *value) {
	write_key(writing, key);
	write_value(writing, value);
}

static void write_list(struct writing *writing, const char *key, json_t *(*value_of)(const void *element),
		       const void *elements, size_t count, size_t element_bytes) {
	write_key(writing, key);
	fputc('[', writing->stream);
	for (size_t i = 0; i < count; i++) {
		fputs(i > 0 ? ",\n    " : "\n    ", writing->stream);
		write_value(writing, value_of((const char *)elements + i * element_bytes));
	}
	fputs(count > 0 ? "\n  ]" : "]", writing->stream);
}

static json_t *failure_value(const void *failure) {
	return object_of(failure_fields, failure);
}

static json_t *pool_value(const void *pool) {
	return object_of(pool_fields, pool);
}

static json_t *process_value(const void *process) {
	return object_of(process_fields, process);
}

static json_t *test_value(const void *test) {
	return object_of(test_fields, test);
}

static json_t *snapshot_value(const void *element) {
	const struct report_snapshot *snapshot = element;
	json_t *object = object_of(snapshot_fields, snapshot);
	json_object_set_new(
		object, "holders",
		list_of(holder_fields, snapshot->holders, snapshot->holder_count, sizeof *snapshot->holders));
	return object;
}

static json_t *lease_value(const void *lease) {
	return object_of(lease_fields, lease);
}

static void write_summary(struct writing *writing, const struct report *report) {
	const struct report_phases *phases = &report->connect_phases;
	write_member(writing, "schema", json_string(REPORT_SCHEMA));
	write_member(writing, "tool", tool_value());
	write_member(writing, "run", run_value(&report->run));
	write_member(writing, "verdict", verdict_value(&report->verdict));
	write_member(writing, "trust", trust_value(&report->trust));
	write_member(writing, "totals", object_of(totals_fields, &report->totals));
	write_member(writing, "connect_phases",
		     phases->is_known ? object_of(phases_fields, phases) : json_null());
	write_member(writing, "connect_time", times_value(&report->connect_time));
	write_member(writing, "failed_time", times_value(&report->failed_time));
	write_member(writing, "hold_time", times_value(&report->hold_time));
	write_member(writing, "use_time", times_value(&report->use_time));
	write_member(writing, "held", object_of(held_fields, &report->held));
}

#define WRITE_LIST(writing, report, key, value_of, member, count_member) \
	write_list(writing, key, value_of, (report)->member, (report)->count_member, sizeof *(report)->member)

void render_json(const struct report *report, const struct render_options *options, FILE *stream) {
	(void)options;
	struct writing writing = {stream, false};
	write_summary(&writing, report);
	WRITE_LIST(&writing, report, "failures", failure_value, failures, failure_count);
	WRITE_LIST(&writing, report, "pools", pool_value, pools, pool_count);
	WRITE_LIST(&writing, report, "processes", process_value, processes, process_count);
	WRITE_LIST(&writing, report, "sites", site_value, sites, site_count);
	WRITE_LIST(&writing, report, "findings", finding_value, findings, finding_count);
	WRITE_LIST(&writing, report, "open_leases", lease_value, open_leases, open_lease_count);
	WRITE_LIST(&writing, report, "tests", test_value, tests, test_count);
	WRITE_LIST(&writing, report, "snapshots", snapshot_value, snapshots, snapshot_count);
	write_member(&writing, "server", server_value(report->server));
	if (report->gate != NULL)
		write_member(&writing, "gate", gate_value(report));
	fputs("\n}\n", stream);
}
