/*
 * The gate as commands use it: its options, the files they name, and what is written in the end. `check` and
 * `run --check` share it.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_COMMAND_H
#define PQLEASE_ANALYZER_GATE_GATE_COMMAND_H

#include "analyzer/gate/gate_config.h"
#include "analyzer/commands/options.h"

struct report;

enum {
	GATE_OPTION_FIRST = 2048,
	GATE_OPTION_CONFIG = GATE_OPTION_FIRST,
	GATE_OPTION_FAIL_ON,
	GATE_OPTION_MAX_OPEN,
	GATE_OPTION_MAX_UTILIZATION,
	GATE_OPTION_P95_ACQUIRE,
	GATE_OPTION_MAX_HOLD,
	GATE_OPTION_BASELINE,
	GATE_OPTION_BASELINE_REF,
	GATE_OPTION_WRITE_BASELINE,
	GATE_OPTION_UPDATE_BASELINE,
	GATE_OPTION_REASON,
	GATE_OPTION_SUPPRESSIONS,
	GATE_OPTION_GEN_SUPPRESSIONS,
	GATE_OPTION_EXPLAIN,
	GATE_OPTION_END
};

/* For the command's table of options. --config is not among them: other commands have it too. */
#define GATE_CONFIG_OPTION \
	{ "config", required_argument, NULL, GATE_OPTION_CONFIG }
#define GATE_OPTIONS                                                                       \
	{"fail-on", required_argument, NULL, GATE_OPTION_FAIL_ON},                         \
		{"max-open", required_argument, NULL, GATE_OPTION_MAX_OPEN},               \
		{"max-utilization", required_argument, NULL, GATE_OPTION_MAX_UTILIZATION}, \
		{"p95-acquire", required_argument, NULL, GATE_OPTION_P95_ACQUIRE},         \
		{"max-hold", required_argument, NULL, GATE_OPTION_MAX_HOLD},               \
		{"baseline", required_argument, NULL, GATE_OPTION_BASELINE},               \
		{"baseline-ref", required_argument, NULL, GATE_OPTION_BASELINE_REF},       \
		{"suppressions", required_argument, NULL, GATE_OPTION_SUPPRESSIONS}, {     \
		"explain", no_argument, NULL, GATE_OPTION_EXPLAIN                          \
	}

struct gate_command {
	/* As given; NULL or 0: not given. */
	const char *config_path;
	const char *fail_on;
	const char *limits[GATE_METRIC_COUNT];
	const char *baseline_path;
	const char *baseline_ref;
	const char *write_path;
	const char *update_path;
	const char *reason;
	const char **suppression_paths;
	size_t suppression_path_count;
	bool generates_suppressions;
	bool explains;
	bool is_any_given; /* of what only a gate understands */

	/* How the verdict is told. */
	FILE *text; /* where the verdict goes; NULL: nowhere unless it is not green */
	bool is_quiet_if_green;
	FILE *suppressions; /* where generated ones go */

	struct arena arena; /* of the lists above */
	struct gate_policy policy;
	struct gate_config config;
	int exit_code; /* after gate_command_conclude() */
};

bool gate_command_is_option(int option);
/* Takes an option; false after its line of error. */
bool gate_command_take(struct gate_command *command, int option, const char *value);

/* Reads --config, or the pqlease.yaml that is found, into policy and settings. OPTIONS_EXIT_OK, or the code after a
 * line of error. For commands that judge without a gate this is all. */
int gate_command_configure(struct gate_command *command, struct report_settings *settings);
/* The rest: options over the configuration, suppressions, baseline. Prints --explain. */
int gate_command_prepare(struct gate_command *command);

/* Judges the report, which then carries the outcome. */
void gate_command_judge(const struct gate_command *command, struct report *report);
/* Writes the verdict, suppressions, a baseline; leaves the exit code. `source_root` as gate_text_write(). */
void gate_command_conclude(struct gate_command *command, const struct report *report,
			   const char *source_root);
void gate_command_release(struct gate_command *command);

#endif
