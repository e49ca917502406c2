/* The gate on reports made by hand: items, states, budgets, and that it fails closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/gate/gate_baseline.h"
#include "analyzer/gate/gate_config.h"
#include "analyzer/gate/gate_text.h"
#include "analyzer/report/report.h"

/* ---- A report: an error with 3, a warning with 2, a note with 1, each at a site of its own ------------- */

static struct finding findings[3];
static struct report_finding report_findings[3];
static struct site_frame stacks[4][1];
static struct site_frames frames[4];
static struct report_site sites[4]; /* the last one has no finding */
static struct report_pool pools[2];
static struct report report;
static struct gate_policy policy;

static void make_site(size_t i) {
	static const char *const functions[] = {"f", "g", "h", "idle"};
	stacks[i][0] = (struct site_frame){.language = MODEL_NATIVE,
					   .function = functions[i],
					   .file = "a.c",
					   .line = (uint32_t)(10 + i)};
	frames[i] = (struct site_frames){.frames = stacks[i], .count = 1};
	snprintf(frames[i].fingerprint, sizeof frames[i].fingerprint, "%016zx", i);
	sites[i] = (struct report_site){.id = (int64_t)i,
					.fingerprint = frames[i].fingerprint,
					.frames = &frames[i],
					.peak_open = (int64_t)i};
}

static void make_report(void) {
	static const char *const kinds[] = {"never-finished", "abandoned-start", "killed"};
	report = (struct report){.trust = {.ok = true, .processes = 1},
				 .sites = sites,
				 .site_count = 4,
				 .pools = pools,
				 .pool_count = 2,
				 .findings = report_findings,
				 .finding_count = 3};
	for (size_t i = 0; i < 4; i++)
		make_site(i);
	for (size_t i = 0; i < 3; i++) {
		findings[i] = (struct finding){.kind = kinds[i],
					       .level = (enum finding_level)i,
					       .count = 3 - i,
					       .message = "it happened"};
		site_frames_finding_fingerprint(findings[i].fingerprint, &frames[i], kinds[i]);
		report_findings[i] = (struct report_finding){
			.finding = &findings[i], .site = (int64_t)i, .pool = REPORT_UNKNOWN};
	}
	pools[0] = (struct report_pool){.role = "web",
					.host = "db",
					.port = "5432",
					.database = "shop",
					.peak_open = 6,
					.peak_in_use = REPORT_UNKNOWN,
					.capacity = 10,
					.capacity_source = "configured"};
	pools[1] = pools[0];
	pools[1].host = "replica";
	pools[1].capacity_source = "inferred";
	report.totals.peak_open = 9;
	report.connect_time = (struct report_times){.count = 10, .p95 = 0.05};
	report.hold_time = (struct report_times){.count = 10, .max = 2};
}

static int begin(void **state) {
	(void)state;
	gate_policy_init(&policy);
	make_report();
	return 0;
}

static int end(void **state) {
	(void)state;
	arena_release(&report.arena);
	gate_policy_release(&policy);
	return 0;
}

static void configure(const char *text) {
	struct gate_input input;
	struct gate_error error = {"", ""};
	struct gate_config config;
	struct report_settings settings = report_settings_standard();
	gate_policy_release(&policy);
	gate_policy_init(&policy);
	if (!gate_input_of_bytes(&input, &policy.arena, "c", text, strlen(text), &error) ||
	    !gate_config_read(&config, &policy, &settings, &input, &error))
		fail_msg("%s: %s", error.place, error.why);
}

static void accept(const char *text) {
	struct gate_input input;
	struct gate_error error = {"", ""};
	if (!gate_input_of_bytes(&input, &policy.arena, "b", text, strlen(text), &error) ||
	    !baseline_parse(&policy.baseline, &policy.arena, &input, &error))
		fail_msg("%s: %s", error.place, error.why);
	policy.has_baseline = true;
}

static const char *line_for(size_t finding, uint64_t count) {
	return arena_text(&policy.arena, "%s\t%s\t%d\t2026-01-31\ta.c\tknown\n",
			  findings[finding].fingerprint, findings[finding].kind, (int)count);
}

/* ---- Items ------------------------------------------------------------------------------------------- */

static void test_fail_on(void **state) {
	(void)state;
	static const struct {
		const char *list;
		size_t failures;
	} cases[] = {{"error", 1},
		     {"warning", 2},
		     {"note", 3},
		     {"none", 0},
		     {"new", 2},
		     {"killed", 1},
		     {"never-finished:3", 1},
		     {"never-finished:4", 0},
		     {"killed,error", 2},
		     {"stale", 0},
		     {"unused", 0}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_null(gate_policy_fail_on(&policy, cases[i].list, "test"));
		gate_judge(&report, &policy);
		assert_int_equal(cases[i].failures, report.gate->failure_count);
		assert_int_equal(cases[i].failures > 0 ? GATE_RED : GATE_GREEN, report.gate->result);
	}
	static const char *const wrong[] = {
		"", "error,", "errors", "killed:", "killed:0", "killed:x", "error:2", "new:1"};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_non_null(gate_policy_fail_on(&policy, wrong[i], "test"));
	gate_judge(&report, NULL);
	assert_int_equal(1, gate_exit_code(report.gate));
	assert_string_equal("a.c", report.gate->failures[0].file);
	assert_int_equal(10, report.gate->failures[0].line);
}

static void test_distrust_wins(void **state) {
	(void)state;
	report.trust.ok = false;
	gate_judge(&report, NULL);
	assert_int_equal(2, gate_exit_code(report.gate));
	assert_int_equal(2, report.gate->failure_count);
	static const char *const reasons[] = {"one", "two"};
	report.trust.reasons = reasons;
	report.trust.reason_count = 2;
	assert_null(gate_policy_fail_on(&policy, "none", "test"));
	gate_judge(&report, &policy);
	assert_int_equal(2, gate_exit_code(report.gate));
	assert_int_equal(2, report.gate->failure_count);
	report.trust.ok = true; /* then they are remarks */
	gate_judge(&report, &policy);
	assert_int_equal(0, gate_exit_code(report.gate));
}

/* ---- Baseline ------------------------------------------------------------------------------------------ */

static void test_states(void **state) {
	(void)state;
	char reached[SITE_FINGERPRINT_BYTES];
	site_frames_finding_fingerprint(reached, &frames[3], "killed");
	accept(arena_text(&policy.arena,
			  "%s%s%s\tkilled\t1\t2026-01-31\ta.c idle\tx\n"
			  "ffffffffffffffff\tkilled\t1\t2026-01-31\tgone\tx\n",
			  line_for(0, 2), line_for(1, 5), reached));
	gate_judge(&report, &policy);
	static const enum gate_state expected[] = {GATE_WORSE, GATE_SAME, GATE_NEW};
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(expected[i], report.gate->findings[i].state);
	assert_int_equal(2, report.gate->findings[0].allowed);
	assert_int_equal(1, report.gate->failure_count);
	assert_int_equal(2, report.gate->absent_count);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(strcmp(report.gate->absents[i].site, "gone") == 0 ? GATE_STALE : GATE_FIXED,
				 report.gate->absents[i].state);
	assert_null(gate_policy_fail_on(&policy, "stale", "test"));
	gate_judge(&report, &policy);
	assert_int_equal(2, report.gate->failure_count);
}

static void test_new_baselines(void **state) {
	(void)state;
	struct baseline old;
	struct baseline next;
	accept(arena_text(&policy.arena, "%s%sffffffffffffffff\tkilled\t1\t2026-01-31\tgone\tx\n",
			  line_for(0, 2), line_for(1, 5)));
	old = policy.baseline;
	gate_judge(&report, &policy);
	gate_baseline_build(&next, &policy.arena, &report, &old, true, "why");
	assert_int_equal(3, next.count); /* the note is not worth a line */
	assert_int_equal(3, baseline_find(&next, findings[0].fingerprint)->count);
	assert_string_equal("why", baseline_find(&next, findings[0].fingerprint)->reason);
	assert_int_equal(2, baseline_find(&next, findings[1].fingerprint)->count);
	assert_string_equal("known", baseline_find(&next, findings[1].fingerprint)->reason);
	assert_non_null(baseline_find(&next, "ffffffffffffffff"));
	gate_baseline_build(&next, &policy.arena, &report, &old, false, "why");
	assert_null(baseline_find(&next, "ffffffffffffffff"));
}

/* ---- Suppressions ---------------------------------------------------------------------------------------- */

static void test_suppressions(void **state) {
	(void)state;
	static const struct {
		const char *text;
		enum gate_result result;
		uint64_t used;
	} cases[] = {
		{"suppressions: [{reason: x, function: f}]", GATE_GREEN, 3},
		{"suppressions: [{reason: x, function: f, max: 3}]", GATE_GREEN, 3},
		{"suppressions: [{reason: x, function: f, max: 2}]", GATE_RED, 3},
		{"suppressions: [{reason: x, function: '[fg]', max: 5}]", GATE_GREEN, 5},
		{"suppressions: [{reason: x, function: '[fg]', max: 4}]", GATE_RED, 5},
		{"suppressions: [{reason: x, function: g}]", GATE_RED, 2},
		{"suppressions: [{reason: x, function: nobody}]", GATE_RED, 0},
		{"suppressions: [{reason: x, function: f, expires: 2999-01-01}]", GATE_GREEN, 3},
		{"suppressions: [{reason: x, function: f, expires: 2024-02-29}]", GATE_RED, 0},
		{"{gate: {fail-on: none}, suppressions: [{reason: x, function: nobody, expires: "
		 "2024-02-29}]}",
		 GATE_RED, 0},
		{"{gate: {fail-on: unused}, suppressions: [{reason: x, function: nobody}]}", GATE_RED, 0},
		{"only: [{reason: x, function: f}]", GATE_RED, 3},
		{"only: [{reason: x, function: h}]", GATE_GREEN, 1},
		{"{only: [{reason: x, function: f}], suppressions: [{reason: y, function: f, max: 9}]}",
		 GATE_GREEN, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		configure(cases[i].text);
		gate_judge(&report, &policy);
		if (report.gate->result != cases[i].result)
			fail_msg("%s: result %d", cases[i].text, report.gate->result);
		if (i + 1 < sizeof cases / sizeof cases[0])
			assert_int_equal(cases[i].used, report.gate->suppressions[0].used);
	}
	assert_int_equal(GATE_SUPPRESSED, report.gate->findings[0].state);
	assert_string_equal("y", report.gate->findings[0].suppression);
}

/* ---- Budgets --------------------------------------------------------------------------------------------- */

static void test_budgets(void **state) {
	(void)state;
	static const struct {
		const char *text;
		enum gate_result result;
	} cases[] = {
		{"{max-open: 9}", GATE_GREEN},
		{"{max-open: 8}", GATE_RED},
		{"{p95-acquire: 50ms}", GATE_GREEN},
		{"{p95-acquire: 49ms}", GATE_RED},
		{"{max-hold: 2s}", GATE_GREEN},
		{"{max-hold: 1.9s}", GATE_RED},
		{"{max-utilization: 60%}", GATE_UNTRUSTED}, /* one capacity is only inferred */
	};
	static const struct {
		const char *text;
		enum gate_result result;
	} parts[] = {
		{"budgets: [{role: web, max-open: 12}]", GATE_GREEN},
		{"budgets: [{role: web, max-open: 11}]", GATE_RED},
		{"budgets: [{role: 'w*', endpoint: 'db:5432', max-open: 6}]", GATE_GREEN},
		{"budgets: [{endpoint: 'db:*', max-open: 5}]", GATE_RED},
		{"budgets: [{endpoint: 'db:*', max-utilization: 60%}]", GATE_GREEN},
		{"budgets: [{endpoint: 'db:*', max-utilization: 59%}]", GATE_RED},
		{"budgets: [{endpoint: 'rep*', max-utilization: 99%}]", GATE_UNTRUSTED},
		{"budgets: [{user: somebody, max-open: 0}]", GATE_GREEN},
		{"budgets: [{function: idle, max-open: 3}]", GATE_GREEN},
		{"budgets: [{function: idle, max-open: 2}]", GATE_RED},
		{"budgets: [{file: a.c, max-open: 5}]", GATE_RED},
		{"expectations: [{role: nobody, connections: 0}]", GATE_GREEN},
		{"expectations: [{role: nobody, connections: 1}]", GATE_RED},
		{"expectations: [{role: web, connections: 12}]", GATE_GREEN},
		{"reserved: [{role: web, total: 17, free: 5}]", GATE_GREEN},
		{"reserved: [{role: web, total: 16, free: 5}]", GATE_RED},
	};
	report.finding_count = 0;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct arena arena = {0};
		configure(arena_text(&arena, "gate: %s", cases[i].text));
		arena_release(&arena);
		gate_judge(&report, &policy);
		if (report.gate->result != cases[i].result)
			fail_msg("%s: result %d", cases[i].text, report.gate->result);
	}
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		configure(parts[i].text);
		gate_judge(&report, &policy);
		if (report.gate->result != parts[i].result)
			fail_msg("%s: result %d", parts[i].text, report.gate->result);
	}
}

static void test_unknown_is_not_green(void **state) {
	(void)state;
	report.finding_count = 0;
	pools[0].peak_open = REPORT_UNKNOWN;
	report.totals.peak_open = REPORT_UNKNOWN;
	configure("{gate: {max-open: 100}, budgets: [{role: web, max-open: 100}]}");
	gate_judge(&report, &policy);
	assert_int_equal(GATE_UNTRUSTED, report.gate->result);
	assert_int_equal(2, report.gate->failure_count);
}

/* ---- Text ------------------------------------------------------------------------------------------------ */

static void test_hostile_names_stay_in_their_line(void **state) {
	(void)state;
	char *text = NULL;
	size_t length = 0;
	stacks[0][0].file = "a\n::error::\x1b[31m.c";
	findings[0].message = "one\ntwo";
	report.run.id = "id\n";
	gate_judge(&report, NULL);
	FILE *stream = open_memstream(&text, &length);
	gate_text_write(&report, NULL, stream);
	fclose(stream);
	size_t lines = 0;
	for (const char *c = text; *c != '\0'; c++) {
		lines += *c == '\n';
		assert_true(*c == '\n' || (unsigned char)*c >= ' ');
	}
	assert_int_equal(2, lines);
	free(text);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fail_on, begin, end),
		cmocka_unit_test_setup_teardown(test_distrust_wins, begin, end),
		cmocka_unit_test_setup_teardown(test_states, begin, end),
		cmocka_unit_test_setup_teardown(test_new_baselines, begin, end),
		cmocka_unit_test_setup_teardown(test_suppressions, begin, end),
		cmocka_unit_test_setup_teardown(test_budgets, begin, end),
		cmocka_unit_test_setup_teardown(test_unknown_is_not_green, begin, end),
		cmocka_unit_test_setup_teardown(test_hostile_names_stay_in_their_line, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
