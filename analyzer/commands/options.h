/*
 * What all commands share: exit codes, the one-line error, and option parsing that speaks like the
 * rest of the tool. A command is `int cmd_NAME(int argc, char **argv)`, argv[0] being its name, and
 * returns one of the exit codes below (or its COMMAND's own, `run`). Commands are listed in commands.def.
 */
#ifndef PQLEASE_ANALYZER_COMMANDS_OPTIONS_H
#define PQLEASE_ANALYZER_COMMANDS_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

#ifndef PQLEASE_VERSION
#define PQLEASE_VERSION "0.1.0"
#endif

enum options_exit {
	OPTIONS_EXIT_OK = 0,
	OPTIONS_EXIT_GATE = 1,   /* findings above the gate, or worse than before */
	OPTIONS_EXIT_CANNOT = 2, /* cannot be done, or cannot be trusted */
	OPTIONS_EXIT_USAGE = 64
};

enum options_color { OPTIONS_COLOR_AUTO, OPTIONS_COLOR_ALWAYS, OPTIONS_COLOR_NEVER };

/* Long options without a short letter get values from here on; each command has its own. */
enum { OPTIONS_LONG_ONLY = 256, OPTIONS_HELP = 'h', OPTIONS_VERSION = 'V' };

/* The two options that every command has: put them at the end of its table, before the zero entry. */
#define OPTIONS_COMMON                                        \
	{"help", no_argument, NULL, OPTIONS_HELP}, {          \
		"version", no_argument, NULL, OPTIONS_VERSION \
	}

/* The next option as getopt_long returns it, -1 at the end (optind is then the first operand). The
 * first call must be preceded by `optind = 0`. `short_options` must begin with "+:". Returns '?' for a
 * wrong option after its error line was printed: the caller returns OPTIONS_EXIT_USAGE. */
int options_next(int argc, char **argv, const char *short_options, const struct option *long_options);

/* What a command understands. */
struct options_syntax {
	const char *short_options; /* as options_next() */
	const struct option *long_options;
	const char *help; /* the whole page */
	bool (*take)(void *request,
		     int option); /* false after its line of error; NULL: only the common options */
};

/* Takes all options into `request`; operands begin at optind then. False when the command is over: help or the version
 * was printed, or a line of error; `code` is its exit code. */
bool options_parse(const struct options_syntax *syntax, void *request, int argc, char **argv, int *code);

/* The LEDGER behind the options, NULL if there is none. False after a line of error: there are more words. */
bool options_take_ledger(int argc, char **argv, const char **ledger);

/* Prints "pqlease: what: why" on stderr as one line; both parts may come from outside. */
void options_error(const char *what, const char *why_format, ...) __attribute__((format(printf, 2, 3)));

/* Prints `text` (a whole help page) or the version on stdout and returns OPTIONS_EXIT_OK. */
int options_print_help(const char *text);
int options_print_version(void);

/* Parses the value of --color; prints the error and returns false if it is none. */
bool options_parse_color(const char *value, enum options_color *color);

/* Whether output to `descriptor` gets colours: never with NO_COLOR unless asked for by --color=always. */
bool options_use_color(enum options_color color, int descriptor);

#endif
