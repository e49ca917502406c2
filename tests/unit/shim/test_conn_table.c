/* PGconn addresses: what is held, what is finished, who is first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "shim/conn_table.h"
#include "tests/unit/support/shim_support.h"

/* Addresses that no other test uses: the table is one per process and never emptied. */
static const char *fresh_address(void) {
	static uintptr_t next = 0x10000000;
	return (const char *)(next += 64);
}

static bool put(const void *conn, uint32_t slot) {
	return conn_table_put(conn, &(struct conn_entry){CONN_HELD, 1, 2, slot, 77});
}

static void test_what_was_put_is_found(void **state) {
	(void)state;
	const char *conn = fresh_address();
	assert_int_equal(CONN_UNKNOWN, conn_table_find(conn).state);
	assert_int_equal(CONN_UNKNOWN, conn_table_find(NULL).state);
	assert_true(put(conn, 5));
	struct conn_entry entry = conn_table_find(conn);
	assert_int_equal(CONN_HELD, entry.state);
	assert_int_equal(1, entry.generation);
	assert_int_equal(2, entry.instance);
	assert_int_equal(5, entry.slot);
	assert_int_equal(77, entry.word);
}

static void test_a_finish_is_first_only_once(void **state) {
	(void)state;
	const char *conn = fresh_address();
	assert_false(conn_table_finish(conn));
	assert_false(conn_table_finish(NULL));
	put(conn, 1);
	assert_true(conn_table_finish(conn));
	assert_false(conn_table_finish(conn));
	assert_int_equal(CONN_FINISHED, conn_table_find(conn).state);
	assert_int_equal(1, conn_table_find(conn).slot); /* the tombstone remembers */
}

static void test_an_address_comes_back(void **state) {
	(void)state;
	const char *conn = fresh_address();
	for (uint32_t slot = 1; slot < 50; slot++) {
		assert_true(put(conn, slot));
		assert_int_equal(slot, conn_table_find(conn).slot);
		if (slot % 3) /* else it comes back while it is held */
			assert_true(conn_table_finish(conn));
	}
}

static void test_a_forgotten_address_is_unknown(void **state) {
	(void)state;
	const char *conn = fresh_address();
	put(conn, 1);
	conn_table_forget(conn);
	assert_int_equal(CONN_HELD, conn_table_find(conn).state); /* a held one is no cancel handle */
	conn_table_finish(conn);
	conn_table_forget(conn);
	assert_int_equal(CONN_UNKNOWN, conn_table_find(conn).state);
	assert_false(conn_table_finish(conn));
	conn_table_forget(NULL);
}

/* ---- Threads -------------------------------------------------------------------------------------- */

#define THREADS 8u
#define ADDRESSES 8000u /* more than fit together: tombstones are given away all the time */
#define TURNS 5u

static _Atomic uint32_t lies;

static void hold_and_finish(void *argument, uint32_t number) {
	uintptr_t base = (uintptr_t)argument + number * 0x1000000;
	for (uint32_t i = 0; i < ADDRESSES * TURNS; i++) {
		const void *conn = (const void *)(base + i % ADDRESSES * 64);
		bool is_held = put(conn, i);
		struct conn_entry entry = conn_table_find(conn);
		lies += !is_held || entry.state != CONN_HELD || entry.slot != i;
		lies += !conn_table_finish(conn);
		struct conn_entry after = conn_table_find(conn);
		lies += after.state == CONN_HELD || (after.state == CONN_FINISHED && after.slot != i);
	}
}

static void test_threads_with_their_own_addresses_never_meet(void **state) {
	(void)state;
	shim_support_threads(THREADS, hold_and_finish, (void *)0x40000000);
	assert_int_equal(0, lies);
}

static _Atomic uint32_t firsts;

static void finish_the_same(void *argument, uint32_t number) {
	(void)number;
	firsts += conn_table_finish(argument);
}

static void test_one_of_many_finishers_is_first(void **state) {
	(void)state;
	for (uint32_t round = 1; round <= 50; round++) {
		const char *conn = fresh_address();
		put(conn, 1);
		shim_support_threads(4, finish_the_same, (void *)conn);
		assert_int_equal(round, firsts);
	}
}

static void test_a_full_table_says_so(void **state) {
	(void)state;
	uint32_t held = 0;
	uintptr_t conn = 0x90000000;
	uintptr_t refused = 0;
	for (uint32_t i = 0; i < 2 * CONN_TABLE_CAPACITY && !refused; i++, conn += 64) {
		if (put((const void *)conn, i))
			held++;
		else
			refused = conn;
	}
	assert_true(held > CONN_TABLE_CAPACITY / 2);
	assert_int_not_equal(0, refused);
	assert_int_equal(CONN_UNKNOWN, conn_table_find((const void *)refused).state);
	uint32_t slot = 0;
	for (uintptr_t at = 0x90000000; at < refused; at += 64, slot++) {
		assert_int_equal(slot, conn_table_find((const void *)at).slot);
		assert_true(conn_table_finish((const void *)at));
	}
	assert_true(put((const void *)refused, 1));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_put_is_found),
		cmocka_unit_test(test_a_finish_is_first_only_once),
		cmocka_unit_test(test_an_address_comes_back),
		cmocka_unit_test(test_a_forgotten_address_is_unknown),
		cmocka_unit_test(test_one_of_many_finishers_is_first),
		cmocka_unit_test(test_threads_with_their_own_addresses_never_meet),
		cmocka_unit_test(test_a_full_table_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
