/*
 * Which cause is named for which signs; and that signs of two causes name none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "analyzer/judge/verdict_causes.h"

static struct report report;
static struct thresholds thresholds;
static struct report_pool full = {.role = "web", .capacity = 4, .utilization = 0.97};
static struct finding stampede = {.kind = "stampede", .message = "30 connections at once"};
static struct finding churn = {.kind = "churn", .message = "50 per second"};
static struct finding held_idle = {.kind = "idle-in-transaction", .level = FINDING_WARNING};

/* What cannot be known is unknown. */
static struct verdict_signs nothing(void) {
	return (struct verdict_signs){.holders = NAN, .slots = REPORT_UNKNOWN, .foreign = REPORT_UNKNOWN};
}

static struct verdict_signs full_with(double query_share, double query_s, double idle_share, double idle_s) {
	struct verdict_signs signs = nothing();
	signs.full_pool = &full;
	signs.uses = 1000;
	signs.query_share = query_share;
	signs.query_per_use_s = query_s;
	signs.transaction_idle_share = idle_share;
	signs.transaction_idle_per_use_s = idle_s;
	return signs;
}

static struct verdict_signs refused_with(double holders, double query_share, double query_s, double idle_s) {
	struct verdict_signs signs = full_with(query_share, query_s, 1 - query_share, idle_s);
	signs.full_pool = NULL;
	signs.refused = 12;
	signs.holders = holders;
	signs.refused_role = "web";
	return signs;
}

static void assert_cause(const char *expected, const struct verdict_signs *signs) {
	struct arena arena = {NULL};
	struct report_verdict verdict = {0};
	thresholds = thresholds_standard();
	bool is_trouble = verdict_causes_judge(&verdict, &arena, &report, signs, &thresholds);
	if (expected == NULL) {
		assert_false(is_trouble);
	} else {
		assert_true(is_trouble);
		assert_string_equal(expected, verdict.cause);
		assert_true(strlen(verdict.message) > 20);
		assert_true(verdict.advice_count > 0);
		assert_true(verdict.evidence_count > 0);
		assert_int_equal(strcmp(expected, "unsure") == 0 ? 2 : 0, verdict.candidate_count);
	}
	arena_release(&arena);
}

static void assert_advice(const char *cause, const char *word, bool is_there,
			  const struct verdict_signs *signs) {
	struct arena arena = {NULL};
	struct report_verdict verdict = {0};
	thresholds = thresholds_standard();
	assert_true(verdict_causes_judge(&verdict, &arena, &report, signs, &thresholds));
	assert_string_equal(cause, verdict.cause);
	assert_true(verdict.advice_count > 0);
	assert_int_equal(is_there, strstr(verdict.advice[0], word) != NULL);
	arena_release(&arena);
}

static void test_no_strain_is_no_trouble(void **state) {
	(void)state;
	struct verdict_signs signs = full_with(1, 5, 0, 0);
	signs.full_pool = NULL;
	assert_cause(NULL, &signs);
	signs = nothing();
	assert_cause(NULL, &signs);
}

static void test_a_full_pool(void **state) {
	(void)state;
	static const struct {
		double query_share, query_s, idle_share, idle_s;
		const char *cause;
	} cases[] = {
		{0.98, 0.02, 0.01, 0.0001, "undersized"}, {0.99, 0.6, 0, 0, "slow_queries"},
		{0.02, 0.01, 0.97, 0.5, "held_idle"},     {0.5, 0.6, 0.5, 0.6, "unsure"},
		{0.98, 0.25, 0.01, 0.001, "unsure"},      {0.2, 0.005, 0.1, 0.002, "undersized"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct verdict_signs signs = full_with(cases[i].query_share, cases[i].query_s,
						       cases[i].idle_share, cases[i].idle_s);
		assert_cause(cases[i].cause, &signs);
	}
}

static void test_refused_by_a_server(void **state) {
	(void)state;
	struct verdict_signs signs = refused_with(20, 0.98, 0.02, 0);
	signs.slots = 20;
	signs.foreign = 0;
	assert_cause("undersized", &signs); /* all slots are ours, and all moves */
	signs = refused_with(20, 0.98, 2, 0);
	signs.slots = 20;
	signs.foreign = 0;
	assert_cause("slow_queries", &signs);
	signs = refused_with(2, 0.98, 0.02, 0);
	signs.slots = 20;
	signs.foreign = 18;
	assert_cause("external", &signs);
	signs = refused_with(0, 0, 0, 0);
	assert_cause("external", &signs); /* held nothing, refused all the same */
	signs = refused_with(2, 0.9, 0.02, 0.01);
	assert_cause("unsure", &signs); /* two held, and the limit not known */
}

/* Nobody knows what a connection is held for that was never used: no transaction, no slow command. */
static void test_refused_without_a_use(void **state) {
	(void)state;
	struct verdict_signs signs = nothing();
	signs.refused = 23;
	signs.refused_role = "web";
	signs.holders = 97;
	signs.idle_share = 1;
	assert_cause("undersized", &signs);
	signs.slots = 97;
	signs.foreign = 0;
	assert_cause("undersized", &signs);
	signs.holders = 5;
	signs.foreign = 92;
	assert_cause("external", &signs);
}

/* Connections that lie idle outside of transactions are not helped by shorter ones. */
static void test_advice_for_what_lies_idle(void **state) {
	(void)state;
	struct verdict_signs signs = refused_with(97, 0.98, 0.001, 0);
	signs.slots = 97;
	signs.idle_share = 0.95;
	assert_advice("held_idle", "transaction", false, &signs);
	signs = refused_with(97, 0.02, 0.001, 0.9);
	signs.slots = 97;
	signs.idle_share = 0.1;
	assert_advice("held_idle", "transaction", true, &signs);
	signs = nothing();
	signs.refused = 23;
	signs.holders = 97;
	signs.idle_share = 1;
	assert_advice("undersized", "never used", true, &signs);
}

static void test_refused_for_another_role(void **state) {
	(void)state;
	struct verdict_signs signs = refused_with(20, 0.98, 2, 0);
	signs.slots = 20;
	signs.foreign = 0;
	signs.other_roles_share = 0.9;
	signs.holding_role = "worker";
	assert_cause("role_contention", &signs);
	signs.slots = REPORT_UNKNOWN;
	signs.foreign = REPORT_UNKNOWN;
	assert_cause("role_contention", &signs);
}

static void test_refused_at_the_start(void **state) {
	(void)state;
	struct verdict_signs signs = refused_with(20, 0.98, 0.6, 0);
	signs.stampede = &stampede;
	signs.start.is_known = true;
	signs.start.attempts = 30;
	signs.start.failures = 12;
	signs.start.steady_peak = 5;
	signs.refused_at_start = 1;
	assert_cause("stampede", &signs);
	signs.slots = 20;
	signs.foreign = 0;
	assert_cause("stampede", &signs);
}

static void test_causes_that_need_no_strain(void **state) {
	(void)state;
	struct verdict_signs signs = nothing();
	signs.churn = &churn;
	assert_cause("churn", &signs);
	signs = nothing();
	signs.held_idle = &held_idle;
	assert_cause("held_idle", &signs);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_strain_is_no_trouble),
		cmocka_unit_test(test_a_full_pool),
		cmocka_unit_test(test_refused_by_a_server),
		cmocka_unit_test(test_refused_for_another_role),
		cmocka_unit_test(test_refused_without_a_use),
		cmocka_unit_test(test_advice_for_what_lies_idle),
		cmocka_unit_test(test_refused_at_the_start),
		cmocka_unit_test(test_causes_that_need_no_strain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
