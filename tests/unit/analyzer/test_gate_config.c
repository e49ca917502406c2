/* pqlease.yaml: what each key does, and how faults are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "analyzer/gate/gate_config.h"
#include "analyzer/symbols/site_frames.h"

static struct gate_policy policy;
static struct gate_config config;
static struct report_settings settings;
static struct gate_error error;

static int release(void **state) {
	(void)state;
	gate_policy_release(&policy);
	return 0;
}

static bool read_text(const char *text) {
	struct gate_input input;
	gate_policy_release(&policy);
	gate_policy_init(&policy);
	settings = report_settings_standard();
	return gate_input_of_bytes(&input, &policy.arena, "dir/c", text, strlen(text), &error) &&
		gate_config_read(&config, &policy, &settings, &input, &error);
}

static void test_nothing_is_the_default(void **state) {
	(void)state;
	static const char *const cases[] = {"",     "# nothing\n", "---\n",
					    "{}\n", "~\n",         "suppressions:\nonly: []\n"};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_true(read_text(cases[i]));
		assert_int_equal(1, policy.fail_on_count);
		assert_string_equal("error", policy.fail_on[0].name);
		assert_string_equal("default", policy.fail_on[0].source);
		assert_int_equal(0, policy.budget_count);
		assert_int_equal(0, policy.suppression_count);
	}
}

static void test_budgets(void **state) {
	(void)state;
	static const struct {
		const char *text;
		enum gate_metric metric;
		double limit;
	} cases[] = {{"gate: {max-open: 20}", GATE_MAX_OPEN, 20},
		     {"gate: {max-utilization: 90%}", GATE_MAX_UTILIZATION, 0.9},
		     {"gate: {p95-acquire: 100 ms}", GATE_P95_ACQUIRE, 0.1},
		     {"gate: {max-hold: 2min}", GATE_MAX_HOLD, 120},
		     {"budgets: [{role: x, max-open: 7}]", GATE_MAX_OPEN, 7},
		     {"budgets: [{file: x, p95-acquire: 1s}]", GATE_P95_ACQUIRE, 1},
		     {"expectations: [{role: x, connections: 9}]", GATE_EXPECTED, 9},
		     {"reserved: [{role: x, total: 60, free: 5}]", GATE_RESERVED, 55}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_true(read_text(cases[i].text));
		assert_int_equal(1, policy.budget_count);
		assert_int_equal(cases[i].metric, policy.budgets[0].metric);
		assert_true(fabs(cases[i].limit - policy.budgets[0].limit) < 1e-9);
		assert_string_equal("dir/c:1", policy.budgets[0].source);
	}
}

static void test_settings_of_reports(void **state) {
	(void)state;
	assert_true(
		read_text("capacity:\n  - {role: web, connections: 30, base: 20, reserved: 2}\n"
			  "  - connections: 100\n"
			  "thresholds: {long_held: 2 min, utilization_warning: 80%, retry_storm_rate: 5}\n"
			  "gate: {baseline: a/b, fail-on: 'new,killed:3'}\n"));
	assert_int_equal(1, settings.capacity_count);
	assert_string_equal("web", settings.capacities[0].role);
	assert_int_equal(30, settings.capacities[0].capacity);
	assert_int_equal(20, settings.capacities[0].base_size);
	assert_int_equal(2, settings.capacities[0].reserved);
	assert_int_equal(100, settings.limit);
	assert_true(settings.thresholds.long_held == 120);
	assert_true(fabs(settings.thresholds.utilization_warning - 0.8) < 1e-9);
	assert_true(settings.thresholds.retry_storm_rate == 5);
	assert_int_equal(3, config.threshold_count);
	assert_string_equal("dir/a/b", config.baseline_path);
	assert_int_equal(2, policy.fail_on_count);
	assert_int_equal(3, policy.fail_on[1].limit);
	assert_string_equal("dir/c:5", policy.fail_on[1].source);
}

static void test_whose_code_frames_are(void **state) {
	(void)state;
	assert_true(read_text("code:\n  driver: ['module:libmydb.so*', 'function:my::*']\n"
			      "  application: ['path:*/site-packages/ours/*']\n"));
	assert_int_equal(3, settings.code_count);
	assert_int_equal(SITE_FRAME_APPLICATION, settings.code[0].owner);
	assert_int_equal(SITE_FRAMES_PATH, settings.code[0].where);
	assert_string_equal("*/site-packages/ours/*", settings.code[0].pattern);
	assert_int_equal(SITE_FRAME_DRIVER, settings.code[2].owner);
	assert_int_equal(SITE_FRAMES_FUNCTION, settings.code[2].where);
	assert_string_equal("my::*", settings.code[2].pattern);
}

static void test_faults_have_places(void **state) {
	(void)state;
	static const struct {
		const char *text;
		const char *place;
		const char *why; /* a part of it */
	} cases[] = {
		{"gates: {}", "dir/c:1:1", "unknown key 'gates'"},
		{"gate: 3", "dir/c:1:7", "a map"},
		{"[a]", "dir/c:1:1", "a map expected here, not a list"},
		{"gate: {max-open: 1, max-open: 2}", "dir/c:1:21", "given twice"},
		{"gate:\n  max-open: -1\n", "dir/c:2:13", "'-1' is not a count"},
		{"gate:\n  max-hold: 5\n", "dir/c:2:13", "a time"},
		{"gate: {fail-on: [error, nothing]}", "dir/c:1:17", "'nothing'"},
		{"gate: {fail-on: [[error]]}", "dir/c:1:18", "a word"},
		{"gate: {baseline: ''}", "dir/c:1:18", "a text"},
		{"budgets: {}", "dir/c:1:10", "a list"},
		{"budgets: [{role: x, file: y, max-open: 1}]", "dir/c:1:11", "one of both"},
		{"budgets: [{file: y, max-utilization: 5%}]", "dir/c:1:11", "no utilization"},
		{"reserved: [{role: x, total: 5, free: 6}]", "dir/c:1:12", "more is to stay free"},
		{"reserved: [{role: x, total: 5}]", "dir/c:1:12", "'free' is missing"},
		{"capacity: [{role: x, connections: 0}]", "dir/c:1:12", "capacity of 0"},
		{"thresholds: {long_held: 5}", "dir/c:1:25", "a time"},
		{"thresholds: [long_held]", "dir/c:1:13", "a map"},
		{"code: {shim: ['function:x']}", "dir/c:1:8", "unknown key 'shim'"},
		{"code: {driver: 'function:x'}", "dir/c:1:16", "a list"},
		{"code: {driver: ['libx.so']}", "dir/c:1:17", "a pattern"},
		{"suppressions: [{reason: x, stack: []}]", "dir/c:1:35", "frames"},
		{"suppressions: [{reason: '', kind: x}]", "dir/c:1:25", "a text"},
		{"suppressions: [{reason: x, file: a, function: b}]", "dir/c:1:16", "enough"},
		{"only: [{reason: x, kind: y, max: 3}]", "dir/c:1:8", "no meaning"},
		{"a: !!int 3", "dir/c:1:4", "tags"},
		{"gate: &a {}\nbudgets: *a\n", "dir/c:1:7", "anchors"},
		{"? [a]\n: b\n", "dir/c:1:3", "plain value"},
		{"gate: {}\n---\ngate: {}\n", "dir/c:2:1", "second document"},
		{"[[[[[[[[[[[[[[[[[[[[", "dir/c:1:17", "nested"},
		{"gate: {max-open: 1\n", "dir/c:2:1", ""},
		{"\tgate: {}\n", "dir/c:1:1", ""},
		{"gate: \"\xff\"\n", "dir/c:1", ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_false(read_text(cases[i].text));
		if (strcmp(cases[i].place, error.place) != 0 || strstr(error.why, cases[i].why) == NULL)
			fail_msg("%s: got %s: %s", cases[i].text, error.place, error.why);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_nothing_is_the_default, release),
		cmocka_unit_test_teardown(test_budgets, release),
		cmocka_unit_test_teardown(test_settings_of_reports, release),
		cmocka_unit_test_teardown(test_whose_code_frames_are, release),
		cmocka_unit_test_teardown(test_faults_have_places, release),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
