/*
 * A program that takes and returns leases through the module behind the hooks, and says beforehand what it is about
 * to do and afterwards that it has done it, in memory that outlives it: what a ledger must hold is known without
 * looking at the ledger.
 */
#ifndef PQLEASE_TESTS_STORM_WRITER_H
#define PQLEASE_TESTS_STORM_WRITER_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/ledger_format.h"

#define STORM_TALLIES_MAX 8192u
#define STORM_LEASE_NUMBER_BITS 18

/* One thread of one writer. Killed between `begun` and `done` it leaves one step of which nobody knows. */
struct storm_tally {
	_Atomic int32_t pid;
	_Atomic uint32_t is_ready; /* attached, and a few leases old */
	_Atomic uint32_t steps_begun;
	_Atomic uint32_t steps_done;
	_Atomic uint32_t leases; /* numbers given out */
	_Atomic uint64_t begun[LEDGER_COUNTER_COUNT];
	_Atomic uint64_t done[LEDGER_COUNTER_COUNT];
};

struct storm_board {
	_Atomic uint32_t used;
	struct storm_tally tally[STORM_TALLIES_MAX];
};

/* Every lease carries who took it and its number as its backend's pid. */
static inline int32_t storm_backend_pid(uint32_t tally, uint32_t number) {
	return (int32_t)(tally << STORM_LEASE_NUMBER_BITS | number);
}

/* Shared with all children of this process. */
extern struct storm_board *storm_board;
void storm_board_open(void);

/* A step is a call of the program: what it makes of a connection. */
enum storm_step {
	STORM_CONNECT,
	STORM_CONNECT_FAILS,
	STORM_CONNECT_START,
	STORM_POLL,
	STORM_POLL_FAILS,
	STORM_ABANDON,
	STORM_FINISH,
	STORM_FINISH_FAILED,
	STORM_FINISH_LOST,
	STORM_RESET,
	STORM_RESET_FAILS,
	STORM_RESET_START,
	STORM_REVIVE,
	STORM_REVIVE_FAILS,
	STORM_RECOVER,
	STORM_STEP_COUNT
};

/* A thread's own connections; zero is a thread without any. */
#define STORM_CONNS_MAX 8
struct storm_thread {
	uint32_t tally;
	uint64_t random;
	struct storm_conn {
		int state;
		uint32_t number;
	} conn[STORM_CONNS_MAX];
};

void storm_thread_init(struct storm_thread *thread, uint64_t seed);
/* Does one step with a connection, which must be in the state that the step begins in. */
void storm_do(struct storm_thread *thread, int conn, enum storm_step step);
/* PQfinish of a connection that an earlier image of this thread took, in another process: not counted as a step. */
void storm_finish_inherited(struct storm_thread *thread, int conn);
/* Random steps. */
void storm_wander(struct storm_thread *thread, uint32_t count);

/* Starts a writer: `threads` threads that wander for ever. */
pid_t storm_start_writer(uint32_t threads, uint64_t seed);

#endif
