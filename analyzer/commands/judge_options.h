/*
 * The options of every command that judges: --limit and --server. They fill the settings of a report.
 */
#ifndef PQLEASE_ANALYZER_COMMANDS_JUDGE_OPTIONS_H
#define PQLEASE_ANALYZER_COMMANDS_JUDGE_OPTIONS_H

#include "analyzer/commands/options.h"
#include "analyzer/report/report_settings.h"
#include "analyzer/server/server_witness.h"

struct model;

enum { JUDGE_OPTIONS_LIMIT = 1024, JUDGE_OPTIONS_SERVER };

/* For the command's table of options and its help. */
#define JUDGE_OPTIONS                                                   \
	{"limit", required_argument, NULL, JUDGE_OPTIONS_LIMIT}, {      \
		"server", required_argument, NULL, JUDGE_OPTIONS_SERVER \
	}
#define JUDGE_OPTIONS_HELP(gap)                                                       \
	"  --limit N    " gap "capacity of every pool for which none is configured\n" \
	"  --server INFO" gap "ask the server there for its limits and sessions, and compare\n"

struct judge_options {
	int64_t limit;        /* 0: not given */
	const char *conninfo; /* NULL: not given */
	struct arena arena;   /* of the readings */
	bool has_before;
	struct server_reading before;
	struct server_reading now;
};

bool judge_options_is_one(int option);
/* Takes one of them; false after its line of error. */
bool judge_options_take(struct judge_options *options, int option, const char *value);

/* The value of --limit; prints the error and returns false if it is none. */
bool judge_options_parse_limit(const char *value, int64_t *limit);

/* Asks the server before the run that is to be compared. False after a line of error: the run goes on without. */
bool judge_options_ask_before(struct judge_options *options);

/* Puts everything into the settings, asking the server now if --server was given; `model` is settled. False after a line of
 * error. `options` must outlive the report. */
bool judge_options_apply(struct judge_options *options, struct model *model,
			 struct report_settings *settings);
void judge_options_release(struct judge_options *options);

#endif
