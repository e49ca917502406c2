/*
 * How many connections a pool really needs: the concurrency that was measured, the usual formulas, and a replay of
 * the recorded uses against pools of 1 to N connections.
 *
 * The replay is a closed loop, as programs are: who comes later waits in line, and comes later the next time too. Each line
 * of uses that do not overlap, of one thread, is one caller, with its pauses between. What is known are the last uses that
 * the ledger keeps, so the window is said with every answer. Where a use began when
 * the recorded pool was full, the pause before it holds a wait in the program's own line: then only as much of it counts as pauses
 * usually take where the pool was not full, and nothing if it always was.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_ADVICE_H
#define PQLEASE_ANALYZER_JUDGE_ADVICE_H

#include "analyzer/model.h"

enum { ADVICE_SIZES_MAX = 256 };

/* What a pool of `size` would have done; waits in seconds over all uses. */
struct advice_size {
	uint32_t size;
	double wait_mean;
	double wait_p50;
	double wait_p99;
	double wait_max;
};

struct advice {
	uint64_t uses;        /* replayed */
	uint64_t overwritten; /* uses of all pools that the ledger no longer has */
	bool is_sampled;      /* some entries stand for several uses */
	double window;        /* seconds from the first to the last use */
	double use_p50;
	double use_p99;
	uint32_t callers; /* at a time, each from its first use to its last */
	uint32_t concurrency_p50;
	uint32_t concurrency_p95;
	uint32_t concurrency_p99;
	uint32_t concurrency_max;
	uint32_t workers_times_two;
	uint32_t with_burst; /* (workers x 2) + burst + safety margin */
	uint32_t burst;
	uint32_t safety;
	struct advice_size sizes[ADVICE_SIZES_MAX];
	size_t size_count;
	uint32_t
		smallest; /* size whose 99th percentile of waits is within the target; 0: none of those tried */
};

/* Of one pool; false if no use of it is kept. `target` in seconds. */
bool advice_give(struct advice *advice, struct arena *arena, const struct model *model, uint32_t pool,
		 double target);

#endif
