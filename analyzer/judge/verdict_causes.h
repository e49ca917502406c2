/*
 * Why a program is short of connections: each possible cause is scored by its own signs, 0 to 1, and says its sentence.
 * One that is likely and stands out is the cause; several that are likely are candidates, and the verdict is "unsure". A
 * wrong verdict is worse than that.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_VERDICT_CAUSES_H
#define PQLEASE_ANALYZER_JUDGE_VERDICT_CAUSES_H

#include "analyzer/judge/verdict_signs.h"

/* Fills cause, candidates, message, advice and evidence. False, and nothing is changed, if there is no trouble. */
bool verdict_causes_judge(struct report_verdict *verdict, struct arena *arena, const struct report *report,
			  const struct verdict_signs *signs, const struct thresholds *thresholds);

#endif
