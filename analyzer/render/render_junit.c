#include "analyzer/render/render_junit.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/hash_table.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

/* ---- XML: libxml2's writer lets control characters and invalid UTF-8 through --------------------- */

/* `text` is printable already, but for line breaks of ours. */
static const char *escaped(struct arena *arena, const char *text) {
	static const char *const entities[256] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&apos;"};
	size_t longest = strlen("&quot;");
	char *result = arena_array(arena, strlen(text) * longest + 1, 1);
	char *to = result;
	for (; *text != '\0'; text++) {
		const char *entity = entities[(unsigned char)*text];
		to = entity != NULL ? stpcpy(to, entity) : (*to = *text, to + 1);
	}
	return result;
}

/* ---- Cases, gathered before they are written: the suite begins with their numbers ----------------- */

enum case_problem { CASE_FINE, CASE_FAILURE, CASE_ERROR };

struct paragraph {
	const char *text;
	struct paragraph *next;
};

/* One place can be behind thousands of stacks. */
struct paragraphs {
	struct paragraph *first;
	struct paragraph *last;
};

struct test_case {
	const char *class_name;
	const char *name;
	enum case_problem problem;
	const char *type;          /* of the first problem */
	const char *message;       /* of the first problem */
	struct paragraphs details; /* of all problems */
	struct paragraphs remarks; /* what is no problem: notes, suppressed findings */
	struct test_case *next;
	UT_hash_handle hh; /* by key */
	char *key;
};

struct junit {
	const struct report *report;
	const struct render_options *options;
	struct arena arena;
	struct test_case *by_key;
	struct test_case *first;
	struct test_case **last;
	size_t count;
	size_t failures;
	size_t errors;
};

static struct test_case *find_case(struct junit *junit, const char *class_name, const char *name) {
	struct test_case *found = NULL;
	const char *printable_class = text_printable(&junit->arena, class_name);
	const char *printable_name = text_printable(&junit->arena, name);
	char *key = arena_text(&junit->arena, "%s\n%s", printable_class, printable_name);
	HASH_FIND_STR(junit->by_key, key, found);
	if (found != NULL)
		return found;
	found = arena_new(&junit->arena, struct test_case);
	*found = (struct test_case){.class_name = printable_class,
				    .name = *printable_name != '\0' ? printable_name : "?",
				    .key = key};
	HASH_ADD_KEYPTR(hh, junit->by_key, found->key, strlen(found->key), found);
	*junit->last = found;
	junit->last = &found->next;
	junit->count++;
	return found;
}

static void append(struct junit *junit, struct paragraphs *to, const char *text) {
	struct paragraph *added = arena_new(&junit->arena, struct paragraph);
	*added = (struct paragraph){.text = text};
	if (to->first == NULL)
		to->first = added;
	else
		to->last->next = added;
	to->last = added;
}

static void add_problem(struct junit *junit, struct test_case *to, enum case_problem problem,
			const char *type, const char *message, const char *details) {
	if (to->problem == CASE_FINE) {
		to->problem = problem;
		to->type = type;
		to->message = message;
		junit->failures += problem == CASE_FAILURE;
		junit->errors += problem == CASE_ERROR;
	}
	append(junit, &to->details, details);
}

/* "tests/test_shop.py::TestOrders::test_pay[a::b]" is class tests.test_shop.TestOrders, name test_pay[a::b], as pytest
 * itself has it. Other names stay whole. */
static struct test_case *find_test(struct junit *junit, const char *test) {
	size_t before_parameters = strcspn(test, "[");
	const char *separator = NULL;
	for (const char *at = strstr(test, "::"); at != NULL && (size_t)(at - test) < before_parameters;
	     at = strstr(at + 2, "::"))
		separator = at;
	if (separator == NULL)
		return find_case(junit, "pqlease.test", test);
	char *class_name = arena_array(&junit->arena, (size_t)(separator - test) + 1, 1);
	char *to = class_name;
	for (const char *at = test; at < separator; at++) {
		if (strncmp(at, ".py::", 5) == 0)
			at += 2;
		else if (strncmp(at, "::", 2) == 0)
			at += 1, *to++ = '.';
		else
			*to++ = *at == '/' ? '.' : *at;
	}
	return find_case(junit, class_name, separator + 2);
}

/* ---- Findings: to the tests that their leases were taken in, the rest to the place ------------------- */

static void add_finding(struct junit *junit, struct test_case *to, size_t index) {
	const struct report_finding *finding = &junit->report->findings[index];
	const char *root = junit->options->source_root;
	const char *title = finding_text_title(&junit->arena, junit->report, finding, root);
	const char *details = finding_text_details(&junit->arena, junit->report, finding, root);
	if (finding_text_fails(junit->report, index)) {
		add_problem(junit, to, CASE_FAILURE, finding->finding->kind, title,
			    arena_text(&junit->arena, "%s\n%s", title, details));
		return;
	}
	const struct gate_finding *judged = finding_text_gate(junit->report, index);
	const char *state =
		judged != NULL ? gate_state_name(judged->state) : finding_level_name(finding->finding->level);
	const char *reason = judged != NULL && judged->suppression != NULL
		? arena_text(&junit->arena, " (%s)", text_printable(&junit->arena, judged->suppression))
		: "";
	append(junit, &to->remarks, arena_text(&junit->arena, "%s: %s%s\n%s", state, title, reason, details));
}

static bool is_first_of_test(const struct report_finding *finding, size_t example) {
	for (size_t i = 0; i < example; i++)
		if (finding->examples[i].test != NULL &&
		    strcmp(finding->examples[i].test, finding->examples[example].test) == 0)
			return false;
	return true;
}

static void place_finding(struct junit *junit, size_t index) {
	const struct report_finding *finding = &junit->report->findings[index];
	uint64_t in_tests = 0;
	for (size_t i = 0; i < finding->example_count; i++) {
		const char *test = finding->examples[i].test;
		in_tests += test != NULL;
		if (test != NULL && is_first_of_test(finding, i))
			add_finding(junit, find_test(junit, test), index);
	}
	if (in_tests < finding->finding->count)
		add_finding(junit,
			    find_case(junit, "pqlease.place",
				      finding_text_where(&junit->arena, junit->report, finding,
							 junit->options->source_root)),
			    index);
}

static void add_tests(struct junit *junit) {
	for (size_t i = 0; i < junit->report->test_count; i++)
		find_test(junit, junit->report->tests[i].name);
}

static void add_places(struct junit *junit) {
	for (size_t i = 0; i < junit->report->site_count; i++)
		find_case(junit, "pqlease.place",
			  finding_text_place(&junit->arena, junit->report, junit->report->sites[i].id,
					     junit->options->source_root));
}

static void add_trust(struct junit *junit) {
	const struct report_trust *trust = &junit->report->trust;
	struct test_case *to = find_case(junit, "pqlease.run", "trust");
	for (size_t i = 0; i < trust->reason_count; i++) {
		const char *reason = text_printable(&junit->arena, trust->reasons[i]);
		if (trust->ok)
			append(junit, &to->remarks, reason);
		else
			add_problem(junit, to, CASE_ERROR, "untrusted", "the run cannot be trusted", reason);
	}
	if (!trust->ok && trust->reason_count == 0)
		add_problem(junit, to, CASE_ERROR, "untrusted", "the run cannot be trusted", "");
}

/* What the gate failed by besides findings: a budget, a stale baseline. */
static void add_gate_items(struct junit *junit) {
	const struct gate_outcome *gate = junit->report->gate;
	for (size_t i = 0; gate != NULL && i < gate->failure_count; i++) {
		const struct gate_failure *failure = &gate->failures[i];
		if (failure->finding != REPORT_UNKNOWN || strcmp(failure->item, "trust") == 0)
			continue;
		const char *message = text_printable(&junit->arena, failure->message);
		add_problem(junit, find_case(junit, "pqlease.gate", failure->item),
			    failure->is_untrusted ? CASE_ERROR : CASE_FAILURE, failure->item, message,
			    message);
	}
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

static void write_paragraphs(struct arena *arena, const struct paragraphs *from, FILE *stream) {
	for (const struct paragraph *at = from->first; at != NULL; at = at->next)
		fprintf(stream, "%s%s", at == from->first ? "" : "\n\n", escaped(arena, at->text));
}

static void write_case(struct junit *junit, const struct test_case *from, FILE *stream) {
	static const char *const elements[] = {NULL, "failure", "error"};
	struct arena *arena = &junit->arena;
	fprintf(stream, "    <testcase classname=\"%s\" name=\"%s\"", escaped(arena, from->class_name),
		escaped(arena, from->name));
	if (from->problem == CASE_FINE && from->remarks.first == NULL) {
		fputs("/>\n", stream);
		return;
	}
	fputs(">\n", stream);
	if (from->problem != CASE_FINE) {
		fprintf(stream, "      <%s type=\"%s\" message=\"%s\">", elements[from->problem],
			escaped(arena, from->type), escaped(arena, from->message));
		write_paragraphs(arena, &from->details, stream);
		fprintf(stream, "</%s>\n", elements[from->problem]);
	}
	if (from->remarks.first != NULL) {
		fputs("      <system-out>", stream);
		write_paragraphs(arena, &from->remarks, stream);
		fputs("</system-out>\n", stream);
	}
	fputs("    </testcase>\n", stream);
}

static const char *name_suite(struct junit *junit) {
	const struct report_run *run = &junit->report->run;
	return run->command_count > 0
		? arena_text(&junit->arena, "pqlease %s", text_printable(&junit->arena, run->command[0]))
		: "pqlease";
}

static void write_suite(struct junit *junit, FILE *stream) {
	const struct report_run *run = &junit->report->run;
	struct arena *arena = &junit->arena;
	double seconds = isfinite(run->duration) ? run->duration : 0;
	fprintf(stream, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	fprintf(stream,
		"<testsuites name=\"pqlease\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" time=\"%.3f\">\n",
		junit->count, junit->failures, junit->errors, seconds);
	fprintf(stream,
		"  <testsuite name=\"%s\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"0\" "
		"time=\"%.3f\"",
		escaped(arena, name_suite(junit)), junit->count, junit->failures, junit->errors, seconds);
	if (run->started != NULL)
		fprintf(stream, " timestamp=\"%.19s\"", run->started);
	if (run->host != NULL)
		fprintf(stream, " hostname=\"%s\"", escaped(arena, text_printable(arena, run->host)));
	fprintf(stream, ">\n    <properties>\n      <property name=\"run\" value=\"%s\"/>\n",
		escaped(arena, text_printable(arena, run->id)));
	fprintf(stream, "      <property name=\"verdict\" value=\"%s\"/>\n    </properties>\n",
		escaped(arena, text_printable(arena, junit->report->verdict.message)));
	for (const struct test_case *at = junit->first; at != NULL; at = at->next)
		write_case(junit, at, stream);
	fputs("  </testsuite>\n</testsuites>\n", stream);
}

void render_junit(const struct report *report, const struct render_options *options, FILE *stream) {
	struct junit junit = {.report = report, .options = options};
	junit.last = &junit.first;
	add_trust(&junit);
	add_tests(&junit);
	if (report->test_count == 0)
		add_places(&junit);
	for (size_t i = 0; i < report->finding_count; i++)
		place_finding(&junit, i);
	add_gate_items(&junit);
	write_suite(&junit, stream);
	HASH_CLEAR(hh, junit.by_key);
	arena_release(&junit.arena);
}
