/*
 * The gate: from a report to a verdict for CI. What it decided stands in struct gate_outcome, which the report
 * carries (report.h) so that every renderer can show it. The gate changes nothing of the report itself.
 *
 * A gate fails closed: what cannot be trusted or cannot be judged is never green, and wins over a failed item.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_H
#define PQLEASE_ANALYZER_GATE_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/arena.h"
#include "analyzer/judge/finding.h"

struct report;
struct gate_policy;

enum gate_state {
	GATE_NEW,        /* not in the baseline, or there is no baseline */
	GATE_WORSE,      /* in the baseline, with a lower count */
	GATE_SAME,       /* in the baseline, with this count or a higher one */
	GATE_SUPPRESSED, /* silenced, with a reason */
	GATE_FIXED, /* of the baseline alone: its place was reached in this run and nothing was found there */
	GATE_STALE, /* of the baseline alone: its place was not reached, so nothing is known */
	GATE_STATE_COUNT
};

enum gate_result {
	GATE_GREEN,
	GATE_RED,      /* items failed */
	GATE_UNTRUSTED /* the run cannot be trusted, or an item cannot be judged */
};

/* What the gate says of one finding of the report. */
struct gate_finding {
	enum gate_state state;
	int64_t allowed; /* the count that the baseline allows, REPORT_UNKNOWN if it has no such line */
	const char *suppressed_by; /* "ci/pqlease.yaml:12"; NULL unless GATE_SUPPRESSED */
	const char *suppression;   /* the reason given there; NULL unless GATE_SUPPRESSED */
	const char *failed_item;   /* the gate item that failed by it ("error", "new", a kind); NULL: none */
};

/* A line of the baseline that no finding of the report answers to: GATE_FIXED or GATE_STALE. */
struct gate_absent {
	enum gate_state state;
	const char *kind;
	const char *fingerprint;
	int64_t allowed;
	const char *site;   /* as the baseline has it */
	const char *source; /* "pqlease.baseline:7" */
};

/* Why the gate is not green, in the order shown. */
struct gate_failure {
	const char *
		item; /* "error", "never-finished", "new", "max-open", ...; "trust" if it cannot be trusted */
	const char *message; /* a sentence */
	const char *source;  /* where the item was set: "default", "option", "pqlease.yaml:3" */
	int64_t finding;     /* index in the report's findings, REPORT_UNKNOWN if it is about none */
	const char *file;    /* the place in the program, NULL unknown */
	uint32_t line;       /* 0 unknown */
	bool is_untrusted;   /* counts as GATE_UNTRUSTED, not as GATE_RED */
};

/* A suppression and how often it was used, in the order of the files. */
struct gate_suppression {
	const char *source;  /* "pqlease.yaml:12" */
	const char *pattern; /* in words: what it matches */
	const char *reason;
	uint64_t used;   /* leases or attempts it matched */
	int64_t allowed; /* its maximum, REPORT_UNKNOWN without */
};

struct gate_outcome {
	enum gate_result result;
	bool has_baseline;
	struct gate_finding *findings; /* one for each finding of the report, in its order */
	struct gate_absent *absents;
	size_t absent_count;
	struct gate_failure *failures;
	size_t failure_count;
	struct gate_suppression *suppressions;
	size_t suppression_count;
};

/* "new", "worse", "same", "suppressed", "fixed", "stale" */
const char *gate_state_name(enum gate_state state);

/* The exit code of `check`: 0, 1 or 2. */
int gate_exit_code(const struct gate_outcome *outcome);

/* Judges `report` and leaves the outcome there (report->gate), allocated from the report's arena. `policy` NULL:
 * the default gate, which any error fails. */
void gate_judge(struct report *report, const struct gate_policy *policy);

#endif
