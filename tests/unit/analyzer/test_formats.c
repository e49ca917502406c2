/*
 * Every format on a report whose every text is hostile, without a gate and with one. What independent readers make of
 * it, tests/integration/test_formats.py asks: with PQLEASE_FORMATS_DIRECTORY set the outputs are written there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/render/render.h"
#include "analyzer/report/report.h"
#include "analyzer/report/report_tests.h"
#include "analyzer/text.h"

#define HOSTILE                                                                                       \
	"a]]>b::c%0A,d\r\n::error::e<script>&amp;\"'\x01\x1b[31m\x7f|`*_#@x \xff\xc0\xaf\xe2\x80\xae" \
	"\xef\xbf\xbe $(x) --> <!-- ![x](y) \xc3\xa4"

static char long_path[10001];
static struct report report;
static struct finding findings[4];
static struct report_finding report_findings[4];
static struct report_site sites[3];
static struct site_frames site_frames[3];
static struct site_frame frames[3][2];
static struct report_example examples[2];
static struct report_test tests[] = {{HOSTILE, 3}, {"tests/test_a.py::TestB::test_c[x::y]", 2}, {"plain", 1}};
static const char *const command[] = {HOSTILE, "word"};
static const char *const reasons[] = {HOSTILE};

static void set_site(size_t i, const char *file, uint32_t line, const char *function) {
	frames[i][0] = (struct site_frame){.language = MODEL_NATIVE, .module = HOSTILE, .offset = 0x10};
	frames[i][1] = (struct site_frame){
		.language = MODEL_PYTHON, .file = file, .line = line, .function = function, .module = NULL};
	site_frames[i] = (struct site_frames){.frames = frames[i], .count = 2, .application = 1};
	sites[i] = (struct report_site){
		.id = (int64_t)i + 2, .fingerprint = "0123456789abcdef", .frames = &site_frames[i]};
}

static void set_finding(size_t i, const char *kind, enum finding_level level, int64_t site, uint64_t count) {
	findings[i] = (struct finding){.kind = kind, .level = level, .count = count, .message = HOSTILE};
	strcpy(findings[i].fingerprint, "0123456789abcdef");
	findings[i].evidence[0] =
		(struct finding_evidence){.key = "oldest_age", .is_seconds = true, .seconds = 1.5};
	findings[i].evidence_count = 1;
	report_findings[i] = (struct report_finding){.finding = &findings[i],
						     .site = site,
						     .pool = REPORT_UNKNOWN,
						     .first = "2024-02-29T12:00:10.000000Z",
						     .last = "2024-02-29T12:00:20.000000Z"};
}

static void make_hostile(void) {
	memset(long_path, 'p', sizeof long_path - 1);
	long_path[0] = '/';
	report = (struct report){0};
	set_site(0, "/srv/shop/" HOSTILE, 25, HOSTILE);
	set_site(1, long_path, 47, "handle");
	set_site(2, NULL, 0, NULL);
	set_finding(0, "never-finished", FINDING_ERROR, 2, 4);
	set_finding(1, "never-finished", FINDING_ERROR, 3, 1);
	set_finding(2, "abandoned-start", FINDING_WARNING, 4, 2);
	set_finding(3, "killed", FINDING_NOTE, REPORT_UNKNOWN, 1);
	examples[0] = (struct report_example){
		.pid = 7, .backend_pid = 8, .age = 1, .test = HOSTILE, .taken_site = 2};
	examples[1] =
		(struct report_example){.pid = 7, .backend_pid = REPORT_UNKNOWN, .age = NAN, .taken_site = 2};
	report_findings[0].examples = examples;
	report_findings[0].example_count = 2;
	report.run = (struct report_run){.id = "ab",
					 .host = HOSTILE,
					 .command = command,
					 .command_count = 2,
					 .started = "2024-02-29T12:00:00.000000Z",
					 .duration = 1234.5678,
					 .exit_code = REPORT_UNKNOWN};
	report.verdict = (struct report_verdict){
		.cause = "leak", .message = HOSTILE, .advice = reasons, .advice_count = 1};
	report.trust = (struct report_trust){.ok = false, .reasons = reasons, .reason_count = 1};
	report.connect_time = report.hold_time =
		(struct report_times){0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NULL};
	report.sites = sites;
	report.site_count = 3;
	report.findings = report_findings;
	report.finding_count = 4;
	report.tests = tests;
	report.test_count = 3;
}

static struct gate_finding judged[4] = {{.state = GATE_WORSE, .allowed = 2, .failed_item = "new"},
					{.state = GATE_SAME, .allowed = 1},
					{.state = GATE_SUPPRESSED,
					 .allowed = REPORT_UNKNOWN,
					 .suppressed_by = HOSTILE,
					 .suppression = HOSTILE},
					{.state = GATE_NEW, .allowed = REPORT_UNKNOWN}};
static struct gate_absent absents[2] = {
	{GATE_FIXED, "never-finished", "fedcba9876543210", 3, HOSTILE, HOSTILE},
	{GATE_STALE, "never-finished", "fedcba9876543211", 3, HOSTILE, HOSTILE}};
static struct gate_failure gate_failures[] = {
	{.item = "new", .message = HOSTILE, .source = "option", .finding = 0},
	{.item = "max-open", .message = HOSTILE, .source = HOSTILE, .finding = REPORT_UNKNOWN}};
static const struct gate_outcome outcome = {.result = GATE_RED,
					    .has_baseline = true,
					    .findings = judged,
					    .absents = absents,
					    .absent_count = 2,
					    .failures = gate_failures,
					    .failure_count = 2};

static void keep(const char *name, const char *text) {
	const char *directory = getenv("PQLEASE_FORMATS_DIRECTORY");
	char path[4096];
	if (directory == NULL)
		return;
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(0, fclose(file));
}

/* Whatever the format, no byte of it moves a cursor or breaks UTF-8. */
static void check_bytes(const char *text) {
	struct arena arena = {NULL};
	assert_string_equal(text, text_valid_utf8(&arena, text));
	for (; *text != '\0'; text++)
		assert_true((unsigned char)*text >= ' ' || *text == '\n');
	arena_release(&arena);
}

static void render_all(const char *label) {
	static const char *const names[] = {"json", "markdown", "junit", "sarif", "github", "gitlab", "text"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct render_options options = {.source_root = "/srv/shop"};
		enum render_format format;
		char file_name[64];
		char *text = NULL;
		size_t length;
		FILE *stream = open_memstream(&text, &length);
		assert_true(render_find_format(names[i], &format));
		render_report(format, &report, &options, stream);
		assert_int_equal(0, fclose(stream));
		assert_true(length > 10 && strlen(text) == length);
		check_bytes(text);
		snprintf(file_name, sizeof file_name, "%s.%s", label, names[i]);
		keep(file_name, text);
		free(text);
	}
}

static void test_hostile(void **state) {
	(void)state;
	make_hostile();
	render_all("plain");
	report.gate = &outcome;
	render_all("gate");
	report_release(&report);
}

static void test_nothing(void **state) {
	(void)state;
	make_hostile();
	report.site_count = report.finding_count = report.test_count = 0;
	report.trust = (struct report_trust){.ok = true};
	report.run = (struct report_run){.id = "", .duration = NAN, .exit_code = REPORT_UNKNOWN};
	for (enum render_format format = 0; format < RENDER_FORMAT_COUNT; format++) {
		struct render_options options = {0};
		FILE *stream = fopen("/dev/null", "w");
		if (format != RENDER_TEXT) /* it is given no run without a start */
			render_report(format, &report, &options, stream);
		fclose(stream);
	}
	report_release(&report);
}

static void test_source_root(void **state) {
	(void)state;
	assert_string_equal("a/b.py", finding_text_relative("/srv/shop/a/b.py", "/srv/shop"));
	assert_string_equal("a/b.py", finding_text_relative("/srv/shop//a/b.py", "/srv/shop/"));
	assert_string_equal("/srv/shopping/b.py", finding_text_relative("/srv/shopping/b.py", "/srv/shop"));
	assert_string_equal("b.py", finding_text_relative("./b.py", "/srv/shop"));
	assert_string_equal("srv/b.py", finding_text_relative("/srv/b.py", "/"));
	assert_null(finding_text_relative(NULL, "/"));
}

static void test_test_names(void **state) {
	(void)state;
	struct arena arena = {NULL};
	assert_string_equal("a.py::test_b", report_tests_name(&arena, "a.py::test_b (call)"));
	assert_string_equal("a.py::test_b", report_tests_name(&arena, "a.py::test_b (teardown)"));
	assert_string_equal("make (call)", report_tests_name(&arena, "make (call)"));
	assert_null(report_tests_name(&arena, ""));
	arena_release(&arena);
}

int main(void) {
	const struct CMUnitTest unit_tests[] = {
		cmocka_unit_test(test_hostile), cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_source_root), cmocka_unit_test(test_test_names)};
	return cmocka_run_group_tests(unit_tests, NULL, NULL);
}
