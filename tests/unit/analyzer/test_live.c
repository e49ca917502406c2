/*
 * What live views make of a report: health words and documents, log lines at edges, restarts, history, metrics, and the
 * page of top. Reports are made by hand here.
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

#include "analyzer/live/edges.h"
#include "analyzer/live/health.h"
#include "analyzer/live/history.h"
#include "analyzer/judge/restarts.h"
#include "analyzer/render/metrics.h"
#include "analyzer/text.h"
#include "analyzer/top/top_page.h"

enum { POOLS = 3, PROCESSES = 6 };

struct made {
	struct report report;
	struct report_pool pools[POOLS];
	struct report_process processes[PROCESSES];
};

/* Numbers of one pool as the analyzer fills them. */
static struct report_pool pool_of(const char *name, int64_t open, int64_t in_use, int64_t capacity,
				  const char *status) {
	struct report_pool pool = {
		.role = name,
		.name = name,
		.open = open,
		.peak_open = open,
		.in_use = in_use,
		.idle = in_use != REPORT_UNKNOWN ? open - in_use : REPORT_UNKNOWN,
		.capacity = capacity,
		.capacity_source = "configured",
		.base_size = REPORT_UNKNOWN,
		.reserved = REPORT_UNKNOWN,
		.available = capacity != REPORT_UNKNOWN ? capacity - in_use : REPORT_UNKNOWN,
		.overflow = REPORT_UNKNOWN,
		.waiting = 0,
		.utilization = capacity != REPORT_UNKNOWN ? (double)in_use / (double)capacity : NAN,
		.status = status};
	return pool;
}

static void make(struct made *made) {
	memset(made, 0, sizeof *made);
	made->report.run.id = "0123456789abcdef0123456789abcdef";
	made->report.run.host = "db\\1 \"x\"";
	made->report.run.duration = 7200;
	made->report.run.live = true;
	made->report.trust.ok = true;
	made->report.totals = (struct report_totals){
		.in_use = REPORT_UNKNOWN, .uses = REPORT_UNKNOWN, .returned_late = REPORT_UNKNOWN};
	made->report.held = (struct report_held){NAN, NAN, NAN};
	made->report.created_realtime_ns = 1700000000000000000;
	made->report.until_realtime_ns = 1700000010500000000;
	made->report.pools = made->pools;
	made->report.processes = made->processes;
}

static struct health_subject subject_of(const struct report **report) {
	return (struct health_subject){report, 1};
}

/* ---- Health ----------------------------------------------------------------------------------------------- */

static void test_the_worst_pool_is_the_word_for_all(void **state) {
	static const struct {
		const char *pools[POOLS];
		const char *overall;
	} cases[] = {
		{{"healthy", "healthy", "healthy"}, "healthy"},
		{{"healthy", "unknown", "healthy"}, "degraded"},
		{{"unknown", "warning", "healthy"}, "warning"},
		{{"critical", "warning", "unknown"}, "critical"},
		{{"healthy", "exhausted", "warning"}, "critical"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct made made;
		make(&made);
		for (int j = 0; j < POOLS; j++)
			made.pools[j] = pool_of("p", 5, 5, 30, cases[i].pools[j]);
		made.report.pool_count = POOLS;
		const struct report *report = &made.report;
		struct health_subject subject = subject_of(&report);
		assert_string_equal(cases[i].overall, health_overall_word(&subject));
	}
	struct health_subject nothing = {NULL, 0};
	assert_string_equal("degraded", health_overall_word(&nothing));
}

static void assert_json(json_t *actual, const char *expected) {
	json_t *wanted = json_loads(expected, 0, NULL);
	assert_non_null(wanted);
	if (!json_equal(wanted, actual)) {
		char *text = json_dumps(actual, JSON_INDENT(1));
		print_error("got %s\n", text);
		free(text);
		fail();
	}
	json_decref(wanted);
	json_decref(actual);
}

/* Main 5 of 30 with 15 open, LISTEN 9 of 9: the numbers of a well-known readiness check. */
static void test_readiness_has_the_known_numbers(void **state) {
	struct made made;
	(void)state;
	make(&made);
	made.pools[0] = pool_of("main", 15, 5, 30, "healthy");
	made.pools[1] = pool_of("listen", 9, 9, 9, "healthy");
	made.report.pool_count = 2;
	const struct report *report = &made.report;
	struct health_subject subject = subject_of(&report);
	json_t *readiness = health_readiness(&subject);
	json_object_del(readiness, "timestamp");
	assert_json(readiness,
		    "{\"status\": \"healthy\", \"pools\": ["
		    "{\"poolName\": \"main\", \"totalCount\": 15, \"idleCount\": 10, \"waitingCount\": 0,"
		    " \"utilizationPercent\": 17, \"status\": \"healthy\","
		    " \"timestamp\": \"2023-11-14T22:13:30.500000Z\"},"
		    "{\"poolName\": \"listen\", \"totalCount\": 9, \"idleCount\": 0, \"waitingCount\": 0,"
		    " \"utilizationPercent\": 100, \"status\": \"healthy\","
		    " \"timestamp\": \"2023-11-14T22:13:30.500000Z\"}]}");
}

static void test_the_database_document_is_of_the_worst_pool(void **state) {
	struct made made;
	(void)state;
	make(&made);
	made.pools[0] = pool_of("main", 30, 28, 30, "critical");
	made.pools[0].base_size = 20;
	made.pools[0].overflow = 10;
	made.pools[1] = pool_of("other", 24, 24, 30, "warning");
	made.report.pool_count = 2;
	const struct report *report = &made.report;
	struct health_subject subject = subject_of(&report);
	assert_json(health_database(&subject, NULL, 0),
		    "{\"status\": \"critical\", \"pool\": \"main\", \"pool_size\": 20, \"max_overflow\": 10,"
		    " \"available\": 2, \"in_use\": 28, \"overflow_active\": 10, \"total_capacity\": 30,"
		    " \"usage_percent\": 93.3, \"timestamp\": \"2023-11-14T22:13:30.500000Z\"}");
	json_t *other = health_database(&subject, "other", 0);
	assert_string_equal("warning", json_string_value(json_object_get(other, "status")));
	assert_true(json_real_value(json_object_get(other, "usage_percent")) == 80.0);
	json_decref(other);
	assert_json(health_database(&subject, "nobody", 0),
		    "{\"status\": \"unknown\", \"message\": \"Pool monitor not initialized\"}");
}

static void test_unknown_is_null_and_never_zero(void **state) {
	struct made made;
	(void)state;
	make(&made);
	made.pools[0] = pool_of("main", 4, REPORT_UNKNOWN, REPORT_UNKNOWN, "unknown");
	made.pools[0].idle = REPORT_UNKNOWN;
	made.pools[0].waiting = REPORT_UNKNOWN;
	made.report.pool_count = 1;
	const struct report *report = &made.report;
	struct health_subject subject = subject_of(&report);
	json_t *everything = health_everything(&subject);
	static const char *const keys[] = {"pool_size",  "max_overflow",       "available",
					   "in_use",     "usage_percent",      "checkedout",
					   "checkedin",  "reserved",           "total_possible",
					   "is_healthy", "active_connections", "db_pool_max"};
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		assert_true(json_is_null(json_object_get(everything, keys[i])));
	const json_t *entry = json_array_get(json_object_get(everything, "pools"), 0);
	assert_int_equal(4, json_integer_value(json_object_get(entry, "totalCount")));
	assert_true(json_is_null(json_object_get(entry, "idleCount")));
	assert_true(json_is_null(json_object_get(entry, "waitingCount")));
	json_decref(everything);
}

/* ---- History ---------------------------------------------------------------------------------------------- */

static void test_history_carries_values_over_quiet_seconds(void **state) {
	struct made made;
	struct history_sample samples[HISTORY_MAX];
	static const struct model_cell cells[] = {{1, 4}, {4, 9}, {10, 1}};
	static struct model_timeline timeline;
	(void)state;
	make(&made);
	timeline.series[MODEL_SECONDS][MODEL_METRIC_OPEN] = (struct model_series){cells, 3};
	made.report.timeline = &timeline;
	assert_int_equal(10, history_take(samples, 100, &made.report, MODEL_SECONDS));
	static const int64_t expected[] = {0, 4, 4, 4, 9, 9, 9, 9, 9, 9};
	for (int i = 0; i < 10; i++) {
		assert_int_equal(expected[i], samples[i].open);
		assert_int_equal(REPORT_UNKNOWN, samples[i].in_use);
		assert_int_equal(1700000000 + i + 1, samples[i].end_realtime_ns / 1000000000);
	}
	assert_int_equal(5, history_take(samples, 5, &made.report, MODEL_SECONDS));
	assert_int_equal(9, samples[0].open);
	assert_int_equal(0, history_take(samples, 5, &made.report, MODEL_HOURS));
}

/* ---- Restarts --------------------------------------------------------------------------------------------- */

static struct report_process process_of(int64_t pid, const char *role, const char *started, const char *ended,
					const char *how) {
	return (struct report_process){.pid = pid,
				       .role = role,
				       .exe = "/bin/worker",
				       .started = started,
				       .ended = ended,
				       .how_ended = how};
}

static void test_only_who_vanished_and_came_back_was_restarted(void **state) {
	struct made made;
	struct arena arena = {0};
	struct restarts restarts;
	(void)state;
	make(&made);
	made.processes[0] = process_of(10, "web", "2023-01-01T00:00:01Z", "2023-01-01T00:00:05Z", "killed");
	made.processes[1] = process_of(11, "web", "2023-01-01T00:00:02Z", NULL, "running"); /* its sibling */
	made.processes[2] = process_of(12, "web", "2023-01-01T00:00:06Z", "2023-01-01T00:00:07Z", "unknown");
	made.processes[3] = process_of(13, "web", "2023-01-01T00:00:08Z", NULL, "running");
	made.processes[4] = process_of(14, "cron", "2023-01-01T00:00:08Z", "2023-01-01T00:00:09Z", "exit");
	made.processes[5] = process_of(15, "cron", "2023-01-01T00:00:10Z", NULL, "running");
	made.report.process_count = 6;
	restarts_find(&restarts, &arena, &made.report);
	assert_int_equal(2, restarts.count);
	assert_int_equal(12, restarts.all[0].gone->pid); /* newest first */
	assert_int_equal(13, restarts.all[0].successor->pid);
	assert_int_equal(10, restarts.all[1].gone->pid);
	assert_int_equal(12, restarts.all[1].successor->pid);
	assert_true(restarts.per_hour == 1.0); /* two in two hours */
	arena_release(&arena);
}

/* ---- Edges ------------------------------------------------------------------------------------------------- */

struct told {
	char text[4096];
};

static void tell(void *context, enum edge_severity severity, const char *pool, const char *message) {
	struct told *told = context;
	size_t length = strlen(told->text);
	snprintf(told->text + length, sizeof told->text - length, "%d %s %s\n", severity,
		 pool != NULL ? pool : "-", message);
}

static void assert_told(struct edges *edges, const struct report *report, const char *expected) {
	struct told told = {""};
	edges_look(edges, report, tell, &told);
	assert_string_equal(expected, told.text);
}

static void test_lines_come_at_edges_only(void **state) {
	struct thresholds thresholds = thresholds_standard();
	struct edges *edges = edges_new(&thresholds);
	struct made made;
	(void)state;
	make(&made);
	made.report.pool_count = 1;
	made.pools[0] = pool_of("main", 10, 7, 30, "healthy");
	assert_told(edges, &made.report, "0 main healthy: main\n");
	assert_told(edges, &made.report, "");
	made.pools[0] = pool_of("main", 30, 24, 30, "warning");
	made.pools[0].sentence = "Pool 'main': 80% utilized (24/30 active, 6 idle, 0 waiting)";
	assert_told(edges, &made.report,
		    "1 main warning: Pool 'main': 80% utilized (24/30 active, 6 idle, 0 waiting)\n"
		    "1 main Connection pool usage high: 80.0% (24/30)\n");
	assert_told(edges, &made.report, "");
	made.pools[0].waiting = 5;
	made.pools[0].overflow = 3;
	assert_told(edges, &made.report,
		    "0 main Pool overflow active: 3 overflow connections\n"
		    "2 main Pool 'main' has 5 waiting client(s)\n");
	made.pools[0] = pool_of("main", 30, 7, 30, "healthy");
	assert_told(edges, &made.report, "0 main healthy: main\n");
	made.report.run.live = false;
	made.pools[0] = pool_of("main", 0, 27, 30, "critical"); /* its mean */
	assert_told(edges, &made.report, "0 - the run has ended\n");
	edges_free(edges);
}

/* ---- Metrics ----------------------------------------------------------------------------------------------- */

static char *metrics_of(const struct report *report) {
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	const struct metrics_options options = {.with_aliases = true};
	metrics_write(&report, 1, &options, stream);
	fclose(stream);
	return text;
}

static void assert_has(const char *text, const char *part) {
	if (strstr(text, part) == NULL)
		print_error("%s\nis not in\n%s\n", part, text);
	assert_non_null(strstr(text, part));
}

static void test_metrics_escape_labels_and_leave_out_the_unknown(void **state) {
	struct made made;
	struct histogram times[MODEL_MEASURE_COUNT] = {{0}};
	struct arena arena = {0};
	(void)state;
	make(&made);
	made.report.pool_count = 2;
	made.pools[0] = pool_of("a\nb\"c\\d\xff", 4, 3, 30, "healthy");
	made.pools[1] = pool_of("blind", 4, REPORT_UNKNOWN, REPORT_UNKNOWN, "unknown");
	histogram_add_value(&times[MODEL_CONNECT_TIME], &arena, 3000000);
	histogram_add_value(&times[MODEL_CONNECT_TIME], &arena, 700000000);
	made.pools[0].distributions = times;
	char *text = metrics_of(&made.report);
	assert_has(text, "host=\"db\\\\1 \\\"x\\\"\"");
	assert_has(text, "role=\"a\\nb\\\"c\\\\d\xef\xbf\xbd\"");
	assert_has(text, "db_client_connection_state=\"used\"} 3\n");
	assert_has(text, "db_client_connection_state=\"idle\"} 1\n");
	assert_has(text, "le=\"0.0025\"} 0\n");
	assert_has(text, "le=\"0.005\"} 1\n");
	assert_has(text, "le=\"0.5\"} 1\n");
	assert_has(text, "le=\"1\"} 2\n");
	assert_has(text, "le=\"+Inf\"} 2\n");
	assert_has(text, "create_time_seconds_sum");
	assert_has(text, "} 0.703\n");
	assert_null(strstr(text, "nan"));
	assert_null(strstr(strstr(text, "# TYPE db_pool_checkedout"), "role=\"blind\""));
	free(text);
	arena_release(&arena);
}

static void test_sites_beyond_the_top_are_summed(void **state) {
	enum { LEASES = 3 * METRICS_TOP_SITES };
	struct made made;
	struct report_lease leases[LEASES] = {{0}};
	struct report_site sites[LEASES] = {{0}};
	struct site_frame frame = {.function = "f", .file = "x.c", .line = 1};
	struct site_frames frames = {.frames = &frame, .count = 1};
	char fingerprints[LEASES][8];
	(void)state;
	make(&made);
	for (int i = 0; i < LEASES; i++) {
		snprintf(fingerprints[i], sizeof fingerprints[i], "%04d", i);
		sites[i] =
			(struct report_site){.id = i + 2, .fingerprint = fingerprints[i], .frames = &frames};
		leases[i] = (struct report_lease){.site = i + 2, .role = i % 2 ? "odd" : "even"};
	}
	made.report.sites = sites;
	made.report.site_count = LEASES;
	made.report.open_leases = leases;
	made.report.open_lease_count = LEASES;
	char *text = metrics_of(&made.report);
	size_t series = 0;
	int sum = 0;
	for (const char *at = text; (at = strstr(at, "pqlease_site_connections_open{")) != NULL; at++) {
		series++;
		sum += atoi(strstr(at, "} ") + 2);
	}
	assert_int_equal(METRICS_TOP_SITES + 2, series);
	assert_int_equal(LEASES, sum);
	assert_has(text, "role=\"odd\",location=\"other\"");
	assert_has(text, "role=\"even\",location=\"other\"");
	free(text);
}

/* ---- top ----------------------------------------------------------------------------------------------------- */

static void assert_fits(struct top_page *page) {
	assert_true(page->count <= page->rows);
	for (size_t i = 0; i < page->count; i++)
		assert_true(text_width(page->lines[i].text) <= page->columns);
}

static void test_top_fits_every_size(void **state) {
	struct made made;
	struct top_state top = {0};
	struct report_lease leases[50] = {{0}};
	(void)state;
	make(&made);
	made.report.pool_count = 1;
	made.pools[0] = pool_of("ma\x1b[31min", 50, 28, 30, "critical");
	for (int i = 0; i < 50; i++)
		leases[i] = (struct report_lease){.pid = i,
						  .backend_pid = REPORT_UNKNOWN,
						  .role = "\xc3\xa4\xc3\xb6",
						  .state = "idle",
						  .age = i * 1000.0,
						  .idle_for = NAN,
						  .site = REPORT_UNKNOWN};
	made.report.open_leases = leases;
	made.report.open_lease_count = 50;
	for (size_t rows = 0; rows < 60; rows += 1 + rows / 4)
		for (size_t columns = 0; columns < 220; columns += 1 + columns / 4) {
			struct top_page page = {.rows = rows, .columns = columns, .is_ascii = rows % 2};
			top.selected[TOP_LEASES] = rows;
			top.list = TOP_LEASES;
			top_draw(&page, &top, &made.report, "NOTICE");
			assert_fits(&page);
			top_page_release(&page);
			top_draw(&page, &top, NULL, NULL);
			assert_fits(&page);
			top_page_release(&page);
		}
}

static void test_top_keys(void **state) {
	struct top_state top = {0};
	(void)state;
	assert_int_equal(TOP_IGNORED, top_take_key(&top, 'Z'));
	assert_int_equal(TOP_REDRAW, top_take_key(&top, '/'));
	for (const char *key = "qab"; *key != '\0'; key++)
		assert_int_equal(TOP_REDRAW, top_take_key(&top, *key));
	assert_string_equal("qab", top.filter);
	top_take_key(&top, TOP_KEY_BACKSPACE);
	assert_string_equal("qa", top.filter);
	for (int i = 0; i < 200; i++)
		top_take_key(&top, 'x');
	assert_int_equal(TOP_FILTER_BYTES - 1, strlen(top.filter));
	top_take_key(&top, TOP_KEY_ENTER);
	assert_false(top.is_typing);
	top_take_key(&top, TOP_KEY_UP);
	assert_int_equal(0, top.selected[TOP_SITES]);
	top_take_key(&top, TOP_KEY_ESCAPE);
	assert_string_equal("", top.filter);
	assert_int_equal(TOP_QUIT, top_take_key(&top, 'q'));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_worst_pool_is_the_word_for_all),
		cmocka_unit_test(test_readiness_has_the_known_numbers),
		cmocka_unit_test(test_the_database_document_is_of_the_worst_pool),
		cmocka_unit_test(test_unknown_is_null_and_never_zero),
		cmocka_unit_test(test_history_carries_values_over_quiet_seconds),
		cmocka_unit_test(test_only_who_vanished_and_came_back_was_restarted),
		cmocka_unit_test(test_lines_come_at_edges_only),
		cmocka_unit_test(test_metrics_escape_labels_and_leave_out_the_unknown),
		cmocka_unit_test(test_sites_beyond_the_top_are_summed),
		cmocka_unit_test(test_top_fits_every_size),
		cmocka_unit_test(test_top_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
