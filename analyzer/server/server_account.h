/*
 * The ledger and the server side by side: every open lease should be a session of the server, every session of its
 * databases should be in the ledger, and the server's counts should be ours. Backend process ids join the two, unless a
 * pooler stands between them and makes them meaningless.
 */
#ifndef PQLEASE_ANALYZER_SERVER_SERVER_ACCOUNT_H
#define PQLEASE_ANALYZER_SERVER_SERVER_ACCOUNT_H

#include "analyzer/report/report.h"
#include "analyzer/server/server_witness.h"

/* Before the report is built: sessions that hold advisory locks are dedicated, in the model. */
void server_account_mark_dedicated(struct model *model, const struct server_reading *now);

/* Fills report->server from what the server said after or during the run, and before it (NULL: the server was not asked
 * then, deltas are unknown). Needs totals and run. */
void server_account_fill(struct report *report, const struct model *model, const struct server_reading *now,
			 const struct server_reading *before);

#endif
