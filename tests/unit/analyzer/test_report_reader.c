/* Reports that come back: what was written as JSON is read as the same report; what is not ours is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/render/render.h"
#include "analyzer/report/report.h"
#include "analyzer/report/report_reader.h"

static char golden_path[512];

static char *read_golden(const char *name, size_t *length) {
	const char *source = __FILE__; /* below the root of the checkout */
	int root_length = (int)(strstr(source, "tests/unit/") - source);
	snprintf(golden_path, sizeof golden_path, "%.*stests/golden/%s", root_length, source, name);
	FILE *stream = fopen(golden_path, "r");
	assert_non_null(stream);
	char *text = malloc(1 << 20);
	*length = fread(text, 1, (1 << 20) - 1, stream);
	text[*length] = '\0';
	fclose(stream);
	return text;
}

static void test_what_was_written_comes_back(void **state) {
	(void)state;
	static const char *const names[] = {"report_kinds.json", "report_leak.json", "report_nothing.json"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct report report;
		struct gate_error error = {"", ""};
		const struct render_options options = {0};
		char *written = NULL;
		size_t length;
		size_t written_length = 0;
		char *text = read_golden(names[i], &length);
		if (!report_reader_read(&report, golden_path, &error))
			fail_msg("%s: %s", error.place, error.why);
		FILE *stream = open_memstream(&written, &written_length);
		render_report(RENDER_JSON, &report, &options, stream);
		fclose(stream);
		assert_string_equal(text, written);
		report_release(&report);
		free(text);
		free(written);
	}
}

/* Each case changes one member of a good report, named by a path of keys and numbers. */
static void test_what_is_refused(void **state) {
	(void)state;
	static const struct {
		const char *parent; /* "" the report itself */
		const char *key;
		const char *value; /* JSON; NULL: taken out */
		const char *why;
	} cases[] = {
		{"", "schema", "\"pqlease/report-2\"", "schema"},
		{"", "schema", NULL, "schema"},
		{"", "findings", NULL, "findings: not a list"},
		{"", "sites", "[]", "site: is none of the sites"},
		{"", "sites", "[3]", "sites[0]: not an object"},
		{"trust", "ok", "1", "trust.ok"},
		{"trust", "ok", NULL, "trust.ok"},
		{"trust", "reasons", "\"x\"", "trust.reasons"},
		{"run", "id", "null", "run.id"},
		{"run", "live", "\"no\"", "run.live"},
		{"totals", "established", "-1", "totals.established"},
		{"totals", "established", "1.5", "totals.established"},
		{"totals", "established", "null", "totals.established"},
		{"findings[0]", "kind", "\"A kind\"", "findings[0].kind"},
		{"findings[0]", "level", "\"fatal\"", "findings[0].level"},
		{"findings[0]", "fingerprint", "\"123\"", "findings[0].fingerprint"},
		{"findings[0]", "count", "\"3\"", "findings[0].count"},
		{"findings[0]", "site", "77", "findings[0].site"},
		{"findings[0]", "pool", "77", "findings[0].pool"},
		{"findings[0]", "message", "null", "findings[0].message"},
	};
	size_t length;
	char *text = read_golden("report_leak.json", &length);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct report report;
		struct gate_error error = {"", ""};
		json_t *json = json_loadb(text, length, 0, NULL);
		json_t *parent = json;
		if (strcmp(cases[i].parent, "findings[0]") == 0)
			parent = json_array_get(json_object_get(json, "findings"), 0);
		else if (*cases[i].parent != '\0')
			parent = json_object_get(json, cases[i].parent);
		assert_non_null(parent);
		if (cases[i].value != NULL)
			json_object_set_new(parent, cases[i].key,
					    json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
		else
			json_object_del(parent, cases[i].key);
		char *changed = json_dumps(json, 0);
		assert_false(report_reader_parse(&report, "r", changed, strlen(changed), &error));
		if (strstr(error.why, cases[i].why) == NULL)
			fail_msg("%s.%s: %s: %s", cases[i].parent, cases[i].key, error.place, error.why);
		report_release(&report);
		free(changed);
		json_decref(json);
	}
	free(text);
}

static void test_syntax_has_a_place(void **state) {
	(void)state;
	static const char *const cases[] = {"",    "{",    "{\"a\": 1,}", "{\"a\": 1, \"a\": 2}",
					    "[1]", "{} x", "\x7f"};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct report report;
		struct gate_error error = {NULL, NULL};
		assert_false(report_reader_parse(&report, "r", cases[i], strlen(cases[i]), &error));
		assert_int_equal(0, strncmp(error.place, "r", 1));
		assert_true(*error.why != '\0');
		report_release(&report);
	}
}

/* A report cut anywhere is never a good one. */
static void test_cut_reports(void **state) {
	(void)state;
	size_t length;
	char *text = read_golden("report_leak.json", &length);
	for (size_t cut = 0; cut + 2 < length; cut += 7) {
		struct report report;
		struct gate_error error;
		assert_false(report_reader_parse(&report, "r", text, cut, &error));
		report_release(&report);
	}
	free(text);
}

/* As a report of the ledger says it. */
static void test_findings_about_no_place_say_so(void **state) {
	(void)state;
	struct report report;
	struct gate_error error;
	size_t length;
	size_t seen = 0;
	char *text = read_golden("report_kinds.json", &length);
	assert_true(report_reader_parse(&report, "r", text, length, &error));
	for (size_t i = 0; i < report.finding_count; i++) {
		if (strcmp(report.findings[i].finding->kind, "exhausted") != 0)
			continue;
		seen++;
		assert_string_equal("the whole run",
				    finding_text_where(&report.arena, &report, &report.findings[i], NULL));
	}
	assert_int_equal(1, seen);
	report_release(&report);
	free(text);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_written_comes_back),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_syntax_has_a_place),
		cmocka_unit_test(test_cut_reports),
		cmocka_unit_test(test_findings_about_no_place_say_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
