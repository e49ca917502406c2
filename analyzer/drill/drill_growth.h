/*
 * What grows from run to run: connections of a place that are left behind or still open after each wave of a drill.
 */
#ifndef PQLEASE_ANALYZER_DRILL_DRILL_GROWTH_H
#define PQLEASE_ANALYZER_DRILL_DRILL_GROWTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DRILL_GROWTH_CYCLES = 3 };

/* Whether the last three of `counts` (after each wave, the first after none) rose by at least one each, and the rise is
 * not dying down to half of what it was or less: a pool that fills up does. */
bool drill_growth_is_growing(const uint64_t *counts, size_t count);

/* By how many a wave raises them, over the last three waves. */
double drill_growth_rate(const uint64_t *counts, size_t count);

#endif
