/* The life of a lease, driven as the hooks drive it; every step is judged by what it changed in the totals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/failure.h"
#include "shim/lease.h"
#include "shim/process.h"
#include "tests/unit/support/shim_support.h"
#include "tests/unit/support/sanitizers.h"

static struct ledger_header *ledger;

static int open_recording(void **state) {
	static char path[300];
	static char depth[] = "PQLEASE_STACK_DEPTH=0";
	static char size[] = "PQLEASE_LEDGER_SIZE=4M";
	static char *environment[] = {path, depth, size, NULL};
	static char *argv[] = {"test_lease", NULL};
	(void)state;
	shim_support_open();
	snprintf(path, sizeof path, "PQLEASE_LEDGER=%s", shim_support_path("run.ledger"));
	process_init(1, argv, environment);
	ledger = process_recording() ? process_recording()->ledger : NULL;
	return ledger == NULL;
}

static int close_recording(void **state) {
	(void)state;
	shim_support_close();
	return 0;
}

/* ---- Before and after ----------------------------------------------------------------------------- */

static uint64_t before[LEDGER_COUNTER_COUNT];
static int64_t open_before;
static uint32_t slots_before;
static uint64_t ended_before;

static void remember(void) {
	for (int counter = 0; counter < LEDGER_COUNTER_COUNT; counter++)
		before[counter] = shim_support_counter(ledger, (enum ledger_counter)counter);
	open_before = ledger->open;
	slots_before = shim_support_slots_in_use(ledger);
	ended_before = ledger->section[LEDGER_HISTORY].used;
}

struct change {
	enum ledger_counter counter;
	uint64_t amount;
};

/* What changed since `remember`: these counters and no others. Ends with amount 0. */
static void assert_counted(const struct change *changes, int open, int slots) {
	for (int counter = 0; counter < LEDGER_IN_QUERY_NS; counter++) { /* times have no exact values */
		uint64_t expected = before[counter];
		for (const struct change *change = changes; change->amount; change++)
			expected += (int)change->counter == counter ? change->amount : 0;
		uint64_t now = shim_support_counter(ledger, (enum ledger_counter)counter);
		if (now != expected)
			fail_msg("counter %d is %d away from what it was, not %d", counter,
				 (int)(now - before[counter]), (int)(expected - before[counter]));
	}
	assert_int_equal(open, ledger->open - open_before);
	assert_int_equal(slots, (int)(shim_support_slots_in_use(ledger) - slots_before));
}

#define COUNTED(...) ((const struct change[]){__VA_ARGS__, {0, 0}})
#define NOTHING ((const struct change[]){{0, 0}})

static const struct ledger_ended *last_ended(void) {
	const struct ledger_section *history = &ledger->section[LEDGER_HISTORY];
	assert_true(history->used > ended_before);
	return ledger_unit(ledger, LEDGER_HISTORY, (history->used - 1) % history->capacity);
}

/* ---- What the hooks do ------------------------------------------------------------------------------ */

static const char *fresh_conn(void) {
	static uintptr_t next = 0x20000000;
	return (const char *)(next += 4096);
}

static struct lease_facts facts_of(enum lease_outcome outcome) {
	return (struct lease_facts){
		.outcome = outcome,
		.endpoint = {.host = "db.example", .port = "5432", .database = "d", .user = "u"},
		.backend_pid = 4711,
		.server_version = 150004,
		.failure = FAILURE_PASSWORD};
}

static void connect_to(const void *conn, enum lease_call_kind kind, enum lease_outcome outcome) {
	struct lease_call call;
	struct lease_facts facts = facts_of(outcome);
	lease_connect_begin(&call, kind, NULL);
	lease_connect_end(&call, conn, 3, &facts);
}

static void poll_with(const void *conn, enum lease_outcome outcome) {
	struct lease_poll poll;
	struct lease_facts facts = facts_of(outcome);
	lease_poll_begin(&poll, conn, LEDGER_PHASE_TCP);
	lease_poll_end(&poll, &facts);
}

static void reset(const void *conn, enum lease_call_kind kind, enum lease_outcome outcome) {
	struct lease_call call;
	struct lease_facts facts = facts_of(outcome);
	lease_reset_begin(&call, kind, conn, NULL);
	lease_reset_end(&call, &facts);
}

static void finish(const void *conn) {
	lease_finish(conn, NULL);
}

static const void *established(void) {
	const void *conn = fresh_conn();
	connect_to(conn, LEASE_CALL_CONNECT, LEASE_ESTABLISHED);
	return conn;
}

/* ---- Synchronous connects ----------------------------------------------------------------------------- */

static void test_connect_and_finish(void **state) {
	(void)state;
	remember();
	const void *conn = established();
	uint32_t instance = 0;
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}), 1, 1);
	assert_true(lease_instance(conn, &instance));
	assert_int_equal(3, instance);
	finish(conn);
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}, {LEDGER_FINISHED, 1}), 0, 0);
	assert_false(lease_instance(conn, &instance));
	const struct ledger_ended *ended = last_ended();
	assert_int_equal(LEDGER_RELEASE_FINISHED, ended->release);
	assert_int_equal(getpid(), ended->pid);
	assert_int_equal(4711, ended->backend_pid);
	assert_true(ended->begun_ns <= ended->established_ns && ended->established_ns <= ended->ended_ns);
	assert_int_not_equal(LEDGER_POOL_OTHER, ended->pool);
}

static void test_a_failed_connect(void **state) {
	(void)state;
	const char *conn = fresh_conn();
	const struct ledger_failure *failure = ledger_unit(ledger, LEDGER_FAILURES, FAILURE_PASSWORD);
	uint64_t failures = failure->count;
	remember();
	connect_to(conn, LEASE_CALL_CONNECT, LEASE_FAILED);
	assert_counted(COUNTED({LEDGER_FAILED, 1}), 0, 1);
	assert_int_equal(failures + 1, failure->count);
	finish(conn);
	assert_counted(COUNTED({LEDGER_FAILED, 1}, {LEDGER_FAILED_FINISHED, 1}), 0, 0);
	assert_int_equal(LEDGER_RELEASE_FAILED, last_ended()->release);
	assert_int_equal(FAILURE_PASSWORD + 1, last_ended()->failure);
}

static void test_failures_and_successes_share_a_pool(void **state) {
	(void)state;
	const char *conn = fresh_conn();
	struct lease_call call;
	struct lease_facts facts = facts_of(LEASE_ESTABLISHED);
	remember();
	connect_to(conn, LEASE_CALL_CONNECT, LEASE_FAILED);
	finish(conn);
	uint32_t pool = last_ended()->pool;
	facts.application_name = "known only to the server's friends";
	lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	lease_connect_end(&call, conn, 3, &facts);
	finish(conn);
	assert_int_equal(pool, last_ended()->pool);
}

static void test_no_connection_returned(void **state) {
	(void)state;
	remember();
	connect_to(NULL, LEASE_CALL_CONNECT, LEASE_FAILED);
	assert_counted(COUNTED({LEDGER_FAILED, 1}, {LEDGER_FAILED_FINISHED, 1}), 0, 0);
	finish(NULL);
	assert_counted(COUNTED({LEDGER_FAILED, 1}, {LEDGER_FAILED_FINISHED, 1}), 0, 0);
}

static void test_probes(void **state) {
	(void)state;
	struct lease_call call;
	remember();
	for (int answered = 0; answered < 2; answered++) {
		lease_connect_begin(&call, LEASE_CALL_PROBE, NULL);
		lease_probe_end(&call, answered);
	}
	assert_counted(COUNTED({LEDGER_PROBES, 2}, {LEDGER_PROBES_ANSWERED, 1}), 0, 0);
}

/* ---- Asynchronous connects ------------------------------------------------------------------------------- */

static void test_polls_establish(void **state) {
	(void)state;
	const char *conn = fresh_conn();
	remember();
	connect_to(conn, LEASE_CALL_CONNECT_START, LEASE_PENDING);
	poll_with(conn, LEASE_PENDING);
	poll_with(conn, LEASE_PENDING);
	assert_counted(NOTHING, 0, 1);
	poll_with(conn, LEASE_ESTABLISHED);
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}), 1, 1);
	poll_with(conn, LEASE_ESTABLISHED); /* once more than needed */
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}), 1, 1);
	finish(conn);
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}, {LEDGER_FINISHED, 1}), 0, 0);
}

static void test_polls_fail(void **state) {
	(void)state;
	const char *conn = fresh_conn();
	remember();
	connect_to(conn, LEASE_CALL_CONNECT_START, LEASE_PENDING);
	poll_with(conn, LEASE_FAILED);
	poll_with(conn, LEASE_FAILED);
	assert_counted(COUNTED({LEDGER_FAILED, 1}), 0, 1);
	finish(conn);
	assert_counted(COUNTED({LEDGER_FAILED, 1}, {LEDGER_FAILED_FINISHED, 1}), 0, 0);
}

static void test_a_start_that_fails_at_once(void **state) {
	(void)state;
	const char *conn = fresh_conn();
	remember();
	connect_to(conn, LEASE_CALL_CONNECT_START, LEASE_FAILED);
	finish(conn);
	assert_counted(COUNTED({LEDGER_FAILED, 1}, {LEDGER_FAILED_FINISHED, 1}), 0, 0);
}

static void test_an_abandoned_start(void **state) {
	(void)state;
	const char *conn = fresh_conn();
	remember();
	connect_to(conn, LEASE_CALL_CONNECT_START, LEASE_PENDING);
	poll_with(conn, LEASE_PENDING);
	finish(conn);
	assert_counted(COUNTED({LEDGER_ABANDONED, 1}), 0, 0);
	assert_int_equal(LEDGER_RELEASE_ABANDONED, last_ended()->release);
}

static void test_polls_of_unknown_connections(void **state) {
	(void)state;
	remember();
	poll_with(fresh_conn(), LEASE_ESTABLISHED);
	poll_with(NULL, LEASE_PENDING);
	finish(fresh_conn());
	assert_counted(NOTHING, 0, 0);
}

/* libpq's own polls inside a synchronous connect show its phases and settle nothing. */
static void test_phases_come_from_polls(void **state) {
	(void)state;
	static const enum ledger_phase phases[] = {LEDGER_PHASE_TCP, LEDGER_PHASE_TLS, LEDGER_PHASE_AUTH};
	uint64_t counts[LEDGER_PHASE_COUNT];
	uint64_t sum_ns = 0;
	struct lease_call call;
	struct lease_facts facts = facts_of(LEASE_ESTABLISHED);
	for (int i = 0; i < LEDGER_PHASE_COUNT; i++)
		counts[i] = ledger->phase_time[i].count;
	remember();
	lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
		struct lease_poll poll;
		usleep(1000);
		lease_poll_begin(&poll, NULL, phases[i]);
		lease_poll_end(&poll, NULL);
	}
	const struct ledger_lease *lease = ledger_slot_lease(&call.slot);
	for (int i = 0; i < LEDGER_PHASE_COUNT; i++) {
		assert_true(lease->phase_ns[i] >= 1000000);
		sum_ns += lease->phase_ns[i];
	}
	assert_int_equal(3, lease->polls);
	const char *conn = fresh_conn();
	lease_connect_end(&call, conn, 3, &facts);
	for (int i = 0; i < LEDGER_PHASE_COUNT; i++)
		assert_int_equal(counts[i] + 1, ledger->phase_time[i].count);
	assert_true(sum_ns <= lease->connect_ns);
	finish(conn);
}

/* ---- Reset ---------------------------------------------------------------------------------------------------- */

static void test_a_reset_keeps_the_lease(void **state) {
	(void)state;
	const void *conn = established();
	remember();
	reset(conn, LEASE_CALL_RESET, LEASE_ESTABLISHED);
	assert_counted(COUNTED({LEDGER_RESETS, 1}, {LEDGER_RESETS_OK, 1}), 0, 0);
	finish(conn);
	assert_counted(COUNTED({LEDGER_RESETS, 1}, {LEDGER_RESETS_OK, 1}, {LEDGER_FINISHED, 1}), -1, -1);
	assert_int_equal(1, last_ended()->resets);
}

static void test_a_reset_that_fails(void **state) {
	(void)state;
	const void *conn = established();
	remember();
	reset(conn, LEASE_CALL_RESET, LEASE_FAILED);
	assert_counted(COUNTED({LEDGER_RESETS, 1}), 0, 0);
	finish(conn);
	assert_counted(COUNTED({LEDGER_RESETS, 1}, {LEDGER_FINISHED, 1}), -1, -1);
}

static void test_a_reset_revives_a_failed_one(void **state) {
	(void)state;
	const char *conn = fresh_conn();
	remember();
	connect_to(conn, LEASE_CALL_CONNECT, LEASE_FAILED);
	reset(conn, LEASE_CALL_RESET, LEASE_FAILED);
	reset(conn, LEASE_CALL_RESET, LEASE_ESTABLISHED);
	assert_counted(
		COUNTED({LEDGER_FAILED, 1}, {LEDGER_RESETS, 2}, {LEDGER_RESETS_OK, 1}, {LEDGER_REVIVED, 1}),
		1, 1);
	finish(conn);
	assert_counted(COUNTED({LEDGER_FAILED, 1}, {LEDGER_RESETS, 2}, {LEDGER_RESETS_OK, 1},
			       {LEDGER_REVIVED, 1}, {LEDGER_FINISHED, 1}),
		       0, 0);
}

static void test_an_asynchronous_reset(void **state) {
	(void)state;
	const void *conn = established();
	remember();
	reset(conn, LEASE_CALL_RESET_START, LEASE_PENDING);
	poll_with(conn, LEASE_PENDING);
	assert_counted(NOTHING, 0, 0);
	poll_with(conn, LEASE_ESTABLISHED);
	assert_counted(COUNTED({LEDGER_RESETS, 1}, {LEDGER_RESETS_OK, 1}), 0, 0);
	reset(conn, LEASE_CALL_RESET_START, LEASE_PENDING);
	finish(conn); /* in the middle of it */
	assert_counted(COUNTED({LEDGER_RESETS, 1}, {LEDGER_RESETS_OK, 1}, {LEDGER_FINISHED, 1}), -1, -1);
}

static void test_a_reset_of_an_unknown_connection(void **state) {
	(void)state;
	remember();
	reset(fresh_conn(), LEASE_CALL_RESET, LEASE_ESTABLISHED);
	assert_counted(NOTHING, 0, 0);
}

/* ---- Finish ------------------------------------------------------------------------------------------------------ */

static void test_a_double_finish(void **state) {
	(void)state;
	const void *conn = established();
	finish(conn);
	remember();
	finish(conn);
	assert_counted(COUNTED({LEDGER_DOUBLE_FINISH, 1}), 0, 0);
}

static void test_a_reused_address_is_no_double_finish(void **state) {
	(void)state;
	const void *conn = established();
	finish(conn);
	remember();
	connect_to(conn, LEASE_CALL_CONNECT, LEASE_ESTABLISHED);
	finish(conn);
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}, {LEDGER_FINISHED, 1}), 0, 0);
}

static void test_a_cancel_handle_is_no_connection(void **state) {
	(void)state;
	const void *conn = established();
	finish(conn);
	lease_is_cancel_handle(conn);
	remember();
	finish(conn);
	assert_counted(NOTHING, 0, 0);
}

static void test_a_finish_that_was_not_seen(void **state) {
	(void)state;
	const void *conn = established();
	remember();
	connect_to(conn, LEASE_CALL_CONNECT, LEASE_ESTABLISHED);
	assert_counted(COUNTED({LEDGER_FINISH_UNSEEN, 1}, {LEDGER_ESTABLISHED, 1}), 0, 0);
	assert_int_equal(LEDGER_RELEASE_UNSEEN, last_ended()->release);
	finish(conn);
}

/* ---- Cut short ------------------------------------------------------------------------------------------------------- */

static jmp_buf back;

static __attribute__((noinline)) void begin_and_jump(void) {
	struct lease_call call;
	lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	longjmp(back, 1);
}

static __attribute__((noinline)) void connect_and_finish_here(void) {
	struct lease_call call;
	struct lease_facts facts = facts_of(LEASE_ESTABLISHED);
	const char *conn = fresh_conn();
	lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	lease_connect_end(&call, conn, 3, &facts);
	lease_finish(conn, NULL);
}

static void test_a_jump_out_of_a_connect(void **state) {
	(void)state;
	remember();
	if (setjmp(back) == 0)
		begin_and_jump();
	assert_counted(NOTHING, 0, 1);
	connect_and_finish_here();
	assert_counted(COUNTED({LEDGER_ABANDONED, 1}, {LEDGER_CUT_SHORT, 1}, {LEDGER_ESTABLISHED, 1},
			       {LEDGER_FINISHED, 1}),
		       0, 0);
}

/* A connect inside a connect looks like one that was left by a jump; both come back and are counted once. */
static void nest(uint32_t depth, uint32_t deepest) {
	struct lease_call call;
	struct lease_facts facts = facts_of(LEASE_ESTABLISHED);
	const char *conn = fresh_conn();
	lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	if (depth < deepest)
		nest(depth + 1, deepest);
	lease_connect_end(&call, conn, 3, &facts);
	lease_finish(conn, NULL);
}

static void test_nested_connects(void **state) {
	static const uint32_t depths[] = {2, 4, 5, 9};
	(void)state;
	for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
		remember();
		nest(1, depths[i]);
		assert_counted(COUNTED({LEDGER_ESTABLISHED, depths[i]}, {LEDGER_FINISHED, depths[i]}), 0, 0);
	}
}

/* Attempts that dead coroutines left must not spoil those that come after. */
static void test_attempts_left_by_coroutines(void **state) {
	(void)state;
	remember();
	for (int i = 0; i < 8; i++) {
		struct lease_call call;
		lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	}
	const void *conn = established();
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}, {LEDGER_ABANDONED, 8}, {LEDGER_CUT_SHORT, 8}), 1, 1);
	finish(conn);
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 1}, {LEDGER_FINISHED, 1}, {LEDGER_ABANDONED, 8},
			       {LEDGER_CUT_SHORT, 8}),
		       0, 0);
}

/* ---- Threads --------------------------------------------------------------------------------------------------------- */

static const void *passed[64];

static void connect_many(void *argument, uint32_t number) {
	(void)argument;
	for (uintptr_t i = 0; i < 200; i++) {
		const void *conn = (const void *)(0x30000000 + number * 0x100000 + i * 512);
		connect_to(conn, LEASE_CALL_CONNECT, i % 4 ? LEASE_ESTABLISHED : LEASE_FAILED);
		finish(conn);
	}
	passed[number] = (const void *)(uintptr_t)(0x38000000 + number * 512);
	connect_to(passed[number], LEASE_CALL_CONNECT, LEASE_ESTABLISHED);
}

static void finish_another_threads(void *argument, uint32_t number) {
	(void)argument;
	finish(passed[number ^ 1]);
}

static void test_threads(void **state) {
	(void)state;
	remember();
	shim_support_threads(8, connect_many, NULL);
	shim_support_threads(8, finish_another_threads, NULL);
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 8 * 151}, {LEDGER_FINISHED, 8 * 151},
			       {LEDGER_FAILED, 8 * 50}, {LEDGER_FAILED_FINISHED, 8 * 50}),
		       0, 0);
}

static void finish_the_same(void *argument, uint32_t number) {
	(void)number;
	finish(argument);
}

static void test_two_threads_finish_the_same(void **state) {
	(void)state;
	remember();
	for (int i = 0; i < 50; i++)
		shim_support_threads(2, finish_the_same, (void *)established());
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 50}, {LEDGER_FINISHED, 50}, {LEDGER_DOUBLE_FINISH, 50}),
		       0, 0);
}

/* ---- Fork ---------------------------------------------------------------------------------------------------------------- */

static void finish_in_child(void *argument, uint32_t number) {
	(void)number;
	finish(argument);
	finish(argument); /* of an inherited one nothing more is known */
	process_end();
}

static void test_an_inherited_finish(void **state) {
	(void)state;
	const void *conn = established();
	remember();
	assert_true(shim_support_children(1, finish_in_child, (void *)conn));
	assert_counted(COUNTED({LEDGER_INHERITED_FINISH, 1}, {LEDGER_INHERITED_USE, 1}), 0, 0);
	finish(conn);
	assert_counted(COUNTED({LEDGER_INHERITED_FINISH, 1}, {LEDGER_INHERITED_USE, 1}, {LEDGER_FINISHED, 1}),
		       -1, -1);
}

static void reset_in_child(void *argument, uint32_t number) {
	reset(argument, number == 0 ? LEASE_CALL_RESET : LEASE_CALL_RESET_START,
	      number == 0 ? LEASE_ESTABLISHED : LEASE_PENDING);
	if (number == 1)
		poll_with(argument, LEASE_ESTABLISHED);
	finish(argument);
	process_end();
}

/* It ends the parent's session; the new one is the child's own. */
static void test_an_inherited_reset(void **state) {
	(void)state;
	const void *conn = established();
	remember();
	assert_true(shim_support_children(2, reset_in_child, (void *)conn));
	assert_counted(COUNTED({LEDGER_INHERITED_FINISH, 2}, {LEDGER_INHERITED_USE, 2},
			       {LEDGER_ESTABLISHED, 2}, {LEDGER_FINISHED, 2}, {LEDGER_FINISHED_UNUSED, 2}),
		       0, 0);
	finish(conn);
}

static void lease_in_child(void *argument, uint32_t number) {
	const void *conn = argument;
	if (process_recording_if_attached())
		_exit(1);
	connect_to(conn, LEASE_CALL_CONNECT,
		   LEASE_ESTABLISHED); /* the parent's address, another connection */
	const struct recording *now = process_recording();
	if (!now || now->pid != getpid() || now->generation < 2)
		_exit(2);
	finish(conn);
	const void *left_open = established();
	if (number == 1)
		finish(left_open);
	process_end();
	if (process_recording())
		_exit(3);
}

static void test_children_have_leases_of_their_own(void **state) {
	(void)state;
	const void *conn = established();
	uint32_t own = process_recording()->process;
	uint64_t unreleased = shim_support_unreleased(ledger);
	remember();
	assert_true(shim_support_children(2, lease_in_child, (void *)conn));
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 4}, {LEDGER_FINISHED, 3}), 0, 0);
	assert_int_equal(unreleased + 1, shim_support_unreleased(ledger));
	assert_int_equal(own, process_recording()->process);
	assert_int_equal(getpid(), process_recording()->pid);
	finish(conn);
	assert_counted(COUNTED({LEDGER_ESTABLISHED, 4}, {LEDGER_FINISHED, 4}), -1, -1);
}

static void end_as_a_vfork_child_does(void *argument, uint32_t number) {
	(void)argument;
	(void)number;
	process_end(); /* never attached: the mark would be the parent's */
}

static void test_a_child_that_never_attached_ends_nobody(void **state) {
	(void)state;
	const struct ledger_process *record =
		ledger_unit(ledger, LEDGER_PROCESSES, process_recording()->process);
	uint64_t word = record->word;
	assert_true(shim_support_children(1, end_as_a_vfork_child_does, NULL));
	assert_int_equal(word, record->word);
}

static void test_attempts_are_counted_for_display(void **state) {
	(void)state;
	const struct ledger_process *record =
		ledger_unit(ledger, LEDGER_PROCESSES, process_recording()->process);
	uint64_t leases = record->leases;
	finish(established());
	assert_int_equal(leases + 1, record->leases);
}

/* ---- Who released what, and whose thread is gone ------------------------------------------------------ */

static uint64_t released_with(uint32_t facts) {
	uint64_t count = 0;
	for (uint64_t i = 0; i < ledger->section[LEDGER_RELEASERS].used; i++) {
		const struct ledger_releaser *releaser = ledger_unit(ledger, LEDGER_RELEASERS, i);
		count += releaser->facts == facts ? releaser->count : 0;
	}
	return count;
}

static void test_every_release_is_counted_by_who_made_it(void **state) {
	(void)state;
	uint32_t facts = process_recording()->tracks_uses ? LEDGER_FACT_UNUSED : 0;
	uint64_t released = released_with(facts);
	for (int i = 0; i < 5; i++)
		finish(established());
	const void *failed = fresh_conn();
	connect_to(failed, LEASE_CALL_CONNECT, LEASE_FAILED);
	finish(failed); /* was no lease */
	assert_int_equal(released + 5, released_with(facts));
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_RELEASERS));
}

static const void *taken_by_thread[32];

static void take_some(void *argument, uint32_t number) {
	(void)number;
	for (uint32_t i = 0; i < *(const uint32_t *)argument; i++)
		taken_by_thread[i] = established();
}

static struct ledger_lease *lease_with(const void *conn) {
	for (uint64_t i = 0; i < ledger->section[LEDGER_LEASES].used; i++) {
		struct ledger_lease *lease = ledger_unit(ledger, LEDGER_LEASES, i);
		if (lease->conn == (uintptr_t)conn && lease->word >> 56 == LEDGER_LEASE_OPEN)
			return lease;
	}
	fail_msg("no open lease has this address");
	return NULL;
}

/* One that a thread notes for itself, and more than it can note. */
static void test_an_ended_thread_is_marked_in_what_it_left(void **state) {
	(void)state;
	static const uint32_t counts[] = {1, 8, 20};
	for (size_t round = 0; round < sizeof counts / sizeof *counts; round++) {
		uint32_t count = counts[round];
		const void *own = established();
		uint64_t before_ns = ledger_now_ns();
		shim_support_threads(1, take_some, &count);
		assert_int_equal(0, lease_with(own)->owner_gone_ns);
		for (uint32_t i = 0; i < count; i++) {
			struct ledger_lease *lease = lease_with(taken_by_thread[i]);
			assert_true(lease->owner_gone_ns >= before_ns);
			assert_true(lease->owner_gone_ns <= ledger_now_ns());
			finish(taken_by_thread[i]);
		}
		finish(own);
	}
}

static void take_and_finish_many(void *argument, uint32_t number) {
	(void)number;
	for (int i = 0; i < 100; i++)
		finish(established());
	take_some(argument, 0);
}

static void test_only_what_is_left_is_marked(void **state) {
	(void)state;
	uint32_t count = 1;
	shim_support_threads(1, take_and_finish_many, &count);
	const void *next = established(); /* maybe in a slot that the thread had */
	assert_true(lease_with(taken_by_thread[0])->owner_gone_ns != 0);
	assert_int_equal(0, lease_with(next)->owner_gone_ns);
	finish(next);
	finish(taken_by_thread[0]);
}

static void end_thread_in_child(void *argument, uint32_t number) {
	(void)number;
	struct ledger_lease *lease = argument;
	uint32_t none = 0;
	shim_support_threads(1, take_some, &none);
	if (lease->owner_gone_ns != 0)
		_exit(1);
	pthread_exit(NULL); /* this thread is a copy of the one that took the lease */
}

static void test_a_forked_child_marks_nothing_of_its_parent(void **state) {
	(void)state;
	if (IS_UNDER_TSAN)
		LEAVE_OUT("its own thread keeps a process whose main thread ended by pthread_exit");
	if (IS_UNDER_ASAN)
		LEAVE_OUT(
			"what the stack of a main thread holds that ended by pthread_exit has leaked to it");
	const void *own = established();
	struct ledger_lease *lease = lease_with(own);
	assert_true(shim_support_children(1, end_thread_in_child, lease));
	assert_int_equal(0, lease->owner_gone_ns);
	finish(own);
}

static void test_an_orphan_is_released_late(void **state) {
	(void)state;
	uint32_t count = 2;
	uint64_t orphans =
		released_with(LEDGER_FACT_ORPHAN) + released_with(LEDGER_FACT_ORPHAN | LEDGER_FACT_UNUSED);
	shim_support_threads(1, take_some, &count);
	for (uint32_t i = 0; i < count; i++) {
		struct ledger_lease *lease = lease_with(taken_by_thread[i]);
		lease->last_event_ns -= LEDGER_ORPHAN_AFTER_NS + 1000;
		lease->owner_gone_ns -= LEDGER_ORPHAN_AFTER_NS;
	}
	lease_with(taken_by_thread[1])->last_event_ns = ledger_now_ns(); /* somebody else used it since */
	for (uint32_t i = 0; i < count; i++)
		finish(taken_by_thread[i]);
	assert_int_equal(orphans + 1,
			 released_with(LEDGER_FACT_ORPHAN) +
				 released_with(LEDGER_FACT_ORPHAN | LEDGER_FACT_UNUSED));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect_and_finish),
		cmocka_unit_test(test_a_failed_connect),
		cmocka_unit_test(test_failures_and_successes_share_a_pool),
		cmocka_unit_test(test_no_connection_returned),
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_polls_establish),
		cmocka_unit_test(test_polls_fail),
		cmocka_unit_test(test_a_start_that_fails_at_once),
		cmocka_unit_test(test_an_abandoned_start),
		cmocka_unit_test(test_polls_of_unknown_connections),
		cmocka_unit_test(test_phases_come_from_polls),
		cmocka_unit_test(test_a_reset_keeps_the_lease),
		cmocka_unit_test(test_a_reset_that_fails),
		cmocka_unit_test(test_a_reset_revives_a_failed_one),
		cmocka_unit_test(test_an_asynchronous_reset),
		cmocka_unit_test(test_a_reset_of_an_unknown_connection),
		cmocka_unit_test(test_a_double_finish),
		cmocka_unit_test(test_a_reused_address_is_no_double_finish),
		cmocka_unit_test(test_a_cancel_handle_is_no_connection),
		cmocka_unit_test(test_a_finish_that_was_not_seen),
		cmocka_unit_test(test_a_jump_out_of_a_connect),
		cmocka_unit_test(test_nested_connects),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_two_threads_finish_the_same),
		cmocka_unit_test(test_an_inherited_finish),
		cmocka_unit_test(test_an_inherited_reset),
		cmocka_unit_test(test_children_have_leases_of_their_own),
		cmocka_unit_test(test_a_child_that_never_attached_ends_nobody),
		cmocka_unit_test(test_attempts_are_counted_for_display),
		cmocka_unit_test(test_attempts_left_by_coroutines),
		cmocka_unit_test(test_every_release_is_counted_by_who_made_it),
		cmocka_unit_test(test_an_ended_thread_is_marked_in_what_it_left),
		cmocka_unit_test(test_only_what_is_left_is_marked),
		cmocka_unit_test(test_a_forked_child_marks_nothing_of_its_parent),
		cmocka_unit_test(test_an_orphan_is_released_late),
	};
	return cmocka_run_group_tests(tests, open_recording, close_recording);
}
