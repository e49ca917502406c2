/* The dynamic loader's own word on what it would preload, asked about this very program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/program/preload_probe.h"

static struct target own_program(void) {
	struct target target;
	char path[PATH_MAX];
	assert_non_null(realpath("/proc/self/exe", path));
	assert_int_equal(0, target_find(&target, path, NULL));
	return target;
}

static void a_library_is_taken(void **state) {
	struct target target = own_program();
	(void)state;
	/* The loader lists its own file for every program. */
	assert_int_equal(PRELOAD_PROBE_TAKEN, preload_probe_ask(&target, target.interpreter));
}

static void what_is_no_library_is_refused(void **state) {
	struct target target = own_program();
	(void)state;
	assert_int_equal(PRELOAD_PROBE_REFUSED, preload_probe_ask(&target, "/etc/passwd"));
	assert_int_equal(PRELOAD_PROBE_REFUSED, preload_probe_ask(&target, "/no/such/library.so"));
}

static void without_a_loader_nothing_is_known(void **state) {
	struct target target = own_program();
	(void)state;
	target.interpreter[0] = '\0';
	assert_int_equal(PRELOAD_PROBE_UNKNOWN, preload_probe_ask(&target, "/etc/passwd"));
	strcpy(target.interpreter, "/no/such/loader");
	assert_int_equal(PRELOAD_PROBE_UNKNOWN, preload_probe_ask(&target, "/etc/passwd"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_library_is_taken),
		cmocka_unit_test(what_is_no_library_is_refused),
		cmocka_unit_test(without_a_loader_nothing_is_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
