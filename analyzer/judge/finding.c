#include "analyzer/judge/finding.h"

const char *finding_level_name(enum finding_level level) {
	static const char *const names[] = {"error", "warning", "note"};
	return names[level];
}

const char *finding_certainty_name(enum finding_certainty certainty) {
	static const char *const names[] = {"fact", "suspicion"};
	return names[certainty];
}
