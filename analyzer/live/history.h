/*
 * How many connections a run had open and in use, second by second, minute by minute or hour by hour.
 */
#ifndef PQLEASE_ANALYZER_LIVE_HISTORY_H
#define PQLEASE_ANALYZER_LIVE_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "analyzer/report/report.h"

enum { HISTORY_MAX = 300 };

struct history_sample {
	int64_t open;
	int64_t in_use;           /* REPORT_UNKNOWN if uses were not recorded */
	uint64_t end_realtime_ns; /* of the second, minute or hour; the numbers are those at its end */
};

/* The last whole ones, oldest first, at most `max` and HISTORY_MAX; returns how many. */
size_t history_take(struct history_sample *samples, size_t max, const struct report *report,
		    enum model_resolution resolution);

#endif
