#include "analyzer/report/report_tests.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/hash_table.h"

static bool ends_with(const char *text, const char *end) {
	size_t length = strlen(text);
	size_t end_length = strlen(end);
	return length > end_length && strcmp(text + length - end_length, end) == 0;
}

const char *report_tests_name(struct arena *arena, const char *recorded) {
	static const char *const phases[] = {" (setup)", " (call)", " (teardown)"};
	if (recorded == NULL || *recorded == '\0')
		return NULL;
	for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
		if (strstr(recorded, "::") != NULL && ends_with(recorded, phases[i]))
			return arena_copy(arena, recorded, strlen(recorded) - strlen(phases[i]));
	return recorded;
}

struct seen_test {
	const char *name;
	uint64_t first_ns;
	int64_t attempts;
	UT_hash_handle hh; /* by name */
};

struct seen_tests {
	struct arena *arena;
	struct seen_test *by_name;
	size_t count;
};

static void add_attempt(struct seen_tests *tests, const char *recorded, uint64_t begun_ns) {
	const char *name = report_tests_name(tests->arena, recorded);
	struct seen_test *seen = NULL;
	if (name == NULL)
		return;
	HASH_FIND_STR(tests->by_name, name, seen);
	if (seen == NULL) {
		seen = arena_new(tests->arena, struct seen_test);
		*seen = (struct seen_test){.name = name, .first_ns = begun_ns};
		HASH_ADD_KEYPTR(hh, tests->by_name, seen->name, strlen(seen->name), seen);
		tests->count++;
	}
	seen->attempts++;
	if (begun_ns < seen->first_ns)
		seen->first_ns = begun_ns;
}

static int compare_first(const void *a, const void *b) {
	const struct seen_test *left = *(const struct seen_test *const *)a;
	const struct seen_test *right = *(const struct seen_test *const *)b;
	if (left->first_ns != right->first_ns)
		return left->first_ns < right->first_ns ? -1 : 1;
	return strcmp(left->name, right->name);
}

static void put_in_order(struct report *report, struct seen_tests *tests) {
	struct seen_test **order = arena_array(tests->arena, tests->count, sizeof(struct seen_test *));
	size_t count = 0;
	for (struct seen_test *at = tests->by_name; at != NULL; at = at->hh.next)
		order[count++] = at;
	qsort(order, count, sizeof(struct seen_test *), compare_first);
	report->tests = arena_array(&report->arena, count, sizeof *report->tests);
	report->test_count = count;
	for (size_t i = 0; i < count; i++)
		report->tests[i] = (struct report_test){order[i]->name, order[i]->attempts};
}

void report_tests_build(struct report *report, const struct model *model) {
	struct seen_tests tests = {.arena = &report->arena};
	for (size_t i = 0; i < model->lease_count; i++)
		add_attempt(&tests, model->leases[i].test, model->leases[i].begun_ns);
	for (size_t i = 0; i < model->history_count; i++)
		add_attempt(&tests, model->history[i].test, model->history[i].begun_ns);
	for (size_t i = 0; i < model->example_count; i++)
		if (model->examples[i].release != MODEL_RELEASE_BY_OTHER_PROCESS)
			add_attempt(&tests, model->examples[i].test, model->examples[i].begun_ns);
	put_in_order(report, &tests);
	HASH_CLEAR(hh, tests.by_name);
}
