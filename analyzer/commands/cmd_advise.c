/*
 * pqlease advise: how many connections are really needed, by measured use and by replay.
 */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "analyzer/judge/advice.h"
#include "analyzer/commands/commands.h"
#include "analyzer/commands/judge_options.h"
#include "analyzer/ledger/ledger_keeper.h"
#include "analyzer/ledger/ledger_load.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/judge/pool_load.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

static const char help[] =
	"usage: pqlease advise [OPTIONS] [LEDGER]\n\n"
	"Says how many connections each pool really needs: the concurrency of its uses, the usual formulas, "
	"and\n"
	"how long callers would have waited with pools of 1, 2, 3... connections. Without LEDGER the newest "
	"one.\n\n"
	"  --target TIME    longest wait for 99 % of uses, as 10ms (default), 0.5s or 2s\n"
	"  --json           for programs\n" JUDGE_OPTIONS_HELP("    ") "  --help           this text\n"
								       "  --version        the version\n";

enum { OPTION_TARGET = OPTIONS_LONG_ONLY, OPTION_JSON, SHOWN_SIZES = 12 };

static const struct option advise_options[] = {{"target", required_argument, NULL, OPTION_TARGET},
					       {"json", no_argument, NULL, OPTION_JSON},
					       JUDGE_OPTIONS,
					       OPTIONS_COMMON,
					       {NULL, 0, NULL, 0}};

struct advising {
	double target;
	bool is_json;
	struct judge_options judge;
	struct model model;
	struct report report;
	struct arena arena;
};

/* ---- Options ------------------------------------------------------------------------------------ */

static bool take_target(struct advising *advising, const char *value) {
	char *end;
	double number = strtod(value, &end);
	double unit = strcmp(end, "ms") == 0 ? 1e-3 : strcmp(end, "s") == 0 ? 1 : 0;
	advising->target = number * unit;
	if (end != value && isfinite(number) && number >= 0 && unit > 0)
		return true;
	options_error("--target", "'%s' is no time; 10ms and 0.5s are", value);
	return false;
}

static bool take_option(void *context, int option) {
	struct advising *advising = context;
	if (option == OPTION_TARGET)
		return take_target(advising, optarg);
	advising->is_json |= option == OPTION_JSON;
	return option == OPTION_JSON ||
		(judge_options_is_one(option) && judge_options_take(&advising->judge, option, optarg));
}

/* ---- What is said of a pool --------------------------------------------------------------------- */

/* Slots of the server that all roles together may take; REPORT_UNKNOWN without a server. */
static int64_t server_slots(const struct report *report) {
	const struct report_server *server = report->server;
	if (server == NULL || server->is_pooled || server->max_connections == REPORT_UNKNOWN)
		return REPORT_UNKNOWN;
	return server->max_connections - server->reserved;
}

static const char *recommend(struct advising *advising, const struct advice *advice) {
	struct arena *arena = &advising->arena;
	int64_t slots = server_slots(&advising->report);
	if (strcmp(advising->report.verdict.cause, "leak") == 0)
		return "stop the leak first: a larger pool delays exhaustion but won't solve a leak";
	if (advice->smallest == 0)
		return arena_text(arena,
				  "none of up to %zu connections keeps 99%% of the waits below %.0f ms",
				  advice->size_count, 1e3 * advising->target);
	const char *size = arena_text(
		arena,
		"%" PRIu32 " connection%s: 99%% of %" PRIu64 " uses would have waited less than %.0f ms",
		advice->smallest, advice->smallest == 1 ? "" : "s", advice->uses, 1e3 * advising->target);
	if (slots != REPORT_UNKNOWN && advice->smallest > slots)
		return arena_text(arena, "%s, but the server has only %" PRId64 " slots", size, slots);
	return size;
}

static void print_sizes(const struct advice *advice) {
	printf("  size      wait mean     p50     p99     max\n");
	size_t first = advice->size_count > SHOWN_SIZES ? advice->size_count - SHOWN_SIZES : 0;
	if (advice->smallest > 0 && advice->smallest - 1 < first)
		first = advice->smallest - 1;
	for (size_t i = first; i < advice->size_count && i < first + SHOWN_SIZES; i++) {
		const struct advice_size *size = &advice->sizes[i];
		printf("  %4" PRIu32 "%s  %9.1f %7.1f %7.1f %7.1f ms\n", size->size,
		       size->size == advice->smallest ? " <-" : "   ", 1e3 * size->wait_mean,
		       1e3 * size->wait_p50, 1e3 * size->wait_p99, 1e3 * size->wait_max);
	}
}

static void print_pool(struct advising *advising, const struct report_pool *pool,
		       const struct advice *advice) {
	const char *name = text_printable(&advising->arena, pool_load_name(&advising->report, pool));
	const char *capacity = pool->capacity == REPORT_UNKNOWN
		? "unknown"
		: arena_text(&advising->arena, "%" PRId64 " (%s)", pool->capacity, pool->capacity_source);
	printf("Pool '%s': capacity %s\n", name, capacity);
	printf("  uses       %" PRIu64 " in %.1f s%s%s, p50 %.1f ms, p99 %.1f ms\n", advice->uses,
	       advice->window, advice->is_sampled ? ", by samples" : "",
	       advice->overwritten > 0 ? ", the last ones; older ones are overwritten" : "",
	       1e3 * advice->use_p50, 1e3 * advice->use_p99);
	printf("  at once    p50 %" PRIu32 ", p95 %" PRIu32 ", p99 %" PRIu32 ", max %" PRIu32 ", by %" PRIu32
	       " worker%s\n",
	       advice->concurrency_p50, advice->concurrency_p95, advice->concurrency_p99,
	       advice->concurrency_max, advice->callers, advice->callers == 1 ? "" : "s");
	printf("  formulas   workers x 2 = %" PRIu32 "; (workers x 2) + burst %" PRIu32 " + safety %" PRIu32
	       " = %" PRIu32 "\n",
	       advice->workers_times_two, advice->burst, advice->safety, advice->with_burst);
	print_sizes(advice);
	printf("  advice     %s\n", recommend(advising, advice));
}

static void print_server(const struct advising *advising, uint64_t recommended) {
	int64_t slots = server_slots(&advising->report);
	int64_t peak = advising->report.totals.peak_open;
	if (slots == REPORT_UNKNOWN)
		return;
	printf("Server: %" PRId64 " slots, %" PRId64
	       " used at the peak of all roles (%.1fx headroom), %" PRIu64 " by this advice\n",
	       slots, peak, peak > 0 ? (double)slots / (double)peak : (double)slots, recommended);
}

/* ---- JSON --------------------------------------------------------------------------------------- */

static json_t *text_value(struct advising *advising, const char *text) {
	return text != NULL ? json_string(text_valid_utf8(&advising->arena, text)) : json_null();
}

static json_t *count_value(int64_t value) {
	return value != REPORT_UNKNOWN ? json_integer(value) : json_null();
}

static json_t *sizes_value(const struct advice *advice) {
	json_t *list = json_array();
	for (size_t i = 0; i < advice->size_count; i++)
		json_array_append_new(
			list,
			json_pack("{s:i, s:f, s:f, s:f, s:f}", "size", (int)advice->sizes[i].size,
				  "wait_mean", advice->sizes[i].wait_mean, "wait_p50",
				  advice->sizes[i].wait_p50, "wait_p99", advice->sizes[i].wait_p99,
				  "wait_max", advice->sizes[i].wait_max));
	return list;
}

static json_t *pool_value(struct advising *advising, const struct report_pool *pool,
			  const struct advice *advice) {
	json_t *object = json_pack(
		"{s:I, s:b, s:I, s:f, s:f, s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "uses",
		(json_int_t)advice->uses, "sampled", advice->is_sampled, "uses_overwritten",
		(json_int_t)advice->overwritten, "window", advice->window, "use_p50", advice->use_p50,
		"use_p99", advice->use_p99, "workers", (int)advice->callers, "concurrency_p50",
		(int)advice->concurrency_p50, "concurrency_p95", (int)advice->concurrency_p95,
		"concurrency_p99", (int)advice->concurrency_p99, "concurrency_max",
		(int)advice->concurrency_max, "workers_times_two", (int)advice->workers_times_two,
		"workers_times_two_burst_safety", (int)advice->with_burst);
	json_object_set_new(object, "role", text_value(advising, pool->role));
	json_object_set_new(object, "host", text_value(advising, pool->host));
	json_object_set_new(object, "port", text_value(advising, pool->port));
	json_object_set_new(object, "database", text_value(advising, pool->database));
	json_object_set_new(object, "user", text_value(advising, pool->user));
	json_object_set_new(object, "capacity", count_value(pool->capacity));
	json_object_set_new(object, "capacity_source", text_value(advising, pool->capacity_source));
	json_object_set_new(object, "sizes", sizes_value(advice));
	json_object_set_new(object, "recommended",
			    advice->smallest > 0 ? json_integer(advice->smallest) : json_null());
	json_object_set_new(object, "reason", text_value(advising, recommend(advising, advice)));
	return object;
}

/* ---- The command -------------------------------------------------------------------------------- */

static int say_all(struct advising *advising) {
	struct advice *advice = arena_new(&advising->arena, struct advice);
	json_t *pools = json_array();
	uint64_t recommended = 0;
	size_t count = 0;
	for (size_t i = 0; i < advising->report.pool_count; i++) {
		const struct report_pool *pool = &advising->report.pools[i];
		if (!advice_give(advice, &advising->arena, &advising->model, pool->number, advising->target))
			continue;
		recommended += advice->smallest;
		count++;
		if (advising->is_json)
			json_array_append_new(pools, pool_value(advising, pool, advice));
		else
			print_pool(advising, pool, advice);
	}
	if (advising->is_json) {
		json_t *whole = json_pack("{s:s, s:f, s:o, s:o}", "schema", "pqlease/advice-1", "target",
					  advising->target, "pools", pools, "slots",
					  count_value(server_slots(&advising->report)));
		json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
		putchar('\n');
		json_decref(whole);
		return OPTIONS_EXIT_OK;
	}
	json_decref(pools);
	if (count == 0)
		printf("No use of a connection was recorded, so nothing can be advised.\n");
	print_server(advising, recommended);
	return OPTIONS_EXIT_OK;
}

static int advise(struct advising *advising, const char *path) {
	const char *problem = ledger_load(&advising->model, path);
	struct report_settings settings = report_settings_standard();
	if (problem != NULL) {
		options_error(path, "%s", problem);
		return OPTIONS_EXIT_CANNOT;
	}
	int code = OPTIONS_EXIT_CANNOT;
	if (judge_options_apply(&advising->judge, &advising->model, &settings)) {
		report_build(&advising->report, &advising->model, NULL, &settings);
		code = say_all(advising);
		report_release(&advising->report);
	}
	model_release(&advising->model);
	arena_release(&advising->arena);
	judge_options_release(&advising->judge);
	return code;
}

static const struct options_syntax syntax = {"+:hV", advise_options, help, take_option};

int cmd_advise(int argc, char **argv) {
	struct advising advising = {.target = 0.010};
	char newest[PATH_MAX];
	const char *ledger;
	int code;
	if (!options_parse(&syntax, &advising, argc, argv, &code))
		return code;
	if (!options_take_ledger(argc, argv, &ledger))
		return OPTIONS_EXIT_USAGE;
	ledger = ledger_search_meant(newest, ledger);
	return ledger != NULL ? advise(&advising, ledger) : OPTIONS_EXIT_CANNOT;
}
