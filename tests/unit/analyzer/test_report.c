/*
 * Whole reports of ledgers made by hand: facts, golden texts, safety. The golden files in tests/golden are
 * rewritten by `PQLEASE_UPDATE_GOLDEN=1 build/tests/unit/analyzer/test_report`; look at the diff then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/ledger/aftermath.h"
#include "analyzer/ledger/ledger_reader.h"
#include "analyzer/render/render.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"
#include "tests/unit/support/ledger_builder.h"

static struct ledger_builder builder;
static struct model model;
static struct report report;

/* ---- From ledger to bytes -------------------------------------------------------------------------- */

static void read_report(const char *unrecorded_reason) {
	/* Long after, on a machine that was started anew: nobody is alive. */
	struct liveness_observer observer = {.proc_path = "/proc", .pid_namespace = 1, .now_ns = 1};
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read(&model, builder.path));
	aftermath_settle(&model, &observer);
	struct report_settings settings = report_settings_standard();
	settings.unrecorded_reason = unrecorded_reason;
	report_build(&report, &model, NULL, &settings);
}

static void release(void) {
	report_release(&report);
	model_release(&model);
	ledger_builder_close(&builder);
}

static char *render(enum render_format format, bool is_full, bool use_colors) {
	struct render_options options = {.is_full = is_full, .use_colors = use_colors};
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	assert_non_null(stream);
	render_report(format, &report, &options, stream);
	assert_int_equal(0, fclose(stream));
	return text;
}

/* ---- Golden files ----------------------------------------------------------------------------------- */

static const char *golden_path(const char *name) {
	static char path[512];
	const char *source = __FILE__; /* below the root of the checkout */
	const char *tests = strstr(source, "tests/unit/");
	assert_non_null(tests);
	snprintf(path, sizeof path, "%.*stests/golden/%s", (int)(tests - source), source, name);
	return path;
}

static char *read_file(const char *path) {
	char *text = calloc(1, 1 << 20);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		fail_msg("%s cannot be read", path);
	assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
	fclose(file);
	return text;
}

static void compare_golden(const char *name, char *text) {
	if (getenv("PQLEASE_UPDATE_GOLDEN") != NULL) {
		FILE *file = fopen(golden_path(name), "w");
		assert_non_null(file);
		fputs(text, file);
		assert_int_equal(0, fclose(file));
	}
	char *golden = read_file(golden_path(name));
	assert_string_equal(golden, text);
	free(golden);
	free(text);
}

/* ---- What must hold of every report ------------------------------------------------------------------- */

static void check_lines(const char *text) {
	while (*text != '\0') {
		char line[4096];
		size_t length = strcspn(text, "\n");
		assert_true(length < sizeof line);
		memcpy(line, text, length);
		line[length] = '\0';
		assert_true(text_width(line) <= 100);
		assert_true(length == 0 || line[length - 1] != ' ');
		for (size_t i = 0; i < length; i++)
			assert_true((unsigned char)line[i] >= ' ' && line[i] != 0x7f);
		text += length + (text[length] == '\n');
	}
}

static void remove_colors(char *text) {
	char *to = text;
	for (const char *from = text; *from != '\0';) {
		if (*from == '\033')
			from = strchr(from, 'm') + 1;
		else
			*to++ = *from++;
	}
	*to = '\0';
}

static void check_text(bool is_full) {
	char *plain = render(RENDER_TEXT, is_full, false);
	char *colored = render(RENDER_TEXT, is_full, true);
	check_lines(plain);
	assert_string_not_equal(plain, colored);
	remove_colors(colored);
	assert_string_equal(plain, colored);
	free(plain);
	free(colored);
}

/* The public keys, by path; "[]" is an element of a list that has any. */
static const char *const contract[] = {
	"schema",
	"tool.name tool.version",
	"run.id run.host run.command run.started run.ended run.duration run.exit_code run.live",
	"verdict.cause verdict.candidates verdict.message verdict.evidence verdict.advice",
	"trust.ok trust.reasons trust.processes trust.lost.leases trust.lost.sites trust.lost.processes "
	"trust.lost.torn trust.lost.other trust.history_overwritten",
	"totals.attempts totals.established totals.failed totals.abandoned totals.probes totals.resets "
	"totals.finished "
	"totals.open totals.peak_open totals.mean_open totals.uses totals.in_use totals.peak_in_use "
	"totals.inherited_use totals.returned_late totals.resets_succeeded totals.probes_answered "
	"totals.failed_finished totals.finish_unseen totals.double_finish",
	"connect_phases",
	"connect_time.count connect_time.min connect_time.mean connect_time.p50 connect_time.p90 "
	"connect_time.p95 "
	"connect_time.p99 connect_time.max failed_time.count hold_time.max use_time.p50",
	"held.in_query held.idle_in_transaction held.idle",
	"failures[].class failures[].count failures[].sqlstate failures[].message failures[].first "
	"failures[].last",
	"pools[].role pools[].host pools[].port pools[].database pools[].user pools[].application_name "
	"pools[].open "
	"pools[].peak_open pools[].mean_open pools[].in_use pools[].peak_in_use pools[].capacity "
	"pools[].capacity_source pools[].utilization pools[].status pools[].connect_time.p50 "
	"pools[].hold_time.p50 "
	"pools[].use_time.p50",
	"processes[].pid processes[].parent processes[].role processes[].exe processes[].script "
	"processes[].started "
	"processes[].ended processes[].how_ended processes[].open",
	"sites[].id sites[].fingerprint sites[].language sites[].application_frame.function "
	"sites[].application_frame.file sites[].application_frame.line sites[].application_frame.module "
	"sites[].frames[].language sites[].frames[].function sites[].frames[].file sites[].frames[].line "
	"sites[].frames[].module sites[].frames[].offset sites[].frames[].inlined sites[].leases "
	"sites[].attempts "
	"sites[].failed sites[].open sites[].peak_open sites[].finished sites[].connect_time.p50 "
	"sites[].hold_time.p50",
	"findings[].kind findings[].level findings[].certainty findings[].fingerprint findings[].count "
	"findings[].site "
	"findings[].pool findings[].first findings[].last findings[].message findings[].evidence",
	"open_leases[].pid open_leases[].backend_pid open_leases[].thread open_leases[].role "
	"open_leases[].state "
	"open_leases[].age open_leases[].idle_for open_leases[].site open_leases[].last_use_site "
	"open_leases[].dedicated",
	"tests[].name tests[].attempts",
	"snapshots server",
};

static void check_key(json_t *value, const char *path) {
	char key[64];
	size_t length = strcspn(path, ".[ ");
	assert_true(length < sizeof key);
	memcpy(key, path, length);
	key[length] = '\0';
	json_t *member = json_object_get(value, key);
	if (member == NULL)
		fail_msg("no key %s", path);
	if (path[length] == '.')
		check_key(member, path + length + 1);
	size_t i;
	json_t *element;
	if (path[length] == '[')
		json_array_foreach(member, i, element) check_key(element, path + length + 3);
}

static void check_json(void) {
	char *text = render(RENDER_JSON, false, false);
	json_error_t error;
	json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	assert_non_null(value);
	for (size_t i = 0; i < sizeof contract / sizeof contract[0]; i++)
		for (const char *path = contract[i]; *path != '\0';
		     path += strcspn(path, " "), path += strspn(path, " "))
			check_key(value, path);
	json_decref(value);
	free(text);
}

static void check_everything(void) {
	check_text(false);
	check_text(true);
	check_json();
}

static const struct report_finding *find_kind(const char *kind) {
	for (size_t i = 0; i < report.finding_count; i++)
		if (strcmp(report.findings[i].finding->kind, kind) == 0)
			return &report.findings[i];
	return NULL;
}

static void assert_finding(const char *kind, uint64_t count, enum finding_level level,
			   enum finding_certainty certainty) {
	const struct report_finding *found = find_kind(kind);
	if (found == NULL)
		fail_msg("no finding %s", kind);
	assert_int_equal(count, found->finding->count);
	assert_int_equal(level, found->finding->level);
	assert_int_equal(certainty, found->finding->certainty);
}

static bool has_reason(const char *part) {
	for (size_t i = 0; i < report.trust.reason_count; i++)
		if (strstr(report.trust.reasons[i], part) != NULL)
			return true;
	return false;
}

/* ---- Ledgers ---------------------------------------------------------------------------------------------- */

static struct ledger_builder_account orders;
static struct ledger_builder_account invoices;
static uint32_t web;

static void open_shop(void) {
	static const char *const command[] = {"python3", "shop.py", "--port", "8080", NULL};
	ledger_builder_open(&builder, command);
	uint32_t libpq = ledger_builder_module(&builder, "/usr/lib/x86_64-linux-gnu/libpq.so.5.15");
	uint32_t shop = ledger_builder_module(&builder, "/opt/shop/bin/shop");
	struct ledger_frame order_frames[] = {
		ledger_builder_native(libpq, 0x1000),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON,
				      "/usr/lib/python3/dist-packages/psycopg2/__init__.py", "connect", 122),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop/orders.py", "book_order", 25),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop/shop.py", "handle", 47),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop/shop.py", "<module>", 90)};
	struct ledger_frame invoice_frames[] = {ledger_builder_native(libpq, 0x1000),
						ledger_builder_native(shop, 0x2345),
						ledger_builder_native(shop, 0x1111)};
	orders.site = ledger_builder_site(&builder, order_frames, 5);
	invoices.site = ledger_builder_site(&builder, invoice_frames, 3);
	orders.pool = ledger_builder_pool(&builder, "web", "db.example", "shop", "orders");
	invoices.pool = ledger_builder_pool(&builder, "billing", "/var/run/postgresql", "shop", "");
	struct ledger_builder_process process = {
		4001, LEDGER_PROCESS_ENDED, LEDGER_ENDED_EXIT, "web", "/usr/bin/python3.11", 0.5, 59};
	web = ledger_builder_process(&builder, &process);
}

static void book_traffic(struct ledger_builder_account account, uint64_t established, uint64_t finished) {
	ledger_builder_count(&builder, account, LEDGER_ESTABLISHED, established, 1);
	ledger_builder_count(&builder, account, LEDGER_FINISHED, finished, 50);
	for (uint64_t i = 0; i < established; i++)
		ledger_builder_time(&builder, account, LEDGER_CONNECT_TIME, 0.001 * (double)(i + 1));
	for (uint64_t i = 0; i < finished; i++)
		ledger_builder_time(&builder, account, LEDGER_HOLD_TIME, 0.5 + 0.01 * (double)i);
	ledger_builder_peak(&builder, account, (int64_t)(established - finished) + 2);
}

static void test_leak(void **state) {
	(void)state;
	open_shop();
	book_traffic(orders, 33, 29);
	book_traffic(invoices, 67, 67);
	for (int i = 0; i < 3; i++) {
		ledger_builder_fold(&builder, orders, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 10 + i);
		ledger_builder_example(&builder, orders, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 4000, 10 + i,
				       40);
	}
	ledger_builder_count(&builder, orders, LEDGER_LEFT_HELD_NS, UINT64_C(87) * 1000000000u, 40);
	ledger_builder_lease(&builder, web, 4001, orders, LEDGER_LEASE_OPEN, 20);
	ledger_builder_end_run(&builder, 60, 1);
	read_report(NULL);
	assert_string_equal("leak", report.verdict.cause);
	assert_finding("never-finished", 4, FINDING_ERROR, FINDING_FACT);
	assert_int_equal(1, report.finding_count);
	const struct report_finding *finding = find_kind("never-finished");
	assert_string_equal("2024-02-29T12:00:10.000000Z", finding->first);
	assert_string_equal("2024-02-29T12:00:20.000000Z", finding->last);
	assert_int_equal(4, finding->example_count);
	assert_string_equal("book_order",
			    report_application_frame(report_find_site(&report, finding->site))->function);
	assert_int_equal(100, report.totals.attempts);
	assert_int_equal(96, report.totals.finished);
	assert_int_equal(4, report.totals.unreleased);
	assert_int_equal(0, report.totals.open);
	assert_int_equal(1, report.run.exit_code);
	assert_true(report.trust.ok);
	/* 29 and 67 holds, 87 s of the folded ones, 39 s of the slot, over a minute. */
	double held = 29 * 0.5 + 0.01 * (29 * 28 / 2) + 67 * 0.5 + 0.01 * (67 * 66 / 2) + 87 + 39;
	assert_true(fabs(report.totals.mean_open - held / 60) < 1e-6);
	check_everything();
	compare_golden("report_leak.txt", render(RENDER_TEXT, false, false));
	compare_golden("report_leak_full.txt", render(RENDER_TEXT, true, false));
	compare_golden("report_leak.json", render(RENDER_JSON, false, false));
	compare_golden("report_leak.md", render(RENDER_MARKDOWN, false, false));
	compare_golden("report_leak.junit.xml", render(RENDER_JUNIT, false, false));
	compare_golden("report_leak.sarif", render(RENDER_SARIF, false, false));
	compare_golden("report_leak.github", render(RENDER_GITHUB, false, false));
	compare_golden("report_leak.gitlab.json", render(RENDER_GITLAB, false, false));
	release();
}

static void test_every_kind(void **state) {
	(void)state;
	open_shop();
	struct ledger_builder_process killed = {
		4002, LEDGER_PROCESS_ENDED, LEDGER_ENDED_KILLED, "billing", "/opt/shop/bin/shop", 0.5, 30};
	struct ledger_builder_process vanished = {
		4003, LEDGER_PROCESS_RUNNING, LEDGER_ENDED_NOT, "billing", "/opt/shop/bin/shop", 0.6, 0};
	struct ledger_builder_process replaced = {
		4004, LEDGER_PROCESS_ENDED, LEDGER_ENDED_EXEC, "billing", "/opt/shop/bin/shop", 0.7, 31};
	uint32_t killed_record = ledger_builder_process(&builder, &killed);
	uint32_t vanished_record = ledger_builder_process(&builder, &vanished);
	uint32_t replaced_record = ledger_builder_process(&builder, &replaced);
	book_traffic(orders, 10, 3);
	book_traffic(invoices, 5, 0);
	ledger_builder_lease(&builder, killed_record, 4002, orders, LEDGER_LEASE_OPEN, 20);
	ledger_builder_lease(&builder, vanished_record, 4003, orders, LEDGER_LEASE_OPEN, 21);
	ledger_builder_lease(&builder, vanished_record, 4003, orders, LEDGER_LEASE_CLOSING, 21);
	ledger_builder_lease(&builder, killed_record, 4002, invoices, LEDGER_LEASE_OPEN, 22);
	ledger_builder_lease(&builder, replaced_record, 4004, invoices, LEDGER_LEASE_OPEN, 23);
	ledger_builder_lease(&builder, web, 4001, orders, LEDGER_LEASE_FAILED, 24);
	ledger_builder_lease(&builder, web, 4001, orders, LEDGER_LEASE_CONNECTING, 25)->flags =
		LEDGER_LEASE_ASYNC;
	ledger_builder_lease(&builder, web, 4001, invoices, LEDGER_LEASE_CONNECTING, 25);
	ledger_builder_count(&builder, orders, LEDGER_FAILED, 6, 24);
	ledger_builder_time(&builder, orders, LEDGER_FAILED_TIME, 2.5);
	ledger_builder_failure(&builder, 0, 4, 24);
	ledger_builder_failure(&builder, 14, 2, 26);
	ledger_builder_count(&builder, orders, LEDGER_ABANDONED, 3, 26);
	ledger_builder_count(&builder, orders, LEDGER_CUT_SHORT, 1, 26);
	ledger_builder_count(&builder, orders, LEDGER_DOUBLE_FINISH, 2, 27);
	ledger_builder_count(&builder, orders, LEDGER_FINISH_UNSEEN, 1, 28);
	ledger_builder_count(&builder, invoices, LEDGER_PROBES, 9, 29);
	ledger_builder_count(&builder, invoices, LEDGER_PROBES_ANSWERED, 8, 29);
	ledger_builder_count(&builder, invoices, LEDGER_RESETS, 2, 29);
	ledger_builder_count(&builder, invoices, LEDGER_RESETS_OK, 1, 29);
	ledger_builder_histogram_add(&builder, &builder.ledger->phase_time[LEDGER_PHASE_TCP], 170000);
	ledger_builder_end_run(&builder, 60, 137);
	read_report(NULL);
	assert_finding("never-finished", 1, FINDING_ERROR, FINDING_FACT); /* the one lost by exec */
	assert_finding("failed-not-finished", 1, FINDING_ERROR, FINDING_FACT);
	assert_finding("double-finish", 2, FINDING_ERROR, FINDING_FACT);
	assert_finding("abandoned-start", 4, FINDING_WARNING, FINDING_FACT);
	assert_finding("finish-unseen", 1, FINDING_NOTE, FINDING_FACT);
	assert_finding("killed", 2, FINDING_NOTE, FINDING_SUSPICION);
	assert_finding("exhausted", 4, FINDING_ERROR, FINDING_FACT);
	assert_int_equal(8, report.finding_count); /* killed at two sites */
	assert_int_equal(15 + 6 + 3 + 2, report.totals.attempts);
	assert_int_equal(5, report.totals.abandoned);
	assert_int_equal(9, report.totals.probes);
	assert_int_equal(1, report.totals.resets_succeeded);
	assert_int_equal(1, report.trust.lost.torn);
	assert_true(report.trust.ok);
	assert_true(has_reason("not recorded"));
	assert_true(isnan(report.totals.mean_open)); /* nobody knows when 4003 ended */
	check_everything();
	compare_golden("report_kinds.txt", render(RENDER_TEXT, false, false));
	compare_golden("report_kinds.json", render(RENDER_JSON, false, false));
	release();
}

static void test_clean_run(void **state) {
	(void)state;
	open_shop();
	book_traffic(orders, 20, 20);
	ledger_builder_end_run(&builder, 60, 0);
	read_report(NULL);
	assert_string_equal("none", report.verdict.cause);
	assert_int_equal(0, report.finding_count);
	assert_true(report.trust.ok);
	assert_int_equal(0, report.trust.reason_count);
	check_everything();
	compare_golden("report_clean.txt", render(RENDER_TEXT, false, false));
	release();
}

static void test_nothing_recorded(void **state) {
	(void)state;
	static const char *const command[] = {"static-tool", NULL};
	ledger_builder_open(&builder, command);
	ledger_builder_end_run(&builder, 1, 0);
	read_report("/usr/bin/static-tool is statically linked");
	assert_string_equal("unsure", report.verdict.cause);
	assert_false(report.trust.ok);
	assert_true(has_reason("no process called libpq"));
	assert_true(has_reason("statically linked"));
	check_everything();
	compare_golden("report_nothing.txt", render(RENDER_TEXT, false, false));
	compare_golden("report_nothing.json", render(RENDER_JSON, false, false));
	release();
}

/* Never "no leak" when something was lost; overwritten history is no loss. */
static void test_losses(void **state) {
	(void)state;
	static const struct {
		enum ledger_loss loss;
		bool is_trusted;
	} cases[] = {{LEDGER_LOST_LEASES, false}, {LEDGER_LOST_SITES, false},  {LEDGER_LOST_PROCESSES, false},
		     {LEDGER_TORN, true},         {LEDGER_LOST_STRINGS, true}, {LEDGER_LOST_OCTAVES, true},
		     {LEDGER_LOST_HISTORY, true}, {LEDGER_LOST_SPACE, true}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		open_shop();
		book_traffic(orders, 5, 5);
		builder.ledger->lost[cases[i].loss] = 3;
		builder.ledger->section[LEDGER_HISTORY].used =
			builder.ledger->section[LEDGER_HISTORY].capacity + 1000;
		ledger_builder_end_run(&builder, 60, 0);
		read_report(NULL);
		assert_int_equal(cases[i].is_trusted, report.trust.ok);
		assert_string_equal(cases[i].is_trusted ? "none" : "unsure", report.verdict.cause);
		assert_int_equal(1000, report.trust.history_overwritten);
		assert_int_equal(1, report.trust.reason_count);
		assert_int_equal(3,
				 report.trust.lost.leases + report.trust.lost.sites +
					 report.trust.lost.processes + report.trust.lost.torn +
					 report.trust.lost.other);
		release();
	}
}

static struct ledger_process *record_of(uint32_t number) {
	return (struct ledger_process *)((char *)builder.ledger +
					 builder.ledger->section[LEDGER_PROCESSES].offset) +
		number;
}

static void test_notes_of_processes(void **state) {
	(void)state;
	open_shop();
	book_traffic(orders, 5, 5);
	record_of(web)->notes = LEDGER_NOTE_NO_LIBUNWIND | LEDGER_NOTE_BAD_SETTING | LEDGER_NOTE_USES_OFF;
	record_of(web)->setting_problem = ledger_builder_string(&builder, "PQLEASE_USES=maybe");
	ledger_builder_end_run(&builder, 60, 0);
	read_report(NULL);
	assert_true(report.trust.ok);
	assert_true(has_reason("libunwind could not be loaded"));
	assert_true(has_reason("PQLEASE_USES=maybe"));
	report_release(&report);
	model_release(&model);
	record_of(web)->notes = LEDGER_NOTE_RECORDING_OFF;
	read_report(NULL);
	assert_false(report.trust.ok);
	assert_string_equal("unsure", report.verdict.cause);
	release();
}

/* What is said of a runtime's frames, and what is not when they were read. */
static void test_runtimes_without_frames(void **state) {
	(void)state;
	open_shop();
	book_traffic(orders, 5, 5);
	uint64_t version = ledger_builder_string(&builder, "3.14.0");
	_Atomic uint64_t *runtimes = record_of(web)->runtime;
	runtimes[0] = version << 32 | LEDGER_SCRIPT_OFFSETS;
	ledger_builder_end_run(&builder, 60, 0);
	read_report(NULL);
	assert_false(has_reason("only native frames"));
	report_release(&report);
	model_release(&model);
	runtimes[0] = version << 32 | LEDGER_SCRIPT_UNKNOWN_VERSION;
	runtimes[LEDGER_FRAME_NODE - LEDGER_FRAME_PYTHON] = LEDGER_SCRIPT_NEVER;
	runtimes[LEDGER_FRAME_PERL - LEDGER_FRAME_PYTHON] = 77; /* no reading that exists */
	read_report(NULL);
	assert_true(report.trust.ok);
	assert_true(has_reason(
		"1 process: only native frames, no lines of scripts, of python 3.14.0: frames of this "
		"version cannot be read"));
	assert_true(has_reason("of node: frames of this language are not read"));
	assert_false(has_reason("perl"));
	release();
}

/* Stacks that are one place make one finding; the counts add up. */
static void test_same_place_by_two_stacks(void **state) {
	(void)state;
	open_shop();
	uint32_t libpq = ledger_builder_module(&builder, "/usr/lib/x86_64-linux-gnu/libpq.so.5.15");
	struct ledger_frame frames[] = {
		ledger_builder_native(libpq, 0x9999), /* another call inside the library */
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop/orders.py", "book_order", 25),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop/shop.py", "handle", 48),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop/shop.py", "<module>", 90)};
	struct ledger_builder_account again = {orders.pool, ledger_builder_site(&builder, frames, 4)};
	book_traffic(orders, 3, 1);
	book_traffic(again, 4, 1);
	for (int i = 0; i < 2; i++)
		ledger_builder_fold(&builder, orders, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 30);
	for (int i = 0; i < 3; i++)
		ledger_builder_fold(&builder, again, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 10);
	ledger_builder_end_run(&builder, 60, 0);
	read_report(NULL);
	assert_int_equal(1, report.finding_count);
	assert_finding("never-finished", 5, FINDING_ERROR, FINDING_FACT);
	assert_string_equal("2024-02-29T12:00:10.000000Z", report.findings[0].first);
	assert_string_equal("2024-02-29T12:00:30.000000Z", report.findings[0].last);
	release();
}

static void test_hostile_text(void **state) {
	(void)state;
	static const char evil[] = "\x1b]0;owned\x07\x1b[2J\r\n\xff\xe2\x80\xae<script>\"\\%s%n";
	char longest[2000];
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	longest[0] = '/';
	static const char *const command[] = {evil, "\t", NULL};
	ledger_builder_open(&builder, command);
	uint32_t module = ledger_builder_module(&builder, evil);
	struct ledger_frame frames[] = {
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, evil, evil, UINT32_MAX),
		ledger_builder_native(module, UINT64_MAX),
		ledger_builder_native(ledger_builder_module(&builder, longest), 1),
		ledger_builder_script(&builder, LEDGER_FRAME_NODE, longest, longest, 1)};
	struct ledger_builder_account account = {
		.site = ledger_builder_site(&builder, frames, 4),
		.pool = ledger_builder_pool(&builder, evil, longest, evil, evil)};
	struct ledger_builder_process process = {
		INT32_MAX, LEDGER_PROCESS_ENDED, LEDGER_ENDED_EXIT, longest, evil, 1, 2};
	uint32_t record = ledger_builder_process(&builder, &process);
	ledger_builder_lease(&builder, record, INT32_MAX, account, LEDGER_LEASE_OPEN, 1)->test =
		ledger_builder_string(&builder, evil);
	record_of(record)->notes = LEDGER_NOTE_BAD_SETTING;
	record_of(record)->setting_problem = ledger_builder_string(&builder, longest);
	ledger_builder_count(&builder, account, LEDGER_ESTABLISHED, UINT64_C(1) << 60, 1);
	ledger_builder_end_run(&builder, 1e9, 0);
	read_report(evil);
	check_everything();
	release();
}

/* The same ledger gives the same bytes, whenever and wherever it is looked at. */
static void test_time_does_not_matter(void **state) {
	(void)state;
	open_shop();
	book_traffic(orders, 10, 3);
	ledger_builder_lease(&builder, web, 4001, orders, LEDGER_LEASE_OPEN, 20);
	ledger_builder_end_run(&builder, 60, 0);
	read_report(NULL);
	char *text = render(RENDER_JSON, true, false);
	report_release(&report);
	model_release(&model);
	struct liveness_observer here = liveness_observer_here();
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read(&model, builder.path));
	aftermath_settle(&model, &here);
	report_build(&report, &model, NULL, NULL);
	char *again = render(RENDER_JSON, true, false);
	assert_string_equal(text, again);
	free(text);
	free(again);
	release();
}

/* Two states make one finding: what is known of both is kept. */
static void test_abandoned_connects_and_resets(void **state) {
	(void)state;
	open_shop();
	book_traffic(orders, 2, 1);
	ledger_builder_lease(&builder, web, 4001, orders, LEDGER_LEASE_CONNECTING, 20)->flags =
		LEDGER_LEASE_ASYNC;
	ledger_builder_lease(&builder, web, 4001, orders, LEDGER_LEASE_RESETTING, 10)->flags =
		LEDGER_LEASE_ASYNC | LEDGER_LEASE_ESTABLISHED;
	ledger_builder_end_run(&builder, 60, 0);
	read_report(NULL);
	assert_finding("abandoned-start", 2, FINDING_WARNING, FINDING_FACT);
	const struct report_finding *found = find_kind("abandoned-start");
	assert_int_equal(2, found->example_count);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(4001, found->examples[i].pid);
	assert_string_equal("2024-02-29T12:00:10.000000Z", found->first);
	assert_int_equal(49, found->finding->oldest_age_ns / 1000000000u);
	release();
}

static void test_killed_by_a_witnessed_signal_is_a_fact(void **state) {
	(void)state;
	open_shop();
	struct ledger_builder_process killed = {
		4002, LEDGER_PROCESS_ENDED, LEDGER_ENDED_KILLED, "web", "/bin/x", 1, 30};
	uint32_t record = ledger_builder_process(&builder, &killed);
	book_traffic(orders, 1, 0);
	ledger_builder_lease(&builder, record, 4002, orders, LEDGER_LEASE_OPEN, 20);
	ledger_builder_end_run(&builder, 31, 137);
	read_report(NULL);
	assert_finding("killed", 1, FINDING_NOTE, FINDING_FACT);
	assert_int_equal(1, report.finding_count);
	release();
}

/* Without the run command: ended as far as the processes' own marks tell. */
static void test_raw_run(void **state) {
	(void)state;
	open_shop();
	builder.ledger->made_by_run = 0;
	book_traffic(orders, 2, 2);
	read_report(NULL);
	assert_false(report.run.live);
	assert_string_equal("2024-02-29T12:00:59.000000Z", report.run.ended);
	assert_true(report.run.duration == 59);
	assert_true(report.run.exit_code == REPORT_UNKNOWN);
	report_release(&report);
	model_release(&model);
	record_of(web)->ended_ns = 0; /* no mark */
	record_of(web)->how_ended = LEDGER_ENDED_UNKNOWN;
	read_report(NULL);
	assert_null(report.run.ended);
	assert_string_equal("unknown", report.processes[0].how_ended);
	release();
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leak),
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_clean_run),
		cmocka_unit_test(test_nothing_recorded),
		cmocka_unit_test(test_losses),
		cmocka_unit_test(test_notes_of_processes),
		cmocka_unit_test(test_runtimes_without_frames),
		cmocka_unit_test(test_same_place_by_two_stacks),
		cmocka_unit_test(test_hostile_text),
		cmocka_unit_test(test_time_does_not_matter),
		cmocka_unit_test(test_abandoned_connects_and_resets),
		cmocka_unit_test(test_killed_by_a_witnessed_signal_is_a_fact),
		cmocka_unit_test(test_raw_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
