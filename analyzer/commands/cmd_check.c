/*
 * pqlease check: the gate for CI. Exit code 0 is green, 1 is red, 2 cannot be trusted.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/gate/gate_command.h"
#include "analyzer/ledger/ledger_keeper.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/output_file.h"
#include "analyzer/report/report.h"
#include "analyzer/commands/report_command.h"
#include "analyzer/report/report_reader.h"

static const char help[] =
	"usage: pqlease check [OPTIONS] [LEDGER | REPORT.json]\n\n"
	"Judges a run for CI: LEDGER, or a report that pqlease wrote as JSON; without either the newest "
	"ledger\n"
	"of this user in /dev/shm. By default any finding of level error is red, and a run that cannot be\n"
	"trusted is never green. Exits 0 green, 1 red, 2 not to be trusted or not to be judged, 64 wrong "
	"usage.\n\n"
	"  --fail-on LIST            error (default), warning, note, a kind of finding, KIND:N for N or more "
	"of\n"
	"                            it, new, stale (lines of the baseline), unused (suppressions), none\n"
	"  --max-open N              connections open at once\n"
	"  --max-utilization PCT     of each pool's capacity\n"
	"  --p95-acquire TIME        95 % of connects are faster: 100ms, 1.5s\n"
	"  --max-hold TIME           no connection is held longer\n"
	"  --baseline FILE           findings that are accepted, each up to its count\n"
	"  --baseline-ref REF        take that file as it is at git's merge base of HEAD and REF\n"
	"  --write-baseline FILE     accept the findings of this run; exits 0 when written\n"
	"  --update-baseline FILE    the same, keeping lines whose places were not reached\n"
	"  --reason TEXT             why, for the lines written\n"
	"  --suppressions FILE       more suppressions: of pqlease.yaml's form, or leak:PATTERN lines; "
	"repeatable\n"
	"  --gen-suppressions        print suppressions for what is red, ready to paste\n"
	"  --config FILE             instead of the pqlease.yaml found here or above\n"
	"  --explain                 print the effective gate and where each part of it was set\n"
	"  --format=FORMAT           text (default): the verdict; else the whole report, verdict on stderr\n"
	"  -o FILE                   write that to FILE, whole or not at all, instead of to standard "
	"output\n" JUDGE_OPTIONS_HELP(
		"             ") "  --full                    whole stacks, where the format has them\n"
				 "  --help                    this text\n"
				 "  --version                 the version\n" REPORT_OUTPUTS_HELP;

enum { OPTION_FORMAT = OPTIONS_LONG_ONLY, OPTION_FULL };

static const struct option check_options[] = {
	GATE_OPTIONS,
	GATE_CONFIG_OPTION,
	{"write-baseline", required_argument, NULL, GATE_OPTION_WRITE_BASELINE},
	{"update-baseline", required_argument, NULL, GATE_OPTION_UPDATE_BASELINE},
	{"reason", required_argument, NULL, GATE_OPTION_REASON},
	{"gen-suppressions", no_argument, NULL, GATE_OPTION_GEN_SUPPRESSIONS},
	{"format", required_argument, NULL, OPTION_FORMAT},
	{"full", no_argument, NULL, OPTION_FULL},
	JUDGE_OPTIONS,
	REPORT_OUTPUTS_OPTIONS,
	OPTIONS_COMMON,
	{NULL, 0, NULL, 0}};

static bool take_option(void *context, int option) {
	struct report_command_request *request = context;
	if (gate_command_is_option(option))
		return gate_command_take(request->gate, option, optarg);
	switch (option) {
	case OPTION_FORMAT:
		return report_outputs_parse_format("--format", optarg, &request->format);
	case 'o':
		request->output_path = optarg;
		return true;
	case OPTION_FULL:
		request->is_full = true;
		return true;
	default:
		if (report_outputs_is_one(option))
			return report_outputs_take(&request->outputs, option, optarg);
		return judge_options_is_one(option) && judge_options_take(request->judge, option, optarg);
	}
}

static int check_json(const struct report_command_request *request, const char *path) {
	struct report report;
	struct gate_error error;
	if (request->judge->limit != 0 || request->judge->conninfo != NULL) {
		options_error(path,
			      "--limit and --server need the ledger: a report is judged as it was written");
		return OPTIONS_EXIT_USAGE;
	}
	if (!report_reader_read(&report, path, &error)) {
		options_error(error.place, "%s", error.why);
		report_release(&report);
		return OPTIONS_EXIT_CANNOT;
	}
	int code = report_command_finish(request, &report);
	report_release(&report);
	return code;
}

static int judge(const struct report_command_request *request) {
	int code = report_reader_is_json(request->ledger_path) ? check_json(request, request->ledger_path)
							       : report_command_write(request, NULL);
	return code == OPTIONS_EXIT_OK ? request->gate->exit_code : code;
}

/* The verdict is the text that was asked for, unless suppressions or a whole report were. */
static int check(struct report_command_request *request) {
	struct gate_command *gate = request->gate;
	struct output_file file = {0};
	FILE **asked = gate->generates_suppressions ? &gate->suppressions : &gate->text;
	bool is_report_asked = request->format != RENDER_TEXT;
	gate->text = is_report_asked || gate->generates_suppressions ? stderr : stdout;
	gate->suppressions = stdout;
	request->stream = is_report_asked ? stdout : NULL;
	if (is_report_asked || request->output_path == NULL)
		return judge(request);
	const char *path = request->output_path;
	request->output_path = NULL;
	int error = output_file_open(&file, path);
	int code = OPTIONS_EXIT_CANNOT;
	if (error == 0) {
		*asked = file.stream;
		code = judge(request);
		error = output_file_close(&file);
	}
	if (error == 0)
		return code;
	options_error(path, "%s", output_file_error_text(error));
	return OPTIONS_EXIT_CANNOT;
}

static int check_newest_or(struct report_command_request *request, const char *path, char newest[PATH_MAX]) {
	int code = gate_command_configure(request->gate, &request->settings);
	if (code == OPTIONS_EXIT_OK)
		code = gate_command_prepare(request->gate);
	if (code != OPTIONS_EXIT_OK)
		return code;
	request->ledger_path = ledger_search_meant(newest, path);
	return request->ledger_path != NULL ? check(request) : OPTIONS_EXIT_CANNOT;
}

static const struct options_syntax syntax = {"+:o:hV", check_options, help, take_option};

int cmd_check(int argc, char **argv) {
	char newest[PATH_MAX];
	struct judge_options judge_options = {0};
	struct gate_command gate = {.text = stdout};
	struct report_command_request request = {.format = RENDER_TEXT,
						 .settings = report_settings_standard(),
						 .judge = &judge_options,
						 .gate = &gate};
	const char *ledger;
	int code;
	if (!options_parse(&syntax, &request, argc, argv, &code))
		return code;
	if (!options_take_ledger(argc, argv, &ledger))
		return OPTIONS_EXIT_USAGE;
	code = check_newest_or(&request, ledger, newest);
	judge_options_release(&judge_options);
	gate_command_release(&gate);
	return code;
}
