#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shim/id_cache.h"
#include "shim/ledger_writer.h"
#include "shim/stack_table.h"

/* ---- In place of the ledger ------------------------------------------------------------------------------ */

static struct {
	struct ledger_frame frames[STACK_FRAMES_MAX + SCRIPT_FRAMES_MAX];
	uint32_t count;
	uint16_t flags;
} interned;

static atomic_uint intern_count;
static uint32_t next_answer; /* 0: an answer that follows from the frames */

uint32_t ledger_intern_module(struct ledger_header *ledger, const struct ledger_module_facts *facts) {
	(void)ledger;
	(void)facts;
	return 7;
}

uint32_t ledger_intern_string(struct ledger_header *ledger, const char *text) {
	(void)ledger;
	(void)text;
	return 0;
}

static uint32_t expected_site(uint64_t address) {
	return (uint32_t)(address & 0xffffff) + LEDGER_SITE_FIRST;
}

uint32_t ledger_intern_site(struct ledger_header *ledger, const struct ledger_frame *frames, uint32_t count,
			    uint16_t flags) {
	(void)ledger;
	intern_count++;
	memcpy(interned.frames, frames, count * sizeof *frames);
	interned.count = count;
	interned.flags = flags;
	if (next_answer != 0)
		return next_answer;
	return count == 1 && flags == 0 ? expected_site(frames[0].address) : 99;
}

/* ---- Support ------------------------------------------------------------------------------------------------ */

static struct stack make_stack(uint64_t hash, uint32_t count, const uintptr_t *pc) {
	struct stack stack = {.count = count, .hash = hash};
	if (count > 0)
		memcpy(stack.pc, pc, count * sizeof *pc);
	return stack;
}

/* One frame of this program, `number` bytes behind a function. */
static struct stack make_numbered_stack(uint32_t number) {
	uintptr_t pc = (uintptr_t)make_stack + 1 + number % 64;
	struct stack stack = make_stack((number + 1) * UINT64_C(0x9e3779b97f4a7c15), 1, &pc);
	return stack;
}

static uint32_t site_of(const struct stack *stack) {
	static const struct script_stack no_script;
	return stack_table_site(NULL, stack, &no_script);
}

static int forget(void **state) {
	(void)state;
	stack_table_forget();
	intern_count = 0;
	next_answer = 0;
	return 0;
}

/* ---- Sites ------------------------------------------------------------------------------------------------------ */

static void test_no_frames_no_site(void **state) {
	struct stack stack = {0};
	(void)state;
	assert_int_equal(site_of(&stack), LEDGER_SITE_NONE);
	assert_int_equal(intern_count, 0);
}

static void test_interned_once(void **state) {
	struct stack one = make_numbered_stack(1), two = make_numbered_stack(2);
	(void)state;
	uint32_t site = site_of(&one);
	assert_int_equal(site_of(&one), site);
	assert_int_equal(intern_count, 1);
	assert_int_not_equal(site_of(&two), site);
	assert_int_equal(intern_count, 2);
}

static void test_forgotten_stacks_are_interned_again(void **state) {
	struct stack stack = make_numbered_stack(1);
	(void)state;
	site_of(&stack);
	stack_table_forget();
	next_answer = 1234;
	assert_int_equal(site_of(&stack), 1234);
	assert_int_equal(site_of(&stack), 1234);
	assert_int_equal(intern_count, 2);
}

static void test_a_lost_stack_is_counted_each_time(void **state) {
	struct stack stack = make_numbered_stack(1);
	(void)state;
	next_answer = LEDGER_SITE_LOST;
	assert_int_equal(site_of(&stack), LEDGER_SITE_LOST);
	assert_int_equal(site_of(&stack), LEDGER_SITE_LOST);
	assert_int_equal(intern_count, 2);
	next_answer = 0;
	assert_true(site_of(&stack) >= LEDGER_SITE_FIRST);
}

static void test_generated_code_is_one_frame(void **state) {
	uintptr_t here = (uintptr_t)make_stack + 1, heap = (uintptr_t)malloc(64);
	uintptr_t pc[] = {heap, heap + 1, here, heap, heap + 2, heap + 3, (uintptr_t)abort + 4, here, heap};
	struct stack stack = make_stack(1, sizeof pc / sizeof *pc, pc);
	const bool is_known[] = {false, true, false, true, true, false};
	(void)state;
	site_of(&stack);
	assert_int_equal(interned.count, sizeof is_known);
	for (uint32_t i = 0; i < interned.count; i++) {
		assert_int_equal(interned.frames[i].language, LEDGER_FRAME_NATIVE);
		assert_int_equal(interned.frames[i].where, is_known[i] ? 7 : 0);
		assert_true((interned.frames[i].address != 0) == is_known[i]);
	}
	free((void *)heap);
}

static void test_cut_stacks_are_marked(void **state) {
	struct stack stack = make_numbered_stack(1);
	(void)state;
	site_of(&stack);
	assert_int_equal(interned.flags, 0);
	stack.is_truncated = true;
	stack.hash++;
	site_of(&stack);
	assert_int_equal(interned.flags, LEDGER_SITE_TRUNCATED);
}

/* ---- The cache ---------------------------------------------------------------------------------------------------- */

#define PLACES 64u

static struct id_cache_place places[PLACES];
static struct id_cache cache = {.places = places, .count = PLACES};

static uint32_t id_of(uint64_t key) {
	return (uint32_t)(key * 2654435761u >> 7);
}

static void put(uint64_t key) {
	id_cache_put(&cache, id_cache_generation(&cache), key, id_of(key));
}

static int clear_cache(void **state) {
	(void)state;
	memset(places, 0, sizeof places);
	cache.generation = 0;
	return 0;
}

static void test_what_was_put_is_found(void **state) {
	uint32_t id = 0;
	(void)state;
	assert_false(id_cache_find(&cache, 0, &id));
	for (uint64_t key = 0; key < 8; key++)
		put(key);
	for (uint64_t key = 0; key < 8; key++) {
		assert_true(id_cache_find(&cache, key, &id));
		assert_int_equal(id, id_of(key));
	}
	assert_false(id_cache_find(&cache, 8, &id));
}

static void test_a_full_cache_overwrites(void **state) {
	uint32_t id, found = 0;
	(void)state;
	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15);
		put(key);
		assert_true(id_cache_find(&cache, key, &id));
		assert_int_equal(id, id_of(key));
	}
	for (uint64_t i = 0; i < 100000; i++)
		if (id_cache_find(&cache, i * UINT64_C(0x9e3779b97f4a7c15), &id)) {
			assert_int_equal(id, id_of(i * UINT64_C(0x9e3779b97f4a7c15)));
			found++;
		}
	assert_in_range(found, PLACES / 2, PLACES);
}

static void test_an_id_from_before_forgetting_is_not_put(void **state) {
	uint32_t id, generation = id_cache_generation(&cache);
	(void)state;
	id_cache_forget(&cache);
	id_cache_put(&cache, generation, 5, 50);
	assert_false(id_cache_find(&cache, 5, &id));
	put(5);
	assert_true(id_cache_find(&cache, 5, &id));
}

static void test_forgotten_for_ever(void **state) {
	uint32_t id;
	(void)state;
	put(5);
	for (uint32_t i = 0; i < 3 << 16; i++) {
		id_cache_forget(&cache);
		assert_false(id_cache_find(&cache, 5, &id));
	}
}

static void test_a_place_left_half_written_is_passed_over(void **state) {
	uint32_t id;
	(void)state;
	put(5);
	atomic_fetch_or(&places[5].word, 1); /* its writer went away */
	assert_false(id_cache_find(&cache, 5, &id));
	put(5);
	assert_true(id_cache_find(&cache, 5, &id));
	assert_int_equal(id, id_of(5));
}

static void test_every_version_is_one(void **state) {
	uint32_t id;
	(void)state;
	for (uint32_t i = 0; i < 40000; i++) { /* beyond 16 bits */
		clear_cache(NULL);
		atomic_store(&places[5].word, (uint64_t)(2 * i & 0xffff));
		put(5);
		assert_true(id_cache_find(&cache, 5, &id));
	}
}

static struct id_cache_place only_place;
static struct id_cache crowded = {.places = &only_place, .count = 1};
static atomic_uint mismatches, hits;
static atomic_bool is_over;

static void *put_in_turn(void *argument) {
	for (uint64_t key = (uintptr_t)argument; !is_over; key = (key + 1) % 4)
		id_cache_put(&crowded, id_cache_generation(&crowded), key, id_of(key));
	return NULL;
}

static void *find_in_turn(void *argument) {
	(void)argument;
	for (uint64_t i = 0; i < 20000000 && hits < 2000000; i++) {
		uint32_t id;
		if (!id_cache_find(&crowded, i % 4, &id))
			continue;
		hits++;
		if (id != id_of(i % 4))
			mismatches++;
		if (i % 100000 == 0)
			id_cache_forget(&crowded);
	}
	return NULL;
}

/* All keys want one place. */
static void test_threads_never_see_another_keys_id(void **state) {
	pthread_t writers[2], readers[2];
	(void)state;
	for (uintptr_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&writers[i], NULL, put_in_turn, (void *)i), 0);
		assert_int_equal(pthread_create(&readers[i], NULL, find_in_turn, NULL), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	is_over = true;
	for (int i = 0; i < 2; i++)
		pthread_join(writers[i], NULL);
	assert_int_equal(mismatches, 0);
	assert_true(hits > 1000);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_no_frames_no_site, forget),
		cmocka_unit_test_setup(test_interned_once, forget),
		cmocka_unit_test_setup(test_forgotten_stacks_are_interned_again, forget),
		cmocka_unit_test_setup(test_a_lost_stack_is_counted_each_time, forget),
		cmocka_unit_test_setup(test_generated_code_is_one_frame, forget),
		cmocka_unit_test_setup(test_cut_stacks_are_marked, forget),
		cmocka_unit_test_setup(test_what_was_put_is_found, clear_cache),
		cmocka_unit_test_setup(test_a_full_cache_overwrites, clear_cache),
		cmocka_unit_test_setup(test_an_id_from_before_forgetting_is_not_put, clear_cache),
		cmocka_unit_test_setup(test_forgotten_for_ever, clear_cache),
		cmocka_unit_test_setup(test_a_place_left_half_written_is_passed_over, clear_cache),
		cmocka_unit_test_setup(test_every_version_is_one, clear_cache),
		cmocka_unit_test_setup(test_threads_never_see_another_keys_id, clear_cache),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
