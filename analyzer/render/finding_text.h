/*
 * What every format for machines and pages says of a finding, in words. All text returned is printable: one line
 * unless said otherwise, without control characters and in valid UTF-8, but not yet escaped for any format.
 */
#ifndef PQLEASE_ANALYZER_RENDER_FINDING_TEXT_H
#define PQLEASE_ANALYZER_RENDER_FINDING_TEXT_H

#include "analyzer/arena.h"
#include "analyzer/render/render.h"
#include "analyzer/report/report.h"

/* A file as the program knows it, relative to `source_root` (absolute, may be NULL) if it is below it. Raw bytes. */
const char *finding_text_relative(const char *file, const char *source_root);

/* "orders.py:25 book_order", or why there is no such place. */
const char *finding_text_place(struct arena *arena, const struct report *report, int64_t site,
			       const char *source_root);
/* Of a finding: its place, "pool 'web'", or "the whole run". */
const char *finding_text_where(struct arena *arena, const struct report *report,
			       const struct report_finding *finding, const char *source_root);
/* "4x never-finished at orders.py:25 book_order" */
const char *finding_text_title(struct arena *arena, const struct report *report,
			       const struct report_finding *finding, const char *source_root);
/* Several lines: message, instants, examples, stack. */
const char *finding_text_details(struct arena *arena, const struct report *report,
				 const struct report_finding *finding, const char *source_root);
/* One line of a stack. */
const char *finding_text_frame(struct arena *arena, const struct site_frame *frame, const char *source_root);

/* What the gate says of a finding; NULL if no gate judged the report. */
const struct gate_finding *finding_text_gate(const struct report *report, size_t finding);
/* The gate failed by this finding; without a gate: it is an error. */
bool finding_text_fails(const struct report *report, size_t finding);
bool finding_text_is_suppressed(const struct report *report, size_t finding);

#endif
