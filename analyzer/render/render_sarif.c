#include "analyzer/render/render_sarif.h"

#include <string.h>

#include <jansson.h>

#include "analyzer/gate/gate.h"
#include "analyzer/commands/options.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/render/json_text.h"
#include "analyzer/report/report.h"

static const char root_id[] = "SRCROOT";

struct sarif {
	const struct report *report;
	const char *source_root;
	struct arena arena;
	json_t *rules;
};

static json_t *message_of(const char *text) {
	return json_pack("{s:o}", "text", json_text_printable(text));
}

/* ---- Places ----------------------------------------------------------------------------------- */

static json_t *artifact_of(const struct sarif *sarif, const char *file) {
	const char *path = finding_text_relative(file, sarif->source_root);
	json_t *artifact = json_pack("{s:o}", "uri", json_text_uri(path));
	if (sarif->source_root != NULL && *path != '/')
		json_object_set_new(artifact, "uriBaseId", json_string(root_id));
	return artifact;
}

static json_t *location_of(const struct sarif *sarif, const struct site_frame *frame) {
	json_t *location = json_object();
	if (frame->file != NULL) {
		json_t *physical = json_pack("{s:o}", "artifactLocation", artifact_of(sarif, frame->file));
		if (frame->line != 0)
			json_object_set_new(physical, "region",
					    json_pack("{s:I}", "startLine", (json_int_t)frame->line));
		json_object_set_new(location, "physicalLocation", physical);
	}
	if (frame->function != NULL)
		json_object_set_new(location, "logicalLocations",
				    json_pack("[{s:o, s:s}]", "fullyQualifiedName",
					      json_text_printable(frame->function), "kind", "function"));
	return location;
}

static json_t *stack_frame_of(struct sarif *sarif, const struct site_frame *from) {
	json_t *frame = json_object();
	json_t *location = location_of(sarif, from);
	json_object_set_new(location, "message",
			    message_of(finding_text_frame(&sarif->arena, from, sarif->source_root)));
	json_object_set_new(frame, "location", location);
	if (from->module != NULL)
		json_object_set_new(frame, "module", json_text_printable(from->module));
	return frame;
}

static json_t *stack_of(struct sarif *sarif, const struct report_site *site) {
	json_t *frames = json_array();
	for (size_t i = 0; i < site->frames->count; i++)
		json_array_append_new(frames, stack_frame_of(sarif, &site->frames->frames[i]));
	return json_pack("{s:o, s:o}", "message", message_of("taken here"), "frames", frames);
}

/* ---- Rules: the kinds that were found ------------------------------------------------------------ */

static json_int_t rule_number(struct sarif *sarif, const char *kind, const char *level) {
	size_t i;
	json_t *rule;
	json_array_foreach(sarif->rules, i, rule) {
		if (strcmp(json_string_value(json_object_get(rule, "id")), kind) == 0)
			return (json_int_t)i;
	}
	json_array_append_new(sarif->rules,
			      json_pack("{s:s, s:{s:s}, s:{s:s}}", "id", kind, "shortDescription", "text",
					kind, "defaultConfiguration", "level", level));
	return (json_int_t)i;
}

/* ---- Results -------------------------------------------------------------------------------------- */

static const char *baseline_state_of(const struct gate_finding *judged, uint64_t count) {
	if (judged->allowed == REPORT_UNKNOWN)
		return "new";
	return count > (uint64_t)judged->allowed ? "updated" : "unchanged";
}

static void add_judgement(const struct sarif *sarif, json_t *result, size_t index) {
	const struct gate_finding *judged = finding_text_gate(sarif->report, index);
	if (judged == NULL)
		return;
	if (sarif->report->gate->has_baseline)
		json_object_set_new(result, "baselineState",
				    json_string(baseline_state_of(
					    judged, sarif->report->findings[index].finding->count)));
	json_t *suppressions = json_array();
	if (judged->state == GATE_SUPPRESSED)
		json_array_append_new(suppressions,
				      json_pack("{s:s, s:s, s:o*}", "kind", "external", "status", "accepted",
						"justification",
						judged->suppression != NULL
							? json_text_printable(judged->suppression)
							: NULL));
	json_object_set_new(result, "suppressions", suppressions);
}

static json_t *evidence_of(const struct finding *finding) {
	json_t *object = json_object();
	for (size_t i = 0; i < finding->evidence_count; i++)
		json_object_set_new(object, finding->evidence[i].key,
				    finding->evidence[i].is_seconds
					    ? json_real(finding->evidence[i].seconds)
					    : json_integer((json_int_t)finding->evidence[i].count));
	return object;
}

static json_t *tests_of(const struct report_finding *finding) {
	json_t *tests = json_array();
	for (size_t i = 0; i < finding->example_count; i++) {
		bool is_known = finding->examples[i].test == NULL;
		for (size_t j = 0; !is_known && j < i; j++)
			is_known = finding->examples[j].test != NULL &&
				strcmp(finding->examples[j].test, finding->examples[i].test) == 0;
		if (!is_known)
			json_array_append_new(tests, json_text_printable(finding->examples[i].test));
	}
	return tests;
}

static json_t *result_of(struct sarif *sarif, size_t index) {
	const struct report_finding *from = &sarif->report->findings[index];
	const struct finding *finding = from->finding;
	const struct report_site *site = report_find_site(sarif->report, from->site);
	const struct site_frame *frame = report_application_frame(site);
	const char *level = finding_level_name(finding->level);
	json_t *result =
		json_pack("{s:s, s:I, s:s, s:o, s:I, s:{s:s}}", "ruleId", finding->kind, "ruleIndex",
			  rule_number(sarif, finding->kind, level), "level", level, "message",
			  message_of(finding->message), "occurrenceCount", (json_int_t)finding->count,
			  "partialFingerprints", "pqleaseFinding/v1", finding->fingerprint);
	if (frame != NULL)
		json_object_set_new(result, "locations", json_pack("[o]", location_of(sarif, frame)));
	if (site != NULL && site->frames->count > 0)
		json_object_set_new(result, "stacks", json_pack("[o]", stack_of(sarif, site)));
	add_judgement(sarif, result, index);
	json_object_set_new(result, "properties",
			    json_pack("{s:s, s:o, s:o}", "certainty",
				      finding_certainty_name(finding->certainty), "evidence",
				      evidence_of(finding), "tests", tests_of(from)));
	return result;
}

/* What the baseline has and this run has no more. */
static json_t *absent_result_of(struct sarif *sarif, const struct gate_absent *absent) {
	json_t *result =
		json_pack("{s:o, s:I, s:s, s:o, s:s, s:{s:o}}", "ruleId", json_text_printable(absent->kind),
			  "ruleIndex", (json_int_t)-1, "level", "none", "message",
			  message_of(arena_text(&sarif->arena, "fixed: %s at %s", absent->kind,
						absent->site != NULL ? absent->site : "?")),
			  "baselineState", "absent", "partialFingerprints", "pqleaseFinding/v1",
			  json_text_printable(absent->fingerprint));
	return result;
}

static json_t *results_of(struct sarif *sarif) {
	const struct gate_outcome *gate = sarif->report->gate;
	json_t *results = json_array();
	for (size_t i = 0; i < sarif->report->finding_count; i++)
		json_array_append_new(results, result_of(sarif, i));
	for (size_t i = 0; gate != NULL && i < gate->absent_count; i++)
		if (gate->absents[i].state == GATE_FIXED)
			json_array_append_new(results, absent_result_of(sarif, &gate->absents[i]));
	return results;
}

/* ---- The run -------------------------------------------------------------------------------------- */

static json_t *notifications_of(const struct report_trust *trust) {
	json_t *notifications = json_array();
	for (size_t i = 0; i < trust->reason_count; i++)
		json_array_append_new(notifications,
				      json_pack("{s:s, s:o}", "level", trust->ok ? "note" : "error",
						"message", message_of(trust->reasons[i])));
	return notifications;
}

/* Successful means here what trust.ok means: the results say all there was. */
static json_t *invocation_of(const struct report *report) {
	const struct report_run *run = &report->run;
	json_t *invocation = json_pack("{s:b, s:o}", "executionSuccessful", report->trust.ok,
				       "toolExecutionNotifications", notifications_of(&report->trust));
	json_t *words = json_array();
	for (size_t i = 0; i < run->command_count; i++)
		json_array_append_new(words, json_text_printable(run->command[i]));
	json_object_set_new(
		invocation, "properties",
		json_pack("{s:o, s:o*}", "command", words, "exitCode",
			  run->exit_code != REPORT_UNKNOWN ? json_integer(run->exit_code) : NULL));
	if (run->started != NULL)
		json_object_set_new(invocation, "startTimeUtc", json_text_value(run->started));
	if (run->ended != NULL)
		json_object_set_new(invocation, "endTimeUtc", json_text_value(run->ended));
	return invocation;
}

static json_t *run_of(struct sarif *sarif) {
	json_t *run = json_object();
	json_t *results = results_of(sarif);
	json_object_set_new(run, "tool",
			    json_pack("{s:{s:s, s:s, s:O}}", "driver", "name", "pqlease", "version",
				      PQLEASE_VERSION, "rules", sarif->rules));
	if (sarif->source_root != NULL)
		json_object_set_new(
			run, "originalUriBaseIds",
			json_pack("{s:{s:o}}", root_id, "uri",
				  json_text_uri(arena_text(&sarif->arena, "%s/", sarif->source_root))));
	json_object_set_new(run, "invocations", json_pack("[o]", invocation_of(sarif->report)));
	json_object_set_new(run, "columnKind", json_string("utf16CodeUnits"));
	json_object_set_new(run, "results", results);
	return run;
}

void render_sarif(const struct report *report, const struct render_options *options, FILE *stream) {
	struct sarif sarif = {.report = report, .source_root = options->source_root, .rules = json_array()};
	json_t *log = json_pack("{s:s, s:s, s:[o]}", "$schema",
				"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/"
				"sarif-schema-2.1.0.json",
				"version", "2.1.0", "runs", run_of(&sarif));
	json_dumpf(log, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	fputc('\n', stream);
	json_decref(log);
	json_decref(sarif.rules);
	arena_release(&sarif.arena);
}
