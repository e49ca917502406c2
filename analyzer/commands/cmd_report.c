/*
 * pqlease report: what a ledger says, for people or for programs.
 */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/gate/gate_command.h"
#include "analyzer/ledger/ledger_keeper.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/commands/options.h"
#include "analyzer/commands/report_command.h"

static const char help[] =
	"usage: pqlease report [OPTIONS] [LEDGER]\n\n"
	"Reports on LEDGER, live or finished; without LEDGER on the newest one of this user in /dev/shm.\n"
	"Exits 0 whenever a report was printed, 2 if there is none to print.\n\n"
	"  --format=FORMAT  text (default) or another, see below\n"
	"  -o FILE          write the report to FILE, whole or not at all, instead of to standard "
	"output\n" JUDGE_OPTIONS_HELP(
		"    ") "  --config FILE    instead of the pqlease.yaml found here or above\n"
			"  --full           whole stacks, all processes and pools, evidence\n"
			"  --color=WHEN     auto (default), always or never; NO_COLOR is respected\n"
			"  --help           this text\n"
			"  --version        the version\n" REPORT_OUTPUTS_HELP;

enum { OPTION_FORMAT = OPTIONS_LONG_ONLY, OPTION_FULL, OPTION_COLOR };

static const struct option report_options[] = {{"format", required_argument, NULL, OPTION_FORMAT},
					       {"full", no_argument, NULL, OPTION_FULL},
					       {"color", required_argument, NULL, OPTION_COLOR},
					       GATE_CONFIG_OPTION,
					       JUDGE_OPTIONS,
					       REPORT_OUTPUTS_OPTIONS,
					       OPTIONS_COMMON,
					       {NULL, 0, NULL, 0}};

/* What is asked for. The gate is here for its configuration: a report judges nothing. */
struct reporting {
	struct report_command_request request;
	struct gate_command gate;
};

static bool take_option(void *context, int option) {
	struct reporting *reporting = context;
	struct report_command_request *request = &reporting->request;
	switch (option) {
	case GATE_OPTION_CONFIG:
		return gate_command_take(&reporting->gate, option, optarg);
	case OPTION_FORMAT:
		return report_outputs_parse_format("--format", optarg, &request->format);
	case 'o':
		request->output_path = optarg;
		return true;
	case OPTION_FULL:
		request->is_full = true;
		return true;
	case OPTION_COLOR:
		return options_parse_color(optarg, &request->color);
	default:
		if (report_outputs_is_one(option))
			return report_outputs_take(&request->outputs, option, optarg);
		return judge_options_is_one(option) && judge_options_take(request->judge, option, optarg);
	}
}

static const struct options_syntax syntax = {"+:o:hV", report_options, help, take_option};

static int report(struct reporting *reporting, const char *ledger_path) {
	struct report_command_request *request = &reporting->request;
	char newest[PATH_MAX];
	int code = gate_command_configure(&reporting->gate, &request->settings);
	if (code != OPTIONS_EXIT_OK)
		return code;
	request->ledger_path = ledger_search_meant(newest, ledger_path);
	if (request->ledger_path == NULL)
		return OPTIONS_EXIT_CANNOT;
	code = report_command_write(request, NULL);
	judge_options_release(request->judge);
	gate_command_release(&reporting->gate);
	return code;
}

int cmd_report(int argc, char **argv) {
	struct judge_options judge = {0};
	struct reporting reporting = {.request = {.format = RENDER_TEXT,
						  .stream = stdout,
						  .settings = report_settings_standard(),
						  .judge = &judge}};
	const char *ledger;
	int code;
	if (!options_parse(&syntax, &reporting, argc, argv, &code))
		return code;
	if (!options_take_ledger(argc, argv, &ledger))
		return OPTIONS_EXIT_USAGE;
	return report(&reporting, ledger);
}
