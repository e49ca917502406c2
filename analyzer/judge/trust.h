/*
 * How far a report can be believed: what was lost, what could not be seen, in sentences.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_TRUST_H
#define PQLEASE_ANALYZER_JUDGE_TRUST_H

#include "analyzer/report/report.h"

/* `unrecorded_reason` as in report_settings.h. */
void trust_judge(struct report_trust *trust, struct arena *arena, const struct model *model,
		 const char *unrecorded_reason);

#endif
