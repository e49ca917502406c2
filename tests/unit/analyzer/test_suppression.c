/* Suppressions: which stacks, kinds and roles they match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "analyzer/gate/gate_config.h"
#include "analyzer/report/report.h"

static struct gate_policy policy;

static int release(void **state) {
	(void)state;
	gate_policy_release(&policy);
	return 0;
}

/* ---- A report with one finding ---------------------------------------------------------------------- */

static struct site_frame stack[] = {
	{.language = MODEL_NATIVE,
	 .function = "take",
	 .file = "/srv/shop/pool.c",
	 .line = 7,
	 .module = "/lib/libpool.so.1"},
	{.language = MODEL_NATIVE,
	 .function = "serve",
	 .file = "/srv/shop/web.c",
	 .line = 30,
	 .module = "/bin/shop"},
	{.language = MODEL_NATIVE,
	 .function = "serve",
	 .file = "/srv/shop/web.c",
	 .line = 31,
	 .module = "/bin/shop"},
	{.language = MODEL_NATIVE, .function = "op[x]*", .file = NULL, .module = "/bin/shop"},
	{.language = MODEL_PYTHON, .function = "main", .file = "app.py", .line = 3}};
static struct site_frames frames = {.frames = stack, .count = 5, .application = 0};
static struct report_site site = {.id = 4, .frames = &frames};
static struct report_process processes[] = {{.pid = 1, .role = "web"}, {.pid = 2, .role = "worker"}};
static struct report_example examples[] = {{.pid = 1}, {.pid = 1}};
static struct finding finding = {.kind = "never-finished", .fingerprint = "0123456789abcdef", .count = 2};
static struct report_finding from = {
	.finding = &finding, .site = 4, .pool = REPORT_UNKNOWN, .examples = examples, .example_count = 2};
static struct report report = {.sites = &site,
			       .site_count = 1,
			       .processes = processes,
			       .process_count = 2,
			       .findings = &from,
			       .finding_count = 1,
			       .trust = {.processes = 2}};

static void read_suppressions(const char *text) {
	struct gate_input input;
	struct gate_error error = {"", ""};
	gate_policy_release(&policy);
	gate_policy_init(&policy);
	if (!gate_input_of_bytes(&input, &policy.arena, "s", text, strlen(text), &error) ||
	    !gate_config_read_suppressions(&policy, &input, &error))
		fail_msg("%s: %s in:\n%s", error.place, error.why, text);
}

static bool does_match(const char *text) {
	read_suppressions(text);
	assert_int_equal(1, policy.suppression_count);
	return suppression_matches(&policy.suppressions[0], &report, &from);
}

static void test_stacks(void **state) {
	(void)state;
	static const struct {
		const char *frames;
		bool matches;
	} cases[] = {
		{"'function:take'", true},
		{"'function:tak'", false},
		{"'function:ta*'", true},
		{"'function:main'", true},
		{"'module:libpool.so*'", true},
		{"'module:/lib/*'", true},
		{"'module:/other/*'", false},
		{"'file:web.c'", true},
		{"'file:web.c:30'", true},
		{"'file:web.c:99'", false},
		{"'file:/srv/*/web.c'", true},
		{"'function:take', 'function:serve'", true},
		{"'function:serve', 'function:take'", false},
		{"'function:take', 'function:main'", false},
		{"'function:take', '...', 'function:main'", true},
		{"'...', 'function:main'", true},
		{"'function:main', '...'", true},
		{"'...', '...'", true},
		{"'function:serve', 'function:serve', 'function:serve'", false},
		{"'function:take', '...', 'file:web.c:31', 'function:op*', '...', 'function:main'", true},
		{"'function:take', '...', 'file:web.c:31', 'function:main'", false},
		{"'function:op[x]*'", false}, /* brackets are a set */
		{"'function:op\\[x\\]\\*'", true},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct arena arena = {0};
		const char *text =
			arena_text(&arena, "suppressions:\n  - {reason: x, stack: [%s]}\n", cases[i].frames);
		if (does_match(text) != cases[i].matches)
			fail_msg("%s", cases[i].frames);
		arena_release(&arena);
	}
}

static void test_other_parts(void **state) {
	(void)state;
	static const struct {
		const char *entry;
		bool matches;
	} cases[] = {{"kind: never-finished", true},
		     {"kind: 'never-*'", true},
		     {"kind: killed", false},
		     {"fingerprint: 0123456789abcdef", true},
		     {"fingerprint: 0123456789abcde0", false},
		     {"role: web", true},
		     {"role: worker", false},
		     {"role: web, kind: killed", false},
		     {"role: web, kind: never-finished, file: app.py", true}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct arena arena = {0};
		if (does_match(arena_text(&arena, "suppressions:\n  - {reason: x, %s}\n", cases[i].entry)) !=
		    cases[i].matches)
			fail_msg("%s", cases[i].entry);
		arena_release(&arena);
	}
}

/* Two examples of three leases are of the role: the third may be of another. */
static void test_a_role_must_be_sure(void **state) {
	(void)state;
	static const char text[] = "suppressions:\n  - {reason: x, role: web}\n";
	finding.count = 3;
	assert_false(does_match(text));
	processes[1].role = "web";
	assert_true(does_match(text));
	report.trust.processes = 3; /* one more than is listed */
	assert_false(does_match(text));
	report.trust.processes = 2;
	processes[1].role = "worker";
	finding.count = 2;
}

static void test_lsan_lines(void **state) {
	(void)state;
	static const struct {
		const char *line;
		bool matches;
	} cases[] = {{"leak:take", true},   {"leak:ak", true},       {"leak:^take$", true},
		     {"leak:^ake", false},  {"leak:tak$", false},    {"leak:t*e", true},
		     {"leak:web.c", true},  {"leak:libpool", true},  {"leak:op[x]", true},
		     {"leak:o?[x]", false}, {"leak:nowhere", false}, {"  leak:take", true}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (does_match(cases[i].line) != cases[i].matches)
			fail_msg("%s", cases[i].line);
	read_suppressions("# why\nleak:a\n\n# \nleak:b\nrace:c\n");
	assert_int_equal(2, policy.suppression_count);
	assert_string_equal("why", policy.suppressions[0].reason);
	assert_string_equal("no comment above the line", policy.suppressions[1].reason);
	assert_int_equal(5, policy.suppressions[1].line);
	finding.kind = "used-after-fork";
	assert_false(does_match("leak:take"));
	finding.kind = "never-finished";
}

/* Names with quotes, brackets and control characters come back as patterns that match them. */
static void test_generated_ones_match(void **state) {
	(void)state;
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	stack[1].function = "it's [a] \\ * \x1b\n \xc3\xa9t\xc3\xa9: #";
	fputs("suppressions:\n", stream);
	suppression_generate(&report, &from, stream);
	fclose(stream);
	assert_true(does_match(text));
	assert_int_equal(2, policy.suppressions[0].max);
	stack[1].function = "it";
	assert_false(does_match(text));
	stack[1].function = "serve";
	free(text);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_stacks, release),
		cmocka_unit_test_teardown(test_other_parts, release),
		cmocka_unit_test_teardown(test_a_role_must_be_sure, release),
		cmocka_unit_test_teardown(test_lsan_lines, release),
		cmocka_unit_test_teardown(test_generated_ones_match, release),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
