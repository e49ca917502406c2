/* Leases when the table of addresses is full: what could not be recognised again at its end is not begun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "shim/conn_table.h"
#include "shim/lease.h"
#include "shim/process.h"
#include "tests/unit/support/shim_support.h"

static struct ledger_header *ledger;

static int open_recording(void **state) {
	static char path[300];
	static char depth[] = "PQLEASE_STACK_DEPTH=0";
	static char size[] = "PQLEASE_LEDGER_SIZE=1M";
	static char *environment[] = {path, depth, size, NULL};
	static char *argv[] = {"test_lease_without_room", NULL};
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

static const void *address(uintptr_t number) {
	return (const void *)(0x20000000 + number * 64);
}

static void fill_addresses(void) {
	struct conn_entry entry = {
		.state = CONN_HELD, .generation = process_recording()->generation, .slot = LEDGER_NO_SLOT};
	for (uintptr_t i = 0; i < 2 * CONN_TABLE_CAPACITY; i++)
		conn_table_put(address(i), &entry);
}

static void test_a_lease_without_an_address_is_lost_and_said(void **state) {
	struct lease_facts facts = {.outcome = LEASE_ESTABLISHED, .endpoint = {.host = "db.example"}};
	const void *conn = address(3 * CONN_TABLE_CAPACITY);
	struct lease_call call;
	(void)state;
	fill_addresses();
	lease_connect_begin(&call, LEASE_CALL_CONNECT, NULL);
	assert_int_equal(1, shim_support_slots_in_use(ledger));
	lease_connect_end(&call, conn, 0, &facts);
	assert_int_equal(1, shim_support_lost(ledger, LEDGER_LOST_POINTERS));
	assert_int_equal(0, shim_support_slots_in_use(ledger));
	assert_int_equal(0, shim_support_counter(ledger, LEDGER_ESTABLISHED));
	lease_finish(conn, NULL);
	assert_int_equal(0, shim_support_counter(ledger, LEDGER_FINISHED));
	assert_int_equal(0, shim_support_counter(ledger, LEDGER_DOUBLE_FINISH));
	assert_int_equal(0, ledger->open);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_lease_without_an_address_is_lost_and_said),
	};
	return cmocka_run_group_tests(tests, open_recording, close_recording);
}
