/*
 * pqlease status: how the pools of a run are, once or as lines when it changes; its exit code is the worst of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "analyzer/commands/commands.h"
#include "analyzer/instant.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/live/edges.h"
#include "analyzer/live/follower.h"
#include "analyzer/live/health.h"
#include "analyzer/live/live_options.h"
#include "analyzer/judge/restarts.h"
#include "analyzer/commands/options.h"
#include "analyzer/text.h"

static const char help[] =
	"usage: pqlease status [OPTIONS] [LEDGER]\n\n"
	"Says how the pools of a run are; without LEDGER of the newest run of this user in /dev/shm.\n"
	"Exits 0 healthy, 1 warning, 2 critical, 3 unknown, as monitoring plugins do.\n\n"
	"  --json           every number, with the keys of common pool monitors\n"
	"  --watch SECONDS  go on, one line for each change, until the run ends\n"
	"  --exec COMMAND   with --watch: run COMMAND by sh when a pool's status changes; it finds\n"
	"                   PQLEASE_STATUS, PQLEASE_POOL and PQLEASE_MESSAGE in its environment\n"
	"  --exec-every N   at most once in N seconds (60)\n" LIVE_OPTIONS_HELP(
		"    ") "  --help           this text\n"
			"  --version        the version\n";

enum { OPTION_JSON = OPTIONS_LONG_ONLY, OPTION_WATCH, OPTION_EXEC, OPTION_EXEC_EVERY };

static const struct option status_options[] = {{"json", no_argument, NULL, OPTION_JSON},
					       {"watch", required_argument, NULL, OPTION_WATCH},
					       {"exec", required_argument, NULL, OPTION_EXEC},
					       {"exec-every", required_argument, NULL, OPTION_EXEC_EVERY},
					       LIVE_OPTIONS,
					       OPTIONS_COMMON,
					       {NULL, 0, NULL, 0}};

enum status_exit { STATUS_HEALTHY, STATUS_WARNING, STATUS_CRITICAL, STATUS_UNKNOWN };

struct request {
	bool is_json;
	double watch_seconds; /* 0: once */
	const char *command;
	double command_every_seconds;
	struct live_options live;
};

static enum status_exit exit_of(const char *word) {
	static const struct {
		const char *word;
		enum status_exit code;
	} codes[] = {{"healthy", STATUS_HEALTHY}, {"warning", STATUS_WARNING}, {"critical", STATUS_CRITICAL}};
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (strcmp(word, codes[i].word) == 0)
			return codes[i].code;
	return STATUS_UNKNOWN;
}

/* ---- Once ------------------------------------------------------------------------------------------------- */

static const char *number(struct arena *arena, int64_t value) {
	return value != REPORT_UNKNOWN ? arena_text(arena, "%" PRId64, value) : "?";
}

static void print_pool(struct arena *arena, const struct report_pool *pool) {
	const char *sentence = pool->sentence != NULL ? pool->sentence : pool->name;
	printf("%s\n", text_printable(arena, sentence));
	printf("  In Use: %s/%s  Available: %s  Overflow Active: %s  Open: %" PRId64 "  (%s)\n",
	       number(arena, pool->in_use), number(arena, pool->capacity), number(arena, pool->available),
	       number(arena, pool->overflow), pool->open, pool->status);
	if (pool->reserved != REPORT_UNKNOWN)
		printf("  Guaranteed Available: %" PRId64 " connections\n", pool->reserved);
}

static void print_restarts(struct arena *arena, const struct report *report) {
	struct restarts restarts;
	restarts_find(&restarts, arena, report);
	printf("Restarts: %zu", restarts.count);
	if (isfinite(restarts.per_hour))
		printf(" (%.1f per hour)", restarts.per_hour);
	printf("; reconnects: %" PRId64 "\n", report->totals.resets);
	for (size_t i = 0; i < restarts.count && i < 5; i++)
		printf("  %s  role '%s': process %" PRId64 " (%s) came back as %" PRId64 "\n",
		       restarts.all[i].successor->started != NULL ? restarts.all[i].successor->started : "?",
		       text_printable(arena,
				      restarts.all[i].gone->role != NULL ? restarts.all[i].gone->role : "?"),
		       restarts.all[i].gone->pid, restarts.all[i].gone->how_ended,
		       restarts.all[i].successor->pid);
}

static void print_findings(const struct report *report) {
	size_t count[3] = {0};
	for (size_t i = 0; i < report->finding_count; i++)
		count[report->findings[i].finding->level]++;
	printf("Findings: %zu error%s, %zu warning%s, %zu note%s\n", count[FINDING_ERROR],
	       count[FINDING_ERROR] == 1 ? "" : "s", count[FINDING_WARNING],
	       count[FINDING_WARNING] == 1 ? "" : "s", count[FINDING_NOTE],
	       count[FINDING_NOTE] == 1 ? "" : "s");
}

static void print_status(const struct report *report, const char *word) {
	struct arena arena = {0};
	printf("DATABASE CONNECTION STATUS: %s (run %.8s, %s, %.0f s)\n", word, report->run.id,
	       report->run.live ? "live" : "ended", report->run.duration);
	if (report->pool_count == 0)
		printf("No pool: no connection was taken so far\n");
	for (size_t i = 0; i < report->pool_count; i++)
		print_pool(&arena, &report->pools[i]);
	print_restarts(&arena, report);
	print_findings(report);
	if (!report->trust.ok)
		printf("Not everything was recorded: see pqlease report\n");
	arena_release(&arena);
}

static enum status_exit show_once(struct follower *follower, const struct request *request) {
	follower_look(follower, 1);
	const struct report *report = follower_report(follower);
	if (report == NULL) {
		options_error(follower_path(follower), "%s", follower_problem(follower));
		return STATUS_UNKNOWN;
	}
	struct health_subject subject = {&report, 1};
	const char *word = health_worst_word(&subject);
	if (request->is_json) {
		json_t *everything = health_everything(&subject);
		json_dumpf(everything, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
		putchar('\n');
		json_decref(everything);
	} else {
		print_status(report, word);
	}
	return exit_of(word);
}

/* ---- Watching ------------------------------------------------------------------------------------------------ */

struct watch {
	const struct request *request;
	uint64_t command_due_ns;
	pid_t command; /* 0: none runs */
};

static volatile sig_atomic_t is_stopping;

static void stop(int signal_number) {
	(void)signal_number;
	is_stopping = 1;
}

static bool is_still_running(struct watch *watch) {
	if (watch->command > 0 && waitpid(watch->command, NULL, WNOHANG) != 0)
		watch->command = 0;
	return watch->command > 0;
}

/* One at a time, and not more often than asked for: a status that flickers must not start a storm. */
static void run_command(struct watch *watch, const char *pool, const char *status, const char *message) {
	uint64_t now_ns = instant_monotonic_ns();
	if (watch->request->command == NULL || is_still_running(watch) || now_ns < watch->command_due_ns)
		return;
	watch->command_due_ns = now_ns + (uint64_t)(watch->request->command_every_seconds * 1e9);
	setenv("PQLEASE_STATUS", status, 1);
	setenv("PQLEASE_POOL", pool, 1);
	setenv("PQLEASE_MESSAGE", message, 1);
	char *arguments[] = {"sh", "-c", (char *)watch->request->command, NULL};
	if (posix_spawn(&watch->command, "/bin/sh", NULL, NULL, arguments, environ) != 0)
		watch->command = 0;
}

static void print_edge(void *context, enum edge_severity severity, const char *pool, const char *message) {
	static const char *const words[] = {"INFO", "WARNING", "CRITICAL"};
	struct watch *watch = context;
	struct arena arena = {0};
	char instant[INSTANT_TEXT_BYTES];
	const char *safe = text_printable(&arena, message);
	instant_format(instant, instant_realtime_ns());
	printf("%s %s %s\n", instant, words[severity], safe);
	fflush(stdout);
	if (pool != NULL)
		run_command(watch, pool, words[severity], safe);
	arena_release(&arena);
}

static void take_signals(void) {
	struct sigaction action = {.sa_handler = stop};
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void pause_for(double seconds) {
	struct timespec pause = {.tv_sec = (time_t)seconds,
				 .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};
	if (!is_stopping)
		nanosleep(&pause, NULL);
}

static enum status_exit watch(struct follower *follower, const struct request *request) {
	struct watch watch = {.request = request};
	struct edges *edges = edges_new(&request->live.settings.thresholds);
	enum status_exit code = STATUS_UNKNOWN;
	enum follower_state state = FOLLOWER_UNREAD;
	take_signals();
	while (edges != NULL && !is_stopping && state != FOLLOWER_ENDED && state != FOLLOWER_LOST) {
		state = follower_look(follower, instant_monotonic_ns());
		const struct report *report = follower_report(follower);
		if (report == NULL)
			break;
		struct health_subject subject = {&report, 1};
		code = exit_of(health_worst_word(&subject));
		edges_look(edges, report, print_edge, &watch);
		if (state == FOLLOWER_LIVE)
			pause_for(request->watch_seconds);
	}
	if (state == FOLLOWER_UNREAD || state == FOLLOWER_LOST) {
		options_error(follower_path(follower), "%s", follower_problem(follower));
		code = STATUS_UNKNOWN;
	}
	if (edges != NULL)
		edges_free(edges);
	return code;
}

/* ---- Options --------------------------------------------------------------------------------------------------- */

static bool take_seconds(const char *option, const char *text, double *seconds) {
	char *end;
	*seconds = strtod(text, &end);
	if (end != text && *end == '\0' && *seconds >= 0.05 && *seconds <= 86400)
		return true;
	options_error(option, "'%s' is not a number of seconds from 0.05 to 86400", text);
	return false;
}

static bool take_option(void *context, int option) {
	struct request *request = context;
	switch (option) {
	case OPTION_JSON:
		request->is_json = true;
		return true;
	case OPTION_WATCH:
		return take_seconds("--watch", optarg, &request->watch_seconds);
	case OPTION_EXEC:
		request->command = optarg;
		return true;
	case OPTION_EXEC_EVERY:
		return take_seconds("--exec-every", optarg, &request->command_every_seconds);
	default:
		return live_options_take(&request->live, option, optarg);
	}
}

static bool check_request(const struct request *request) {
	if (request->command != NULL && request->watch_seconds == 0)
		options_error("--exec", "needs --watch");
	else if (request->is_json && request->watch_seconds > 0)
		options_error("--json", "does not go with --watch");
	else
		return true;
	return false;
}

static enum status_exit show(const struct request *request, const char *path) {
	struct follower *follower = follower_open(path, &request->live.settings);
	enum status_exit code =
		request->watch_seconds > 0 ? watch(follower, request) : show_once(follower, request);
	follower_close(follower);
	return code;
}

static const struct options_syntax syntax = {"+:hV", status_options, help, take_option};

int cmd_status(int argc, char **argv) {
	struct request request = {.command_every_seconds = 60};
	char newest[PATH_MAX];
	const char *ledger;
	int code;
	if (!options_parse(&syntax, &request, argc, argv, &code))
		return code;
	if (!options_take_ledger(argc, argv, &ledger))
		return OPTIONS_EXIT_USAGE;
	if (!check_request(&request))
		return OPTIONS_EXIT_USAGE;
	code = STATUS_UNKNOWN;
	const char *path = live_options_settle(&request.live) == OPTIONS_EXIT_OK
		? ledger_search_meant(newest, ledger)
		: NULL;
	if (path != NULL)
		code = show(&request, path);
	live_options_release(&request.live);
	return code;
}
