/* Which leases had a server process, on a model made by hand: the server and the system give their numbers out again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/server/backend_search.h"

enum { BACKEND = 4711, PID = 70 };

static struct arena arena;
static struct backend_matches found;

/* One after the other, with one number: the first ended before the second came. */
static struct model_process processes[] = {
	{.pid = PID, .attached_ns = 100, .role = "first"},
	{.pid = PID, .attached_ns = 500, .role = "second"},
	{.pid = 71, .attached_ns = 100, .role = "other"},
};

static struct model_lease open_lease = {.state = MODEL_LEASE_OPEN,
					.process = 1,
					.pid = PID,
					.backend_pid = BACKEND,
					.site = 5,
					.last_use_site = 6,
					.established_ns = 600,
					.until_ns = 900};

static struct model_ended history[] = {
	{.release = MODEL_RELEASE_FINISHED,
	 .pid = PID,
	 .backend_pid = BACKEND,
	 .established_ns = 200,
	 .ended_ns = 250},
	{.release = MODEL_RELEASE_FINISHED,
	 .pid = PID,
	 .backend_pid = BACKEND,
	 .established_ns = 510,
	 .ended_ns = 520},
	{.release = MODEL_RELEASE_FINISHED, .pid = 71, .backend_pid = BACKEND + 1, .established_ns = 300},
	{.release = MODEL_RELEASE_FAILED,
	 .pid = 71,
	 .backend_pid = BACKEND,
	 .begun_ns = 300,
	 .ended_ns = 310},
};

static struct model_ended examples[] = {
	{.release = MODEL_RELEASE_OWNER_GONE,
	 .pid = PID,
	 .backend_pid = BACKEND,
	 .established_ns = 150,
	 .ended_ns = 400},
	{.release = MODEL_RELEASE_BY_OTHER_PROCESS,
	 .pid = 71,
	 .backend_pid = BACKEND,
	 .established_ns = 600,
	 .ended_ns = 700},
	/* Examples of misuses: they ended otherwise, or are open. */
	{.release = MODEL_RELEASE_NESTED_LEASE,
	 .pid = PID,
	 .backend_pid = BACKEND,
	 .established_ns = 600,
	 .ended_ns = 650},
	{.release = MODEL_RELEASE_CONCURRENT_USE,
	 .pid = PID,
	 .backend_pid = BACKEND,
	 .established_ns = 600,
	 .ended_ns = 650},
};

static struct model model = {.processes = processes,
			     .process_count = 3,
			     .leases = &open_lease,
			     .lease_count = 1,
			     .history = history,
			     .history_count = 4,
			     .examples = examples,
			     .example_count = 4};

static int finish(void **state) {
	(void)state;
	arena_release(&arena);
	return 0;
}

static void search(int32_t backend_pid) {
	backend_search(&found, &arena, &model, backend_pid);
}

static void test_all_that_had_the_number_newest_first(void **state) {
	(void)state;
	static const struct {
		enum backend_state state;
		uint64_t taken_ns;
	} expected[] = {{BACKEND_OPEN, 600},     {BACKEND_OTHER_PROCESS, 600}, {BACKEND_RELEASED, 510},
			{BACKEND_RELEASED, 300}, {BACKEND_RELEASED, 200},      {BACKEND_LEFT, 150}};
	search(BACKEND);
	assert_int_equal(sizeof expected / sizeof expected[0], found.count);
	for (size_t i = 0; i < found.count; i++) {
		assert_int_equal(expected[i].state, found.matches[i].state);
		assert_int_equal(expected[i].taken_ns, found.matches[i].taken_ns);
	}
	search(BACKEND + 1);
	assert_int_equal(1, found.count);
	search(BACKEND + 2);
	assert_int_equal(0, found.count);
}

/* Who had the number when the lease was taken, not who has it now. */
static void test_each_is_of_the_process_of_its_time(void **state) {
	(void)state;
	static const size_t expected[] = {1, 2, 1, 2, 0, 0};
	search(BACKEND);
	assert_int_equal(sizeof expected / sizeof expected[0], found.count);
	for (size_t i = 0; i < found.count; i++)
		assert_ptr_equal(&processes[expected[i]], found.matches[i].process);
}

static void test_what_nobody_recorded_is_unknown(void **state) {
	(void)state;
	struct model_lease kept = open_lease;
	open_lease.process = MODEL_NO_PROCESS;
	processes[0].attached_ns = 160;
	search(BACKEND);
	assert_null(found.matches[0].process);
	assert_null(found.matches[found.count - 1].process); /* taken before the first of that number came */
	processes[0].attached_ns = 100;
	open_lease = kept;
}

static void test_an_open_one_is_told_with_its_lease(void **state) {
	(void)state;
	search(BACKEND);
	assert_ptr_equal(&open_lease, found.matches[0].lease);
	assert_int_equal(5, found.matches[0].site);
	assert_int_equal(6, found.matches[0].use_site);
	for (size_t i = 1; i < found.count; i++)
		assert_null(found.matches[i].lease);
	open_lease.is_owner_gone = true;
	search(BACKEND);
	assert_int_equal(1, found.matches[1].state == BACKEND_LEFT || found.matches[0].state == BACKEND_LEFT);
	open_lease.is_owner_gone = false;
}

#define IN_ARENA(test) cmocka_unit_test_teardown(test, finish)

int main(void) {
	const struct CMUnitTest tests[] = {
		IN_ARENA(test_all_that_had_the_number_newest_first),
		IN_ARENA(test_each_is_of_the_process_of_its_time),
		IN_ARENA(test_what_nobody_recorded_is_unknown),
		IN_ARENA(test_an_open_one_is_told_with_its_lease),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
