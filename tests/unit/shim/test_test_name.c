/* Which test a lease belongs to, by the environment and by thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shim/test_name.h"
#include "tests/unit/support/shim_support.h"

static struct ledger_header *ledger;

static int open_ledger(void **state) {
	(void)state;
	shim_support_open();
	ledger = shim_support_ledger(4 << 20);
	unsetenv("PYTEST_CURRENT_TEST");
	return 0;
}

static int close_ledger(void **state) {
	(void)state;
	shim_support_release(ledger);
	shim_support_close();
	return 0;
}

static const char *name_on(bool is_main_thread) {
	return ledger_string_text(ledger, test_name_here(ledger, is_main_thread));
}

/* The first test: the main thread has not looked yet. */
static void test_name_of_the_start(void **state) {
	(void)state;
	static char entry[] = "PYTEST_CURRENT_TEST=a.py::test_start (call)";
	char *environment[] = {entry, NULL};
	assert_string_equal("", name_on(false));
	test_name_init(environment, "fallback");
	assert_string_equal("a.py::test_start (call)", name_on(false));
	assert_string_equal("fallback", name_on(true)); /* it is gone from the environment */
	assert_string_equal("fallback", name_on(false));
}

static void test_main_thread_decides(void **state) {
	(void)state;
	setenv("PYTEST_CURRENT_TEST", "a.py::test_one (call)", 1);
	assert_string_equal("fallback", name_on(false));
	assert_string_equal("a.py::test_one (call)", name_on(true));
	assert_string_equal("a.py::test_one (call)", name_on(false));
	setenv("PYTEST_CURRENT_TEST", "a.py::test_two (setup)", 1);
	assert_string_equal("a.py::test_two (setup)", name_on(true));
	unsetenv("PYTEST_CURRENT_TEST");
	assert_string_equal("fallback", name_on(true));
}

static void test_secrets_in_parameters(void **state) {
	(void)state;
	setenv("PYTEST_CURRENT_TEST", "a.py::test_x[postgresql://u:hunter2@h/d] (call)", 1);
	assert_string_equal("a.py::test_x[...]", name_on(true));
	setenv("PYTEST_CURRENT_TEST", "a.py::test_x[host=h password=hunter2] (call)", 1);
	assert_string_equal("a.py::test_x[...]", name_on(true));
	setenv("PYTEST_CURRENT_TEST", "a.py::test_x[1-two] (call)", 1);
	assert_string_equal("a.py::test_x[1-two] (call)", name_on(true));
}

static void test_long_names(void **state) {
	(void)state;
	char name[1024];
	memset(name, 'x', sizeof name - 1);
	memcpy(name + 254, "\xc3\xa4", 2); /* the cut is inside this letter */
	name[sizeof name - 1] = '\0';
	setenv("PYTEST_CURRENT_TEST", name, 1);
	assert_int_equal(254, strlen(name_on(true)));
	memcpy(name + 200, "[", 1);
	memcpy(name + 600, "=secret]", 8);
	setenv("PYTEST_CURRENT_TEST", name, 1);
	assert_int_equal(205, strlen(name_on(true)));
	memset(name, '[', sizeof name - 1);
	memset(name, 'x', 253);
	memcpy(name + 600, "=secret]", 8);
	setenv("PYTEST_CURRENT_TEST", name, 1);
	assert_true(strstr(name_on(true), "secret") == NULL);
	unsetenv("PYTEST_CURRENT_TEST");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_of_the_start), cmocka_unit_test(test_main_thread_decides),
		cmocka_unit_test(test_secrets_in_parameters), cmocka_unit_test(test_long_names)};
	return cmocka_run_group_tests(tests, open_ledger, close_ledger);
}
