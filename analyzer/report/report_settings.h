/*
 * What a report is judged with besides its ledger: thresholds, capacities, what the server said. Options
 * and configuration fill it; who has neither takes report_settings_standard().
 */
#ifndef PQLEASE_ANALYZER_REPORT_REPORT_SETTINGS_H
#define PQLEASE_ANALYZER_REPORT_REPORT_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

#include "analyzer/judge/thresholds.h"

/* What a role may take at each endpoint; 0 means not said. The first entry that fits a role counts. */
struct report_capacity {
	const char *role; /* a shell pattern */
	int64_t capacity;
	int64_t base_size; /* what is above is overflow */
	int64_t reserved;  /* slots that other roles must leave free for it */
};

struct server_reading;
struct site_frames_code;

struct report_settings {
	const char *unrecorded_reason; /* a sentence, NULL: not known; shown if nothing was recorded */
	struct thresholds thresholds;
	int64_t limit; /* capacity of every pool without an entry in `capacities`; 0: not said */
	const struct report_capacity *capacities;
	size_t capacity_count;
	const struct site_frames_code *code; /* whose code frames are, before what is known anyway */
	size_t code_count;
	const struct server_reading *server;        /* what the server said last; NULL: not asked */
	const struct server_reading *server_before; /* what it said before the run; NULL: not asked then */
};

struct report_settings report_settings_standard(void);

#endif
