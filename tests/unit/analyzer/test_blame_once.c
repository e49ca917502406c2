/*
 * A lease is blamed once: each pair of rules of the table in rules.def that can speak of the same lease, on models made
 * by hand. Times are seconds after the beginning of the run, which ends after `END`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "analyzer/report/report.h"

enum { LEASES_MAX = 64, END = 1000, GROWN = 48 };
enum { TAKER = MODEL_SITE_FIRST, POOLED, SITES };

static struct model model;
static struct report report;
static struct report_settings settings;
static struct model_lease leases[LEASES_MAX];
static struct model_ended history[LEASES_MAX];
static struct model_releaser releasers[8];
static struct model_trend_cell trend[GROWN];
static struct model_frame frames[3];
static struct model_site sites[SITES];
static struct model_pool pool;
static struct model_process process;

static uint64_t at(double seconds) {
	return (uint64_t)((seconds + 1) * 1e9);
}

static struct model_frame frame_of(const char *file, const char *function) {
	return (struct model_frame){.language = MODEL_PYTHON,
				    .module = MODEL_NO_MODULE,
				    .file = file,
				    .function = function,
				    .line = 10};
}

static void begin(void) {
	memset(leases, 0, sizeof leases);
	memset(history, 0, sizeof history);
	memset(sites, 0, sizeof sites);
	memset(releasers, 0, sizeof releasers);
	frames[0] = frame_of("/opt/shop.py", "take");
	frames[1] = frame_of("/usr/lib/python3/dist-packages/psycopg2/pool.py", "_connect");
	frames[2] = frame_of("/opt/shop.py", "serve");
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
			       .pools = &pool,
			       .pool_count = 1,
			       .leases = leases,
			       .history = history,
			       .releasers = releasers,
			       .has_uses = true};
}

/* "kind count, kind count": all of them, in the order of the report. */
static void assert_findings(const char *expected) {
	char found[512] = "";
	report_build(&report, &model, NULL, &settings);
	for (size_t i = 0; i < report.finding_count; i++) {
		const struct finding *finding = report.findings[i].finding;
		size_t length = strlen(found);
		snprintf(found + length, sizeof found - length, "%s%s %u", i > 0 ? ", " : "", finding->kind,
			 (unsigned)finding->count);
	}
	assert_string_equal(expected, found);
	report_release(&report);
	model_release(&model);
}

static struct model_lease *add_lease(uint32_t site, double taken, double idle_since) {
	struct model_lease *lease = &leases[model.lease_count++];
	*lease = (struct model_lease){.state = MODEL_LEASE_OPEN,
				      .pid = 7,
				      .thread = 70,
				      .site = site,
				      .last_use_site = TAKER,
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

static struct model_lease *add_unused(uint32_t site) {
	struct model_lease *lease = add_lease(site, 100, 100);
	lease->uses = 0;
	lease->commands = 0;
	return lease;
}

/* Given back and taken again a moment ago, in use for long. */
static struct model_lease *add_used(uint32_t site) {
	struct model_lease *lease = add_lease(site, 100, END - 0.5);
	lease->is_in_use = true;
	lease->use_begun_ns = at(END - 100);
	return lease;
}

static void add_stranded(uint32_t site, bool is_orphan) {
	add_lease(site, 100, 101)->is_orphan = is_orphan;
	add_lease(site, 200, END - 1);
}

static void leave(enum model_left left, enum model_how_ended how) {
	process.is_gone = true;
	for (size_t i = 0; i < model.lease_count; i++) {
		leases[i].is_owner_gone = true;
		leases[i].left = left;
		leases[i].how = how;
	}
}

static void add_release(uint32_t site, uint32_t facts, bool was_used) {
	releasers[model.releaser_count++] = (struct model_releaser){.site = site,
								    .release_site = site,
								    .facts = facts,
								    .count = 1,
								    .first_ns = at(END - 1),
								    .last_ns = at(END - 1)};
	history[model.history_count++] = (struct model_ended){.release = MODEL_RELEASE_FINISHED,
							      .pid = 7,
							      .site = site,
							      .release_site = site,
							      .release_facts = facts,
							      .role = "web",
							      .test = "",
							      .begun_ns = at(100),
							      .established_ns = at(100),
							      .ended_ns = at(END - 1),
							      .uses = was_used,
							      .commands = was_used};
	sites[site].totals.counter[MODEL_ESTABLISHED]++;
	sites[site].totals.counter[MODEL_FINISHED]++;
	sites[site].totals.counter[MODEL_FINISHED_UNUSED] += !was_used;
}

/* One more is open every twenty seconds; nothing says yet what became of them. */
static void grow(void) {
	for (uint32_t i = 0; i < GROWN; i++)
		trend[i] = (struct model_trend_cell){(uint64_t)i * 20 * 1000000000u, i, i + 1};
	sites[TAKER].trend = trend;
	sites[TAKER].trend_count = GROWN;
}

static void grow_with_leases(void (*change)(struct model_lease *lease, uint32_t number)) {
	grow();
	for (uint32_t i = 0; i < GROWN; i++)
		change(add_lease(TAKER, 20 * i, 20 * i + 1), i);
}

/* ---- Left ------------------------------------------------------------------------------------------ */

static void test_what_was_left_is_neither_unused_nor_stranded(void **state) {
	(void)state;
	begin();
	add_unused(TAKER);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("never-finished 1");
	begin();
	add_stranded(TAKER, false);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("never-finished 2");
	begin();
	add_used(TAKER);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("never-finished 1");
	begin();
	add_unused(TAKER);
	add_stranded(TAKER, false);
	leave(MODEL_LEFT_OPEN, MODEL_KILLED);
	assert_findings("killed 3");
}

/* ---- Orphans ---------------------------------------------------------------------------------------- */

static void test_an_orphan_is_nothing_else(void **state) {
	(void)state;
	begin();
	add_stranded(TAKER, true);
	assert_findings("owner-thread-gone 1");
	begin();
	add_used(TAKER)->is_orphan = true;
	assert_findings("owner-thread-gone 1");
	begin();
	add_unused(TAKER)->is_orphan = true;
	assert_findings("owner-thread-gone 1");
	begin();
	add_unused(TAKER);
	leave(MODEL_LEFT_ORPHANED, MODEL_EXIT);
	assert_findings("owner-thread-gone 1");
	begin();
	add_release(TAKER, MODEL_FACT_FINALIZING | MODEL_FACT_ORPHAN, false);
	add_release(TAKER, MODEL_FACT_COLLECTING | MODEL_FACT_ORPHAN, true);
	assert_findings("owner-thread-gone 2");
	begin();
	add_release(TAKER, MODEL_FACT_ORPHAN, true);
	assert_findings("");
}

/* ---- Pools ------------------------------------------------------------------------------------------ */

/* A pool lends to one thread what another has opened: who took it says nothing. */
static void test_of_a_pool_no_lease_goes_unsaid(void **state) {
	(void)state;
	begin();
	add_used(POOLED)->is_orphan = true;
	assert_findings("long-held 1");
	begin();
	add_lease(POOLED, 100, 101);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("pool-retained 1");
	begin();
	add_lease(POOLED, 100, 101);
	leave(MODEL_LEFT_ORPHANED, MODEL_EXIT);
	assert_findings("pool-retained 1");
	begin();
	add_lease(POOLED, 100, 101);
	leave(MODEL_LEFT_ORPHANED, MODEL_KILLED);
	assert_findings("killed 1");
	begin();
	add_release(POOLED, MODEL_FACT_FINALIZING, true);
	add_release(POOLED, MODEL_FACT_FINALIZING | MODEL_FACT_ORPHAN, true);
	assert_findings("pool-retained 2");
	begin();
	add_release(POOLED, MODEL_FACT_COLLECTING | MODEL_FACT_ORPHAN, true);
	assert_findings("finalizer-closed 1");
}

static struct model_lease *leave_used(uint32_t site) {
	struct model_lease *lease = add_lease(site, 100, 101);
	lease->is_in_use = true;
	lease->use_begun_ns = at(100);
	return lease;
}

/* What was in use had been taken from the pool: no pool has it. */
static void test_what_a_pool_lent_is_blamed_where_it_was_used(void **state) {
	static struct model_releaser left_in_use;
	(void)state;
	begin();
	leave_used(POOLED);
	add_lease(POOLED, 100, 101);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("never-finished 1, pool-retained 1");
	begin();
	left_in_use = (struct model_releaser){
		.site = POOLED, .facts = MODEL_FACT_LEFT | MODEL_FACT_IN_USE, .use_site = TAKER, .count = 2};
	model.left_in_use = &left_in_use;
	model.left_in_use_count = 1;
	sites[POOLED].totals.unreleased[MODEL_LEFT_OPEN][MODEL_EXIT] = 3;
	assert_findings("never-finished 2, pool-retained 1");
	begin();
	add_release(POOLED, MODEL_FACT_FINALIZING | MODEL_FACT_IN_USE, true);
	releasers[0].use_site = TAKER;
	add_release(POOLED, MODEL_FACT_FINALIZING, true);
	assert_findings("exit-closed 1, pool-retained 1");
}

static void test_what_was_not_a_pools_is_blamed_where_it_was_taken(void **state) {
	(void)state;
	begin();
	leave_used(TAKER);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("never-finished 1");
	begin();
	add_release(TAKER, MODEL_FACT_FINALIZING | MODEL_FACT_IN_USE, true);
	assert_findings("exit-closed 1");
}

static void test_a_pool_is_not_blamed_for_what_was_at_work_or_killed(void **state) {
	(void)state;
	begin();
	leave_used(POOLED)->command_begun_ns = at(101);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("pool-retained 1");
	begin();
	leave_used(POOLED)->is_dedicated = true;
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("pool-retained 1");
	begin();
	leave_used(POOLED);
	leave(MODEL_LEFT_OPEN, MODEL_KILLED);
	assert_findings("killed 1");
	begin();
	add_release(POOLED, MODEL_FACT_IN_USE, true);
	assert_findings("");
}

/* ---- Closed ----------------------------------------------------------------------------------------- */

static void test_what_was_closed_too_late_is_not_unused_as_well(void **state) {
	(void)state;
	begin();
	add_release(TAKER, MODEL_FACT_FINALIZING, false);
	assert_findings("exit-closed 1");
	begin();
	add_release(TAKER, MODEL_FACT_COLLECTING, false);
	assert_findings("finalizer-closed 1");
	begin();
	add_release(TAKER, 0, false);
	assert_findings("never-used 1");
	begin();
	add_release(TAKER, MODEL_FACT_FINALIZING, true);
	add_release(TAKER, MODEL_FACT_COLLECTING, true);
	assert_findings("exit-closed 1, finalizer-closed 1"); /* two leases */
}

/* ---- Growth ----------------------------------------------------------------------------------------- */

static void stay(struct model_lease *lease, uint32_t number) {
	(void)lease;
	(void)number;
}

static void orphan(struct model_lease *lease, uint32_t number) {
	(void)number;
	lease->is_orphan = true;
}

static void orphan_each_fourth(struct model_lease *lease, uint32_t number) {
	lease->is_orphan = number % 4 == 0;
}

static void do_not_use(struct model_lease *lease, uint32_t number) {
	(void)number;
	lease->uses = 0;
	lease->commands = 0;
}

static void use_for_long(struct model_lease *lease, uint32_t number) {
	(void)number;
	lease->is_in_use = true;
	lease->use_begun_ns = lease->established_ns;
	lease->last_event_ns = at(END - 0.5);
}

static void test_what_grows_is_nothing_else(void **state) {
	(void)state;
	begin();
	grow_with_leases(stay);
	assert_findings("growing 44");
	begin();
	grow_with_leases(do_not_use);
	assert_findings("growing 44");
	begin();
	grow_with_leases(use_for_long);
	assert_findings("growing 44");
	begin();
	grow_with_leases(stay);
	leave(MODEL_LEFT_OPEN, MODEL_KILLED);
	assert_findings("growing 44");
	begin();
	grow_with_leases(stay);
	leave(MODEL_LEFT_OPEN, MODEL_EXIT);
	assert_findings("never-finished 48");
	begin();
	grow();
	add_release(TAKER, MODEL_FACT_DEALLOCATING, true);
	releasers[0].count = GROWN;
	assert_findings("growing 44");
}

static void test_the_threshold_moves_what_is_a_trend(void **state) {
	(void)state;
	begin();
	settings.thresholds.growth_span = END + 1;
	for (uint32_t i = 0; i < GROWN; i++)
		add_lease(TAKER, 20 * i, END - 1);
	grow();
	assert_findings("");
	begin();
	settings.thresholds.growth_span = END - 60;
	for (uint32_t i = 0; i < GROWN; i++)
		add_lease(TAKER, 20 * i, END - 1);
	grow();
	assert_findings("growing 44");
}

static void test_orphans_do_not_grow_as_well(void **state) {
	(void)state;
	begin();
	grow_with_leases(orphan);
	assert_findings("owner-thread-gone 48");
	begin();
	grow_with_leases(orphan_each_fourth);
	assert_findings("owner-thread-gone 12, growing 32");
}

/* ---- Uses --------------------------------------------------------------------------------------------- */

static void test_a_transaction_that_waits_for_long_is_a_fact_and_no_suspicion(void **state) {
	(void)state;
	begin();
	struct model_lease *lease = add_used(TAKER);
	lease->is_in_transaction = true;
	lease->last_event_ns = at(END - 99);
	assert_findings("idle-in-transaction 1");
	begin();
	add_used(TAKER)->is_in_transaction = true; /* busy a moment ago */
	assert_findings("long-held 1");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_left_is_neither_unused_nor_stranded),
		cmocka_unit_test(test_an_orphan_is_nothing_else),
		cmocka_unit_test(test_of_a_pool_no_lease_goes_unsaid),
		cmocka_unit_test(test_what_a_pool_lent_is_blamed_where_it_was_used),
		cmocka_unit_test(test_what_was_not_a_pools_is_blamed_where_it_was_taken),
		cmocka_unit_test(test_a_pool_is_not_blamed_for_what_was_at_work_or_killed),
		cmocka_unit_test(test_what_was_closed_too_late_is_not_unused_as_well),
		cmocka_unit_test(test_what_grows_is_nothing_else),
		cmocka_unit_test(test_the_threshold_moves_what_is_a_trend),
		cmocka_unit_test(test_orphans_do_not_grow_as_well),
		cmocka_unit_test(test_a_transaction_that_waits_for_long_is_a_fact_and_no_suspicion),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
