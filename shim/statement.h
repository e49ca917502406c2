/*
 * Which kind of command a text is: its first word, and nothing else of it.
 */
#ifndef PQLEASE_SHIM_STATEMENT_H
#define PQLEASE_SHIM_STATEMENT_H

enum statement {
#define STATEMENT(kind, word) STATEMENT_##kind,
#include "shim/statement.def"
#undef STATEMENT
	STATEMENT_COUNT
};

/* White space, comments and brackets before the word are skipped, within a bound. NULL: STATEMENT_UNKNOWN. Reads nothing
 * behind the word. */
enum statement statement_of(const char *text);

#endif
