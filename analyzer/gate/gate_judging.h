/*
 * What the parts of the gate share while they judge one report.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_JUDGING_H
#define PQLEASE_ANALYZER_GATE_GATE_JUDGING_H

#include "analyzer/gate/gate.h"
#include "analyzer/gate/gate_policy.h"
#include "analyzer/report/report.h"

struct gate_judging {
	struct report *report;
	struct arena *arena; /* the report's */
	const struct gate_policy *policy;
	struct gate_outcome *outcome;
	size_t failure_capacity;
	size_t *suppression_of;   /* for each finding the suppression that matches, SIZE_MAX: none */
	uint64_t *count_of_items; /* for each item on a kind: how many of it the policy does not accept */
};

void gate_judging_fail(struct gate_judging *judging, const struct gate_failure *failure);
/* Fills the place of a failure from a site; NULL: none. */
void gate_judging_place(struct gate_failure *failure, const struct report_site *site);

/* Judges all budgets of the policy. */
void gate_budgets_judge(struct gate_judging *judging);

#endif
