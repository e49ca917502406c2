/*
 * What a comparison needs of a run: its findings, its places and their distributions. Read from a ledger, or from a
 * JSON report that pqlease wrote.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_RUN_SUMMARY_H
#define PQLEASE_ANALYZER_JUDGE_RUN_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/arena.h"
#include "analyzer/histogram.h"

struct report;

enum run_summary_measure { RUN_SUMMARY_CONNECT, RUN_SUMMARY_HOLD, RUN_SUMMARY_MEASURE_COUNT };

struct run_summary_finding {
	const char *kind;
	const char *fingerprint;      /* of the finding */
	const char *site_fingerprint; /* NULL: about no place */
	const char *place;
	bool is_note;
	uint64_t count;
};

struct run_summary_site {
	const char *fingerprint;
	const char *place;
	uint64_t attempts;
	struct histogram time[RUN_SUMMARY_MEASURE_COUNT];
};

struct run_summary {
	const char *path;
	bool is_trusted;
	uint64_t attempts;
	struct histogram time[RUN_SUMMARY_MEASURE_COUNT];
	struct run_summary_finding *findings;
	size_t finding_count;
	struct run_summary_site *sites; /* by fingerprint, one of each */
	size_t site_count;
};

/* Everything is allocated from `arena`. False after a line of error. */
bool run_summary_read(struct run_summary *summary, struct arena *arena, const char *path);

/* For tests. */
void run_summary_take(struct run_summary *summary, struct arena *arena, const struct report *report);
/* NULL, or what is wrong with the report. */
const char *run_summary_parse(struct run_summary *summary, struct arena *arena, const char *bytes,
			      size_t length);

/* Sorts sites and takes those of one fingerprint, which differ below the fifth frame, together. */
void run_summary_merge_sites(struct run_summary *summary, struct arena *arena);

/* NULL if there is none. */
const struct run_summary_site *run_summary_find_site(const struct run_summary *summary,
						     const char *fingerprint);

#endif
