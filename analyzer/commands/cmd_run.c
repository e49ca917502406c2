/*
 * pqlease run: records COMMAND and all it starts, and reports when it has ended.
 *
 * COMMAND comes first: whatever happens to us, its output and status are its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/program/child.h"
#include "analyzer/commands/commands.h"
#include "analyzer/gate/gate_command.h"
#include "analyzer/doctor/diagnosis.h"
#include "analyzer/ledger/ledger_keeper.h"
#include "analyzer/commands/options.h"
#include "analyzer/output_file.h"
#include "analyzer/program/preload_environment.h"
#include "analyzer/commands/report_command.h"
#include "analyzer/program/shim_path.h"
#include "analyzer/program/target.h"

static const char help[] =
	"usage: pqlease run [OPTIONS] [--] COMMAND [ARG...]\n\n"
	"Records every libpq connection of COMMAND and of all it starts; reports on stderr at its end.\n"
	"Inside another run it joins that one, which reports, unless -o is given. The exit status is\n"
	"COMMAND's own: 128+N if killed by signal N, 126 not executable, 127 not found.\n\n"
	"  -o LEDGER            keep the ledger there, not in /dev/shm; an ended one is replaced\n"
	"  --role NAME          label the processes of this run\n"
	"  --report=FORMAT      text (default), another, see below, or none\n"
	"  --report-file FILE   write the report there instead of to stderr\n" JUDGE_OPTIONS_HELP(
		"        ") "  --full               whole stacks\n"
			    "  --color=WHEN         auto, always or never\n"
			    "  --config FILE        instead of the pqlease.yaml found here or above\n"
			    "  --check              judge the run when COMMAND has ended: a status of 0 "
			    "becomes 1 if\n"
			    "                       the gate is red, 2 if the run cannot be trusted. "
			    "Takes the gate's\n"
			    "                       options, see pqlease check --help; records into a "
			    "ledger of its own\n"
			    "  --help               this text\n" REPORT_OUTPUTS_HELP;

struct run_plan {
	const char *ledger_path; /* as given, or NULL */
	const char *role;
	const char *report_path;
	bool is_silent; /* --report=none */
	enum render_format format;
	struct report_outputs outputs;
	enum options_color color;
	bool is_full;
	struct judge_options judge;
	struct report_settings settings;
	struct gate_command gate;
	bool is_checked; /* --check */
	char **command;
	struct shim_path shim;
	struct target target;
};

/* ---- Options ---------------------------------------------------------------------------------------- */

enum {
	OPTION_ROLE = OPTIONS_LONG_ONLY,
	OPTION_REPORT,
	OPTION_REPORT_FILE,
	OPTION_FULL,
	OPTION_COLOR,
	OPTION_CHECK
};

static const struct option run_options[] = {{"role", required_argument, NULL, OPTION_ROLE},
					    {"report", required_argument, NULL, OPTION_REPORT},
					    {"report-file", required_argument, NULL, OPTION_REPORT_FILE},
					    {"full", no_argument, NULL, OPTION_FULL},
					    {"color", required_argument, NULL, OPTION_COLOR},
					    {"check", no_argument, NULL, OPTION_CHECK},
					    GATE_OPTIONS,
					    GATE_CONFIG_OPTION,
					    JUDGE_OPTIONS,
					    REPORT_OUTPUTS_OPTIONS,
					    OPTIONS_COMMON,
					    {NULL, 0, NULL, 0}};

static bool parse_report(struct run_plan *plan, const char *value) {
	plan->is_silent = strcmp(value, "none") == 0;
	return plan->is_silent || report_outputs_parse_format("--report", value, &plan->format);
}

static bool take_option(void *context, int option) {
	struct run_plan *plan = context;
	switch (option) {
	case 'o':
		plan->ledger_path = optarg;
		return true;
	case OPTION_ROLE:
		plan->role = optarg;
		return true;
	case OPTION_REPORT:
		return parse_report(plan, optarg);
	case OPTION_REPORT_FILE:
		plan->report_path = optarg;
		return true;
	case OPTION_FULL:
		plan->is_full = true;
		return true;
	case OPTION_COLOR:
		return options_parse_color(optarg, &plan->color);
	case OPTION_CHECK:
		plan->is_checked = true;
		return true;
	default:
		if (gate_command_is_option(option))
			return gate_command_take(&plan->gate, option, optarg);
		if (report_outputs_is_one(option))
			return report_outputs_take(&plan->outputs, option, optarg);
		return judge_options_is_one(option) && judge_options_take(&plan->judge, option, optarg);
	}
}

/* ---- Before COMMAND ------------------------------------------------------------------------------------ */

/* Found out while COMMAND has not started yet: its work should not be done without its report. */
static bool check_file(const struct run_plan *plan, const char *path) {
	char directory[PATH_MAX];
	struct stat file;
	int error = 0;
	if (plan->ledger_path && strcmp(path, plan->ledger_path) == 0) {
		error = OUTPUT_FILE_IS_LEDGER;
	} else if (stat(path, &file) == 0) {
		error = S_ISDIR(file.st_mode)         ? EISDIR
			: output_file_is_ledger(path) ? OUTPUT_FILE_IS_LEDGER
			: access(path, W_OK) == 0     ? 0
						      : errno;
	} else {
		const char *slash = strrchr(path, '/');
		snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path + 1) : 1,
			 slash ? path : ".");
		error = access(directory, W_OK | X_OK) == 0 ? 0 : errno;
	}
	if (error != 0)
		options_error(path, "%s", output_file_error_text(error));
	return error == 0;
}

static bool check_report_files(const struct run_plan *plan) {
	bool is_fine = !plan->report_path || plan->is_silent || check_file(plan, plan->report_path);
	for (size_t i = 0; is_fine && i < plan->outputs.count; i++)
		is_fine = check_file(plan, plan->outputs.output[i].path);
	return is_fine;
}

static int report_start_failure(const char *command, int error) {
	options_error(command, "%s", strerror(error));
	return error == ENOENT ? 127 : 126;
}

/* ---- COMMAND's environment ------------------------------------------------------------------------------- */

static char **command_environment(const struct run_plan *plan, const char *ledger_path) {
	bool is_tolerant = target_tolerates_preload(&plan->target);
	return preload_environment_of(is_tolerant ? plan->shim.path : NULL, ledger_path, plan->role);
}

/* ---- Inside another run ------------------------------------------------------------------------------------ */

static bool is_inside_live_run(const struct run_plan *plan) {
	struct ledger_keeper_glance glance;
	const char *outer = getenv("PQLEASE_LEDGER");
	if (plan->ledger_path || plan->is_checked || !outer || !*outer || !preload_environment_is_shim_on())
		return false;
	ledger_keeper_glance(&glance, outer);
	return glance.is_run_alive;
}

/* Nothing is left for us to wait for: an outer run records and reports, or nobody does. */
static int become_command(const struct run_plan *plan) {
	bool is_tolerant = target_tolerates_preload(&plan->target);
	char *preload = is_tolerant ? NULL : preload_environment_list(NULL);
	const struct preload_variable changes[] = {
		{"LD_PRELOAD", preload}, {"PQLEASE_ROLE", plan->role}, {NULL, NULL}};
	char **environment = preload_environment_changed(changes);
	free(preload);
	if (environment)
		execvpe(plan->command[0], plan->command, environment);
	int error = environment ? errno : ENOMEM;
	free(environment);
	return report_start_failure(plan->command[0], error);
}

/* ---- The run ------------------------------------------------------------------------------------------------- */

/* A ledger that the user asked for must be there, and one that is to be judged; without the default one COMMAND runs
 * unrecorded. */
static bool create_ledger(const struct run_plan *plan, struct ledger_keeper *keeper) {
	char path[PATH_MAX];
	const char *reason = strerror(ENAMETOOLONG);
	if (plan->ledger_path)
		snprintf(path, sizeof path, "%s", plan->ledger_path);
	else if (!ledger_keeper_default_path(path, LEDGER_KEEPER_DIRECTORY))
		*path = '\0';
	if (*path)
		reason = ledger_keeper_create(keeper, path, getenv("PQLEASE_LEDGER_SIZE"), plan->command);
	if (!reason)
		return true;
	if (plan->ledger_path)
		options_error(path, "%s", reason);
	else
		options_error("recording is off", "%s: %s", path, reason);
	return !plan->ledger_path && !plan->is_checked;
}

/* Why nothing was recorded, as far as it can be known from here: what `pqlease doctor` would have said. */
static const char *explain_unrecorded(const struct run_plan *plan, struct arena *arena) {
	struct diagnosis diagnosis;
	const char *disable = getenv("PQLEASE_DISABLE");
	const struct diagnosis_question question = {
		.arena = arena, .shim_path = plan->shim.path, .search_path = getenv("PATH")};
	if (disable && strcmp(disable, "1") == 0)
		return "PQLEASE_DISABLE is set: the shim forwards every call and records nothing";
	if (diagnosis_make(&diagnosis, &question, (const char *const *)plan->command) == 0 &&
	    diagnosis.answer == DIAGNOSIS_UNSEEN)
		return diagnosis.reason;
	return arena_text(
		arena,
		"no call of libpq reached the ledger from %s, nor from what it started: libpq was not "
		"called, or the ledger is out of reach there (chroot, another user)",
		plan->target.path);
}

/* A report that fails has said so; COMMAND's status stands. With --check it returns the gate's code, which is not green if
 * the gate could not look. */
static int write_report(struct run_plan *plan, const struct ledger_keeper *keeper) {
	struct arena arena = {NULL};
	struct report_command_request request = {.ledger_path = keeper->path,
						 .format = plan->format,
						 .stream = plan->is_silent ? NULL : stderr,
						 .output_path = plan->is_silent ? NULL : plan->report_path,
						 .outputs = plan->outputs,
						 .is_full = plan->is_full,
						 .color = plan->color,
						 .settings = plan->settings,
						 .judge = &plan->judge,
						 .gate = plan->is_checked ? &plan->gate : NULL,
						 .is_server_optional = !plan->is_checked};
	if (!ledger_keeper_has_processes(keeper))
		request.settings.unrecorded_reason = explain_unrecorded(plan, &arena);
	int code = report_command_write(&request, NULL);
	arena_release(&arena);
	return code == OPTIONS_EXIT_OK && plan->is_checked ? plan->gate.exit_code : code;
}

/* Without a report: silent, unless COMMAND was out of reach, which its user cannot know otherwise. Symbols are kept
 * in the ledger all the same: tomorrow the program may be another one. */
static int finish_silently(struct run_plan *plan, const struct ledger_keeper *keeper) {
	char reason[3 * PATH_MAX];
	const struct report_command_request symbols_only = {.ledger_path = keeper->path,
							    .settings = report_settings_standard()};
	int code = plan->outputs.count > 0 || plan->is_checked ? write_report(plan, keeper)
							       : report_command_write(&symbols_only, NULL);
	if (!ledger_keeper_has_processes(keeper) && *target_explain(&plan->target, reason, sizeof reason))
		options_error("nothing was recorded", "%s", reason);
	return code;
}

static int run_and_report(struct run_plan *plan, struct ledger_keeper *keeper) {
	struct child child;
	struct child_end end;
	char **environment = command_environment(plan, keeper->path);
	int error = environment ? child_start(&child, plan->command, environment) : ENOMEM;
	free(environment);
	if (error != 0) {
		ledger_keeper_discard(keeper);
		return report_start_failure(plan->command[0], error);
	}
	child_hand_over_descriptors(plan->report_path != NULL);
	child_wait(&child, &end);
	if (end.signal_number != 0)
		ledger_keeper_mark_killed(keeper, child.pid, ledger_keeper_start_ticks(child.pid),
					  end.signal_number);
	child_reap(&child);
	ledger_keeper_mark_ended(keeper, end.status, end.signal_number);
	int code = plan->is_silent ? finish_silently(plan, keeper) : write_report(plan, keeper);
	ledger_keeper_close(keeper);
	return plan->is_checked && end.status == 0 ? code : end.status;
}

/* Whether the run can be judged as it was asked for is found out before COMMAND does its work. */
static int prepare_judging(struct run_plan *plan) {
	int code = gate_command_configure(&plan->gate, &plan->settings);
	plan->gate.text = stderr;
	plan->gate.is_quiet_if_green = plan->is_silent;
	if (code == OPTIONS_EXIT_OK && plan->is_checked)
		code = gate_command_prepare(&plan->gate);
	return code;
}

static int run(struct run_plan *plan) {
	struct ledger_keeper keeper = {0};
	if (!shim_path_find(&plan->shim)) {
		options_error(plan->shim.path, "%s", plan->shim.reason);
		return OPTIONS_EXIT_CANNOT;
	}
	int error = target_find(&plan->target, plan->command[0], getenv("PATH"));
	if (error != 0)
		return report_start_failure(plan->command[0], error);
	if (is_inside_live_run(plan))
		return become_command(plan);
	int code = prepare_judging(plan);
	if (code != OPTIONS_EXIT_OK)
		return code;
	if (!check_report_files(plan) || !create_ledger(plan, &keeper))
		return OPTIONS_EXIT_CANNOT;
	if (!keeper.header)
		return become_command(plan);
	/* A server that cannot be asked before is not asked afterwards: the line is there already. */
	if (!judge_options_ask_before(&plan->judge)) {
		if (plan->is_checked) {
			ledger_keeper_discard(&keeper);
			return OPTIONS_EXIT_CANNOT;
		}
		plan->judge.conninfo = NULL;
	}
	int status = run_and_report(plan, &keeper);
	judge_options_release(&plan->judge);
	gate_command_release(&plan->gate);
	return status;
}

static const struct options_syntax syntax = {"+:o:hV", run_options, help, take_option};

int cmd_run(int argc, char **argv) {
	struct run_plan plan = {.format = RENDER_TEXT, .settings = report_settings_standard()};
	int code;
	if (!options_parse(&syntax, &plan, argc, argv, &code))
		return code;
	if (optind == argc) {
		options_error("run", "no COMMAND, see pqlease run --help");
		return OPTIONS_EXIT_USAGE;
	}
	if (plan.gate.is_any_given && !plan.is_checked) {
		options_error("run", "the options of a gate need --check");
		return OPTIONS_EXIT_USAGE;
	}
	plan.command = argv + optind;
	return run(&plan);
}
