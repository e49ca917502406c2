/*
 * The one sentence on top: what the run's trouble is, if any. A wrong verdict is worse than "unsure".
 */
#ifndef PQLEASE_ANALYZER_JUDGE_VERDICT_H
#define PQLEASE_ANALYZER_JUDGE_VERDICT_H

#include "analyzer/report/report.h"

/* Needs the report's findings, totals, pools, server and trust; the model is the report's. */
void verdict_give(struct report_verdict *verdict, struct arena *arena, const struct report *report,
		  const struct model *model, const struct report_settings *settings);

#endif
