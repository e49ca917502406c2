/*
 * From a ledger's path to a written report: what `report` does, and `run` at its end.
 */
#ifndef PQLEASE_ANALYZER_COMMANDS_REPORT_COMMAND_H
#define PQLEASE_ANALYZER_COMMANDS_REPORT_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "analyzer/commands/judge_options.h"
#include "analyzer/commands/options.h"
#include "analyzer/render/render.h"
#include "analyzer/commands/report_outputs.h"
#include "analyzer/report/report_settings.h"

struct gate_command;
struct report;

struct report_command_request {
	const char *ledger_path;
	enum render_format format;
	FILE *stream;            /* where the report goes if output_path is NULL */
	const char *output_path; /* a file that then exists whole or is as it was before; with neither, only
				  * the symbols are kept and a gate judges */
	struct report_outputs outputs; /* written besides */
	bool is_full;
	enum options_color color;
	struct report_settings settings;
	struct judge_options *judge; /* --limit and --server, on top of the settings; NULL: none */
	struct gate_command *gate;   /* judges the report and says so; NULL: no gate */
	bool is_server_optional;     /* a server that cannot be asked costs a line of error, not the report */
};

struct report_command_outcome {
	bool is_trusted; /* trust.ok */
	uint64_t process_total;
	uint64_t attempts;
	uint64_t findings; /* of any level */
	uint64_t errors;
	uint64_t warnings;
};

/* Returns OPTIONS_EXIT_OK if the report was written, whatever it says; else OPTIONS_EXIT_CANNOT after
 * its one line on stderr. `outcome` may be NULL; it is filled only with OPTIONS_EXIT_OK. */
int report_command_write(const struct report_command_request *request,
			 struct report_command_outcome *outcome);

/* The end of it, for a report that exists already: judged if there is a gate, written, concluded. */
int report_command_finish(const struct report_command_request *request, struct report *report);

#endif
