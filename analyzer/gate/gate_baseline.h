/*
 * From a judged report to a new baseline.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_BASELINE_H
#define PQLEASE_ANALYZER_GATE_GATE_BASELINE_H

#include "analyzer/gate/baseline.h"

struct report;

/* Every finding that is not suppressed and is an error, a warning, or what an item of the gate failed by. `old`
 * (NULL: none) gives reasons and dates of what was accepted before. With `is_update`, lines of `old` that were not
 * reached in this run stay; what is fixed goes, and counts become those of this run. */
void gate_baseline_build(struct baseline *baseline, struct arena *arena, const struct report *report,
			 const struct baseline *old, bool is_update, const char *reason);

#endif
