/*
 * The table of thresholds: every name finds its own member, every number has a source.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "analyzer/judge/thresholds.h"

static void test_every_entry_is_a_member_of_its_own(void **state) {
	(void)state;
	struct thresholds thresholds = thresholds_standard();
	assert_int_equal(thresholds_entry_count * sizeof(double), sizeof thresholds);
	for (size_t i = 0; i < thresholds_entry_count; i++) {
		const struct thresholds_entry *entry = &thresholds_entries[i];
		assert_ptr_equal(entry, thresholds_find(entry->name));
		assert_true(*thresholds_member(&thresholds, entry) == entry->standard);
		assert_true(entry->standard >= 0);
		assert_true(strlen(entry->source) > 0);
		if (entry->unit == THRESHOLDS_RATIO && strcmp(entry->name, "stampede_factor") != 0)
			assert_true(entry->standard < 1);
	}
}

static void test_a_change_by_name_is_the_members(void **state) {
	(void)state;
	struct thresholds thresholds = thresholds_standard();
	*thresholds_member(&thresholds, thresholds_find("long_held")) = 2;
	assert_true(thresholds.long_held == 2);
	assert_true(thresholds.utilization_warning == 0.75);
	assert_null(thresholds_find("no_such_threshold"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_entry_is_a_member_of_its_own),
		cmocka_unit_test(test_a_change_by_name_is_the_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
