/*
 * Rules one by one, on models made by hand: what makes a finding, and what looks alike and makes none. Times are
 * seconds after the beginning of the run, which ends after `END`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "analyzer/report/report.h"

enum { LEASES_MAX = 64, END = 1000 };

enum { POOL = 1 };
enum { TAKER = MODEL_SITE_FIRST, USER, SITES };

static struct model model;
static struct report report;
static struct report_settings settings;
static struct model_lease leases[LEASES_MAX];
static struct model_ended history[4096];
static struct model_use uses[4096];
static struct model_failure failures[4];
static struct model_frame frames[SITES];
static struct model_site sites[SITES];
static struct model_pool pools[2];
static struct model_process process;

static uint64_t at(double seconds) {
	return (uint64_t)((seconds + 1) * 1e9);
}

static void begin(void) {
	static const char *const names[SITES] = {"", "", "take", "use"};
	memset(leases, 0, sizeof leases);
	memset(history, 0, sizeof history);
	memset(sites, 0, sizeof sites);
	memset(pools, 0, sizeof pools);
	for (uint32_t i = MODEL_SITE_FIRST; i < SITES; i++) {
		frames[i] = (struct model_frame){.language = MODEL_PYTHON,
						 .module = MODEL_NO_MODULE,
						 .file = "/srv/shop.py",
						 .function = names[i],
						 .line = 10 * i};
		sites[i].frames = &frames[i];
		sites[i].frame_count = 1;
	}
	for (size_t i = 0; i < 2; i++) {
		pools[i].role = i == POOL ? "web" : "";
		pools[i].host = i == POOL ? "db" : "";
		pools[i].port = i == POOL ? "5432" : "";
		pools[i].database = i == POOL ? "shop" : "";
		pools[i].user = i == POOL ? "clerk" : "";
		pools[i].application_name = "";
	}
	process = (struct model_process){.pid = 7,
					 .exe = "/usr/bin/python3",
					 .script = "",
					 .role = "web",
					 .container = "",
					 .setting_problem = "",
					 .attached_ns = at(0)};
	settings = report_settings_standard();
	model = (struct model){.run = {.off_reason = "",
				       .host = "",
				       .tool_version = "",
				       .created_ns = at(0),
				       .until_ns = at(END),
				       .is_live = true},
			       .processes = &process,
			       .process_count = 1,
			       .process_total = 1,
			       .sites = sites,
			       .site_count = SITES,
			       .pools = pools,
			       .pool_count = 2,
			       .leases = leases,
			       .history = history,
			       .uses = uses,
			       .failures = failures,
			       .has_uses = true};
}

static void judge(void) {
	report_build(&report, &model, NULL, &settings);
}

static void end(void) {
	report_release(&report);
	model_release(&model);
}

static const struct finding *find(const char *kind) {
	for (size_t i = 0; i < report.finding_count; i++)
		if (strcmp(report.findings[i].finding->kind, kind) == 0)
			return report.findings[i].finding;
	return NULL;
}

static void assert_found(const char *kind, uint64_t count, enum finding_level level) {
	const struct finding *finding = find(kind);
	if (finding == NULL)
		fail_msg("no finding %s", kind);
	assert_int_equal(count, finding->count);
	assert_int_equal(level, finding->level);
	assert_true(strlen(finding->message) > 0);
	assert_true(finding->evidence_count <= FINDING_EVIDENCE_MAX);
}

static void assert_nothing(void) {
	for (size_t i = 0; i < report.finding_count; i++)
		fail_msg("unexpected finding %s: %s", report.findings[i].finding->kind,
			 report.findings[i].finding->message);
}

/* Open, idle since `idle_since`. */
static struct model_lease *add_lease(double taken, double idle_since) {
	struct model_lease *lease = &leases[model.lease_count++];
	*lease = (struct model_lease){.state = MODEL_LEASE_OPEN,
				      .pid = 7,
				      .thread = 70,
				      .backend_pid = 4000 + (int32_t)model.lease_count,
				      .site = TAKER,
				      .last_use_site = USER,
				      .pool = POOL,
				      .role = "web",
				      .test = "",
				      .was_established = true,
				      .begun_ns = at(taken),
				      .established_ns = at(taken),
				      .last_event_ns = at(idle_since),
				      .uses = 1,
				      .commands = 1,
				      .statement = "",
				      .until_ns = at(END)};
	return lease;
}

/* In use since `begun`, the last command ended at `idle_since`. */
static struct model_lease *add_used(double begun, double idle_since) {
	struct model_lease *lease = add_lease(begun, idle_since);
	lease->is_in_use = true;
	lease->is_in_transaction = true;
	lease->use_begun_ns = at(begun);
	return lease;
}

/* ---- Use that lasts ------------------------------------------------------------------------------- */

static void test_idle_in_transaction_by_level(void **state) {
	(void)state;
	static const struct {
		double idle;
		enum finding_level level;
	} cases[] = {{2, FINDING_NOTE}, {31, FINDING_WARNING}, {301, FINDING_ERROR}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		begin();
		add_used(END - cases[i].idle - 0.1, END - cases[i].idle);
		judge();
		assert_found("idle-in-transaction", 1, cases[i].level);
		assert_int_equal(USER, find("idle-in-transaction")->site);
		end();
	}
	begin();
	add_used(END - 0.9, END - 0.8);
	judge();
	assert_nothing();
	end();
}

static void test_ended_spans_count_by_the_configured_threshold(void **state) {
	(void)state;
	begin();
	for (int i = 0; i < 5; i++)
		histogram_add_value(&sites[USER].totals.time[MODEL_IDLE_SPAN_TIME], &model.arena,
				    UINT64_C(2000000000));
	sites[USER].totals.counter[MODEL_IDLE_SPANS] = 5;
	judge();
	assert_found("idle-in-transaction", 5, FINDING_NOTE);
	end();
	begin();
	for (int i = 0; i < 5; i++)
		histogram_add_value(&sites[USER].totals.time[MODEL_IDLE_SPAN_TIME], &model.arena,
				    UINT64_C(2000000000));
	settings.thresholds.idle_in_transaction_note = 3;
	judge();
	assert_nothing();
	end();
}

static void test_long_held_is_a_suspicion(void **state) {
	(void)state;
	begin();
	add_used(END - 61, END - 0.5);
	judge();
	assert_found("long-held", 1, FINDING_WARNING);
	assert_int_equal(FINDING_SUSPICION, find("long-held")->certainty);
	end();
}

/* However long: a command in flight is work. */
static void test_nobody_is_blamed_for_a_command_in_flight(void **state) {
	(void)state;
	begin();
	struct model_lease *lease = add_used(END - 900, END - 900);
	lease->is_active = true;
	lease->command_begun_ns = at(END - 900);
	judge();
	assert_null(find("long-held"));
	assert_null(find("idle-in-transaction"));
	assert_null(find("stranded"));
	assert_found("slow-query", 1, FINDING_NOTE);
	end();
}

static void test_the_dedicated_are_left_alone(void **state) {
	(void)state;
	begin();
	for (int i = 0; i < 9; i++)
		add_lease(1, 2)->is_dedicated = true;
	add_used(1, 2)->is_dedicated = true;
	struct model_lease *lease = add_lease(1, 1);
	lease->is_dedicated = true;
	lease->uses = 0;
	lease->commands = 0;
	judge();
	assert_nothing();
	end();
}

static void test_the_threshold_moves_what_is_long(void **state) {
	(void)state;
	begin();
	settings.thresholds.long_held = 2;
	settings.thresholds.idle_in_transaction_note = 100;
	add_used(END - 3, END - 2.5);
	judge();
	assert_found("long-held", 1, FINDING_WARNING);
	end();
}

/* ---- Idle ------------------------------------------------------------------------------------------- */

static void test_never_used(void **state) {
	(void)state;
	begin();
	struct model_lease *lease = add_lease(END - 31, END - 31);
	lease->uses = 0;
	lease->commands = 0;
	lease = add_lease(END - 29, END - 29);
	lease->uses = 0;
	lease->commands = 0;
	judge();
	assert_found("never-used", 1, FINDING_WARNING);
	end();
}

static void test_without_traffic_nothing_is_called_unused(void **state) {
	(void)state;
	begin();
	model.has_uses = false;
	struct model_lease *lease = add_lease(1, 1);
	lease->uses = 0;
	lease->commands = 0;
	judge();
	assert_nothing();
	end();
}

/* A: the same thread came back to the same place and opened more, while the first ones lie idle. */
static void test_stranded_is_a_suspicion_with_evidence(void **state) {
	(void)state;
	begin();
	add_lease(100, 101);
	add_lease(110, 111);
	add_lease(120, END - 1);
	judge();
	assert_found("stranded", 2, FINDING_WARNING);
	const struct finding *finding = find("stranded");
	assert_int_equal(FINDING_SUSPICION, finding->certainty);
	assert_string_equal("opened_since", finding->evidence[1].key);
	assert_int_equal(3, finding->evidence[1].count);
	end();
}

/* E: a second pool, elsewhere in the program. F: a connection per thread. D: a pool that was filled first. I: a
 * transaction on purpose. None of them is a leak, none is called one. */
static void test_what_looks_like_stranded(void **state) {
	(void)state;
	begin();
	add_lease(100, 101);
	add_lease(110, END - 1)->site = USER;
	judge();
	assert_nothing();
	end();
	begin();
	add_lease(100, 101);
	add_lease(110, END - 1)->thread = 71;
	judge();
	assert_nothing();
	end();
	begin();
	for (int i = 0; i < 5; i++)
		add_lease(100 + i, 500);
	judge();
	assert_nothing();
	end();
	begin();
	add_used(100, END - 0.5)->is_dedicated = true;
	add_lease(110, END - 1);
	judge();
	assert_nothing();
	end();
}

/* ---- Misuse ------------------------------------------------------------------------------------------- */

/* Both sites are told: the one that the finding is booked on, and in its words the other. */
static void test_two_uses_that_met_are_both_shown(void **state) {
	(void)state;
	static const struct {
		const char *kind;
		enum model_counter counter;
		enum model_release release;
		uint32_t first;
		uint32_t second;
		const char *words;
	} cases[] = {{"nested-lease", MODEL_NESTED_LEASE, MODEL_RELEASE_NESTED_LEASE, TAKER, USER,
		      "a thread inside a transaction at shop.py:"},
		     {"concurrent-use", MODEL_CONCURRENT_USE, MODEL_RELEASE_CONCURRENT_USE, USER, TAKER,
		      "on the same connection at shop.py:"}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		begin();
		struct model_ended example = {
			.release = cases[i].release, .site = cases[i].first, .release_site = cases[i].second};
		sites[USER].totals.counter[cases[i].counter] = 3;
		model.misuses = &example;
		model.misuse_count = 1;
		judge();
		const struct finding *finding = find(cases[i].kind);
		assert_non_null(strstr(finding->message, cases[i].words));
		end();
		begin();
		sites[USER].totals.counter[cases[i].counter] = 3;
		judge();
		assert_null(strstr(find(cases[i].kind)->message, cases[i].words));
		end();
	}
}

static void test_counted_misuse(void **state) {
	(void)state;
	static const struct {
		const char *kind;
		enum model_counter counter;
		enum model_finding_time time;
		enum finding_level level;
	} cases[] = {
		{"concurrent-use", MODEL_CONCURRENT_USE, MODEL_CONCURRENT_USE_SEEN, FINDING_ERROR},
		{"use-after-finish", MODEL_USE_AFTER_FINISH, MODEL_USE_AFTER_FINISH_SEEN, FINDING_ERROR},
		{"nested-lease", MODEL_NESTED_LEASE, MODEL_NESTED_LEASE_SEEN, FINDING_WARNING},
		{"server-closed", MODEL_SERVER_CLOSED, MODEL_SERVER_CLOSED_SEEN, FINDING_WARNING},
		{"slow-query", MODEL_SLOW_QUERIES, MODEL_SLOW_QUERY_SEEN, FINDING_NOTE},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		begin();
		sites[USER].totals.counter[cases[i].counter] = 3;
		sites[USER].totals.first_finding_ns[cases[i].time] = at(5);
		sites[USER].totals.last_finding_ns[cases[i].time] = at(6);
		judge();
		assert_found(cases[i].kind, 3, cases[i].level);
		assert_int_equal(1, report.finding_count);
		assert_int_equal(at(5), find(cases[i].kind)->first_ns);
		end();
	}
}

/* ---- Rates -------------------------------------------------------------------------------------------- */

static void add_ended(size_t count, double from, double every, enum model_release release,
		      uint32_t use_count) {
	for (size_t i = 0; i < count; i++)
		history[model.history_count++] =
			(struct model_ended){.release = release,
					     .pid = 7,
					     .site = TAKER,
					     .pool = POOL,
					     .role = "web",
					     .test = "",
					     .begun_ns = at(from + every * (double)i),
					     .established_ns = at(from + every * (double)i + 0.005),
					     .ended_ns = at(from + every * (double)i + 0.008),
					     .connect_ns = 5000000,
					     .uses = use_count,
					     .commands = use_count};
	struct model_totals *totals = &sites[TAKER].totals;
	totals->counter[release == MODEL_RELEASE_FAILED ? MODEL_FAILED : MODEL_FINISHED] += count;
	totals->counter[MODEL_ESTABLISHED] += release == MODEL_RELEASE_FAILED ? 0 : count;
	totals->first_ns = at(from);
	totals->last_ns = at(from + every * (double)count);
}

static void test_churn(void **state) {
	(void)state;
	begin();
	add_ended(1000, 100, 0.02, MODEL_RELEASE_FINISHED, 1); /* 50 a second, 5 ms each */
	judge();
	assert_found("churn", 1000, FINDING_WARNING);
	assert_string_equal("per_second", find("churn")->evidence[0].key);
	assert_int_equal(50, find("churn")->evidence[0].count);
	assert_int_equal(250, find("churn")->evidence[1].count);
	end();
}

static void test_what_looks_like_churn(void **state) {
	(void)state;
	static const struct {
		size_t count;
		double every;
		uint32_t uses;
	} cases[] = {
		{1000, 0.02, 3}, /* used more than once */
		{1000, 0.02, 0}, /* not used */
		{100, 0.02, 1},  /* two seconds */
		{1000, 0.5, 1},  /* twice a second */
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		begin();
		add_ended(cases[i].count, 100, cases[i].every, MODEL_RELEASE_FINISHED, cases[i].uses);
		judge();
		assert_nothing();
		end();
	}
}

static void test_retry_storm(void **state) {
	(void)state;
	begin();
	add_ended(30, 100, 0.05, MODEL_RELEASE_FAILED, 0); /* 20 a second */
	judge();
	assert_found("retry-storm", 20, FINDING_WARNING);
	end();
	begin();
	add_ended(100, 100, 0.2, MODEL_RELEASE_FAILED, 0); /* five a second for long */
	judge();
	assert_nothing();
	end();
	begin();
	add_ended(40, 100, 0.05, MODEL_RELEASE_FINISHED, 2);
	add_ended(10, 100, 0.2, MODEL_RELEASE_FAILED, 0); /* one of five fails */
	judge();
	assert_nothing();
	end();
}

static void test_reconnects_by_level(void **state) {
	(void)state;
	static const struct {
		uint64_t resets;
		int level; /* -1: none */
	} cases[] = {{3, -1}, {4, FINDING_WARNING}, {11, FINDING_ERROR}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		begin();
		pools[POOL].totals.counter[MODEL_RESETS] = cases[i].resets;
		pools[POOL].totals.counter[MODEL_ESTABLISHED] = 1;
		judge();
		if (cases[i].level < 0)
			assert_nothing();
		else
			assert_found("reconnects", cases[i].resets, (enum finding_level)cases[i].level);
		end();
	}
}

static struct model_cell cells[MODEL_METRIC_COUNT][8];

static void set_cells(enum model_metric metric, size_t count, const struct model_cell *from) {
	memcpy(cells[metric], from, count * sizeof *from);
	model.timeline.series[MODEL_SECONDS][metric] = (struct model_series){cells[metric], count};
}

static void set_timeline(uint32_t failed, uint32_t steady) {
	model.run.until_ns = at(60);
	set_cells(MODEL_METRIC_ATTEMPTS, 2, (struct model_cell[]){{0, 30}, {20, 5}});
	set_cells(MODEL_METRIC_FAILURES, 1, (struct model_cell[]){{0, failed}});
	set_cells(MODEL_METRIC_OPEN, 2, (struct model_cell[]){{0, steady}, {20, steady}});
	set_cells(MODEL_METRIC_OPEN_PEAK, 2, (struct model_cell[]){{0, 30}, {20, steady}});
}

static void test_stampede(void **state) {
	(void)state;
	begin();
	set_timeline(10, 8);
	judge();
	assert_found("stampede", 30, FINDING_WARNING);
	end();
	begin();
	set_timeline(10, 20); /* most are kept */
	judge();
	assert_nothing();
	end();
	begin();
	set_timeline(10, 8); /* as many later as at the start: others had the slots */
	cells[MODEL_METRIC_OPEN_PEAK][0].value = 8;
	judge();
	assert_nothing();
	end();
	begin();
	set_timeline(0, 8); /* no harm */
	judge();
	assert_nothing();
	end();
}

/* ---- Capacity ------------------------------------------------------------------------------------------- */

static void test_exhausted_is_a_fact(void **state) {
	(void)state;
	begin();
	failures[0] = (struct model_failure){"too_many_clients", "53300", "sorry", 4, at(5), at(6)};
	failures[1] = (struct model_failure){"auth", "28P01", "no", 9, at(5), at(6)};
	model.failure_count = 2;
	judge();
	assert_found("exhausted", 4, FINDING_ERROR);
	assert_int_equal(FINDING_FACT, find("exhausted")->certainty);
	end();
}

static void test_overflow_and_low_available(void **state) {
	(void)state;
	static const struct report_capacity capacities[] = {{.role = "w*", .capacity = 10, .base_size = 4}};
	begin();
	settings.capacities = capacities;
	settings.capacity_count = 1;
	for (int i = 0; i < 8; i++)
		add_lease(1, END - 1);
	judge();
	assert_found("overflow", 4, FINDING_WARNING);
	assert_null(find("low-available"));
	end();
	begin();
	settings.capacities = capacities;
	settings.capacity_count = 1;
	for (int i = 0; i < 7; i++)
		add_lease(1, END - 1);
	judge();
	assert_nothing(); /* three above the base */
	end();
	begin();
	settings.limit = 10;
	for (int i = 0; i < 10; i++) {
		struct model_lease *lease = add_used(END - 0.5, END - 0.4);
		lease->is_active = true;
		lease->command_begun_ns = at(END - 0.4);
	}
	judge();
	assert_found("low-available", 0, FINDING_WARNING);
	assert_true(find("low-available")->has_pool);
	assert_string_equal("critical", report.pools[0].status);
	assert_string_equal("Pool 'web': 100% utilized (10/10 active, 0 idle, waiting unknown)",
			    report.pools[0].sentence);
	end();
}

static void add_use(int32_t thread, double begun, double ended) {
	uses[model.use_count++] = (struct model_use){.weight = 1,
						     .begun_ns = at(begun),
						     .ended_ns = at(ended),
						     .site = USER,
						     .pool = POOL,
						     .pid = 7,
						     .thread = thread,
						     .statement = ""};
}

/* Five threads take turns with three connections, all in use at once: three is the capacity. */
static void test_capacity_by_its_plateau(void **state) {
	(void)state;
	for (int32_t threads = 2; threads <= 5; threads++) {
		begin();
		for (int32_t i = 0; i < 20 * threads; i++)
			add_use(100 + i % threads, i * 0.1, i * 0.1 + 0.25);
		pools[POOL].totals.open_peak = 3;
		pools[POOL].totals.in_use_peak = 3;
		pools[POOL].totals.counter[MODEL_ESTABLISHED] = 3;
		pools[POOL].totals.counter[MODEL_USES_ENDED] = 100;
		judge();
		if (threads > 3) {
			assert_int_equal(3, report.pools[0].capacity);
			assert_string_equal("inferred", report.pools[0].capacity_source);
		} else {
			assert_true(report.pools[0].capacity == REPORT_UNKNOWN);
		}
		end();
	}
}

/* One after the other: each new thread finds the one connection idle. */
static void test_threads_that_never_meet_show_no_plateau(void **state) {
	(void)state;
	begin();
	for (int32_t i = 0; i < 50; i++)
		add_use(100 + i, i, i + 0.9);
	pools[POOL].totals.open_peak = 1;
	pools[POOL].totals.in_use_peak = 1;
	pools[POOL].totals.counter[MODEL_ESTABLISHED] = 1;
	pools[POOL].totals.counter[MODEL_USES_ENDED] = 50;
	judge();
	assert_true(report.pools[0].capacity == REPORT_UNKNOWN);
	end();
}

/* An ended run is told by its mean; a role at two endpoints is told with them. */
static void test_sentences_of_an_ended_run(void **state) {
	(void)state;
	begin();
	model.run.is_live = false;
	settings.limit = 30;
	pools[POOL].totals.counter[MODEL_ESTABLISHED] = 12;
	pools[POOL].totals.counter[MODEL_USES_ENDED] = 100;
	pools[POOL].totals.first_ns = at(0);
	pools[POOL].totals.last_ns = at(100);
	pools[POOL].totals.open_peak = 12;
	pools[POOL].totals.in_use_peak = 9;
	histogram_add_value(&pools[POOL].totals.time[MODEL_USE_TIME], &model.arena, UINT64_C(690000000000));
	judge();
	assert_string_equal("Pool 'web': 23% utilized on average (6.9/30 active, peak 9)",
			    report.pools[0].sentence);
	assert_string_equal("healthy", report.pools[0].status);
	assert_true(report.pools[0].waiting == REPORT_UNKNOWN);
	end();
}

static void test_a_suspect_that_came_back(void **state) {
	(void)state;
	begin();
	add_use(100, 0, 100);
	uses[0].in_query_ns = at(0);
	add_use(100, 0, 100);
	uses[1].in_query_ns = UINT64_C(99500000000); /* half a second short of all of it */
	add_use(100, 0, 59);
	judge();
	assert_int_equal(1, report.totals.returned_late);
	end();
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_in_transaction_by_level),
		cmocka_unit_test(test_ended_spans_count_by_the_configured_threshold),
		cmocka_unit_test(test_long_held_is_a_suspicion),
		cmocka_unit_test(test_nobody_is_blamed_for_a_command_in_flight),
		cmocka_unit_test(test_the_dedicated_are_left_alone),
		cmocka_unit_test(test_the_threshold_moves_what_is_long),
		cmocka_unit_test(test_never_used),
		cmocka_unit_test(test_without_traffic_nothing_is_called_unused),
		cmocka_unit_test(test_stranded_is_a_suspicion_with_evidence),
		cmocka_unit_test(test_what_looks_like_stranded),
		cmocka_unit_test(test_counted_misuse),
		cmocka_unit_test(test_two_uses_that_met_are_both_shown),
		cmocka_unit_test(test_churn),
		cmocka_unit_test(test_what_looks_like_churn),
		cmocka_unit_test(test_retry_storm),
		cmocka_unit_test(test_reconnects_by_level),
		cmocka_unit_test(test_stampede),
		cmocka_unit_test(test_exhausted_is_a_fact),
		cmocka_unit_test(test_overflow_and_low_available),
		cmocka_unit_test(test_capacity_by_its_plateau),
		cmocka_unit_test(test_threads_that_never_meet_show_no_plateau),
		cmocka_unit_test(test_sentences_of_an_ended_run),
		cmocka_unit_test(test_a_suspect_that_came_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
