/*
 * The level that a pool has been at for a while: what an alert with a "for 5 minutes" would see.
 *
 * The window is cut into five stretches; the level is the lowest of their means, so it has lasted the whole window, and a
 * dip of a moment does not hide it. A pool younger than the window is judged by what there is since its first use.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_POOL_WINDOW_H
#define PQLEASE_ANALYZER_JUDGE_POOL_WINDOW_H

#include "analyzer/model.h"

/* Connections in use, for the window that ends when the run does, or now; NAN if the pool has no timeline of its own. */
double pool_window_level(const struct model *model, uint32_t pool, double window_s);

#endif
