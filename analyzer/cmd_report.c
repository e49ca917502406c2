/*
 * pqlease report: what a ledger says, for people or for programs.
 */
#include "analyzer/options.h"

int cmd_report(int argc, char **argv) {
	(void)argc;
	options_error(argv[0], "cannot be printed yet");
	return OPTIONS_EXIT_CANNOT;
}
