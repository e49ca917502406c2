/*
 * Processes that came back: one that vanished without an end of its own (killed, or nobody knows), and a later one of
 * the same role and program in its place. A loop that starts a program again and again is none.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_RESTARTS_H
#define PQLEASE_ANALYZER_JUDGE_RESTARTS_H

#include <stddef.h>

#include "analyzer/report/report.h"

struct restart {
	const struct report_process *gone;
	const struct report_process *successor;
};

struct restarts {
	struct restart *all; /* newest first */
	size_t count;
	double per_hour; /* over the last hour, or over the run if it is younger but not below a minute; NAN unknown */
};

/* In memory of `arena`; points into the report. Records of processes are reused, so long ago is forgotten. */
void restarts_find(struct restarts *restarts, struct arena *arena, const struct report *report);

#endif
