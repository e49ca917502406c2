/* The life of a use, driven as the hooks drive it: what libpq says behind each call is given by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shim/failure.h"
#include "shim/lease.h"
#include "shim/process.h"
#include "tests/unit/support/shim_support.h"

static struct ledger_header *ledger;

/* Any address will do as a caller: without stacks every site is LEDGER_SITE_NONE. */
static int open_recording(void **state) {
	static char path[300];
	static char depth[] = "PQLEASE_STACK_DEPTH=0";
	static char size[] = "PQLEASE_LEDGER_SIZE=16M";
	static char *environment[] = {path, depth, size, NULL};
	static char *argv[] = {"test_use", NULL};
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

/* ---- What the hooks do ------------------------------------------------------------------------------ */

static const void *open_lease(void) {
	static uintptr_t next = 0x20000000;
	const void *conn = (const void *)__atomic_add_fetch(&next, 4096, __ATOMIC_RELAXED);
	struct lease_call call;
	struct lease_facts facts = {.outcome = LEASE_ESTABLISHED,
				    .endpoint = {.host = "h", .port = "1", .database = "d", .user = "u"},
				    .backend_pid = 4711};
	lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	lease_connect_end(&call, conn, 0, &facts);
	return conn;
}

static bool call(const void *conn, enum use_kind kind, const char *text, enum use_status behind) {
	struct use_call use;
	lease_use_begin(&use, conn, kind, text, NULL);
	return use.is_recorded && lease_use_end(&use, behind);
}

static void exec(const void *conn, const char *text, enum use_status behind) {
	assert_false(call(conn, USE_COMMAND, text, behind));
}

static void fetch(const void *conn, enum use_status behind) {
	assert_false(call(conn, USE_RESULT, NULL, behind));
}

/* The slot that was claimed last. */
static const struct ledger_lease *lease_of(const void *conn) {
	for (uint64_t i = 0; i < ledger->section[LEDGER_LEASES].used; i++) {
		const struct ledger_lease *lease = ledger_unit(ledger, LEDGER_LEASES, i);
		if (lease->conn == (uintptr_t)conn && lease->word >> 56 == LEDGER_LEASE_OPEN)
			return lease;
	}
	fail_msg("no open lease");
	return NULL;
}

/* Totals, with what waits in the slots: what a reader sees. */
static uint64_t counted(enum ledger_counter counter) {
	uint64_t sum = shim_support_counter(ledger, counter);
	for (uint64_t i = 0; i < ledger->section[LEDGER_LEASES].used; i++) {
		const struct ledger_lease *lease = ledger_unit(ledger, LEDGER_LEASES, i);
		if (lease->word >> 56 != LEDGER_LEASE_OPEN)
			continue;
		sum += counter == LEDGER_USES_ENDED ? lease->batch_count : 0;
		sum += counter == LEDGER_COMMANDS ? lease->batch_commands : 0;
		sum += counter == LEDGER_IN_QUERY_NS ? lease->batch_in_query_ns : 0;
	}
	return sum;
}

static uint64_t before[LEDGER_COUNTER_COUNT];

static void remember(void) {
	for (int i = 0; i < LEDGER_COUNTER_COUNT; i++)
		before[i] = counted((enum ledger_counter)i);
}

static uint64_t more(enum ledger_counter counter) {
	return counted(counter) - before[counter];
}

/* Of the pool that all leases here have, behind the entry for what has none. */
static const struct ledger_totals *pool_totals(void) {
	const struct ledger_pool *pool = ledger_unit(ledger, LEDGER_POOLS, LEDGER_POOL_OTHER + 1);
	assert_non_null(pool);
	return &pool->totals;
}

static int64_t in_use_now(void) {
	return pool_totals()->in_use;
}

/* Lets at least that long pass, whatever else the machine does. */
static void spend_ns(uint64_t ns) {
	uint64_t until_ns = ledger_now_ns() + ns;
	while (ledger_now_ns() < until_ns)
		;
}

/* ---- Synchronous ------------------------------------------------------------------------------------ */

static void test_one_command_is_one_use(void **state) {
	(void)state;
	const void *conn = open_lease();
	const struct ledger_lease *lease = lease_of(conn);
	remember();
	exec(conn, "select 1", USE_IDLE);
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	assert_int_equal(1, more(LEDGER_COMMANDS));
	assert_int_equal(0, lease->use_begun_ns);
	assert_int_equal(0, lease->command_begun_ns);
	assert_int_equal(1, lease->uses);
	assert_int_equal(STATEMENT_SELECT, lease->statement_kind);
	assert_true(lease->first_command_ns > 0);
	assert_int_equal(0, lease->use_flags);
	lease_finish(conn, NULL);
	assert_int_equal(0, more(LEDGER_USES_LEFT));
}

static void test_a_command_is_seen_while_it_runs(void **state) {
	(void)state;
	const void *conn = open_lease();
	const struct ledger_lease *lease = lease_of(conn);
	struct use_call use;
	int64_t in_use = in_use_now();
	lease_use_begin(&use, conn, USE_COMMAND, "copy t from stdin", NULL);
	assert_true(lease->command_begun_ns > 0);
	assert_int_equal(LEDGER_LEASE_ACTIVE | LEDGER_LEASE_IN_USE, lease->use_flags);
	assert_int_equal(STATEMENT_COPY, lease->statement_kind);
	assert_int_equal(in_use + 1, in_use_now());
	lease_use_end(&use, USE_IDLE);
	assert_int_equal(in_use, in_use_now());
	lease_finish(conn, NULL);
}

static void test_a_transaction_is_one_use(void **state) {
	(void)state;
	const void *conn = open_lease();
	const struct ledger_lease *lease = lease_of(conn);
	remember();
	exec(conn, "begin", USE_IN_TRANSACTION);
	assert_true(lease->use_flags & LEDGER_LEASE_IN_TRANSACTION);
	assert_true(lease->use_begun_ns > 0);
	spend_ns(2000000);
	exec(conn, "update t", USE_IN_TRANSACTION);
	exec(conn, "insert", USE_TRANSACTION_FAILED);
	assert_true(lease->use_flags & LEDGER_LEASE_TRANSACTION_FAILED);
	assert_int_equal(0, more(LEDGER_USES_ENDED));
	exec(conn, "rollback", USE_IDLE);
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	assert_int_equal(4, more(LEDGER_COMMANDS));
	assert_true(more(LEDGER_IDLE_IN_TRANSACTION_NS) >= 2000000);
	assert_int_equal(more(LEDGER_IDLE_IN_TRANSACTION_NS), lease->idle_in_transaction_ns);
	assert_int_equal(STATEMENT_UPDATE, lease->use_statement);
	assert_int_equal(0, lease->use_flags);
	lease_finish(conn, NULL);
}

static void test_time_adds_up(void **state) {
	(void)state;
	const void *conn = open_lease();
	remember();
	uint64_t begun_ns = lease_of(conn)->held_since_ns;
	for (int i = 0; i < 100; i++) {
		exec(conn, "begin", USE_IN_TRANSACTION);
		exec(conn, "commit", USE_IDLE);
	}
	spend_ns(1000000);
	lease_finish(conn, NULL);
	const struct ledger_section *history = &ledger->section[LEDGER_HISTORY];
	const struct ledger_ended *ended =
		ledger_unit(ledger, LEDGER_HISTORY, (history->used - 1) % history->capacity);
	uint64_t sum_ns = ended->in_query_ns + ended->idle_in_transaction_ns + ended->idle_ns;
	assert_int_equal(ended->ended_ns - begun_ns, sum_ns);
	assert_int_equal(ended->in_query_ns, more(LEDGER_IN_QUERY_NS));
	assert_int_equal(ended->idle_in_transaction_ns, more(LEDGER_IDLE_IN_TRANSACTION_NS));
	assert_int_equal(ended->idle_ns, more(LEDGER_IDLE_NS));
	assert_int_equal(100, more(LEDGER_USES_ENDED));
	assert_int_equal(100, ended->uses);
	assert_int_equal(200, ended->commands);
}

/* ---- Asynchronous, COPY, pipeline --------------------------------------------------------------------- */

static void test_sent_results_are_part_of_the_use(void **state) {
	(void)state;
	const void *conn = open_lease();
	const struct ledger_lease *lease = lease_of(conn);
	remember();
	exec(conn, "select 1", USE_ACTIVE);
	fetch(conn, USE_ACTIVE);
	spend_ns(1500000);
	fetch(conn, USE_ACTIVE);
	assert_true(lease->command_begun_ns > 0);
	assert_int_equal(0, more(LEDGER_USES_ENDED));
	fetch(conn, USE_IDLE);
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	assert_int_equal(1, more(LEDGER_COMMANDS));
	assert_true(more(LEDGER_IN_QUERY_NS) >= 1500000);
	fetch(conn, USE_IDLE); /* once more, in vain */
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	lease_finish(conn, NULL);
}

static void test_a_pipeline_is_one_use(void **state) {
	(void)state;
	const void *conn = open_lease();
	remember();
	for (int i = 0; i < 5; i++)
		exec(conn, "insert", USE_ACTIVE);
	exec(conn, NULL, USE_ACTIVE); /* the synchronisation */
	for (int i = 0; i < 12; i++)
		fetch(conn, USE_ACTIVE);
	fetch(conn, USE_IDLE);
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	assert_int_equal(6, more(LEDGER_COMMANDS));
	lease_finish(conn, NULL);
}

/* ---- Ends in the middle ---------------------------------------------------------------------------------- */

static void test_a_finish_ends_the_use(void **state) {
	(void)state;
	const void *conn = open_lease();
	int64_t in_use = in_use_now();
	remember();
	exec(conn, "begin", USE_IN_TRANSACTION);
	spend_ns(1200000);
	lease_finish(conn, NULL);
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	assert_int_equal(1, more(LEDGER_USES_LEFT));
	assert_true(more(LEDGER_IDLE_IN_TRANSACTION_NS) >= 1200000);
	assert_int_equal(in_use, in_use_now());
}

static uint64_t released_with(uint32_t facts) {
	uint64_t count = 0;
	for (uint64_t i = 0; i < ledger->section[LEDGER_RELEASERS].used; i++) {
		const struct ledger_releaser *releaser = ledger_unit(ledger, LEDGER_RELEASERS, i);
		count += releaser->facts == facts ? releaser->count : 0;
	}
	return count;
}

static void test_a_finish_in_the_middle_of_a_use_is_told(void **state) {
	(void)state;
	uint64_t in_use = released_with(LEDGER_FACT_IN_USE);
	uint64_t idle = released_with(0);
	const void *conn = open_lease();
	exec(conn, "begin", USE_IN_TRANSACTION);
	lease_finish(conn, NULL);
	assert_int_equal(in_use + 1, released_with(LEDGER_FACT_IN_USE));
	conn = open_lease();
	exec(conn, "begin", USE_IN_TRANSACTION);
	exec(conn, "rollback", USE_IDLE);
	lease_finish(conn, NULL);
	assert_int_equal(in_use + 1, released_with(LEDGER_FACT_IN_USE));
	assert_int_equal(idle + 1, released_with(0));
}

static void test_a_reset_ends_the_use(void **state) {
	(void)state;
	const void *conn = open_lease();
	struct lease_call reset;
	struct lease_facts facts = {.outcome = LEASE_ESTABLISHED};
	remember();
	exec(conn, "begin", USE_IN_TRANSACTION);
	lease_reset_begin(&reset, LEASE_CALL_RESET, conn, NULL);
	lease_reset_end(&reset, &facts);
	assert_int_equal(1, more(LEDGER_USES_LEFT));
	assert_int_equal(0, lease_of(conn)->use_flags);
	exec(conn, "select", USE_IDLE);
	assert_int_equal(2, more(LEDGER_USES_ENDED));
	lease_finish(conn, NULL);
}

static void test_a_broken_session_is_counted_once(void **state) {
	(void)state;
	const void *conn = open_lease();
	struct lease_facts facts = {.outcome = LEASE_FAILED, .failure = FAILURE_SERVER_CLOSED};
	struct use_call use;
	remember();
	exec(conn, "select", USE_IDLE);
	lease_use_begin(&use, conn, USE_COMMAND, "select", NULL);
	assert_true(lease_use_end(&use, USE_BROKEN));
	lease_use_broken(&use, &facts);
	assert_false(call(conn, USE_COMMAND, "select", USE_BROKEN));
	assert_int_equal(1, more(LEDGER_SERVER_CLOSED));
	assert_true(lease_of(conn)->use_flags & LEDGER_LEASE_BROKEN);
	assert_int_equal(0, lease_of(conn)->use_begun_ns);
	lease_finish(conn, NULL);
}

/* The hook's second half never runs. */
static void test_a_longjmp_leaves_nothing_stuck(void **state) {
	(void)state;
	const void *conn = open_lease();
	struct use_call use;
	remember();
	lease_use_begin(&use, conn, USE_COMMAND, "select", NULL);
	exec(conn, "select", USE_IDLE); /* libpq discards what was in flight */
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	assert_int_equal(0, more(LEDGER_CONCURRENT_USE));
	assert_int_equal(0, lease_of(conn)->use_begun_ns);
	lease_use_begin(&use, conn, USE_COMMAND, "begin", NULL);
	lease_finish(conn, NULL);
	assert_int_equal(1, more(LEDGER_USES_LEFT));
}

static void test_a_pooler_that_had_no_server_is_a_failure(void **state) {
	(void)state;
	const void *conn = open_lease();
	struct lease_facts facts = {.outcome = LEASE_FAILED, .failure = FAILURE_POOLER_WAIT_TIMEOUT};
	struct ledger_failure *failure = ledger_unit(ledger, LEDGER_FAILURES, FAILURE_POOLER_WAIT_TIMEOUT);
	uint64_t count = failure->count;
	uint64_t snapshots = ledger->section[LEDGER_SNAPSHOTS].used;
	struct use_call use;
	ledger->last_snapshot_ns = 0;
	remember();
	lease_use_begin(&use, conn, USE_COMMAND, "begin", NULL);
	assert_true(lease_use_end(&use, USE_BROKEN));
	lease_use_broken(&use, &facts);
	assert_int_equal(count + 1, failure->count);
	assert_int_equal(0, more(LEDGER_SERVER_CLOSED)); /* no server went away */
	assert_int_equal(snapshots + 1, ledger->section[LEDGER_SNAPSHOTS].used);
	lease_finish(conn, NULL);
}

/* ---- Dedicated ------------------------------------------------------------------------------------------------ */

static void test_who_listens_is_dedicated(void **state) {
	(void)state;
	const void *conn = open_lease();
	const struct ledger_lease *lease = lease_of(conn);
	exec(conn, "listen a", USE_IDLE);
	assert_int_equal(LEDGER_LEASE_DEDICATED, lease->use_flags);
	exec(conn, "select", USE_IDLE);
	assert_int_equal(LEDGER_LEASE_DEDICATED, lease->use_flags);
	exec(conn, "unlisten *", USE_IDLE);
	assert_int_equal(0, lease->use_flags);
	exec(conn, "START_REPLICATION", USE_ACTIVE);
	assert_true(lease->use_flags & LEDGER_LEASE_DEDICATED);
	lease_finish(conn, NULL);
}

/* ---- Misuses ---------------------------------------------------------------------------------------------------- */

static void test_a_command_after_the_finish(void **state) {
	(void)state;
	const void *conn = open_lease();
	lease_finish(conn, NULL);
	remember();
	exec(conn, "select", USE_BROKEN);
	assert_int_equal(1, more(LEDGER_USE_AFTER_FINISH));
	assert_int_equal(0, more(LEDGER_USES_ENDED));
	lease_is_cancel_handle(conn);
	exec(conn, "select", USE_BROKEN);
	assert_int_equal(1, more(LEDGER_USE_AFTER_FINISH));
}

static void test_a_lease_inside_a_transaction(void **state) {
	(void)state;
	const void *outer = open_lease();
	const void *other = open_lease();
	remember();
	exec(outer, "select", USE_IDLE);
	exec(other, "select", USE_IDLE);
	assert_int_equal(0, more(LEDGER_NESTED_LEASE));
	exec(outer, "begin", USE_IN_TRANSACTION);
	exec(other, "select", USE_IDLE);
	assert_int_equal(1, more(LEDGER_NESTED_LEASE));
	const void *inner = open_lease(); /* a transaction is told once */
	assert_int_equal(1, more(LEDGER_NESTED_LEASE));
	exec(outer, "commit", USE_IDLE);
	exec(inner, "select", USE_IDLE);
	exec(other, "select", USE_IDLE);
	assert_int_equal(1, more(LEDGER_NESTED_LEASE));
	exec(outer, "begin", USE_IN_TRANSACTION);
	lease_finish(inner, NULL);
	inner = open_lease();
	assert_int_equal(2, more(LEDGER_NESTED_LEASE));
	exec(outer, "commit", USE_IDLE);
	lease_finish(inner, NULL);
	lease_finish(other, NULL);
	lease_finish(outer, NULL);
}

static void go_on_elsewhere(void *conn, uint32_t number) {
	(void)number;
	exec(conn, "select", USE_IN_TRANSACTION);
}

/* A pool of threads runs the parts of a request: who began the transaction is free for the next request. */
static void test_a_transaction_that_was_handed_over(void **state) {
	(void)state;
	const void *outer = open_lease();
	const void *other = open_lease();
	exec(outer, "begin", USE_IN_TRANSACTION);
	shim_support_threads(1, go_on_elsewhere, (void *)outer);
	remember();
	exec(other, "begin", USE_IN_TRANSACTION);
	assert_int_equal(0, more(LEDGER_NESTED_LEASE));
	exec(outer, "commit", USE_IDLE);
	exec(outer, "select", USE_IDLE); /* a use of its own */
	assert_int_equal(1, more(LEDGER_NESTED_LEASE));
	lease_finish(other, NULL);
	lease_finish(outer, NULL);
}

/* An event loop serves several transactions at once. */
static void test_who_does_not_wait_is_not_nested(void **state) {
	(void)state;
	const void *outer = open_lease();
	const void *other = open_lease();
	exec(outer, "begin", USE_IN_TRANSACTION);
	remember();
	assert_false(call(other, USE_SEND, "begin", USE_ACTIVE));
	fetch(other, USE_IN_TRANSACTION);
	assert_int_equal(0, more(LEDGER_NESTED_LEASE));
	exec(outer, "commit", USE_IDLE);
	fetch(other, USE_IDLE);
	assert_false(call(outer, USE_SEND, "begin", USE_ACTIVE));
	fetch(outer, USE_IN_TRANSACTION); /* nor is who began its transaction so */
	exec(other, "select", USE_IDLE);
	assert_int_equal(0, more(LEDGER_NESTED_LEASE));
	lease_finish(other, NULL);
	lease_finish(outer, NULL);
}

static void test_the_finish_of_the_outer_lease_is_its_end(void **state) {
	(void)state;
	const void *outer = open_lease();
	exec(outer, "begin", USE_IN_TRANSACTION);
	lease_finish(outer, NULL);
	remember();
	lease_finish(open_lease(), NULL);
	assert_int_equal(0, more(LEDGER_NESTED_LEASE));
}

/* ---- Threads ------------------------------------------------------------------------------------------------------ */

static void in_a_thread(void *(*work)(void *), const void *conn) {
	pthread_t thread;
	assert_int_equal(0, pthread_create(&thread, NULL, work, (void *)conn));
	assert_int_equal(0, pthread_join(thread, NULL));
}

static void *fetch_all(void *conn) {
	fetch(conn, USE_IDLE);
	return NULL;
}

static void test_another_thread_may_fetch_the_result(void **state) {
	(void)state;
	const void *conn = open_lease();
	remember();
	exec(conn, "select", USE_ACTIVE);
	in_a_thread(fetch_all, conn);
	assert_int_equal(1, more(LEDGER_USES_ENDED));
	assert_int_equal(0, more(LEDGER_CONCURRENT_USE));
	lease_finish(conn, NULL);
}

static void *run_command(void *conn) {
	exec(conn, "select", USE_ACTIVE);
	return NULL;
}

static void test_two_threads_inside_at_once(void **state) {
	(void)state;
	const void *conn = open_lease();
	struct use_call use;
	remember();
	lease_use_begin(&use, conn, USE_COMMAND, "select", NULL);
	_Atomic uint32_t *intruder = &((struct ledger_lease *)(uintptr_t)lease_of(conn))->intruder_site;
	*intruder = UINT32_MAX;
	in_a_thread(run_command, conn);
	assert_true(*intruder != UINT32_MAX); /* where it is, as far as this program's stacks are known */
	*intruder = UINT32_MAX;
	in_a_thread(run_command, conn);
	assert_true(*intruder == UINT32_MAX);             /* not again */
	assert_int_equal(0, more(LEDGER_CONCURRENT_USE)); /* it may have been left by a longjmp */
	lease_use_end(&use, USE_IDLE);
	assert_int_equal(1, more(LEDGER_CONCURRENT_USE));
	exec(conn, "select", USE_IDLE);
	assert_int_equal(1, more(LEDGER_CONCURRENT_USE));
	lease_finish(conn, NULL);
}

static void *leave_by_longjmp(void *conn) {
	struct use_call use;
	lease_use_begin(&use, conn, USE_COMMAND, "select", NULL);
	return NULL;
}

static void test_a_thread_that_left_is_not_inside(void **state) {
	(void)state;
	const void *conn = open_lease();
	remember();
	in_a_thread(leave_by_longjmp, conn);
	for (int i = 0; i < 3; i++)
		exec(conn, "select", USE_IDLE);
	in_a_thread(fetch_all, conn);
	assert_int_equal(0, more(LEDGER_CONCURRENT_USE));
	lease_finish(conn, NULL);
}

#define THREADS 4u
#define ROUNDS 3000u

static void use_often(void *argument, uint32_t number) {
	const void *conn = open_lease();
	(void)argument;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		exec(conn, "begin", USE_IN_TRANSACTION);
		exec(conn, "commit", USE_IDLE);
		if (i % 500 == number)
			spend_ns(1100000);
	}
	lease_finish(conn, NULL);
}

static void test_threads_lose_nothing(void **state) {
	(void)state;
	remember();
	shim_support_threads(THREADS, use_often, NULL);
	assert_int_equal(THREADS * ROUNDS, more(LEDGER_USES_ENDED));
	assert_int_equal(THREADS * ROUNDS * 2, more(LEDGER_COMMANDS));
	assert_int_equal(0, more(LEDGER_CONCURRENT_USE));
	assert_int_equal(0, in_use_now());
	assert_true(pool_totals()->in_use_peak >= 1 && pool_totals()->in_use_peak <= THREADS);
}

/* ---- The ring ---------------------------------------------------------------------------------------------------- */

static void test_weights_of_the_ring_are_all_uses(void **state) {
	(void)state;
	const void *conn = open_lease();
	uint64_t first = ledger->section[LEDGER_USES].used;
	uint64_t weight = 0;
	remember();
	for (int i = 0; i < 1000; i++)
		exec(conn, "select", USE_IDLE);
	uint64_t waiting = lease_of(conn)->batch_count;
	for (uint64_t i = first; i < ledger->section[LEDGER_USES].used; i++) {
		const struct ledger_use *use =
			ledger_unit(ledger, LEDGER_USES, i % ledger->section[LEDGER_USES].capacity);
		assert_true(use->word & 1);
		assert_int_equal(ledger_use_check(use, i), use->check);
		assert_true(use->weight >= 1 && use->weight <= LEDGER_BATCH_USES);
		weight += use->weight;
	}
	assert_int_equal(1000, weight + waiting);
	assert_int_equal(1000, more(LEDGER_USES_ENDED));
	lease_finish(conn, NULL);
	assert_int_equal(1000, more(LEDGER_USES_ENDED));
}

/* ---- Snapshots ---------------------------------------------------------------------------------------------------- */

static void refuse(void) {
	struct lease_call refused;
	struct lease_facts facts = {.outcome = LEASE_FAILED, .failure = FAILURE_TOO_MANY_CLIENTS};
	lease_connect_begin(&refused, LEASE_CALL_CONNECT, NULL);
	lease_connect_end(&refused, (void *)0x10000, 0, &facts);
	lease_finish((void *)0x10000, NULL);
}

static void test_a_refusal_freezes_who_holds_what(void **state) {
	(void)state;
	struct ledger_section *section = &ledger->section[LEDGER_SNAPSHOTS];
	const void *idle = open_lease();
	const void *busy = open_lease();
	exec(busy, "begin", USE_IN_TRANSACTION);
	ledger->last_snapshot_ns = 0;
	uint64_t number = section->used;
	for (int i = 0; i < 10; i++)
		refuse(); /* a storm */
	assert_int_equal(number + 1, section->used);
	const struct ledger_snapshot *snapshot = ledger_unit(ledger, LEDGER_SNAPSHOTS, number);
	assert_non_null(snapshot);
	assert_true(snapshot->word & 1);
	assert_int_equal(FAILURE_TOO_MANY_CLIENTS, snapshot->failure);
	assert_int_equal(2, snapshot->holder_count);
	assert_int_equal(0, snapshot->holder[0].flags & LEDGER_LEASE_IN_TRANSACTION);
	assert_true(snapshot->holder[1].flags & LEDGER_LEASE_IN_TRANSACTION);
	assert_int_equal(STATEMENT_BEGIN, snapshot->holder[1].statement_kind);
	lease_finish(idle, NULL);
	lease_finish(busy, NULL);
}

static void test_the_first_snapshots_stay(void **state) {
	(void)state;
	struct ledger_section *section = &ledger->section[LEDGER_SNAPSHOTS];
	const struct ledger_snapshot *first = ledger_unit(ledger, LEDGER_SNAPSHOTS, 0);
	uint64_t word = first->word;
	for (uint64_t i = 0; section->capacity > 1 && i < 3 * section->capacity; i++) {
		ledger->last_snapshot_ns = 0;
		refuse();
	}
	if (section->capacity > 1)
		assert_int_equal(word, first->word);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_command_is_one_use),
		cmocka_unit_test(test_a_command_is_seen_while_it_runs),
		cmocka_unit_test(test_a_transaction_is_one_use),
		cmocka_unit_test(test_time_adds_up),
		cmocka_unit_test(test_sent_results_are_part_of_the_use),
		cmocka_unit_test(test_a_pipeline_is_one_use),
		cmocka_unit_test(test_another_thread_may_fetch_the_result),
		cmocka_unit_test(test_a_finish_ends_the_use),
		cmocka_unit_test(test_a_finish_in_the_middle_of_a_use_is_told),
		cmocka_unit_test(test_a_reset_ends_the_use),
		cmocka_unit_test(test_a_broken_session_is_counted_once),
		cmocka_unit_test(test_a_longjmp_leaves_nothing_stuck),
		cmocka_unit_test(test_a_pooler_that_had_no_server_is_a_failure),
		cmocka_unit_test(test_who_listens_is_dedicated),
		cmocka_unit_test(test_a_command_after_the_finish),
		cmocka_unit_test(test_a_lease_inside_a_transaction),
		cmocka_unit_test(test_a_transaction_that_was_handed_over),
		cmocka_unit_test(test_who_does_not_wait_is_not_nested),
		cmocka_unit_test(test_the_finish_of_the_outer_lease_is_its_end),
		cmocka_unit_test(test_two_threads_inside_at_once),
		cmocka_unit_test(test_a_thread_that_left_is_not_inside),
		cmocka_unit_test(test_threads_lose_nothing),
		cmocka_unit_test(test_weights_of_the_ring_are_all_uses),
		cmocka_unit_test(test_a_refusal_freezes_who_holds_what),
		cmocka_unit_test(test_the_first_snapshots_stay),
	};
	return cmocka_run_group_tests(tests, open_recording, close_recording);
}
