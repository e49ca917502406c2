/* Interning: same content, same id, whoever asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/support/shim_support.h"

#define THREADS 8u
#define THINGS 1000u

static struct ledger_header *ledger;

static int set_up_sized(uint64_t size_bytes) {
	shim_support_open();
	ledger = shim_support_ledger(size_bytes);
	return 0;
}

static int set_up(void **state) {
	(void)state;
	return set_up_sized(LEDGER_DEFAULT_SIZE_BYTES);
}

static int set_up_small(void **state) {
	(void)state;
	return set_up_sized(LEDGER_MIN_SIZE_BYTES);
}

static int tear_down(void **state) {
	(void)state;
	shim_support_release(ledger);
	shim_support_close();
	return 0;
}

static uint32_t intern_string(uint32_t which) {
	char text[32];
	snprintf(text, sizeof text, "thing %u", which);
	return ledger_intern_string(ledger, text);
}

static uint32_t intern_module(uint32_t which) {
	char path[32];
	snprintf(path, sizeof path, "/lib/%u.so", which / 2); /* two builds of each path */
	uint8_t build_id[20] = {(uint8_t)which, (uint8_t)(which >> 8)};
	return ledger_intern_module(ledger, &(struct ledger_module_facts){path, build_id, 20, 0, 4096, 8192});
}

static uint32_t intern_site(uint32_t which) {
	struct ledger_frame frames[3] = {{LEDGER_FRAME_NATIVE, 1, which}, {LEDGER_FRAME_NATIVE, 1, 7}};
	return ledger_intern_site(ledger, frames, 2 + which % 2, 0);
}

static uint32_t intern_pool(uint32_t which) {
	char database[32];
	snprintf(database, sizeof database, "db%u", which % 300);
	return ledger_intern_pool(ledger, 1,
				  &(struct ledger_endpoint_facts){.host = "h", .database = database});
}

typedef uint32_t intern_one(uint32_t which);

static intern_one *const all_tables[] = {intern_string, intern_module, intern_site, intern_pool};
static const enum ledger_loss losses[] = {LEDGER_LOST_STRINGS, LEDGER_LOST_MODULES, LEDGER_LOST_SITES,
					  LEDGER_LOST_POOLS};

/* ---- One thread ------------------------------------------------------------------------------- */

static void test_strings_keep_their_text(void **state) {
	(void)state;
	char longest[LEDGER_STRING_MAX_BYTES + 100];
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(0, ledger_intern_string(ledger, NULL));
	assert_int_equal(0, ledger_intern_string(ledger, ""));
	assert_string_equal("", ledger_string_text(ledger, 0));
	for (size_t length = 1; length < 64; length++) {
		longest[length] = '\0';
		uint32_t id = ledger_intern_string(ledger, longest);
		assert_int_not_equal(0, id);
		assert_string_equal(longest, ledger_string_text(ledger, id));
		assert_int_equal(id, ledger_intern_string(ledger, longest));
		longest[length] = 'x';
	}
	uint32_t cut = ledger_intern_string(ledger, longest);
	assert_int_equal(LEDGER_STRING_MAX_BYTES, strlen(ledger_string_text(ledger, cut)));
}

static void test_every_difference_makes_another_id(void **state) {
	(void)state;
	for (size_t table = 0; table < sizeof all_tables / sizeof *all_tables; table++) {
		uint32_t before = all_tables[table](0);
		for (uint32_t i = 1; i < 200; i++)
			assert_int_not_equal(before, all_tables[table](i));
		assert_int_equal(before, all_tables[table](0));
	}
	struct ledger_frame frame = {LEDGER_FRAME_NATIVE, 1, 1};
	assert_int_not_equal(ledger_intern_site(ledger, &frame, 1, 0),
			     ledger_intern_site(ledger, &frame, 1, LEDGER_SITE_TRUNCATED));
}

static void test_empty_and_unknown_things(void **state) {
	(void)state;
	assert_int_equal(LEDGER_SITE_NONE, ledger_intern_site(ledger, NULL, 0, 0));
	uint32_t unknown = ledger_intern_pool(ledger, 3, NULL);
	assert_int_not_equal(LEDGER_POOL_OTHER, unknown);
	assert_int_equal(0, ((struct ledger_pool *)ledger_unit(ledger, LEDGER_POOLS, unknown))->endpoint);
	struct ledger_module_facts nameless = {0};
	assert_int_not_equal(0, ledger_intern_module(ledger, &nameless));
	assert_int_equal(0, ((struct ledger_module *)ledger_unit(ledger, LEDGER_MODULES, 0))->path);
}

/* A pool that was just asked for is remembered: it must not be taken for one that differs in a single fact. */
static void test_each_fact_makes_another_pool(void **state) {
	(void)state;
	static const struct ledger_endpoint_facts endpoints[] = {
		{.host = "h", .port = "1", .database = "d", .user = "u"},
		{.host = "i", .port = "1", .database = "d", .user = "u"},
		{.host = "h", .port = "2", .database = "d", .user = "u"},
		{.host = "h", .port = "1", .database = "e", .user = "u"},
		{.host = "h", .port = "1", .database = "d", .user = "v"},
		{.host = "h", .port = "1", .database = "d"},
		{.host = NULL},
	};
	uint32_t first = ledger_intern_pool(ledger, 1, &endpoints[0]);
	for (size_t i = 1; i < sizeof endpoints / sizeof *endpoints; i++) {
		assert_int_not_equal(first, ledger_intern_pool(ledger, 1, &endpoints[i]));
		assert_int_equal(first, ledger_intern_pool(ledger, 1, &endpoints[0]));
	}
	assert_int_not_equal(first, ledger_intern_pool(ledger, 2, &endpoints[0]));
	assert_int_equal(first, ledger_intern_pool(ledger, 1, &endpoints[0]));
	assert_int_not_equal(first, ledger_intern_pool(ledger, 1, NULL));
}

/* Everything that hashes to the same place still gets its own id: the index is made to collide. */
static void test_collisions_are_told_apart(void **state) {
	(void)state;
	struct ledger_section *index = &ledger->section[LEDGER_STRING_INDEX];
	uint32_t ids[100];
	index->capacity = 128;
	for (uint32_t i = 0; i < 100; i++)
		ids[i] = intern_string(i);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(ids[i], intern_string(i));
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(ids[i], ids[j]);
	}
}

/* ---- Full tables ---------------------------------------------------------------------------------- */

static void test_full_tables_are_counted(void **state) {
	(void)state;
	uint32_t first_string = intern_string(0);
	uint32_t first_site = intern_site(0);
	/* Strings last: without them all endpoints would look alike. */
	for (size_t table = sizeof all_tables / sizeof *all_tables; table-- > 0;) {
		uint32_t lost = 0;
		bool is_site = all_tables[table] == intern_site;
		for (uint32_t i = 0; i < 20000; i++) {
			uint32_t id = all_tables[table](i);
			lost += id == (is_site ? LEDGER_SITE_LOST : 0);
		}
		assert_true(lost > 0);
		assert_true(shim_support_lost(ledger, losses[table]) >= lost);
	}
	assert_int_equal(first_string, intern_string(0));
	assert_string_equal("thing 0", ledger_string_text(ledger, first_string));
	assert_int_equal(first_site, intern_site(0));
}

static void test_an_arena_full_of_frames_loses_the_site_only(void **state) {
	(void)state;
	struct ledger_frame frame = {LEDGER_FRAME_NATIVE, 1, 99};
	struct ledger_section *frames = &ledger->section[LEDGER_FRAMES];
	frames->used = frames->capacity;
	assert_int_equal(LEDGER_SITE_LOST, ledger_intern_site(ledger, &frame, 1, 0));
	assert_int_equal(1, shim_support_lost(ledger, LEDGER_LOST_SITES));
}

/* `used` comes from the file; no value of it may lead outside of the mapping. */
static void test_wild_counters_lead_nowhere(void **state) {
	static const uint64_t wild[] = {UINT64_MAX,        UINT64_MAX - 1,    UINT64_MAX - 40,
					UINT64_C(1) << 63, UINT64_C(1) << 32, UINT32_MAX};
	(void)state;
	for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
		for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++)
			ledger->section[kind].used = wild[i];
		for (size_t table = 0; table < sizeof all_tables / sizeof *all_tables; table++)
			all_tables[table](1000 + (uint32_t)i);
		ledger_history_add(ledger, &(struct ledger_ended){0});
		ledger_add_time(&(struct ledger_account){ledger, 9999, 9999}, LEDGER_HOLD_TIME,
				1u << (i + 8));
	}
}

/* ---- Races ------------------------------------------------------------------------------------------ */

static uint32_t (*found)[THREADS][THINGS]; /* shared with children */

static void intern_everything(void *argument, uint32_t number) {
	(void)argument;
	for (size_t table = 0; table < sizeof all_tables / sizeof *all_tables; table++)
		for (uint32_t i = 0; i < THINGS; i++)
			found[table][number][i] = all_tables[table](i);
}

static void assert_all_found_the_same(uint32_t count) {
	for (size_t table = 0; table < sizeof all_tables / sizeof *all_tables; table++) {
		for (uint32_t i = 0; i < THINGS; i++) {
			assert_int_not_equal(0, found[table][0][i]);
			for (uint32_t other = 1; other < count; other++)
				assert_int_equal(found[table][0][i], found[table][other][i]);
		}
		assert_int_equal(0, shim_support_lost(ledger, losses[table]));
	}
}

static void share_findings(void) {
	size_t size_bytes = sizeof *found * (sizeof all_tables / sizeof *all_tables);
	found = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(MAP_FAILED, found);
}

static void test_threads_find_the_same_ids(void **state) {
	(void)state;
	share_findings();
	shim_support_threads(THREADS, intern_everything, NULL);
	assert_all_found_the_same(THREADS);
}

static void test_processes_find_the_same_ids(void **state) {
	(void)state;
	share_findings();
	assert_true(shim_support_children(4, intern_everything, NULL));
	assert_all_found_the_same(4);
}

static void intern_one_pool(void *argument, uint32_t number) {
	(void)number;
	intern_pool(*(const uint32_t *)argument);
}

/* Threads of a pool start together: the losers of the race must not use up the few timelines. */
static void test_a_race_for_a_pool_wastes_no_timeline(void **state) {
	(void)state;
	for (uint32_t which = 0; which < 16; which++)
		shim_support_threads(4 * THREADS, intern_one_pool, &which);
	assert_true(ledger->section[LEDGER_TIMELINES].used <= 1 + 16 + 4);
	for (uint32_t which = 0; which < 16; which++) {
		const struct ledger_pool *pool = ledger_unit(ledger, LEDGER_POOLS, intern_pool(which));
		assert_true(pool->timeline > 0);
	}
}

#define TEST(name, set_up) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_strings_keep_their_text, set_up),
		TEST(test_every_difference_makes_another_id, set_up),
		TEST(test_empty_and_unknown_things, set_up),
		TEST(test_each_fact_makes_another_pool, set_up),
		TEST(test_collisions_are_told_apart, set_up),
		TEST(test_full_tables_are_counted, set_up_small),
		TEST(test_an_arena_full_of_frames_loses_the_site_only, set_up_small),
		TEST(test_wild_counters_lead_nowhere, set_up_small),
		TEST(test_threads_find_the_same_ids, set_up),
		TEST(test_processes_find_the_same_ids, set_up),
		TEST(test_a_race_for_a_pool_wastes_no_timeline, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
