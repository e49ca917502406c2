/* Which counts after waves grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/drill/drill_growth.h"

static void test_growth(void **state) {
	(void)state;
	static const struct {
		uint64_t counts[8];
		size_t count;
		int is_growing;
	} cases[] = {
		{{0, 1, 2, 3}, 4, 1},          {{0, 1, 2}, 3, 0}, /* too few waves */
		{{0, 5, 5, 5, 5}, 5, 0},                          /* full */
		{{0, 8, 12, 14}, 4, 0},                           /* filling up: 8, 4, 2 */
		{{0, 3, 6, 8}, 4, 1},                             /* 3, 3, 2 is more than half */
		{{0, 9, 9, 10, 11, 12}, 6, 1},                    /* the last three waves count */
		{{0, 1, 2, 3, 2}, 5, 0},       {{0}, 1, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(cases[i].is_growing,
				 drill_growth_is_growing(cases[i].counts, cases[i].count));
	assert_true(drill_growth_rate(cases[4].counts, 4) > 2.6 &&
		    drill_growth_rate(cases[4].counts, 4) < 2.7);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_growth)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
