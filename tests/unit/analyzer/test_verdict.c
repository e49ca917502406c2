/* What the headline says and advises, on models made by hand. Times are seconds after the beginning of the run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "analyzer/report/report.h"

enum { TAKER = MODEL_SITE_FIRST, POOLED, SITES };

static struct model model;
static struct report report;
static struct report_settings settings;
static struct model_lease leases[16];
static struct model_frame frames[3];
static struct model_site sites[SITES];
static struct model_pool pool;
static struct model_process process;

static uint64_t at(double seconds) {
	return (uint64_t)((seconds + 1) * 1e9);
}

static void set_frame(size_t number, enum model_language language, const char *file, const char *function) {
	frames[number] = (struct model_frame){.language = language,
					      .module = MODEL_NO_MODULE,
					      .file = file,
					      .function = function,
					      .line = 10};
}

static void begin(uint64_t finished) {
	memset(leases, 0, sizeof leases);
	memset(sites, 0, sizeof sites);
	set_frame(0, MODEL_PYTHON, "/opt/shop.py", "take");
	set_frame(1, MODEL_PYTHON, "/usr/lib/python3/dist-packages/psycopg2/pool.py", "_connect");
	set_frame(2, MODEL_PYTHON, "/opt/shop.py", "serve");
	sites[TAKER].frames = frames;
	sites[TAKER].frame_count = 1;
	sites[POOLED].frames = frames + 1;
	sites[POOLED].frame_count = 2;
	pool = (struct model_pool){.role = "web",
				   .host = "db",
				   .port = "5432",
				   .database = "shop",
				   .user = "clerk",
				   .application_name = ""};
	pool.totals.counter[MODEL_ESTABLISHED] = finished;
	pool.totals.counter[MODEL_FINISHED] = finished;
	process = (struct model_process){.pid = 7,
					 .exe = "/usr/bin/python3",
					 .script = "",
					 .role = "web",
					 .container = "",
					 .setting_problem = "",
					 .attached_ns = at(0),
					 .is_gone = true};
	settings = report_settings_standard();
	model = (struct model){.run = {.off_reason = "",
				       .host = "",
				       .tool_version = "",
				       .created_ns = at(0),
				       .until_ns = at(60)},
			       .processes = &process,
			       .process_count = 1,
			       .process_total = 1,
			       .sites = sites,
			       .site_count = SITES,
			       .pools = &pool,
			       .pool_count = 1,
			       .leases = leases,
			       .has_uses = true};
}

static void leave(uint32_t site, enum model_left left, enum model_how_ended how) {
	pool.totals.counter[MODEL_ESTABLISHED]++;
	leases[model.lease_count++] = (struct model_lease){.state = MODEL_LEASE_OPEN,
							   .pid = 7,
							   .site = site,
							   .role = "web",
							   .test = "",
							   .was_established = true,
							   .begun_ns = at(1),
							   .established_ns = at(1),
							   .last_event_ns = at(2),
							   .uses = 1,
							   .commands = 1,
							   .statement = "",
							   .is_owner_gone = true,
							   .left = left,
							   .how = how,
							   .until_ns = at(50)};
}

static void judge(void) {
	report_build(&report, &model, NULL, &settings);
}

static void end(void) {
	report_release(&report);
	model_release(&model);
}

static void assert_message(const char *cause, const char *message) {
	judge();
	assert_string_equal(cause, report.verdict.cause);
	assert_string_equal(message, report.verdict.message);
	end();
}

/* ---- Headlines --------------------------------------------------------------------------------------- */

static void test_what_lay_in_a_pool_was_not_killed(void **state) {
	(void)state;
	begin(5);
	for (int i = 0; i < 3; i++)
		leave(POOLED, MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_message("none",
		       "No leak found: of 8 connections 5 were finished and 3 were left in a pool when the "
		       "process ended.");
	begin(0);
	leave(POOLED, MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_message("none", "No leak found: of 1 connection 1 was left in a pool when the process ended.");
}

static void test_each_end_is_told_for_itself(void **state) {
	(void)state;
	begin(5);
	leave(POOLED, MODEL_LEFT_OPEN, MODEL_EXIT);
	leave(TAKER, MODEL_LEFT_OPEN, MODEL_KILLED);
	leave(TAKER, MODEL_LEFT_OPEN, MODEL_KILLED);
	assert_message(
		"none",
		"No leak found: of 8 connections 5 were finished, 1 was left in a pool when the process "
		"ended and 2 were held by a process that was killed.");
}

static void test_only_who_vanished_is_said_to_have(void **state) {
	(void)state;
	begin(5);
	leave(TAKER, MODEL_LEFT_OPEN, MODEL_UNKNOWN);
	assert_message("unsure",
		       "Unsure: connections were held by processes that vanished; whether that is a leak "
		       "cannot be told.");
	begin(5);
	model.has_uses = false; /* so that another thread may have it */
	leave(TAKER, MODEL_LEFT_ORPHANED, MODEL_EXIT);
	assert_message("unsure", "Unsure: connections are perhaps not given back; see the findings.");
}

/* ---- Advice -------------------------------------------------------------------------------------------- */

static const struct {
	enum model_language language;
	const char *file;
	const char *word; /* that only this language's advice has */
} languages[] = {
	{MODEL_NATIVE, "/opt/shop.c", "PQfinish"}, {MODEL_PYTHON, "/opt/shop.py", "contextlib.closing"},
	{MODEL_PHP, "/opt/shop.php", "pg_close"},  {MODEL_RUBY, "/opt/shop.rb", "ensure"},
	{MODEL_PERL, "/opt/shop.pl", "die"},       {MODEL_NODE, "/opt/shop.js", "end()"},
};

enum { LANGUAGES = sizeof languages / sizeof languages[0] };

static void judge_leak_in(size_t number, enum model_left left) {
	begin(0);
	set_frame(0, languages[number].language, languages[number].file, "take");
	leave(TAKER, left, MODEL_EXIT);
	judge();
	assert_string_equal("leak", report.verdict.cause);
	assert_true(report.verdict.advice_count > 0);
}

static void test_advice_is_in_the_language_of_the_place(void **state) {
	(void)state;
	for (size_t i = 0; i < LANGUAGES; i++) {
		judge_leak_in(i, MODEL_LEFT_OPEN);
		for (size_t j = 0; j < LANGUAGES; j++)
			assert_int_equal(i == j, strstr(report.verdict.advice[0], languages[j].word) != NULL);
		end();
	}
}

static void test_advice_about_failed_ones_is_so_too(void **state) {
	(void)state;
	for (size_t i = 0; i < LANGUAGES; i++) {
		judge_leak_in(i, MODEL_LEFT_FAILED);
		assert_int_equal(i == 0, strstr(report.verdict.advice[0], "PQfinish") != NULL);
		assert_non_null(strstr(report.verdict.advice[0], "has failed"));
		end();
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_lay_in_a_pool_was_not_killed),
		cmocka_unit_test(test_each_end_is_told_for_itself),
		cmocka_unit_test(test_only_who_vanished_is_said_to_have),
		cmocka_unit_test(test_advice_is_in_the_language_of_the_place),
		cmocka_unit_test(test_advice_about_failed_ones_is_so_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
