#include "tests/evaluate/storm_writer.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shim/failure.h"
#include "shim/lease.h"
#include "tests/unit/support/shim_support.h"

struct storm_board *storm_board;

void storm_board_open(void) {
	void *board =
		mmap(NULL, sizeof *storm_board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
		abort();
	storm_board = board;
}

/* ---- Steps --------------------------------------------------------------------------------------------------- */

/* LOST: it was established, and a reset failed. */
enum conn_state { NONE, CONNECTING, OPEN, FAILED, LOST, RESETTING };

enum call { CONNECT, START, POLL, RESET, RESET_START, FINISH };

#define BIT(counter) (1u << (counter))

static const struct step {
	enum conn_state from;
	enum conn_state to;
	enum call call;
	enum lease_outcome outcome;
	uint32_t counters; /* that grow by one */
} steps[STORM_STEP_COUNT] = {
	[STORM_CONNECT] = {NONE, OPEN, CONNECT, LEASE_ESTABLISHED, BIT(LEDGER_ESTABLISHED)},
	[STORM_CONNECT_FAILS] = {NONE, FAILED, CONNECT, LEASE_FAILED, BIT(LEDGER_FAILED)},
	[STORM_CONNECT_START] = {NONE, CONNECTING, START, LEASE_PENDING, 0},
	[STORM_POLL] = {CONNECTING, OPEN, POLL, LEASE_ESTABLISHED, BIT(LEDGER_ESTABLISHED)},
	[STORM_POLL_FAILS] = {CONNECTING, FAILED, POLL, LEASE_FAILED, BIT(LEDGER_FAILED)},
	[STORM_ABANDON] = {CONNECTING, NONE, FINISH, LEASE_PENDING, BIT(LEDGER_ABANDONED)},
	[STORM_FINISH] = {OPEN, NONE, FINISH, LEASE_PENDING, BIT(LEDGER_FINISHED)},
	[STORM_FINISH_FAILED] = {FAILED, NONE, FINISH, LEASE_PENDING, BIT(LEDGER_FAILED_FINISHED)},
	[STORM_FINISH_LOST] = {LOST, NONE, FINISH, LEASE_PENDING, BIT(LEDGER_FINISHED)},
	[STORM_RESET] = {OPEN, OPEN, RESET, LEASE_ESTABLISHED, BIT(LEDGER_RESETS) | BIT(LEDGER_RESETS_OK)},
	[STORM_RESET_FAILS] = {OPEN, LOST, RESET, LEASE_FAILED, BIT(LEDGER_RESETS)},
	[STORM_RESET_START] = {OPEN, RESETTING, RESET_START, LEASE_PENDING, 0},
	[STORM_REVIVE] = {FAILED, OPEN, RESET, LEASE_ESTABLISHED,
			  BIT(LEDGER_RESETS) | BIT(LEDGER_RESETS_OK) | BIT(LEDGER_REVIVED)},
	[STORM_REVIVE_FAILS] = {FAILED, FAILED, RESET, LEASE_FAILED, BIT(LEDGER_RESETS)},
	[STORM_RECOVER] = {RESETTING, OPEN, POLL, LEASE_ESTABLISHED,
			   BIT(LEDGER_RESETS) | BIT(LEDGER_RESETS_OK)},
};

/* Addresses are reused at once, as an allocator does; threads have their own. */
static const void *address_of(const struct storm_thread *thread, int conn) {
	return (const void *)(uintptr_t)(0x10000000u + thread->tally * 0x10000u + (uint32_t)conn * 0x100u);
}

static struct lease_facts facts_of(const struct storm_thread *thread, int conn, enum lease_outcome outcome) {
	return (struct lease_facts){.outcome = outcome,
				    .endpoint = {"db.example", "5432", "shop", "till"},
				    .application_name = "storm",
				    .backend_pid =
					    storm_backend_pid(thread->tally, thread->conn[conn].number),
				    .server_version = 150004,
				    .failure = FAILURE_PASSWORD};
}

static void make_call(struct storm_thread *thread, int conn, const struct step *step) {
	const void *address = address_of(thread, conn);
	struct lease_facts facts = facts_of(thread, conn, step->outcome);
	struct lease_call call;
	struct lease_poll poll;
	switch (step->call) {
	case CONNECT:
	case START:
		lease_connect_begin(&call,
				    step->call == START ? LEASE_CALL_CONNECT_START : LEASE_CALL_CONNECT,
				    __builtin_return_address(0));
		lease_connect_end(&call, address, 1, &facts);
		break;
	case POLL:
		lease_poll_begin(&poll, address, LEDGER_PHASE_AUTH);
		lease_poll_end(&poll, &facts);
		break;
	case RESET:
	case RESET_START:
		lease_reset_begin(&call, step->call == RESET ? LEASE_CALL_RESET : LEASE_CALL_RESET_START,
				  address, __builtin_return_address(0));
		lease_reset_end(&call, &facts);
		break;
	case FINISH:
		lease_finish(address, __builtin_return_address(0));
		break;
	}
}

static void count(_Atomic uint64_t counters[LEDGER_COUNTER_COUNT], uint32_t which) {
	for (int counter = 0; counter < LEDGER_COUNTER_COUNT; counter++)
		if (which & BIT(counter))
			atomic_fetch_add(&counters[counter], 1);
}

void storm_do(struct storm_thread *thread, int conn, enum storm_step which) {
	struct storm_tally *tally = &storm_board->tally[thread->tally];
	const struct step *step = &steps[which];
	if (thread->conn[conn].state != (int)step->from)
		abort();
	if (step->from == NONE)
		thread->conn[conn].number = atomic_fetch_add(&tally->leases, 1);
	atomic_fetch_add(&tally->steps_begun, 1);
	count(tally->begun, step->counters);
	make_call(thread, conn, step);
	count(tally->done, step->counters);
	atomic_fetch_add(&tally->steps_done, 1);
	thread->conn[conn].state = (int)step->to;
}

void storm_finish_inherited(struct storm_thread *thread, int conn) {
	lease_finish(address_of(thread, conn), __builtin_return_address(0));
}

/* ---- Threads --------------------------------------------------------------------------------------------------- */

void storm_thread_init(struct storm_thread *thread, uint64_t seed) {
	*thread = (struct storm_thread){.tally = atomic_fetch_add(&storm_board->used, 1), .random = seed};
	if (thread->tally >= STORM_TALLIES_MAX)
		abort();
	storm_board->tally[thread->tally].pid = (int32_t)getpid();
}

static enum storm_step any_step_from(enum conn_state state, uint64_t *random) {
	enum storm_step step;
	do
		step = (enum storm_step)(shim_support_random(random) % STORM_STEP_COUNT);
	while (steps[step].from != state);
	return step;
}

void storm_wander(struct storm_thread *thread, uint32_t step_count) {
	for (uint32_t i = 0; i < step_count; i++) {
		int conn = (int)(shim_support_random(&thread->random) % STORM_CONNS_MAX);
		storm_do(thread, conn,
			 any_step_from((enum conn_state)thread->conn[conn].state, &thread->random));
	}
}

static void *wander_for_ever(void *seed) {
	struct storm_thread thread;
	storm_thread_init(&thread, (uint64_t)(uintptr_t)seed);
	storm_wander(&thread, 20);
	storm_board->tally[thread.tally].is_ready = 1;
	for (;;)
		storm_wander(&thread, 1000);
	return NULL;
}

pid_t storm_start_writer(uint32_t threads, uint64_t seed) {
	pid_t writer = fork();
	if (writer != 0)
		return writer;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint32_t i = 1; i < threads; i++) {
		pthread_t id;
		if (pthread_create(&id, NULL, wander_for_ever, (void *)(uintptr_t)(seed * 31 + i)) != 0)
			abort();
	}
	wander_for_ever((void *)(uintptr_t)seed);
	_exit(1);
}
