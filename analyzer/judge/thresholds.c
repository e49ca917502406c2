#include "analyzer/judge/thresholds.h"

#include <string.h>

const struct thresholds_entry thresholds_entries[] = {
#define THRESHOLD(name, standard, unit, source) \
	{#name, standard, THRESHOLDS_##unit, source, offsetof(struct thresholds, name)},
#include "analyzer/judge/thresholds.def"
#undef THRESHOLD
};

const size_t thresholds_entry_count = sizeof thresholds_entries / sizeof thresholds_entries[0];

struct thresholds thresholds_standard(void) {
	struct thresholds thresholds;
	for (size_t i = 0; i < thresholds_entry_count; i++)
		*thresholds_member(&thresholds, &thresholds_entries[i]) = thresholds_entries[i].standard;
	return thresholds;
}

const struct thresholds_entry *thresholds_find(const char *name) {
	for (size_t i = 0; i < thresholds_entry_count; i++)
		if (strcmp(thresholds_entries[i].name, name) == 0)
			return &thresholds_entries[i];
	return NULL;
}

double *thresholds_member(struct thresholds *thresholds, const struct thresholds_entry *entry) {
	return (double *)((char *)thresholds + entry->offset);
}
