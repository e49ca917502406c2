/*
 * The thresholds that findings, levels and verdicts are judged by. One line of thresholds.def is one
 * threshold; configurations change them by name.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_THRESHOLDS_H
#define PQLEASE_ANALYZER_JUDGE_THRESHOLDS_H

#include <stddef.h>

enum thresholds_unit {
	THRESHOLDS_RATIO, /* 1 is everything */
	THRESHOLDS_COUNT,
	THRESHOLDS_SECONDS,
	THRESHOLDS_PER_SECOND,
	THRESHOLDS_PER_HOUR
};

struct thresholds {
#define THRESHOLD(name, standard, unit, source) double name;
#include "analyzer/judge/thresholds.def"
#undef THRESHOLD
};

struct thresholds_entry {
	const char *name;
	double standard;
	enum thresholds_unit unit;
	const char *source;
	size_t offset; /* of the member of struct thresholds */
};

extern const struct thresholds_entry thresholds_entries[];
extern const size_t thresholds_entry_count;

struct thresholds thresholds_standard(void);
/* NULL if there is none of this name. */
const struct thresholds_entry *thresholds_find(const char *name);
double *thresholds_member(struct thresholds *thresholds, const struct thresholds_entry *entry);

#endif
