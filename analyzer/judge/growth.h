/*
 * Does the number of open leases of a place grow without end? Judged from its trend: the window is cut into cycles, and
 * what counts is the least that was open in each, which neither bursts nor a saw's teeth lift.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_GROWTH_H
#define PQLEASE_ANALYZER_JUDGE_GROWTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GROWTH_STEPS = 8 };

/* A step function: `least` and `last` hold until the next cell. Times since the ledger was created. */
struct growth_cell {
	uint64_t begin_ns;
	uint64_t least;
	uint64_t last;
};

struct growth {
	uint64_t begin_ns; /* of the window */
	uint64_t end_ns;
	uint64_t least[GROWTH_STEPS]; /* the least open in each step of the window, oldest first */
	uint64_t from;                /* = the first and the last of them */
	uint64_t to;
};

/* Fills `growth` and returns whether there is growth in [first cell, end_ns). */
bool growth_judge(struct growth *growth, const struct growth_cell *cells, size_t count, uint64_t end_ns,
		  unsigned cycles);

#endif
