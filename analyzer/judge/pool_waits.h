/*
 * Who waits for a connection inside libpq: in a connect, or behind a pooler in the first command of a use.
 *
 * A pooler answers a connect itself and makes the first command wait for a session of the server. From outside such a wait
 * looks like a slow command, and no working query is blamed: it is a wait for certain when the command is BEGIN, which does
 * no work, or when more are in use than the pool's known capacity.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_POOL_WAITS_H
#define PQLEASE_ANALYZER_JUDGE_POOL_WAITS_H

#include "analyzer/report/report.h"

/* Waits of at least connect_critical while there was no connection to give, that were not refused in the end. */
struct pool_waits {
	uint64_t count;
	uint64_t longest_ns;
	uint64_t first_ns; /* when they ended, or now */
	uint64_t last_ns;
	uint32_t site; /* of the longest */
};

/* Whether server process ids were told in this pool, or in another one at the same port, that are none. */
bool pool_waits_is_pooled(const struct model *model, uint32_t pool);

/* Who waits now. Unknown where a first command may wait or work. Needs capacity, in_use and is_pooled. */
int64_t pool_waits_now(const struct model *model, const struct report_pool *pool,
		       const struct thresholds *thresholds);

/* The pool's long waits as far as uses and leases are kept. Needs capacity and is_pooled. */
struct pool_waits pool_waits_long(const struct model *model, const struct report_pool *pool,
				  const struct thresholds *thresholds);

#endif
