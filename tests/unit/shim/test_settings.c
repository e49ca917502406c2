/* The environment of the shim: good values, bad values, defaults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "shim/ledger_format.h"
#include "shim/settings.h"

static struct settings settings;

static void read_one(const char *entry) {
	char text[8192];
	char *environment[] = {"HOME=/x", text, "PQLEASEX=1", NULL};
	snprintf(text, sizeof text, "%s", entry);
	settings_read(&settings, environment);
}

static void test_defaults(void **state) {
	(void)state;
	settings_read(&settings, NULL);
	assert_int_equal(LEDGER_DEFAULT_SIZE_BYTES, settings.ledger_size_bytes);
	assert_int_equal(1, settings.uses);
	assert_int_equal(32, settings.stack_depth);
	assert_int_equal(0, settings.is_disabled);
	assert_int_equal(0, settings.is_verbose);
	assert_false(settings.opens_early);
	assert_string_equal("", settings.ledger_path);
	assert_string_equal("", settings.problem);
}

static void test_numbers(void **state) {
	static const struct {
		const char *entry;
		const uint64_t *field;
		uint64_t value;
		bool is_good;
	} entries[] = {
		{"PQLEASE_LEDGER_SIZE=1M", &settings.ledger_size_bytes, 1u << 20, true},
		{"PQLEASE_LEDGER_SIZE=1048576", &settings.ledger_size_bytes, 1u << 20, true},
		{"PQLEASE_LEDGER_SIZE=1024K", &settings.ledger_size_bytes, 1u << 20, true},
		{"PQLEASE_LEDGER_SIZE=4G", &settings.ledger_size_bytes, UINT64_C(4) << 30, true},
		{"PQLEASE_LEDGER_SIZE=", &settings.ledger_size_bytes, 32u << 20, true},
		{"PQLEASE_LEDGER_SIZE=5G", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=4294967297", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=1048575", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=0", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=M", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=2MB", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=2 M", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=-1", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=0x100000", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=18446744073709551617M", &settings.ledger_size_bytes, 32u << 20, false},
		{"PQLEASE_LEDGER_SIZE=99999999999999999999999999", &settings.ledger_size_bytes, 32u << 20,
		 false},
		{"PQLEASE_STACK_DEPTH=0", &settings.stack_depth, 0, true},
		{"PQLEASE_STACK_DEPTH=64", &settings.stack_depth, 64, true},
		{"PQLEASE_STACK_DEPTH=65", &settings.stack_depth, 32, false},
		{"PQLEASE_STACK_DEPTH=6a", &settings.stack_depth, 32, false},
		{"PQLEASE_USES=0", &settings.uses, 0, true},
		{"PQLEASE_USES=3", &settings.uses, 1, false},
		{"PQLEASE_USES=yes", &settings.uses, 1, false},
		{"PQLEASE_DISABLE=1", &settings.is_disabled, 1, true},
		{"PQLEASE_DISABLE=on", &settings.is_disabled, 0, false},
		{"PQLEASE_VERBOSE=1", &settings.is_verbose, 1, true},
		{"PQLEASE_VERBOSE= 1", &settings.is_verbose, 0, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
		read_one(entries[i].entry);
		if (*entries[i].field != entries[i].value ||
		    (settings.problem[0] == '\0') != entries[i].is_good)
			fail_msg("%s", entries[i].entry);
	}
}

static void test_texts(void **state) {
	char entry[8192];
	(void)state;
	read_one("PQLEASE_ROLE=web worker");
	assert_string_equal("web worker", settings.role);
	read_one("PQLEASE_LEDGER=/dev/shm/x=y.ledger");
	assert_string_equal("/dev/shm/x=y.ledger", settings.ledger_path);
	read_one("PQLEASE_OPEN=early");
	assert_true(settings.opens_early);
	read_one("PQLEASE_OPEN=soon");
	assert_false(settings.opens_early);
	assert_non_null(strstr(settings.problem, "PQLEASE_OPEN"));
	snprintf(entry, sizeof entry, "PQLEASE_ROLE=%0255d", 0);
	read_one(entry);
	assert_int_equal(255, strlen(settings.role));
	snprintf(entry, sizeof entry, "PQLEASE_ROLE=%0256d", 0);
	read_one(entry);
	assert_string_equal("", settings.role);
	snprintf(entry, sizeof entry, "PQLEASE_LEDGER=/%04096d", 0);
	read_one(entry);
	assert_string_equal("", settings.ledger_path);
	assert_non_null(strstr(settings.problem, "PQLEASE_LEDGER"));
}

/* What stands in a bad value is nobody's business: it is not repeated. */
static void test_the_first_problem_is_kept_without_its_value(void **state) {
	char *environment[] = {"PQLEASE_USES=secret", "PQLEASE_STACK_DEPTH=secret", NULL};
	(void)state;
	settings_read(&settings, environment);
	assert_non_null(strstr(settings.problem, "PQLEASE_USES"));
	assert_null(strstr(settings.problem, "secret"));
}

static void test_the_default_ledger_has_a_name(void **state) {
	(void)state;
	settings_name_ledger(&settings, 1000, 42, 1700000000000001);
	assert_string_equal("/dev/shm/pqlease.1000.42-1700000000000001.ledger", settings.ledger_path);
	settings_name_ledger(&settings, UINT32_MAX, INT32_MAX, UINT64_MAX);
	assert_string_equal("/dev/shm/pqlease.4294967295.2147483647-18446744073709551615.ledger",
			    settings.ledger_path);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_the_first_problem_is_kept_without_its_value),
		cmocka_unit_test(test_the_default_ledger_has_a_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
