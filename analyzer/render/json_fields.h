/*
 * The flat members of the objects in a JSON report: their keys, and where they are in the structures of report.h.
 * render_json writes by these tables, report_reader reads by them.
 */
#ifndef PQLEASE_ANALYZER_RENDER_JSON_FIELDS_H
#define PQLEASE_ANALYZER_RENDER_JSON_FIELDS_H

#include <stddef.h>

enum json_field_type {
	FIELD_COUNT, /* int64_t, REPORT_UNKNOWN is null */
	FIELD_REAL,  /* double, NAN is null */
	FIELD_TEXT,  /* const char *, NULL is null */
	FIELD_BOOL,  /* bool */
	FIELD_FLAG,  /* int64_t: 0, 1, or REPORT_UNKNOWN for null */
	FIELD_TIMES  /* struct report_times */
};

/* A table ends with a NULL key. */
struct json_field {
	const char *key;
	enum json_field_type type;
	size_t offset;
};

extern const struct json_fields {
	const struct json_field *run;
	const struct json_field *lost;
	const struct json_field *totals;
	const struct json_field *times;
	const struct json_field *phases;
	const struct json_field *held;
	const struct json_field *failure;
	const struct json_field *pool;
	const struct json_field *process;
	const struct json_field *site;
	const struct json_field *released;
	const struct json_field *example;
	const struct json_field *lease;
	const struct json_field *server;
	const struct json_field *unmatched;
} json_fields;

#endif
