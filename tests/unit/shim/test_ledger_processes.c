/* Process records and the reaping of the dead, with real processes that die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/support/shim_support.h"

static struct ledger_header *ledger;
static struct ledger_process_identity self;

/* What the children tell. */
static struct told {
	_Atomic uint32_t process;
	_Atomic uint32_t is_ready;
	_Atomic uint64_t opened;
} * told;

static int set_up(void **state) {
	(void)state;
	shim_support_open();
	ledger = shim_support_ledger(LEDGER_MIN_SIZE_BYTES);
	self = shim_support_identity();
	told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return told == MAP_FAILED;
}

static int tear_down(void **state) {
	(void)state;
	munmap(told, sizeof *told);
	shim_support_release(ledger);
	shim_support_close();
	return 0;
}

static struct ledger_process *record_of(uint32_t process) {
	return ledger_unit(ledger, LEDGER_PROCESSES, process);
}

static enum ledger_process_state state_of(uint32_t process) {
	return (enum ledger_process_state)(record_of(process)->word >> 56);
}

static uint64_t word_of(enum ledger_process_state state, int32_t pid) {
	return (uint64_t)state << 56 | UINT64_C(1) << 32 | (uint32_t)pid;
}

/* A slot in `state`, as if its owner had got so far. */
static struct ledger_slot slot_in(uint32_t process, enum ledger_lease_state state) {
	struct ledger_slot slot = ledger_slot_claim(ledger, process);
	struct ledger_lease *lease = ledger_slot_lease(&slot);
	lease->begun_ns = 1000;
	lease->pid = getpid();
	if (state == LEDGER_LEASE_OPEN) {
		lease->established_ns = 2000;
		lease->flags = LEDGER_LEASE_ESTABLISHED;
		ledger_add_open(&(struct ledger_account){ledger, 0, 0}, 1, ledger_now_ns());
	}
	ledger_slot_move(&slot, state);
	return slot;
}

static void wait_until_ready(uint32_t count) {
	while (told->is_ready < count)
		sched_yield();
}

static uint64_t unreleased(enum ledger_left left, enum ledger_how_ended how) {
	return ((struct ledger_pool *)ledger_unit(ledger, LEDGER_POOLS, 0))->totals.unreleased[left][how];
}

/* A pid that certainly belongs to nobody. */
static int32_t dead_pid(void) {
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(child, waitpid(child, NULL, 0));
	return child;
}

/* ---- Claim, publish, end ---------------------------------------------------------------------------- */

static void test_a_record_runs_and_ends(void **state) {
	(void)state;
	uint32_t process = ledger_process_claim(ledger, &self);
	assert_int_equal(LEDGER_PROCESS_CLAIMED, state_of(process));
	ledger_process_publish(ledger, process);
	assert_int_equal(LEDGER_PROCESS_RUNNING, state_of(process));
	assert_int_equal(self.pid, (int32_t)record_of(process)->word);
	assert_int_equal(self.start_ticks, record_of(process)->start_ticks);
	ledger_process_end(ledger, process, self.pid + 1, LEDGER_ENDED_EXIT, 5);
	assert_int_equal(LEDGER_PROCESS_RUNNING, state_of(process)); /* not its pid */
	ledger_process_end(ledger, process, self.pid, LEDGER_ENDED_EXIT, 7);
	assert_int_equal(LEDGER_PROCESS_ENDED, state_of(process));
	assert_int_equal(LEDGER_ENDED_EXIT, record_of(process)->how_ended);
	assert_int_equal(7, record_of(process)->ended_ns);
	ledger_process_end(ledger, process, self.pid, LEDGER_ENDED_UNKNOWN, 9);
	assert_int_equal(7, record_of(process)->ended_ns);
}

static void test_an_orphan_is_left_as_one(void **state) {
	(void)state;
	uint32_t process = shim_support_join(ledger);
	uint64_t end_ns = 60 * UINT64_C(1000000000);
	static const struct {
		uint64_t gone_before_end_s;
		uint64_t used_before_end_s;
	} cases[] = {{30, 40}, {6, 6}, {5, 40}, {30, 2}, {60, 50}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		slot_in(process, LEDGER_LEASE_OPEN);
		struct ledger_lease *lease =
			ledger_slot_lease(&(struct ledger_slot){.ledger = ledger, .number = (uint32_t)i});
		lease->owner_gone_ns = end_ns - cases[i].gone_before_end_s * UINT64_C(1000000000);
		lease->last_event_ns = end_ns - cases[i].used_before_end_s * UINT64_C(1000000000);
	}
	ledger_process_end(ledger, process, self.pid, LEDGER_ENDED_EXIT, end_ns);
	assert_int_equal(2, unreleased(LEDGER_LEFT_ORPHANED, LEDGER_ENDED_EXIT));
	assert_int_equal(3, unreleased(LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT));
}

static void test_an_end_folds_what_is_open(void **state) {
	(void)state;
	uint32_t process = shim_support_join(ledger);
	slot_in(process, LEDGER_LEASE_OPEN);
	slot_in(process, LEDGER_LEASE_FAILED);
	slot_in(process, LEDGER_LEASE_CONNECTING);
	ledger_slot_lease(&(struct ledger_slot){.ledger = ledger, .number = 2})->flags = LEDGER_LEASE_ASYNC;
	slot_in(process, LEDGER_LEASE_CONNECTING);
	assert_int_equal(1, ledger->open);
	ledger_process_end(ledger, process, self.pid, LEDGER_ENDED_EXIT, ledger_now_ns());
	/* What is at rest at once, what a thread may be writing into when the process is gone. */
	assert_int_equal(LEDGER_PROCESS_ENDED, state_of(process));
	assert_int_equal(2, shim_support_slots_in_use(ledger));
	assert_int_equal(0, ledger->open);
	assert_int_equal(2, shim_support_unreleased(ledger));
	assert_int_equal(1, unreleased(LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT));
	assert_int_equal(1, unreleased(LEDGER_LEFT_FAILED, LEDGER_ENDED_EXIT));
	record_of(process)->word = (uint64_t)LEDGER_PROCESS_ENDED << 56 |
		(record_of(process)->word & 0xffffff00000000) | (uint32_t)dead_pid();
	assert_int_equal(1, ledger_reap(ledger, self.pid_namespace));
	assert_int_equal(LEDGER_PROCESS_FOLDED, state_of(process));
	assert_int_equal(0, shim_support_slots_in_use(ledger));
	assert_int_equal(4, shim_support_unreleased(ledger));
	assert_int_equal(1, unreleased(LEDGER_LEFT_CONNECTING, LEDGER_ENDED_EXIT));
	assert_int_equal(1, unreleased(LEDGER_LEFT_IN_CALL, LEDGER_ENDED_EXIT));
	assert_int_equal(4, ledger->section[LEDGER_UNRELEASED].used);
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_TORN));
}

/* A thread of the ending process that is adding to the totals goes on until the kernel stops it. */
static void test_an_end_leaves_the_steps_of_living_threads_alone(void **state) {
	static const enum ledger_lease_state steps[] = {LEDGER_LEASE_CLAIMED, LEDGER_LEASE_ESTABLISHING,
							LEDGER_LEASE_FAILING, LEDGER_LEASE_CLOSING};
	(void)state;
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		uint32_t process = shim_support_join(ledger);
		struct ledger_slot open = slot_in(process, LEDGER_LEASE_OPEN);
		struct ledger_slot slot = slot_in(process, steps[i]);
		ledger_process_end(ledger, process, self.pid, LEDGER_ENDED_EXIT, ledger_now_ns());
		assert_int_equal(0, shim_support_lost(ledger, LEDGER_TORN));
		assert_int_not_equal(slot.word, open.word);
		assert_true(ledger_slot_move(&slot, LEDGER_LEASE_CLOSING));
		ledger_slot_free(&slot);
		assert_int_equal(0, shim_support_slots_in_use(ledger));
	}
}

/* While threads of an ended process still run, they book on its number: nobody else may have it. */
static void test_a_record_is_not_reused_before_its_process_is_gone(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_PROCESSES].capacity;
	ledger->section[LEDGER_PROCESSES].used = capacity - 1;
	uint32_t process = shim_support_join(ledger);
	assert_int_equal(capacity - 1, process);
	ledger_process_end(ledger, process, self.pid, LEDGER_ENDED_EXIT, ledger_now_ns());
	for (uint64_t i = 0; i + 1 < capacity; i++)
		record_of((uint32_t)i)->word = word_of(LEDGER_PROCESS_RUNNING, 1);
	assert_int_equal(LEDGER_NO_PROCESS, shim_support_join(ledger));
	assert_int_equal(1, shim_support_lost(ledger, LEDGER_LOST_PROCESSES));
}

/* ---- The dead ------------------------------------------------------------------------------------------- */

static void open_and_hang(void *argument, uint32_t count) {
	(void)argument;
	uint32_t process = shim_support_join(ledger);
	told->process = process;
	for (uint32_t i = 0; i < count; i++)
		slot_in(process, LEDGER_LEASE_OPEN);
	told->is_ready++;
	for (;;)
		pause();
}

static void test_a_killed_process_is_reaped(void **state) {
	(void)state;
	shim_support_join(ledger);
	pid_t child = shim_support_child(open_and_hang, NULL, 20);
	wait_until_ready(1);
	assert_int_equal(0, ledger_reap(ledger, self.pid_namespace)); /* alive */
	assert_int_equal(20, ledger->open);
	shim_support_kill(child);
	errno = 77;
	assert_int_equal(1, ledger_reap(ledger, self.pid_namespace));
	assert_int_equal(77, errno);
	assert_int_equal(20, unreleased(LEDGER_LEFT_OPEN, LEDGER_ENDED_UNKNOWN));
	assert_int_equal(0, ledger->open);
	assert_int_equal(20, ledger->open_peak);
	assert_int_equal(0, shim_support_slots_in_use(ledger));
	assert_int_equal(LEDGER_SITE_EXAMPLES, ledger->section[LEDGER_UNRELEASED].used);
	const struct ledger_ended *example = ledger_unit(ledger, LEDGER_UNRELEASED, 0);
	assert_int_equal(child, example->pid);
	assert_int_equal(LEDGER_RELEASE_OWNER_GONE, example->release);
	assert_int_equal(LEDGER_LEFT_OPEN, example->left);
	assert_int_equal(LEDGER_PROCESS_FOLDED, state_of(told->process));
	assert_int_equal(0, ledger_reap(ledger, self.pid_namespace));
}

static void test_torn_slots_are_counted_and_freed(void **state) {
	static const enum ledger_lease_state torn[] = {LEDGER_LEASE_ESTABLISHING, LEDGER_LEASE_FAILING,
						       LEDGER_LEASE_CLOSING, LEDGER_LEASE_FOLDING};
	(void)state;
	uint32_t process = shim_support_join(ledger);
	for (size_t i = 0; i < sizeof torn / sizeof *torn; i++)
		slot_in(process, torn[i]);
	slot_in(process, LEDGER_LEASE_CLAIMED);
	record_of(process)->word = word_of(LEDGER_PROCESS_RUNNING, dead_pid());
	assert_int_equal(1, ledger_reap(ledger, self.pid_namespace));
	assert_int_equal(4, shim_support_lost(ledger, LEDGER_TORN));
	assert_int_equal(0, shim_support_unreleased(ledger));
	assert_int_equal(0, shim_support_slots_in_use(ledger));
}

static void test_an_image_before_exec_is_ended(void **state) {
	(void)state;
	uint32_t before = shim_support_join(ledger);
	slot_in(before, LEDGER_LEASE_OPEN);
	uint32_t after = shim_support_join(ledger);
	assert_int_not_equal(before, after);
	assert_int_equal(LEDGER_PROCESS_FOLDED, state_of(before));
	assert_int_equal(LEDGER_ENDED_EXEC, record_of(before)->how_ended);
	assert_true(record_of(before)->ended_ns > 0);
	assert_int_equal(1, unreleased(LEDGER_LEFT_OPEN, LEDGER_ENDED_EXEC));
	assert_int_equal(LEDGER_PROCESS_RUNNING, state_of(after));
}

static void test_a_pid_that_came_back_is_another_process(void **state) {
	(void)state;
	uint32_t before = shim_support_join(ledger);
	slot_in(before, LEDGER_LEASE_OPEN);
	record_of(before)->start_ticks--;
	shim_support_join(ledger);
	assert_int_equal(LEDGER_ENDED_UNKNOWN, record_of(before)->how_ended);
	assert_int_equal(0, record_of(before)->ended_ns);
	assert_int_equal(1, unreleased(LEDGER_LEFT_OPEN, LEDGER_ENDED_UNKNOWN));
}

static void test_a_reused_pid_of_another_is_seen_by_its_start(void **state) {
	(void)state;
	pid_t child = shim_support_child(open_and_hang, NULL, 1);
	wait_until_ready(1);
	assert_int_equal(0, ledger_reap(ledger, self.pid_namespace));
	record_of(told->process)->start_ticks--;
	assert_int_equal(1, ledger_reap(ledger, self.pid_namespace));
	shim_support_kill(child);
}

static void test_other_namespaces_are_never_judged(void **state) {
	static const enum ledger_process_state states[] = {LEDGER_PROCESS_RUNNING, LEDGER_PROCESS_ENDED,
							   LEDGER_PROCESS_REAPING, LEDGER_PROCESS_CLAIMED};
	(void)state;
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		uint32_t process = shim_support_join(ledger);
		slot_in(process, LEDGER_LEASE_OPEN);
		uint64_t word = word_of(states[i], dead_pid());
		record_of(process)->word = word;
		record_of(process)->pid_namespace = self.pid_namespace + 1;
		assert_int_equal(0, ledger_reap(ledger, self.pid_namespace));
		assert_int_equal(word, record_of(process)->word);
	}
	assert_int_equal(0, shim_support_unreleased(ledger));
}

static void test_an_unknown_namespace_is_never_judged(void **state) {
	(void)state;
	uint32_t process = shim_support_join(ledger);
	record_of(process)->word = word_of(LEDGER_PROCESS_RUNNING, dead_pid());
	record_of(process)->pid_namespace = 0;
	assert_int_equal(0, ledger_reap(ledger, 0));
	assert_int_equal(LEDGER_PROCESS_RUNNING, state_of(process));
}

/* Killed between claiming and publishing: libunwind is opened there, which takes milliseconds. */
static void test_a_half_claimed_record_of_the_dead_is_freed(void **state) {
	(void)state;
	uint32_t process = ledger_process_claim(ledger, &self);
	assert_int_equal(0, ledger_reap(ledger, self.pid_namespace)); /* we live */
	record_of(process)->word = word_of(LEDGER_PROCESS_CLAIMED, dead_pid());
	assert_int_equal(1, ledger_reap(ledger, self.pid_namespace));
	assert_int_equal(LEDGER_PROCESS_FOLDED, state_of(process));
}

static void test_only_a_claimed_record_is_published(void **state) {
	(void)state;
	uint32_t process = shim_support_join(ledger);
	ledger_process_end(ledger, process, self.pid, LEDGER_ENDED_EXIT, 1);
	ledger_process_publish(ledger, process);
	assert_int_equal(LEDGER_PROCESS_ENDED, state_of(process));
}

/* ---- Reapers that die --------------------------------------------------------------------------------------- */

static void test_a_dead_reaper_is_taken_over(void **state) {
	(void)state;
	uint32_t process = shim_support_join(ledger);
	slot_in(process, LEDGER_LEASE_OPEN);
	slot_in(process, LEDGER_LEASE_FOLDING);
	int32_t dead = dead_pid();
	record_of(process)->word = word_of(LEDGER_PROCESS_REAPING, dead);
	record_of(process)->reaper = UINT64_C(12345) << 32 | (uint32_t)dead_pid();
	assert_int_equal(1, ledger_reap(ledger, self.pid_namespace));
	assert_int_equal(LEDGER_PROCESS_FOLDED, state_of(process));
	assert_int_equal(0, record_of(process)->reaper);
	assert_int_equal(1, shim_support_unreleased(ledger));
	assert_int_equal(1, shim_support_lost(ledger, LEDGER_TORN));
}

static void test_a_living_reaper_is_left_alone(void **state) {
	(void)state;
	uint32_t process = shim_support_join(ledger);
	uint32_t parent_ticks = 0; /* unknown: the pid alone decides */
	slot_in(process, LEDGER_LEASE_OPEN);
	record_of(process)->word = word_of(LEDGER_PROCESS_REAPING, dead_pid());
	record_of(process)->reaper = (uint64_t)parent_ticks << 32 | (uint32_t)getppid();
	assert_int_equal(0, ledger_reap(ledger, self.pid_namespace));
	assert_int_equal(1, shim_support_slots_in_use(ledger));
}

static void test_a_reaper_whose_pid_came_back_is_taken_over(void **state) {
	(void)state;
	uint32_t process = shim_support_join(ledger);
	slot_in(process, LEDGER_LEASE_OPEN);
	record_of(process)->word = word_of(LEDGER_PROCESS_REAPING, dead_pid());
	record_of(process)->reaper = (self.start_ticks - 1) << 32 | (uint32_t)self.pid;
	assert_int_equal(1, ledger_reap(ledger, self.pid_namespace));
}

static void reap_with_others(void *argument, uint32_t number) {
	(void)argument;
	(void)number;
	for (int i = 0; i < 50; i++)
		ledger_reap(ledger, self.pid_namespace);
}

/* Many reapers at once: each slot is folded by exactly one. */
static void test_reapers_do_not_count_twice(void **state) {
	(void)state;
	for (int round = 0; round < 10; round++) {
		told->is_ready = 0;
		pid_t child = shim_support_child(open_and_hang, NULL, 20);
		wait_until_ready(1);
		shim_support_kill(child);
		shim_support_threads(4, reap_with_others, NULL);
	}
	assert_int_equal(200, shim_support_unreleased(ledger));
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_TORN));
	assert_int_equal(0, ledger->open);
	assert_int_equal(0, shim_support_slots_in_use(ledger));
}

/* ---- Many processes ------------------------------------------------------------------------------------------- */

/* One lease each; every third leaves it open, every tenth ends without a mark. */
static void be_short(void *argument, uint32_t number) {
	(void)argument;
	uint32_t process = shim_support_join(ledger);
	if (process == LEDGER_NO_PROCESS)
		_exit(1);
	struct ledger_slot slot = slot_in(process, LEDGER_LEASE_OPEN);
	ledger_add(&(struct ledger_account){ledger, 0, 0}, LEDGER_ESTABLISHED, 1, ledger_now_ns());
	if (number % 3 != 0) {
		ledger_add_open(&(struct ledger_account){ledger, 0, 0}, -1, ledger_now_ns());
		ledger_slot_free(&slot);
	}
	if (number % 10 != 0)
		ledger_process_end(ledger, process, getpid(), LEDGER_ENDED_EXIT, ledger_now_ns());
}

static void test_short_processes_fit_into_a_small_ledger(void **state) {
	(void)state;
	const uint32_t count = 2000;
	uint32_t left_open = 0;
	for (uint32_t i = 0; i < count; i += 4) {
		pid_t children[4];
		for (uint32_t j = 0; j < 4; j++)
			children[j] = shim_support_child(be_short, NULL, i + j);
		for (uint32_t j = 0; j < 4; j++) {
			int status;
			assert_int_equal(children[j], waitpid(children[j], &status, 0));
			assert_int_equal(0, status);
			left_open += (i + j) % 3 == 0;
		}
	}
	ledger_reap(ledger, self.pid_namespace);
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_PROCESSES));
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_LEASES));
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_TORN));
	assert_int_equal(count, shim_support_counter(ledger, LEDGER_ESTABLISHED));
	assert_int_equal(left_open, shim_support_unreleased(ledger));
	assert_int_equal(0, shim_support_slots_in_use(ledger));
	assert_int_equal(0, ledger->open);
}

/* The same without a fork for each: claim and end under made-up pids of the dead. */
static void test_ten_thousand_records_go_through_a_small_ledger(void **state) {
	(void)state;
	int32_t dead = dead_pid();
	for (uint64_t i = 0; i < 10000; i++) {
		struct ledger_process_identity identity = {dead, i + 1, 0, self.pid_namespace};
		uint32_t process = ledger_process_claim(ledger, &identity);
		assert_int_not_equal(LEDGER_NO_PROCESS, process);
		ledger_process_publish(ledger, process);
		slot_in(process, LEDGER_LEASE_OPEN);
		if (i % 2)
			ledger_process_end(ledger, process, dead, LEDGER_ENDED_EXIT, 1);
	}
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_PROCESSES));
	shim_support_join(ledger);
	ledger_reap(ledger, self.pid_namespace);
	assert_int_equal(10000, shim_support_unreleased(ledger));
	assert_int_equal(0, shim_support_slots_in_use(ledger));
}

/* ---- Storm: killed at any instruction ------------------------------------------------------------------------------- */

static void hold_and_release_for_ever(void *argument, uint32_t number) {
	(void)argument;
	(void)number;
	uint32_t process = shim_support_join(ledger);
	struct ledger_account account = {ledger, LEDGER_POOL_OTHER, LEDGER_SITE_NONE};
	told->is_ready++;
	for (;;) {
		struct ledger_slot slot = ledger_slot_claim(ledger, process);
		ledger_slot_move(&slot, LEDGER_LEASE_CONNECTING);
		ledger_slot_move(&slot, LEDGER_LEASE_ESTABLISHING);
		ledger_add(&account, LEDGER_ESTABLISHED, 1, ledger_now_ns());
		ledger_add_open(&account, 1, ledger_now_ns());
		ledger_slot_lease(&slot)->flags |= LEDGER_LEASE_ESTABLISHED;
		ledger_slot_move(&slot, LEDGER_LEASE_OPEN);
		ledger_slot_move(&slot, LEDGER_LEASE_CLOSING);
		ledger_add(&account, LEDGER_FINISHED, 1, ledger_now_ns());
		ledger_add_open(&account, -1, ledger_now_ns());
		ledger_history_add(ledger, &(struct ledger_ended){.begun_ns = 1});
		ledger_slot_free(&slot);
	}
}

#define STORM_ROUNDS 40
#define STORM_CHILDREN 4

static void test_a_kill_storm_leaves_the_books_balanced(void **state) {
	(void)state;
	uint64_t random = 42;
	shim_support_join(ledger);
	for (int round = 0; round < STORM_ROUNDS; round++) {
		pid_t children[STORM_CHILDREN];
		told->is_ready = 0;
		for (int i = 0; i < STORM_CHILDREN; i++)
			children[i] = shim_support_child(hold_and_release_for_ever, NULL, 0);
		wait_until_ready(1);
		struct timespec pause_time = {0, (long)(shim_support_random(&random) % 10000000)};
		nanosleep(&pause_time, NULL);
		for (int i = 0; i < STORM_CHILDREN; i++)
			shim_support_kill(children[i]);
		if (round % 4 == 3)
			ledger_reap(ledger, self.pid_namespace);
	}
	ledger_reap(ledger, self.pid_namespace);
	int64_t torn = (int64_t)shim_support_lost(ledger, LEDGER_TORN);
	int64_t established = (int64_t)shim_support_counter(ledger, LEDGER_ESTABLISHED);
	int64_t finished = (int64_t)shim_support_counter(ledger, LEDGER_FINISHED);
	int64_t still_open = ledger->open;
	int64_t open_at_death = (int64_t)unreleased(LEDGER_LEFT_OPEN, LEDGER_ENDED_UNKNOWN);
	assert_int_equal(0, shim_support_slots_in_use(ledger));
	assert_true(established > 1000);
	assert_true(llabs(established - finished - open_at_death) <= torn);
	assert_true(llabs(still_open) <= torn);
	assert_true(torn <= STORM_ROUNDS * STORM_CHILDREN);
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_PROCESSES));
	for (uint32_t i = 1; i < STORM_ROUNDS * STORM_CHILDREN && i < ledger->section[LEDGER_PROCESSES].used;
	     i++)
		if (record_of(i)) {
			enum ledger_process_state left = state_of(i);
			assert_true(left == LEDGER_PROCESS_FOLDED || left == LEDGER_PROCESS_FREE ||
				    (int32_t)record_of(i)->word == self.pid);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_a_record_runs_and_ends),
		TEST(test_an_orphan_is_left_as_one),
		TEST(test_an_end_folds_what_is_open),
		TEST(test_an_end_leaves_the_steps_of_living_threads_alone),
		TEST(test_a_record_is_not_reused_before_its_process_is_gone),
		TEST(test_a_killed_process_is_reaped),
		TEST(test_torn_slots_are_counted_and_freed),
		TEST(test_an_image_before_exec_is_ended),
		TEST(test_a_pid_that_came_back_is_another_process),
		TEST(test_a_reused_pid_of_another_is_seen_by_its_start),
		TEST(test_other_namespaces_are_never_judged),
		TEST(test_an_unknown_namespace_is_never_judged),
		TEST(test_a_half_claimed_record_of_the_dead_is_freed),
		TEST(test_only_a_claimed_record_is_published),
		TEST(test_a_dead_reaper_is_taken_over),
		TEST(test_a_living_reaper_is_left_alone),
		TEST(test_a_reaper_whose_pid_came_back_is_taken_over),
		TEST(test_reapers_do_not_count_twice),
		TEST(test_short_processes_fit_into_a_small_ledger),
		TEST(test_ten_thousand_records_go_through_a_small_ledger),
		TEST(test_a_kill_storm_leaves_the_books_balanced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
