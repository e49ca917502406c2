/*
 * pqlease: finds the command in commands.def and runs it.
 */
#include "analyzer/commands/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/commands/commands.h"

struct command {
	const char *name;
	int (*function)(int argc, char **argv);
	const char *help;
};

static const struct command commands[] = {
#define COMMAND(name, function, help) {name, function, help},
#include "analyzer/commands/commands.def"
#undef COMMAND
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const struct option main_options[] = {OPTIONS_COMMON, {NULL, 0, NULL, 0}};

static int print_help(void) {
	printf("usage: pqlease COMMAND [OPTIONS]\n\n"
	       "Records who takes libpq connections, how long that lasts, and which are never finished.\n\n");
	for (int i = 0; i < COMMAND_COUNT; i++)
		printf("  %-8s  %s\n", commands[i].name, commands[i].help);
	printf("\nEach command has its own --help. --version prints the version.\n");
	return OPTIONS_EXIT_OK;
}

static int run_command(int argc, char **argv) {
	for (int i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(argv[0], commands[i].name) == 0) {
			optind = 0;
			return commands[i].function(argc, argv);
		}
	if (strcmp(argv[0], "help") == 0)
		return print_help();
	options_error(argv[0], "no such command, see pqlease --help");
	return OPTIONS_EXIT_USAGE;
}

/* A report that did not reach the disk or the pipe is a failure, whatever the command thought. */
static int close_stdout(int code) {
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	options_error("standard output", "%s", strerror(errno));
	return code == OPTIONS_EXIT_OK ? OPTIONS_EXIT_CANNOT : code;
}

int main(int argc, char **argv) {
	switch (options_next(argc, argv, "+:hV", main_options)) {
	case OPTIONS_HELP:
		return close_stdout(print_help());
	case OPTIONS_VERSION:
		return close_stdout(options_print_version());
	case -1:
		break;
	default:
		return OPTIONS_EXIT_USAGE;
	}
	if (optind == argc) {
		options_error("no command", "see pqlease --help");
		return OPTIONS_EXIT_USAGE;
	}
	return close_stdout(run_command(argc - optind, argv + optind));
}
