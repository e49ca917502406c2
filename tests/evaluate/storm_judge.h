/*
 * What a ledger says, as the analyzer reads it, against what the writers said they did.
 */
#ifndef PQLEASE_TESTS_STORM_JUDGE_H
#define PQLEASE_TESTS_STORM_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/model.h"

struct storm_judge {
	const char *path;
	const char *claim;                    /* what did not hold; NULL while all is well */
	uint64_t first_tally;                 /* those before it were judged */
	uint64_t before[MODEL_COUNTER_COUNT]; /* the ledger's counters then */
	uint64_t
		uncertain; /* steps that nobody knows the end of, since the beginning: an upper bound of torn */
	uint64_t torn;
	uint64_t verdicts;
	bool is_lapped; /* writers slept through laps of the history: it may have lost entries */
};

/* The writers of this ledger are dead, and nothing was reaped since: what is said still adds up. */
bool storm_judge_before_reaping(struct storm_judge *judge);

/* The same and everything was reaped: nothing is left open, every counter lies between what was done and what was
 * begun since the last verdict, and the books balance up to what is counted as torn. `more_uncertain` is the number
 * of reapers that were killed since. False: `claim` says what did not hold. */
bool storm_judge_after_reaping(struct storm_judge *judge, uint64_t more_uncertain);

/* One counter or one kind of unreleased lease, summed over the pools. */
uint64_t storm_judge_counter(const struct model *model, enum model_counter counter);
uint64_t storm_judge_unreleased(const struct model *model, enum model_left left);

#endif
