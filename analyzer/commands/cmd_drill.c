/*
 * pqlease drill: COMMAND again and again in one ledger. Which wave fails first, and what grows from wave to wave?
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/drill/drill_growth.h"
#include "analyzer/drill/drill_wave.h"
#include "analyzer/ledger/ledger_keeper.h"
#include "analyzer/ledger/ledger_load.h"
#include "analyzer/commands/options.h"
#include "analyzer/program/preload_environment.h"
#include "analyzer/render/finding_text.h"
#include "analyzer/render/text_page.h"
#include "analyzer/program/shim_path.h"
#include "analyzer/symbols/symbol_source.h"
#include "analyzer/program/target.h"

static const char help[] =
	"usage: pqlease drill [OPTIONS] [--] COMMAND [ARG...]\n\n"
	"Runs COMMAND in waves, all in one ledger; says on stderr how it was before, after each wave and in "
	"the end: which wave\n"
	"failed first, and which places leave more connections behind from wave to wave. The exit status is "
	"that of\n"
	"the first COMMAND that failed, as of `pqlease run`.\n\n"
	"  --waves N      waves (10)\n"
	"  --parallel N   COMMANDs side by side in a wave (1)\n"
	"  --runs N       COMMANDs in all, instead of --waves\n"
	"  --delay SECONDS  between two waves (0)\n"
	"  -o LEDGER      keep the ledger there, not in /dev/shm; an ended one is replaced\n"
	"  --role NAME    label the processes of this drill\n"
	"  --color=WHEN   auto, always or never\n"
	"  --help         this text\n";

enum {
	OPTION_WAVES = OPTIONS_LONG_ONLY,
	OPTION_PARALLEL,
	OPTION_RUNS,
	OPTION_DELAY,
	OPTION_ROLE,
	OPTION_COLOR
};
enum { WAVES_DEFAULT = 10, PARALLEL_MAX = 1000, RUNS_MAX = 100000 };

static const struct option drill_options[] = {{"waves", required_argument, NULL, OPTION_WAVES},
					      {"parallel", required_argument, NULL, OPTION_PARALLEL},
					      {"runs", required_argument, NULL, OPTION_RUNS},
					      {"delay", required_argument, NULL, OPTION_DELAY},
					      {"role", required_argument, NULL, OPTION_ROLE},
					      {"color", required_argument, NULL, OPTION_COLOR},
					      OPTIONS_COMMON,
					      {NULL, 0, NULL, 0}};

struct plan {
	uint64_t waves;
	uint64_t parallel;
	uint64_t runs; /* 0: waves times parallel */
	double delay_seconds;
	const char *ledger_path;
	const char *role;
	enum options_color color;
	char **command;
	struct shim_path shim;
	struct target target;
};

/* ---- Options ------------------------------------------------------------------------------------- */

static bool parse_count(const char *option, const char *value, uint64_t most, uint64_t *count) {
	char *end;
	errno = 0;
	*count = strtoull(value, &end, 10);
	if (*value >= '0' && *value <= '9' && *end == '\0' && errno == 0 && *count >= 1 && *count <= most)
		return true;
	options_error(option, "'%s' is no number from 1 to %" PRIu64, value, most);
	return false;
}

static bool parse_delay(struct plan *plan, const char *value) {
	char *end;
	plan->delay_seconds = strtod(value, &end);
	if (end != value && *end == '\0' && plan->delay_seconds >= 0 && plan->delay_seconds <= 86400)
		return true;
	options_error("--delay", "'%s' is no number of seconds", value);
	return false;
}

static bool take_option(void *context, int option) {
	struct plan *plan = context;
	switch (option) {
	case OPTION_WAVES:
		return parse_count("--waves", optarg, RUNS_MAX, &plan->waves);
	case OPTION_PARALLEL:
		return parse_count("--parallel", optarg, PARALLEL_MAX, &plan->parallel);
	case OPTION_RUNS:
		return parse_count("--runs", optarg, RUNS_MAX, &plan->runs);
	case OPTION_DELAY:
		return parse_delay(plan, optarg);
	case OPTION_ROLE:
		plan->role = optarg;
		return true;
	case OPTION_COLOR:
		return options_parse_color(optarg, &plan->color);
	case 'o':
		plan->ledger_path = optarg;
		return true;
	default:
		return false;
	}
}

/* ---- Samples: the ledger after each wave ---------------------------------------------------------- */

struct sample {
	struct report_totals totals;
	uint64_t *held; /* by site number: left behind or open */
	size_t site_count;
};

struct drill {
	const struct plan *plan;
	struct ledger_keeper keeper;
	struct arena arena;
	struct text_page page;
	struct drill_run *runs; /* of the wave */
	struct sample *samples; /* before, and after each wave */
	size_t sample_count;
	uint64_t started;
	uint64_t failed;
	uint64_t first_failed_wave; /* 0: none */
	int status;                 /* of the first COMMAND that failed */
};

static void take_sites(struct drill *drill, struct sample *sample, const struct model *model,
		       const struct report *report) {
	sample->site_count = model->site_count;
	sample->held = arena_array(&drill->arena, model->site_count, sizeof *sample->held);
	for (size_t i = 0; i < report->site_count; i++)
		sample->held[report->sites[i].id] =
			(uint64_t)(report->sites[i].open + report->sites[i].released.never);
}

static bool take_sample(struct drill *drill) {
	struct model model;
	struct report report;
	const char *problem = ledger_load(&model, drill->keeper.path);
	if (problem != NULL) {
		options_error(drill->keeper.path, "%s", problem);
		return false;
	}
	struct report_settings settings = report_settings_standard();
	report_build(&report, &model, NULL, &settings);
	struct sample *sample = &drill->samples[drill->sample_count++];
	sample->totals = report.totals;
	take_sites(drill, sample, &model, &report);
	report_release(&report);
	model_release(&model);
	return true;
}

static void print_health(struct drill *drill, const char *head) {
	const struct report_totals *totals = &drill->samples[drill->sample_count - 1].totals;
	text_page_line(&drill->page, TEXT_PAGE_PLAIN, head,
		       "%" PRId64 " open, %" PRId64 " left behind; %" PRId64 " attempts, %" PRId64
		       " failed; peak %" PRId64,
		       totals->open, totals->unreleased, totals->attempts, totals->failed, totals->peak_open);
}

/* ---- Waves ------------------------------------------------------------------------------------------ */

static int compare_doubles(const void *a, const void *b) {
	double left = *(const double *)a;
	double right = *(const double *)b;
	return (left > right) - (left < right);
}

static void print_wave(struct drill *drill, uint64_t wave, size_t count, size_t failed) {
	double *seconds = arena_array(&drill->page.arena, count, sizeof *seconds);
	for (size_t i = 0; i < count; i++)
		seconds[i] = (double)(drill->runs[i].ended_ns - drill->runs[i].begun_ns) / 1e9;
	qsort(seconds, count, sizeof *seconds, compare_doubles);
	const char *head = arena_text(&drill->page.arena, "Wave %-4" PRIu64 " ", wave);
	text_page_line(&drill->page, failed > 0 ? TEXT_PAGE_BAD : TEXT_PAGE_GOOD, head,
		       "%zu ok, %zu failed; took min %s, median %s, max %s", count - failed, failed,
		       text_page_seconds(&drill->page, seconds[0]),
		       text_page_seconds(&drill->page, seconds[count / 2]),
		       text_page_seconds(&drill->page, seconds[count - 1]));
}

static size_t judge_runs(struct drill *drill, size_t count) {
	size_t failed = 0;
	for (size_t i = 0; i < count; i++) {
		failed += drill->runs[i].status != 0;
		if (drill->status == 0)
			drill->status = drill->runs[i].status;
	}
	drill->started += count;
	drill->failed += failed;
	return failed;
}

/* A wave also fails by connections that were refused, even if COMMAND got over it. */
static bool has_refusals(const struct drill *drill) {
	const struct sample *last = &drill->samples[drill->sample_count - 1];
	return last->totals.failed > last[-1].totals.failed;
}

/* 0, or the exit code with which the drill ends. */
static int play_wave(struct drill *drill, uint64_t wave, size_t count, char *const *environment) {
	int error = drill_wave_run(drill->runs, count, drill->plan->command, environment, &drill->keeper);
	if (error != 0) {
		options_error(drill->plan->command[0], "%s", strerror(error));
		return error == ENOENT ? 127 : 126;
	}
	size_t failed = judge_runs(drill, count);
	if (!take_sample(drill))
		return OPTIONS_EXIT_CANNOT;
	if ((failed > 0 || has_refusals(drill)) && drill->first_failed_wave == 0)
		drill->first_failed_wave = wave;
	print_wave(drill, wave, count, failed);
	print_health(drill, "          ");
	fflush(drill->page.stream);
	return 0;
}

/* ---- In the end --------------------------------------------------------------------------------------- */

/* Held after each wave, of all sites that are one place. */
static uint64_t *counts_of(struct drill *drill, const struct report *report, const char *fingerprint) {
	uint64_t *counts = arena_array(&drill->arena, drill->sample_count, sizeof *counts);
	for (size_t i = 0; i < report->site_count; i++) {
		size_t id = (size_t)report->sites[i].id;
		bool is_here = strcmp(report->sites[i].fingerprint, fingerprint) == 0;
		for (size_t sample = 0; is_here && sample < drill->sample_count; sample++)
			if (id < drill->samples[sample].site_count)
				counts[sample] += drill->samples[sample].held[id];
	}
	return counts;
}

static bool is_first_of_place(const struct report *report, size_t index) {
	for (size_t i = 0; i < index; i++)
		if (strcmp(report->sites[i].fingerprint, report->sites[index].fingerprint) == 0)
			return false;
	return true;
}

static void print_growth(struct drill *drill, const struct report *report) {
	struct text_page *page = &drill->page;
	size_t growing = 0;
	for (size_t i = 0; i < report->site_count; i++) {
		if (!is_first_of_place(report, i))
			continue;
		const uint64_t *counts = counts_of(drill, report, report->sites[i].fingerprint);
		if (!drill_growth_is_growing(counts, drill->sample_count))
			continue;
		growing++;
		text_page_line(page, TEXT_PAGE_BAD, "  growing ", "by %.3g per wave, %" PRIu64 " now: %s",
			       drill_growth_rate(counts, drill->sample_count),
			       counts[drill->sample_count - 1],
			       finding_text_place(&page->arena, report, report->sites[i].id, NULL));
	}
	if (growing == 0)
		text_page_line(page, TEXT_PAGE_PLAIN, "  growing ", "%s",
			       drill->sample_count > DRILL_GROWTH_CYCLES ? "nothing"
									 : "unknown: fewer than 3 waves");
}

static void print_summary(struct drill *drill, const struct report *report) {
	struct text_page *page = &drill->page;
	const char *first = drill->first_failed_wave != 0
		? arena_text(&page->arena, "wave %" PRIu64, drill->first_failed_wave)
		: "none";
	text_page_line(page, TEXT_PAGE_HEADING, "Summary   ",
		       "%zu waves, %" PRIu64 " runs, %" PRIu64 " failed; first failing wave: %s",
		       drill->sample_count - 1, drill->started, drill->failed, first);
	print_growth(drill, report);
	text_page_wrapped(page, TEXT_PAGE_PLAIN, "  ", 2, report->verdict.message);
	text_page_line(page, TEXT_PAGE_FAINT, "  more by  ", "pqlease report %s", drill->keeper.path);
}

static int summarise(struct drill *drill) {
	struct model model;
	struct report report;
	const char *problem = ledger_load(&model, drill->keeper.path);
	if (problem != NULL) {
		options_error(drill->keeper.path, "%s", problem);
		return OPTIONS_EXIT_CANNOT;
	}
	struct report_settings settings = report_settings_standard();
	struct symbol_source *symbols = symbol_source_open(drill->keeper.path, model.mapped_bytes, NULL);
	report_build(&report, &model, symbols, &settings);
	print_summary(drill, &report);
	report_release(&report);
	if (symbols != NULL)
		(void)symbol_source_save(symbols, drill->keeper.path, model.mapped_bytes);
	symbol_source_close(symbols);
	model_release(&model);
	return drill->status;
}

/* ---- The drill ------------------------------------------------------------------------------------------ */

static int play(struct drill *drill, char *const *environment) {
	const struct plan *plan = drill->plan;
	uint64_t total = plan->runs != 0 ? plan->runs : plan->waves * plan->parallel;
	uint64_t waves = (total + plan->parallel - 1) / plan->parallel;
	drill->runs = arena_array(&drill->arena, plan->parallel, sizeof *drill->runs);
	drill->samples = arena_array(&drill->arena, waves + 1, sizeof *drill->samples);
	if (!take_sample(drill))
		return OPTIONS_EXIT_CANNOT;
	print_health(drill, "Before    ");
	const char *pause = plan->delay_seconds > 0
		? arena_text(&drill->arena, ", %s between two waves",
			     text_page_seconds(&drill->page, plan->delay_seconds))
		: "";
	text_page_line(&drill->page, TEXT_PAGE_HEADING, "Drill     ",
		       "%" PRIu64 " wave%s of %" PRIu64 " run%s%s: %s", waves, waves == 1 ? "" : "s",
		       plan->parallel, plan->parallel == 1 ? "" : "s", pause,
		       text_page_fit(&drill->page, plan->command[0], 40));
	for (uint64_t wave = 1; wave <= waves && drill_wave_signal() == 0; wave++) {
		uint64_t rest = total - (wave - 1) * plan->parallel;
		int code = play_wave(drill, wave, rest < plan->parallel ? rest : plan->parallel, environment);
		if (code != 0)
			return code;
		if (wave < waves)
			drill_wave_pause(plan->delay_seconds);
	}
	int signal_number = drill_wave_signal();
	if (signal_number != 0 && drill->status == 0)
		drill->status = 128 + signal_number;
	ledger_keeper_mark_ended(&drill->keeper, drill->status, 0);
	return summarise(drill);
}

static bool create_ledger(struct drill *drill) {
	char path[PATH_MAX];
	const struct plan *plan = drill->plan;
	if (plan->ledger_path != NULL && strlen(plan->ledger_path) < sizeof path)
		strcpy(path, plan->ledger_path);
	else if (plan->ledger_path != NULL || !ledger_keeper_default_path(path, LEDGER_KEEPER_DIRECTORY)) {
		options_error("drill", "%s", strerror(ENAMETOOLONG));
		return false;
	}
	const char *reason =
		ledger_keeper_create(&drill->keeper, path, getenv("PQLEASE_LEDGER_SIZE"), plan->command);
	if (reason != NULL)
		options_error(path, "%s", reason);
	return reason == NULL;
}

static int drill(struct plan *plan) {
	struct drill drill = {
		.plan = plan,
		.page = {.stream = stderr, .use_colors = options_use_color(plan->color, STDERR_FILENO)}};
	if (!shim_path_find(&plan->shim)) {
		options_error(plan->shim.path, "%s", plan->shim.reason);
		return OPTIONS_EXIT_CANNOT;
	}
	int error = target_find(&plan->target, plan->command[0], getenv("PATH"));
	if (error != 0) {
		options_error(plan->command[0], "%s", strerror(error));
		return error == ENOENT ? 127 : 126;
	}
	if (!create_ledger(&drill))
		return OPTIONS_EXIT_CANNOT;
	bool is_tolerant = target_tolerates_preload(&plan->target);
	char **environment =
		preload_environment_of(is_tolerant ? plan->shim.path : NULL, drill.keeper.path, plan->role);
	drill_wave_take_signals();
	int code = environment != NULL ? play(&drill, environment) : OPTIONS_EXIT_CANNOT;
	free(environment);
	ledger_keeper_close(&drill.keeper);
	text_page_end(&drill.page);
	arena_release(&drill.arena);
	return code;
}

static const struct options_syntax syntax = {"+:o:hV", drill_options, help, take_option};

int cmd_drill(int argc, char **argv) {
	struct plan plan = {.waves = WAVES_DEFAULT, .parallel = 1};
	int code;
	if (!options_parse(&syntax, &plan, argc, argv, &code))
		return code;
	if (optind == argc) {
		options_error("drill", "no COMMAND, see pqlease drill --help");
		return OPTIONS_EXIT_USAGE;
	}
	plan.command = argv + optind;
	return drill(&plan);
}
