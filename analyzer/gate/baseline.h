/*
 * The baseline: a file of the findings that a project accepts for now, one per line, sorted, so that it can be read,
 * reviewed and merged. A line is, separated by tabs:
 *
 *     fingerprint  kind  count  date  site  reason
 *
 * The count is the most that is accepted. Lines that begin with # are comments. The order of lines does not matter to
 * the reader; a finding given twice has the higher count, which is what a merge by union leaves.
 */
#ifndef PQLEASE_ANALYZER_GATE_BASELINE_H
#define PQLEASE_ANALYZER_GATE_BASELINE_H

#include <stdint.h>
#include <stdio.h>

#include "analyzer/judge/finding.h"
#include "analyzer/gate/gate_input.h"

#define BASELINE_FIRST_LINE "# pqlease baseline 1"

struct baseline_entry {
	char fingerprint[FINDING_FINGERPRINT_BYTES];
	const char *kind;
	uint64_t count;
	const char *date; /* when it was accepted, "2026-11-20" */
	const char *site; /* for people */
	const char *reason;
	size_t line; /* 0 if it was not read */
};

struct baseline {
	const char *name;               /* how messages call the file */
	struct baseline_entry *entries; /* sorted by fingerprint, each once */
	size_t count;
};

/* Refuses anything that is not a baseline, with its line. An empty text is an empty baseline. */
bool baseline_parse(struct baseline *baseline, struct arena *arena, const struct gate_input *input,
		    struct gate_error *error);

/* NULL if there is none. */
const struct baseline_entry *baseline_find(const struct baseline *baseline, const char *fingerprint);

/* Sorts entries by fingerprint and merges equal ones; returns how many are left. */
size_t baseline_sort(struct baseline_entry *entries, size_t count);

/* Writes entries, made safe for lines; errors of the stream stay in the stream. */
void baseline_write(const struct baseline *baseline, FILE *stream);

#endif
