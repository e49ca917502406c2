#include "analyzer/drill/drill_growth.h"

bool drill_growth_is_growing(const uint64_t *counts, size_t count) {
	uint64_t rise[DRILL_GROWTH_CYCLES];
	if (count <= DRILL_GROWTH_CYCLES)
		return false;
	const uint64_t *last = counts + count - 1 - DRILL_GROWTH_CYCLES;
	for (size_t i = 0; i < DRILL_GROWTH_CYCLES; i++) {
		if (last[i + 1] <= last[i])
			return false;
		rise[i] = last[i + 1] - last[i];
	}
	return 2 * rise[DRILL_GROWTH_CYCLES - 1] > rise[0];
}

double drill_growth_rate(const uint64_t *counts, size_t count) {
	if (count <= DRILL_GROWTH_CYCLES)
		return 0;
	uint64_t before = counts[count - 1 - DRILL_GROWTH_CYCLES];
	return (double)(counts[count - 1] - before) / DRILL_GROWTH_CYCLES;
}
