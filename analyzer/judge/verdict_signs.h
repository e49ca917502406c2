/*
 * What tells one cause of trouble with connections from another, in numbers: measured once, judged in verdict_causes.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_VERDICT_SIGNS_H
#define PQLEASE_ANALYZER_JUDGE_VERDICT_SIGNS_H

#include "analyzer/report/report.h"

struct verdict_signs {
	/* Strain: somebody was refused, or a pool was full for most of its time. Without it there is no trouble. */
	int64_t refused;                     /* attempts refused for lack of slots */
	const struct report_pool *full_pool; /* the most utilized one above the threshold, NULL none */
	const struct report_pool
		*worst_pool; /* the full one, else the one whose attempts failed most; NULL none */

	/* How connections were used, in the full pool or in all: shares of the time in use. */
	double uses;
	double query_share;
	double transaction_idle_share;
	/* How long the use was that a moment of such time belongs to: a few long ones among many short ones count. */
	double query_per_use_s;
	double transaction_idle_per_use_s;

	/* Who held what when somebody was refused; the dedicated count as well. */
	double holders;           /* in the mean of the snapshots; NAN: none was taken */
	double other_roles_share; /* of these, of other roles than the refused one's */
	double idle_share;        /* neither active nor in a transaction */
	const char *refused_role; /* of the first snapshot, NULL */
	const char *holding_role; /* with the most holders among the others, NULL */

	/* The server: slots for ordinary roles, or the limit that was hit, and who else has them. */
	int64_t slots;   /* REPORT_UNKNOWN without a server that was asked */
	int64_t foreign; /* sessions of others when it was asked; likewise */

	struct {
		bool is_known;
		int64_t attempts;
		int64_t failures;
		int64_t steady_peak;
	} start;
	double refused_at_start; /* share of all failures that came with the start */

	const struct finding *stampede; /* findings, NULL if there is none */
	const struct finding *churn;
	const struct finding *held_idle; /* idle-in-transaction of level warning or above */
};

void verdict_signs_read(struct verdict_signs *signs, const struct report *report, const struct model *model,
			const struct report_settings *settings);

#endif
