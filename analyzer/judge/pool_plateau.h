/*
 * How many threads wanted connections of a pool at the same time: those whose recorded uses overlap from their
 * first to their last. When more did than connections were ever open, and all of these were in use at once, the pool had no
 * more to give: that many is its capacity.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_POOL_PLATEAU_H
#define PQLEASE_ANALYZER_JUDGE_POOL_PLATEAU_H

#include "analyzer/model.h"

/* One entry per pool of the model, 0 where no use is known. */
const int64_t *pool_plateau_takers(const struct model *model, struct arena *arena);

/* The capacity that the pool's traffic shows, 0 if it shows none. */
int64_t pool_plateau_capacity(const struct model_pool *pool, int64_t takers);

#endif
