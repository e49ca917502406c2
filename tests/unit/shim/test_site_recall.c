/* Places of uses and releases, captured and recognised: real stacks, a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "shim/process.h"
#include "shim/site.h"
#include "shim/site_recall.h"
#include "tests/unit/support/shim_support.h"

#define PAUSE_NS UINT64_C(1000000)
#define NOT_INLINED __attribute__((noinline))
#define STAYS_A_CALL __asm__ volatile("" ::: "memory")

static const struct recording *now;
static uint64_t now_ns = 5 * PAUSE_NS;
static char **arguments; /* where the stack ends */

static int open_recording(void **state) {
	static char path[300];
	static char size[] = "PQLEASE_LEDGER_SIZE=16M";
	static char *environment[] = {path, size, NULL};
	(void)state;
	shim_support_open();
	snprintf(path, sizeof path, "PQLEASE_LEDGER=%s", shim_support_path("run.ledger"));
	process_init(1, arguments, environment);
	now = process_recording();
	return now == NULL;
}

static int close_recording(void **state) {
	(void)state;
	shim_support_close();
	return 0;
}

/* ---- The hooks, and who calls them -------------------------------------------------------------------- */

struct sight {
	uint32_t site;
	uint32_t captured; /* what a capture says at the same place, for a use */
	bool is_assumed;
	bool is_release;
};

NOT_INLINED static void hook(struct sight *sight) {
	const void *caller = __builtin_return_address(0);
	const void *mark = __builtin_frame_address(0);
	struct script_state scripts = {.flags = ~0u};
	if (sight->is_release) {
		sight->site = site_recall_release(now, caller, mark, now_ns, &scripts);
		assert_int_equal(0, scripts.flags);
	} else {
		sight->site = site_recall(now, caller, mark, now_ns, &sight->is_assumed);
		sight->captured = site_here(now, caller);
	}
	STAYS_A_CALL;
}

NOT_INLINED static void library(struct sight *sight) {
	hook(sight);
	STAYS_A_CALL;
}

NOT_INLINED static void orders(struct sight *sight) {
	library(sight);
	STAYS_A_CALL;
}

NOT_INLINED static void invoices(struct sight *sight) {
	library(sight);
	STAYS_A_CALL;
}

enum { ORDERS, INVOICES };

struct step {
	uint64_t later_ns; /* than the step before */
	int from;
	bool is_release;
	bool is_forgotten; /* all, before it */
	struct sight seen;
};

/* All from here: a stack is the same only if every frame of it is where it was. */
NOT_INLINED static void walk(struct step *steps, uint32_t count) {
	for (struct step *step = steps; step < steps + count; step++) {
		now_ns += step->later_ns;
		if (step->is_forgotten)
			site_recall_forget();
		step->seen.is_release = step->is_release;
		(step->from == ORDERS ? orders : invoices)(&step->seen);
	}
}

/* ---- Tests ---------------------------------------------------------------------------------------------- */

static void test_a_use_is_recognised_for_a_while(void **state) {
	(void)state;
	struct step steps[] = {{.later_ns = PAUSE_NS}, {.later_ns = PAUSE_NS - 1}, {.later_ns = 1}};
	walk(steps, 3);
	assert_false(steps[0].seen.is_assumed);
	assert_true(steps[1].seen.is_assumed);
	assert_false(steps[2].seen.is_assumed);
	for (int i = 0; i < 3; i++)
		assert_int_equal(steps[i].seen.captured, steps[i].seen.site);
}

#define STEPS 200u

/* Same hook, same caller, same stack pointer: only an outer frame differs. */
static void take_turns(struct step steps[STEPS], bool is_release) {
	for (uint32_t i = 0; i < STEPS; i++)
		steps[i] = (struct step){.later_ns = i == 0 ? PAUSE_NS : PAUSE_NS / 7,
					 .from = i % 3 == 0 ? ORDERS : INVOICES,
					 .is_release = is_release};
	walk(steps, STEPS);
}

static void test_callers_are_told_apart(void **state) {
	(void)state;
	static struct step steps[STEPS];
	take_turns(steps, false);
	assert_int_not_equal(steps[0].seen.site, steps[1].seen.site);
	for (uint32_t i = 0; i < STEPS; i++)
		assert_int_equal(steps[i].seen.captured, steps[i].seen.site);
}

static void test_releases_are_told_apart(void **state) {
	(void)state;
	static struct step steps[STEPS];
	take_turns(steps, true);
	assert_true(steps[0].seen.site >= LEDGER_SITE_FIRST && steps[1].seen.site >= LEDGER_SITE_FIRST);
	assert_int_not_equal(steps[0].seen.site, steps[1].seen.site);
	for (uint32_t i = 0; i < STEPS; i++)
		assert_int_equal(steps[i % 3 == 0 ? 0 : 1].seen.site, steps[i].seen.site);
}

/* What was captured for one place says nothing of when another was. */
static void test_every_place_is_captured_in_its_turn(void **state) {
	(void)state;
	struct step steps[] = {{.later_ns = PAUSE_NS},
			       {.later_ns = PAUSE_NS / 2, .is_release = true},
			       {.later_ns = PAUSE_NS / 2},
			       {.later_ns = PAUSE_NS / 2, .is_release = true},
			       {.later_ns = PAUSE_NS / 2}};
	walk(steps, 5);
	for (int i = 0; i < 5; i += 2)
		assert_false(steps[i].seen.is_assumed);
}

static void test_forgotten_places_are_captured(void **state) {
	(void)state;
	struct step steps[] = {{.later_ns = PAUSE_NS}, {.later_ns = 0}, {.is_forgotten = true}};
	walk(steps, 3);
	assert_true(steps[1].seen.is_assumed);
	assert_false(steps[2].seen.is_assumed);
}

int main(int argc, char **argv) {
	(void)argc;
	arguments = argv;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_use_is_recognised_for_a_while),
		cmocka_unit_test(test_callers_are_told_apart),
		cmocka_unit_test(test_releases_are_told_apart),
		cmocka_unit_test(test_every_place_is_captured_in_its_turn),
		cmocka_unit_test(test_forgotten_places_are_captured),
	};
	return cmocka_run_group_tests(tests, open_recording, close_recording);
}
