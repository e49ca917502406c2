#include "analyzer/judge/growth.h"

/* Cells tell what happened in them, not when: a step begins and ends with whole cells. */
static uint64_t least_between(const struct growth_cell *cells, size_t count, uint64_t begin_ns,
			      uint64_t end_ns) {
	uint64_t least = UINT64_MAX;
	uint64_t before = 0;
	for (size_t i = 0; i < count && cells[i].begin_ns < end_ns; i++) {
		if (cells[i].begin_ns >= begin_ns && cells[i].least < least)
			least = cells[i].least;
		if (cells[i].begin_ns < begin_ns)
			before = cells[i].last;
	}
	bool starts_inside = count > 0 && cells[0].begin_ns >= begin_ns;
	return !starts_inside && before < least ? before : least == UINT64_MAX ? before : least;
}

static void cut(struct growth *growth, const struct growth_cell *cells, size_t count) {
	uint64_t length_ns = (growth->end_ns - growth->begin_ns) / GROWTH_STEPS;
	for (unsigned i = 0; i < GROWTH_STEPS; i++) {
		uint64_t begin_ns = growth->begin_ns + i * length_ns;
		uint64_t end_ns = i + 1 < GROWTH_STEPS ? begin_ns + length_ns : growth->end_ns;
		growth->least[i] = least_between(cells, count, begin_ns, end_ns);
	}
	growth->from = growth->least[0];
	growth->to = growth->least[GROWTH_STEPS - 1];
}

static bool never_falls(const struct growth *growth) {
	for (unsigned i = 1; i < GROWTH_STEPS; i++)
		if (growth->least[i] < growth->least[i - 1])
			return false;
	return true;
}

/* Each of the last cycles left at least one more. A cycle is two steps: the last `cycles` of four. */
static bool each_cycle_adds(const struct growth *growth, unsigned cycles) {
	for (unsigned i = 0; i < cycles && 2 * (i + 1) < GROWTH_STEPS; i++) {
		unsigned end = GROWTH_STEPS - 1 - 2 * i;
		if (growth->least[end] < growth->least[end - 2] + 1)
			return false;
	}
	return true;
}

/* What fills and saturates adds less and less: the second half more than half of the first, and the last quarter
 * and the last step still something. */
static bool keeps_its_pace(const struct growth *growth) {
	const unsigned middle = GROWTH_STEPS / 2;
	const unsigned last = GROWTH_STEPS - 1;
	uint64_t early = growth->least[middle] - growth->least[0];
	uint64_t late = growth->least[last] - growth->least[middle];
	uint64_t quarter = growth->least[last] - growth->least[last - 2];
	bool goes_on = growth->least[last] > growth->least[last - 1];
	return goes_on && 2 * late > early && 2 * quarter >= (growth->to - growth->from) * 2 / last;
}

/* Nothing that happens once makes a trend: no single step brings more than half. */
static bool is_gradual(const struct growth *growth) {
	for (unsigned i = 1; i < GROWTH_STEPS; i++)
		if (2 * (growth->least[i] - growth->least[i - 1]) > growth->to - growth->from)
			return false;
	return true;
}

bool growth_judge(struct growth *growth, const struct growth_cell *cells, size_t count, uint64_t end_ns,
		  unsigned cycles) {
	*growth = (struct growth){.end_ns = end_ns};
	if (count == 0 || end_ns <= cells[0].begin_ns)
		return false;
	growth->begin_ns = cells[0].begin_ns;
	cut(growth, cells, count);
	return never_falls(growth) && each_cycle_adds(growth, cycles) && keeps_its_pace(growth) &&
		is_gradual(growth) && growth->to >= growth->from + cycles;
}
