/*
 * Chrome trace events: each attempt and each lease an asynchronous span, since they overlap on one thread.
 */
#include <inttypes.h>

#include <jansson.h>

#include "analyzer/export/export.h"
#include "analyzer/render/json_text.h"
#include "analyzer/text.h"

struct tracing {
	const struct export_run *run;
	FILE *stream;
	bool has_events;
};

static void write_event(struct tracing *tracing, json_t *event) {
	fputs(tracing->has_events ? ",\n" : "\n", tracing->stream);
	json_dumpf(event, tracing->stream, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(event);
	tracing->has_events = true;
}

static double microseconds(const struct tracing *tracing, uint64_t at_ns) {
	uint64_t origin_ns = tracing->run->model->run.created_ns;
	return at_ns > origin_ns ? (double)(at_ns - origin_ns) / 1e3 : 0;
}

static json_t *event_of(const struct tracing *tracing, const struct export_lease *lease, size_t id,
			const char *phase, const char *category, const char *name, uint64_t at_ns) {
	char text[24];
	snprintf(text, sizeof text, "%zu", id + 1);
	return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:f}", "ph", phase, "cat", category, "id", text,
			 "name", json_text_value(name), "pid", (json_int_t)lease->pid, "tid",
			 (json_int_t)(lease->thread != REPORT_UNKNOWN ? lease->thread : lease->pid), "ts",
			 microseconds(tracing, at_ns));
}

static json_t *arguments_of(const struct tracing *tracing, const struct export_lease *lease) {
	json_t *arguments =
		json_pack("{s:s, s:o}", "end", lease->end, "role", json_text_printable(lease->role));
	if (lease->test != NULL)
		json_object_set_new(arguments, "test", json_text_printable(lease->test));
	if (lease->backend_pid != REPORT_UNKNOWN)
		json_object_set_new(arguments, "backend_pid", json_integer(lease->backend_pid));
	if (lease->site != NULL)
		json_object_set_new(arguments, "taken at",
				    json_text_value(export_place(tracing->run->arena, lease->site)));
	return arguments;
}

static void write_span(struct tracing *tracing, size_t id, const char *category, const char *name,
		       uint64_t from_ns, uint64_t to_ns) {
	const struct export_lease *lease = &tracing->run->leases[id];
	json_t *begin = event_of(tracing, lease, id, "b", category, name, from_ns);
	json_object_set_new(begin, "args", arguments_of(tracing, lease));
	write_event(tracing, begin);
	write_event(tracing,
		    event_of(tracing, lease, id, "e", category, name, to_ns > from_ns ? to_ns : from_ns));
}

static void write_lease(struct tracing *tracing, size_t id) {
	const struct export_lease *lease = &tracing->run->leases[id];
	uint64_t end_ns = lease->ended_ns != 0 ? lease->ended_ns : tracing->run->model->run.until_ns;
	bool is_established = lease->established_ns != 0;
	write_span(tracing, id, "connect", "connect", lease->begun_ns,
		   is_established ? lease->established_ns : end_ns);
	if (is_established)
		write_span(tracing, id, "lease", export_place(tracing->run->arena, lease->site),
			   lease->established_ns, end_ns);
}

static void write_process(struct tracing *tracing, const struct report_process *process) {
	const char *role = process->role != NULL ? process->role : "?";
	write_event(tracing,
		    json_pack("{s:s, s:s, s:I, s:{s:o}}", "ph", "M", "name", "process_name", "pid",
			      (json_int_t)process->pid, "args", "name", json_text_printable(role)));
}

void export_trace(const struct export_run *run, FILE *stream) {
	struct tracing tracing = {.run = run, .stream = stream};
	fputs("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [", stream);
	for (size_t i = 0; i < run->report->process_count; i++)
		write_process(&tracing, &run->report->processes[i]);
	for (size_t i = 0; i < run->lease_count; i++)
		write_lease(&tracing, i);
	fputs("\n]}\n", stream);
}
