/*
 * Suppressions: patterns that silence findings, each with a reason. They come from configurations and from files in
 * LeakSanitizer's form (`leak:pattern`). Matching and counting is here; what is silenced is the gate's business.
 */
#ifndef PQLEASE_ANALYZER_GATE_SUPPRESSION_H
#define PQLEASE_ANALYZER_GATE_SUPPRESSION_H

#include <stdint.h>
#include <stdio.h>

#include "analyzer/gate/gate_input.h"
#include "analyzer/symbols/site_frames.h"

struct report;
struct report_finding;

enum suppression_part {
	SUPPRESSION_FUNCTION,
	SUPPRESSION_MODULE, /* without a slash in the pattern: its file name */
	SUPPRESSION_FILE,   /* so too; "orders.c:53" asks for the line as well */
	SUPPRESSION_ANY,    /* one of the three, as LeakSanitizer matches */
	SUPPRESSION_REST    /* "...": any number of frames */
};

struct suppression_frame {
	enum suppression_part part;
	const char *pattern; /* of the shell; a star matches slashes too */
};

struct suppression {
	const struct suppression_frame *frames; /* innermost first, beginning at any frame of the stack */
	size_t frame_count;
	const char *kind;        /* pattern; NULL: any */
	const char *role;        /* pattern; NULL: any */
	const char *fingerprint; /* of the finding; NULL: any */
	bool is_leaks_only;      /* kinds that are leaks, nothing else */
	uint64_t max;            /* leases or attempts it may match in one run */
	const char *reason;
	int64_t expires;  /* its last day, quantity.h; INT64_MAX without */
	bool is_only;     /* of the list of what alone is judged */
	const char *name; /* of the file */
	size_t line;
};

#define SUPPRESSION_NO_MAX UINT64_MAX

/* "function:charge*", "module:libshop.so", "file:*.c:53", "..."; false for anything else. */
bool suppression_parse_frame(struct suppression_frame *frame, const char *text);

/* Whether the text looks like LeakSanitizer's: its first line that is neither empty nor a comment is `type:pattern`. */
bool suppression_is_lsan(const struct gate_input *input);
/* Its suppressions; comments right above a line are its reason. */
bool suppression_parse_lsan(struct suppression **suppressions, size_t *count, struct arena *arena,
			    const struct gate_input *input, struct gate_error *error);

/* Whether it matches a finding, its expiry and maximum aside. A role matches if it is sure that all of the finding is
 * of that role. */
bool suppression_matches(const struct suppression *suppression, const struct report *report,
			 const struct report_finding *finding);

/* In words: "never-finished of role web at function:charge*, ...". */
const char *suppression_describe(const struct suppression *suppression, struct arena *arena);

/* Writes an entry of a configuration's `suppressions:` that silences this finding and no other. */
void suppression_generate(const struct report *report, const struct report_finding *finding, FILE *stream);

#endif
