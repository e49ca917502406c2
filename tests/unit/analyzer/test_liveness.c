/* Who is alive, seen through a /proc of our own, and what that means for a ledger's leases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/ledger/aftermath.h"
#include "analyzer/ledger/ledger_reader.h"
#include "tests/unit/support/ledger_builder.h"

enum { PID = 4001, START_TICKS = 200, STACK_START = 140000 };

static char proc_path[64];
static struct liveness_observer observer;
static struct liveness_subject subject;

static void write_stat(const char *name, char process_state, unsigned long start_ticks,
		       unsigned long stack_start) {
	char path[128];
	snprintf(path, sizeof path, "%s/%d", proc_path, PID);
	mkdir(path, 0755);
	snprintf(path, sizeof path, "%s/%d/stat", proc_path, PID);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "%d (%s) %c 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %lu 1 1 1 1 1 %lu 0 0\n", PID,
		name, process_state, start_ticks, stack_start);
	fclose(file);
}

static int make_proc(void **state) {
	(void)state;
	strcpy(proc_path, "/tmp/pqlease-proc-XXXXXX");
	assert_non_null(mkdtemp(proc_path));
	observer = (struct liveness_observer){
		.proc_path = proc_path, .pid_namespace = 4026531836, .now_ns = ledger_builder_at(100)};
	memset(observer.boot_id, 0x11, sizeof observer.boot_id);
	subject = (struct liveness_subject){.pid_namespace = 4026531836,
					    .pid = PID,
					    .start_ticks = START_TICKS,
					    .stack_start = STACK_START};
	memset(subject.boot_id, 0x11, sizeof subject.boot_id);
	return 0;
}

static int remove_proc(void **state) {
	(void)state;
	char path[128];
	snprintf(path, sizeof path, "%s/%d/stat", proc_path, PID);
	unlink(path);
	snprintf(path, sizeof path, "%s/%d", proc_path, PID);
	rmdir(path);
	rmdir(proc_path);
	return 0;
}

static void test_running(void **state) {
	(void)state;
	write_stat("shop", 'S', START_TICKS, STACK_START);
	assert_int_equal(LIVENESS_RUNNING, liveness_of(&observer, &subject));
}

static void test_names_do_not_confuse(void **state) {
	(void)state;
	write_stat("a) Z 1 (b", 'R', START_TICKS, STACK_START);
	assert_int_equal(LIVENESS_RUNNING, liveness_of(&observer, &subject));
}

static void test_gone(void **state) {
	(void)state;
	assert_int_equal(LIVENESS_GONE, liveness_of(&observer, &subject));
}

static void test_pid_was_reused(void **state) {
	(void)state;
	write_stat("shop", 'S', START_TICKS + 1, STACK_START);
	assert_int_equal(LIVENESS_GONE, liveness_of(&observer, &subject));
}

static void test_zombie(void **state) {
	(void)state;
	write_stat("shop", 'Z', START_TICKS, STACK_START);
	assert_int_equal(LIVENESS_GONE, liveness_of(&observer, &subject));
	write_stat("shop", 'X', START_TICKS, STACK_START);
	assert_int_equal(LIVENESS_GONE, liveness_of(&observer, &subject));
}

static void test_other_image(void **state) {
	(void)state;
	write_stat("shop", 'S', START_TICKS, STACK_START + 16);
	assert_int_equal(LIVENESS_REPLACED, liveness_of(&observer, &subject));
	write_stat("shop", 'S', START_TICKS, 0); /* hidden from us */
	assert_int_equal(LIVENESS_RUNNING, liveness_of(&observer, &subject));
	subject.stack_start = 0;
	write_stat("shop", 'S', START_TICKS, STACK_START + 16);
	assert_int_equal(LIVENESS_RUNNING, liveness_of(&observer, &subject));
}

static void test_other_boot(void **state) {
	(void)state;
	write_stat("shop", 'S', START_TICKS, STACK_START);
	subject.boot_id[3] = 0;
	assert_int_equal(LIVENESS_GONE, liveness_of(&observer, &subject));
	memset(subject.boot_id, 0, sizeof subject.boot_id);
	assert_int_equal(LIVENESS_RUNNING, liveness_of(&observer, &subject));
}

static void test_other_namespace(void **state) {
	(void)state;
	write_stat("shop", 'S', START_TICKS, STACK_START);
	subject.pid_namespace++;
	assert_int_equal(LIVENESS_UNKNOWN, liveness_of(&observer, &subject));
	subject.pid_namespace = 0;
	assert_int_equal(LIVENESS_UNKNOWN, liveness_of(&observer, &subject));
}

static void test_unknown_start(void **state) {
	(void)state;
	subject.start_ticks = 0;
	assert_int_equal(LIVENESS_GONE, liveness_of(&observer, &subject));
	write_stat("shop", 'S', START_TICKS, STACK_START);
	assert_int_equal(LIVENESS_UNKNOWN, liveness_of(&observer, &subject));
}

static void test_ourselves(void **state) {
	(void)state;
	struct liveness_observer here = liveness_observer_here();
	assert_true(here.pid_namespace != 0);
	assert_true(liveness_is_same_boot(&here, here.boot_id));
	struct liveness_subject self = {
		.pid_namespace = here.pid_namespace, .pid = getpid(), .start_ticks = 1};
	memcpy(self.boot_id, here.boot_id, sizeof self.boot_id);
	assert_int_equal(LIVENESS_GONE, liveness_of(&here, &self));
}

/* ---- What was left ---------------------------------------------------------------------------------- */

static struct ledger_builder builder;
static struct ledger_builder_account account;
static struct model model;

static uint32_t open_ledger(enum ledger_process_state process_state, enum ledger_how_ended how) {
	ledger_builder_open(&builder, NULL);
	struct ledger_frame frame = ledger_builder_native(0, 0x10);
	account.site = ledger_builder_site(&builder, &frame, 1);
	account.pool = ledger_builder_pool(&builder, "web", "db", "shop", "");
	struct ledger_builder_process process = {
		PID, process_state, how, "web", "/bin/shop", 1, how == LEDGER_ENDED_NOT ? 0 : 8};
	return ledger_builder_process(&builder, &process);
}

static void settle(void) {
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read(&model, builder.path));
	aftermath_settle(&model, &observer);
}

static void close_ledger(void) {
	model_release(&model);
	ledger_builder_close(&builder);
}

static void test_slots_of_a_living_process_are_open(void **state) {
	(void)state;
	uint32_t process = open_ledger(LEDGER_PROCESS_RUNNING, LEDGER_ENDED_NOT);
	write_stat("shop", 'S', START_TICKS, STACK_START);
	ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_OPEN, 5);
	ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_CLOSING, 5);
	settle();
	assert_false(model.leases[0].is_owner_gone);
	assert_int_equal(1, model.processes[0].open_count);
	assert_int_equal(MODEL_RUNNING, model.processes[0].how_ended);
	assert_true(model.run.is_live);
	assert_int_equal(ledger_builder_at(100), model.run.until_ns);
	assert_int_equal(0, model.lost[MODEL_TORN]);
	close_ledger();
}

/* COMMAND ended, what it started did not: its leases are open, the report's clock stands still. */
static void test_straggler_after_the_run(void **state) {
	(void)state;
	uint32_t process = open_ledger(LEDGER_PROCESS_RUNNING, LEDGER_ENDED_NOT);
	write_stat("shop", 'S', START_TICKS, STACK_START);
	ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_OPEN, 5);
	ledger_builder_end_run(&builder, 10, 0);
	settle();
	assert_false(model.leases[0].is_owner_gone);
	assert_false(model.run.is_live);
	assert_int_equal(ledger_builder_at(10), model.run.until_ns);
	close_ledger();
}

static void test_slots_of_a_vanished_process(void **state) {
	(void)state;
	static const struct {
		enum ledger_lease_state lease_state;
		uint32_t flags;
		enum model_left left;
	} cases[] = {
		{LEDGER_LEASE_OPEN, LEDGER_LEASE_ESTABLISHED, MODEL_LEFT_OPEN},
		{LEDGER_LEASE_RESETTING, LEDGER_LEASE_ESTABLISHED, MODEL_LEFT_RESETTING},
		{LEDGER_LEASE_RESETTING, 0, MODEL_LEFT_FAILED},
		{LEDGER_LEASE_FAILED, 0, MODEL_LEFT_FAILED},
		{LEDGER_LEASE_CONNECTING, LEDGER_LEASE_ASYNC, MODEL_LEFT_CONNECTING},
		{LEDGER_LEASE_CONNECTING, 0, MODEL_LEFT_IN_CALL},
	};
	enum { CASES = sizeof cases / sizeof cases[0] };
	uint32_t process = open_ledger(LEDGER_PROCESS_RUNNING, LEDGER_ENDED_NOT);
	for (int i = 0; i < CASES; i++)
		ledger_builder_lease(&builder, process, PID, account, cases[i].lease_state, 5)->flags =
			cases[i].flags;
	ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_CLOSING, 5);
	ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_CLAIMED, 5);
	settle();
	assert_int_equal(CASES, model.lease_count);
	for (int i = 0; i < CASES; i++) {
		assert_true(model.leases[i].is_owner_gone);
		assert_int_equal(cases[i].left, model.leases[i].left);
		assert_int_equal(MODEL_UNKNOWN, model.leases[i].how);
	}
	assert_int_equal(MODEL_UNKNOWN, model.processes[0].how_ended);
	assert_int_equal(1, model.lost[MODEL_TORN]);
	assert_false(model.run.is_live);
	close_ledger();
}

static void test_ends_with_a_mark(void **state) {
	(void)state;
	static const enum ledger_how_ended ways[] = {LEDGER_ENDED_EXIT, LEDGER_ENDED_EXEC,
						     LEDGER_ENDED_KILLED};
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		uint32_t process = open_ledger(LEDGER_PROCESS_ENDED, ways[i]);
		write_stat("shop", 'S', START_TICKS, STACK_START); /* exec: the process goes on */
		ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_OPEN, 5);
		settle();
		assert_true(model.leases[0].is_owner_gone);
		assert_int_equal((int)ways[i], (int)model.leases[0].how);
		assert_int_equal(ledger_builder_at(8), model.leases[0].until_ns);
		close_ledger();
	}
}

static void test_replaced_by_an_image_without_the_shim(void **state) {
	(void)state;
	uint32_t process = open_ledger(LEDGER_PROCESS_RUNNING, LEDGER_ENDED_NOT);
	((struct ledger_process *)((char *)builder.ledger + builder.ledger->section[LEDGER_PROCESSES].offset))
		->stack_start = STACK_START;
	write_stat("other", 'S', START_TICKS, STACK_START + 64);
	ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_OPEN, 5);
	settle();
	assert_int_equal(MODEL_EXEC, model.processes[0].how_ended);
	assert_int_equal(MODEL_EXEC, model.leases[0].how);
	close_ledger();
}

static void test_record_with_another_tenant(void **state) {
	(void)state;
	uint32_t process = open_ledger(LEDGER_PROCESS_RUNNING, LEDGER_ENDED_NOT);
	write_stat("shop", 'S', START_TICKS, STACK_START);
	ledger_builder_lease(&builder, process, PID + 1, account, LEDGER_LEASE_OPEN, 5);
	ledger_builder_lease(&builder, process + 7, PID, account, LEDGER_LEASE_OPEN, 5);
	settle();
	assert_true(model.leases[0].is_owner_gone);
	assert_true(model.leases[1].is_owner_gone);
	assert_int_equal(MODEL_UNKNOWN, model.leases[0].how);
	close_ledger();
}

static void test_process_of_another_namespace_counts_as_there(void **state) {
	(void)state;
	uint32_t process = open_ledger(LEDGER_PROCESS_RUNNING, LEDGER_ENDED_NOT);
	observer.pid_namespace++;
	ledger_builder_lease(&builder, process, PID, account, LEDGER_LEASE_OPEN, 5);
	settle();
	assert_false(model.leases[0].is_owner_gone);
	assert_int_equal(MODEL_UNKNOWN, model.processes[0].how_ended);
	close_ledger();
}

#define WITH_PROC(test) cmocka_unit_test_setup_teardown(test, make_proc, remove_proc)

int main(void) {
	const struct CMUnitTest tests[] = {
		WITH_PROC(test_running),
		WITH_PROC(test_names_do_not_confuse),
		WITH_PROC(test_gone),
		WITH_PROC(test_pid_was_reused),
		WITH_PROC(test_zombie),
		WITH_PROC(test_other_image),
		WITH_PROC(test_other_boot),
		WITH_PROC(test_other_namespace),
		WITH_PROC(test_unknown_start),
		WITH_PROC(test_ourselves),
		WITH_PROC(test_slots_of_a_living_process_are_open),
		WITH_PROC(test_straggler_after_the_run),
		WITH_PROC(test_slots_of_a_vanished_process),
		WITH_PROC(test_ends_with_a_mark),
		WITH_PROC(test_replaced_by_an_image_without_the_shim),
		WITH_PROC(test_record_with_another_tenant),
		WITH_PROC(test_process_of_another_namespace_counts_as_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
