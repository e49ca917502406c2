/*
 * Replays whose answers can be computed by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "analyzer/judge/advice.h"

enum { USES_MAX = 4096 };

static struct model_use uses[USES_MAX];
static struct model model;
static struct advice advice;
static struct arena arena;

static void begin(void) {
	model = (struct model){.run = {.created_ns = 1000000000}, .uses = uses};
	arena = (struct arena){NULL};
}

static void add_use(int32_t thread, double begun, double length) {
	uint64_t begun_ns = (uint64_t)((begun + 1) * 1e9);
	uses[model.use_count++] = (struct model_use){.weight = 1,
						     .begun_ns = begun_ns,
						     .ended_ns = begun_ns + (uint64_t)(length * 1e9),
						     .pool = 1,
						     .pid = 7,
						     .thread = thread};
}

static void assert_near(double expected, double actual) {
	if (fabs(expected - actual) > 1e-6)
		fail_msg("expected %.9f, got %.9f", expected, actual);
}

/* Two callers at once, a second each, ten times, a second apart: one connection makes one of them wait a second, once; then
 * they come at different times and never meet again. */
static void test_a_closed_loop_moves_apart(void **state) {
	(void)state;
	begin();
	for (int turn = 0; turn < 10; turn++) {
		add_use(1, 2 * turn, 1);
		add_use(2, 2 * turn, 1);
	}
	assert_true(advice_give(&advice, &arena, &model, 1, 0.01));
	assert_int_equal(20, advice.uses);
	assert_int_equal(2, advice.callers);
	assert_int_equal(2, advice.concurrency_max);
	assert_near(19, advice.window);
	assert_int_equal(2, advice.size_count);
	assert_near(1, advice.sizes[0].wait_max);
	assert_near(0, advice.sizes[0].wait_p50);
	assert_near(0, advice.sizes[1].wait_max);
	assert_int_equal(2, advice.smallest);
	arena_release(&arena);
}

/* Four callers without a pause on N connections: each waits for (4 - N) / N uses. */
static void test_callers_without_a_pause(void **state) {
	(void)state;
	begin();
	for (int turn = 0; turn < 100; turn++)
		for (int32_t thread = 1; thread <= 4; thread++)
			add_use(thread, 0.125 * turn, 0.125);
	assert_true(advice_give(&advice, &arena, &model, 1, 0.15));
	assert_int_equal(4, advice.size_count);
	assert_near(0.375, advice.sizes[0].wait_p50);
	assert_near(0.125, advice.sizes[1].wait_p50);
	assert_near(0, advice.sizes[3].wait_max);
	assert_int_equal(2, advice.smallest);
	assert_int_equal(4, advice.concurrency_p50);
	assert_int_equal(8, advice.workers_times_two);
	arena_release(&arena);
}

/* Six callers shared three connections, always full: their pauses are waits, and the replay with three shows them again. */
static void test_hidden_waits_come_back(void **state) {
	(void)state;
	begin();
	for (int turn = 0; turn < 100; turn++)
		for (int32_t thread = 1; thread <= 6; thread++)
			add_use(thread, 0.25 * turn + (thread > 3 ? 0.125 : 0), 0.125);
	assert_true(advice_give(&advice, &arena, &model, 1, 0.01));
	assert_int_equal(6, advice.callers);
	assert_int_equal(3, advice.concurrency_max);
	assert_int_equal(6, advice.size_count);
	assert_near(0.125, advice.sizes[2].wait_p50);
	assert_near(0, advice.sizes[5].wait_p99);
	assert_int_equal(6, advice.smallest);
	arena_release(&arena);
}

/* A thread with several uses at once is several callers. */
static void test_coroutines(void **state) {
	(void)state;
	begin();
	for (int turn = 0; turn < 10; turn++)
		for (int i = 0; i < 5; i++)
			add_use(1, turn + 0.015625 * i, 0.25);
	assert_true(advice_give(&advice, &arena, &model, 1, 0.01));
	assert_int_equal(5, advice.callers);
	assert_int_equal(5, advice.concurrency_max);
	assert_int_equal(0, advice.concurrency_p50);
	arena_release(&arena);
}

static void test_what_does_not_count(void **state) {
	(void)state;
	begin();
	assert_false(advice_give(&advice, &arena, &model, 1, 0.01));
	add_use(1, 0, 1);
	uses[0].is_dedicated = true;
	assert_false(advice_give(&advice, &arena, &model, 1, 0.01));
	add_use(1, 0, 1);
	assert_false(advice_give(&advice, &arena, &model, 0, 0.01));
	uses[1].begun_ns = 0; /* torn or hostile */
	uses[1].ended_ns = UINT64_MAX;
	assert_false(advice_give(&advice, &arena, &model, 1, 0.01));
	arena_release(&arena);
}

/* An entry that stands for four: four uses one after the other, said to be samples. */
static void test_samples(void **state) {
	(void)state;
	begin();
	add_use(1, 3, 1);
	uses[0].weight = 4;
	model.uses_overwritten = 12;
	assert_true(advice_give(&advice, &arena, &model, 1, 0.01));
	assert_true(advice.is_sampled);
	assert_int_equal(4, advice.uses);
	assert_int_equal(12, advice.overwritten);
	assert_int_equal(1, advice.concurrency_max);
	assert_near(4, advice.window);
	arena_release(&arena);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_closed_loop_moves_apart),
		cmocka_unit_test(test_callers_without_a_pause),
		cmocka_unit_test(test_hidden_waits_come_back),
		cmocka_unit_test(test_coroutines),
		cmocka_unit_test(test_what_does_not_count),
		cmocka_unit_test(test_samples),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
