/*
 * What changed from one look at a run to the next, as lines of a log: a pool crossed a level, somebody began to wait,
 * a finding is new, a process came back. Each is said once, when it begins, and once more when it is over.
 */
#ifndef PQLEASE_ANALYZER_LIVE_EDGES_H
#define PQLEASE_ANALYZER_LIVE_EDGES_H

#include "analyzer/report/report.h"

enum edge_severity { EDGE_INFO, EDGE_WARNING, EDGE_CRITICAL };

/* `pool` is NULL for what concerns the run; texts are valid during the call. */
typedef void edge_teller(void *context, enum edge_severity severity, const char *pool, const char *message);

struct edges;

struct edges *edges_new(const struct thresholds *thresholds);
void edges_free(struct edges *edges);

/* Compares with the look before; the first one tells what is already so. */
void edges_look(struct edges *edges, const struct report *report, edge_teller *tell, void *context);

#endif
