/*
 * pqlease export: a run in the formats of other tools.
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/export/export.h"
#include "analyzer/ledger/ledger_keeper.h"
#include "analyzer/ledger/ledger_load.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/commands/judge_options.h"
#include "analyzer/commands/options.h"
#include "analyzer/output_file.h"
#include "analyzer/symbols/symbol_source.h"

static const char help[] =
	"usage: pqlease export --format=FORMAT [OPTIONS] [LEDGER]\n\n"
	"Writes LEDGER, live or finished, in the format of another tool; without LEDGER the newest one of "
	"this user.\n\n"
	"  --format=pprof       leases and held time by stack, for `go tool pprof`\n"
	"  --format=folded      held microseconds by stack, for flame graphs\n"
	"  --format=speedscope  held seconds by stack, for speedscope.app\n"
	"  --format=trace       attempts and leases as spans, for Perfetto and chrome://tracing\n"
	"  --format=csv         a line for each attempt whose detail was kept\n"
	"  --format=prometheus  metrics as of `pqlease serve`, for the textfile collector and for batch "
	"jobs\n"
	"  --limit N            capacity of every pool that has no configured one, for prometheus\n"
	"  -o FILE              write to FILE, whole or not at all, instead of to standard output\n"
	"  --help               this text\n";

enum { OPTION_FORMAT = OPTIONS_LONG_ONLY, OPTION_LIMIT };

static const struct option export_options[] = {{"format", required_argument, NULL, OPTION_FORMAT},
					       {"limit", required_argument, NULL, OPTION_LIMIT},
					       OPTIONS_COMMON,
					       {NULL, 0, NULL, 0}};

struct plan {
	export_function *function;
	const char *output_path;
	const char *ledger_path;
	struct report_settings settings;
};

static bool take_option(void *context, int option) {
	struct plan *plan = context;
	if (option == 'o')
		plan->output_path = optarg;
	if (option == OPTION_LIMIT)
		return judge_options_parse_limit(optarg, &plan->settings.limit);
	if (option != OPTION_FORMAT)
		return option == 'o';
	plan->function = export_find(optarg);
	if (plan->function == NULL)
		options_error("--format", "'%s' is none of %s", optarg, export_names());
	return plan->function != NULL;
}

static int write_run(const struct plan *plan, const struct export_run *run) {
	struct output_file file;
	if (plan->output_path == NULL) {
		plan->function(run, stdout);
		return OPTIONS_EXIT_OK;
	}
	int error = output_file_open(&file, plan->output_path);
	if (error == 0) {
		plan->function(run, file.stream);
		error = output_file_close(&file);
	}
	if (error != 0)
		options_error(plan->output_path, "%s", output_file_error_text(error));
	return error == 0 ? OPTIONS_EXIT_OK : OPTIONS_EXIT_CANNOT;
}

static int export_model(const struct plan *plan, const struct model *model) {
	struct arena arena = {NULL};
	struct report report;
	struct export_run run;
	struct symbol_source *symbols = symbol_source_open(plan->ledger_path, model->mapped_bytes, NULL);
	report_build(&report, model, symbols, &plan->settings);
	export_gather(&run, &arena, model, &report);
	int code = write_run(plan, &run);
	report_release(&report);
	symbol_source_close(symbols);
	arena_release(&arena);
	return code;
}

static int export_ledger(struct plan *plan) {
	struct model model;
	char newest[PATH_MAX];
	plan->ledger_path = ledger_search_meant(newest, plan->ledger_path);
	if (plan->ledger_path == NULL)
		return OPTIONS_EXIT_CANNOT;
	const char *problem = ledger_load(&model, plan->ledger_path);
	if (problem != NULL) {
		options_error(plan->ledger_path, "%s", problem);
		return OPTIONS_EXIT_CANNOT;
	}
	int code = export_model(plan, &model);
	model_release(&model);
	return code;
}

static const struct options_syntax syntax = {"+:o:hV", export_options, help, take_option};

int cmd_export(int argc, char **argv) {
	struct plan plan = {.settings = report_settings_standard()};
	const char *ledger;
	int code;
	if (!options_parse(&syntax, &plan, argc, argv, &code))
		return code;
	if (plan.function == NULL) {
		options_error("--format", "needed: one of %s", export_names());
		return OPTIONS_EXIT_USAGE;
	}
	if (!options_take_ledger(argc, argv, &ledger))
		return OPTIONS_EXIT_USAGE;
	plan.ledger_path = ledger;
	return export_ledger(&plan);
}
