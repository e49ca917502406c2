/*
 * How the live runs are, as JSON with the keys that existing pool monitors use, so that dashboards and scripts made for
 * them work unchanged: PoolStats and get_health_status of a SQLAlchemy monitor, get_database_stats of one with
 * reserved connections, pools[] of a node-pg readiness check. Unknown values are null. The words:
 *
 *   pool      healthy, warning, critical, exhausted, unknown
 *   overall   the worst of the pools: critical (also for exhausted), warning, degraded (for unknown), healthy
 *
 * Functions return new references.
 */
#ifndef PQLEASE_ANALYZER_LIVE_HEALTH_H
#define PQLEASE_ANALYZER_LIVE_HEALTH_H

#include <stddef.h>

#include <jansson.h>

#include "analyzer/report/report.h"

struct health_subject {
	const struct report *const *reports; /* of live runs, newest first */
	size_t count;
};

const char *health_overall_word(const struct health_subject *subject);
/* The same, but unknown is called so: healthy, unknown, warning or critical. */
const char *health_worst_word(const struct health_subject *subject);

/* {ok, status, timestamp, components: {database: {...}}} */
json_t *health_aggregate(const struct health_subject *subject);
/* The worst pool, or the one of this name: status and numbers, with `recent` samples. No run: {status, message}. */
json_t *health_database(const struct health_subject *subject, const char *pool_name, size_t recent);
/* {status, pools: [{poolName, totalCount, idleCount, waitingCount, utilizationPercent, timestamp}]} */
json_t *health_readiness(const struct health_subject *subject);

/* The last samples of the newest run, oldest first, one each `interval` seconds (1, 60 or 3600): {checkedout,
 * usage_percent, total, timestamp}. */
json_t *health_history(const struct health_subject *subject, size_t limit, unsigned interval);

/* Every key of the above and of the other monitors in one document. */
json_t *health_everything(const struct health_subject *subject);

#endif
