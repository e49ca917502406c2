/*
 * The options of every command that follows runs, --limit and --config, and the settings they make. A server is not
 * asked: what follows a run opens no connection to a database.
 */
#ifndef PQLEASE_ANALYZER_LIVE_LIVE_OPTIONS_H
#define PQLEASE_ANALYZER_LIVE_LIVE_OPTIONS_H

#include "analyzer/gate/gate_command.h"
#include "analyzer/commands/judge_options.h"

/* For the command's table of options and its help. */
#define LIVE_OPTIONS {"limit", required_argument, NULL, JUDGE_OPTIONS_LIMIT}, GATE_CONFIG_OPTION
#define LIVE_OPTIONS_HELP(gap)                                                        \
	"  --limit N    " gap "capacity of every pool for which none is configured\n" \
	"  --config FILE" gap "thresholds, capacities and roles; else the pqlease.yaml above\n"

struct live_options {
	int64_t limit; /* 0: not given */
	struct gate_command gate;
	struct report_settings
		settings; /* after live_options_settle(); what it points to lives as long as this */
};

/* Takes one of them, false if it is none or after its line of error. */
bool live_options_take(struct live_options *options, int option, const char *value);
/* OPTIONS_EXIT_OK, or the code after a line of error. */
int live_options_settle(struct live_options *options);
void live_options_release(struct live_options *options);

#endif
