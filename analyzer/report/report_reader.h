/*
 * Reads back a report that pqlease wrote as JSON (schema "pqlease/report-1"), for what compares and judges. Strict: a
 * member of a wrong type, a fingerprint that is none or a site that does not exist is refused; members that are not known
 * are skipped, and missing ones are unknown where unknown has a meaning.
 */
#ifndef PQLEASE_ANALYZER_REPORT_REPORT_READER_H
#define PQLEASE_ANALYZER_REPORT_REPORT_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/gate/gate_input.h"

struct report;

/* Whether the file at `path` begins as a JSON object does. */
bool report_reader_is_json(const char *path);

/* Both leave a report that report_release() frees, also when they return false; then `error`, which lives in the
 * report's arena, says why. What needs the model or symbols is not there; the gate's outcome is not read. */
bool report_reader_read(struct report *report, const char *path, struct gate_error *error);
bool report_reader_parse(struct report *report, const char *name, const char *bytes, size_t length,
			 struct gate_error *error);

#endif
