#include "analyzer/commands/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/arena.h"
#include "analyzer/text.h"

enum { ERROR_LINE_BYTES = 8192 };

int options_next(int argc, char **argv, const char *short_options, const struct option *long_options) {
	opterr = 0;
	int option = getopt_long(argc, argv, short_options, long_options, NULL);
	if (option != '?' && option != ':')
		return option;
	const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
	char letter[3] = {'-', (char)optopt, '\0'};
	bool is_short = strncmp(word, "--", 2) != 0 && optopt > 0 && optopt < OPTIONS_LONG_ONLY;
	const char *name = is_short ? letter : word;
	if (option == ':')
		options_error(name, "needs a value");
	else if (optopt != 0 && !is_short)
		options_error(name, "takes no value");
	else
		options_error(name, "no such option, or not unique; see --help");
	return '?';
}

void options_error(const char *what, const char *why_format, ...) {
	char why[ERROR_LINE_BYTES / 2];
	char line[ERROR_LINE_BYTES];
	struct arena arena = {0};
	va_list arguments;
	va_start(arguments, why_format);
	vsnprintf(why, sizeof why, why_format, arguments);
	va_end(arguments);
	snprintf(line, sizeof line, "pqlease: %s: %s", what, why);
	/* Names of files and options come from outside: what they hold must not speak to the terminal. */
	fprintf(stderr, "%s\n", text_printable(&arena, line));
	arena_release(&arena);
}

int options_print_help(const char *text) {
	fputs(text, stdout);
	return OPTIONS_EXIT_OK;
}

int options_print_version(void) {
	printf("pqlease %s\n", PQLEASE_VERSION);
	return OPTIONS_EXIT_OK;
}

bool options_parse_color(const char *value, enum options_color *color) {
	static const char *const names[] = {"auto", "always", "never"};
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(value, names[i]) == 0) {
			*color = (enum options_color)i;
			return true;
		}
	options_error("--color", "'%s' is none of auto, always, never", value);
	return false;
}

bool options_use_color(enum options_color color, int descriptor) {
	const char *no_color = getenv("NO_COLOR");
	if (color != OPTIONS_COLOR_AUTO)
		return color == OPTIONS_COLOR_ALWAYS;
	return (no_color == NULL || *no_color == '\0') && isatty(descriptor) == 1;
}

bool options_parse(const struct options_syntax *syntax, void *request, int argc, char **argv, int *code) {
	int option;
	while ((option = options_next(argc, argv, syntax->short_options, syntax->long_options)) != -1) {
		bool is_over = option == OPTIONS_HELP || option == OPTIONS_VERSION;
		if (!is_over && syntax->take != NULL && syntax->take(request, option))
			continue;
		*code = option == OPTIONS_HELP      ? options_print_help(syntax->help)
			: option == OPTIONS_VERSION ? options_print_version()
						    : OPTIONS_EXIT_USAGE;
		return false;
	}
	return true;
}

bool options_take_ledger(int argc, char **argv, const char **ledger) {
	*ledger = optind < argc ? argv[optind] : NULL;
	if (argc - optind <= 1)
		return true;
	const char *second = argv[optind + 1];
	options_error(second, second[0] == '-' ? "options stand before LEDGER" : "one LEDGER at most");
	return false;
}
