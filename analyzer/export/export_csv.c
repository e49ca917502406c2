/*
 * The leases whose detail was kept, a line each, as RFC 4180 has it. An empty field is unknown.
 */
#include <inttypes.h>
#include <string.h>

#include "analyzer/export/export.h"
#include "analyzer/instant.h"
#include "analyzer/text.h"

/* A spreadsheet takes text that begins like a formula for one: it gets an apostrophe in front. */
static void write_text(struct arena *arena, const char *text, FILE *stream) {
	fputc('"', stream);
	if (text != NULL && *text != '\0' && strchr("=+-@", *text) != NULL)
		fputc('\'', stream);
	for (const char *at = text != NULL ? text_printable(arena, text) : ""; *at != '\0'; at++) {
		if (*at == '"')
			fputc('"', stream);
		fputc(*at, stream);
	}
	fputs("\",", stream);
}

static void write_number(int64_t number, FILE *stream) {
	if (number != REPORT_UNKNOWN)
		fprintf(stream, "%" PRId64, number);
	fputc(',', stream);
}

static void write_instant(const struct export_run *run, uint64_t at_ns, FILE *stream) {
	char text[INSTANT_TEXT_BYTES] = "";
	if (at_ns != 0)
		instant_format(text, model_realtime_ns(run->model, at_ns));
	fprintf(stream, "%s,", text);
}

static void write_seconds(uint64_t from_ns, uint64_t to_ns, FILE *stream) {
	if (from_ns != 0 && to_ns >= from_ns)
		fprintf(stream, "%.9f", (double)(to_ns - from_ns) / 1e9);
	fputc(',', stream);
}

static void write_lease(const struct export_run *run, const struct export_lease *lease, FILE *stream) {
	write_number(lease->pid, stream);
	write_number(lease->thread, stream);
	write_number(lease->backend_pid, stream);
	write_text(run->arena, lease->role, stream);
	write_text(run->arena, lease->test, stream);
	write_text(run->arena, export_place(run->arena, lease->site), stream);
	write_text(run->arena, lease->site != NULL ? lease->site->fingerprint : NULL, stream);
	write_instant(run, lease->begun_ns, stream);
	write_instant(run, lease->established_ns, stream);
	write_instant(run, lease->ended_ns, stream);
	write_seconds(lease->begun_ns, lease->established_ns, stream);
	write_seconds(lease->established_ns, lease->ended_ns, stream);
	fprintf(stream, "%s\r\n", lease->end);
}

void export_csv(const struct export_run *run, FILE *stream) {
	fputs("pid,thread,backend_pid,role,test,taken_at,fingerprint,begun,established,ended,connect_seconds,"
	      "hold_seconds,end\r\n",
	      stream);
	for (size_t i = 0; i < run->lease_count; i++)
		write_lease(run, &run->leases[i], stream);
}
