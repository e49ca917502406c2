/*
 * The simple commands of a shell script, roughly: quotes, comments, redirections and the script's own arguments ($0,
 * $1, "$@") are understood; loops and functions are seen as the commands inside them, other expansions stay as they
 * are written. For finding out what a script starts, not for running it.
 */
#ifndef PQLEASE_ANALYZER_DOCTOR_SHELL_TEXT_H
#define PQLEASE_ANALYZER_DOCTOR_SHELL_TEXT_H

#include <stdbool.h>

#include "analyzer/arena.h"

struct shell_text {
	const char *at;               /* what is left of the text */
	const char *const *arguments; /* $0, $1..., ended by NULL */
};

/* The next command that has words: them, ended by NULL, from the arena. NULL at the end. */
const char *const *shell_text_next(struct shell_text *text, struct arena *arena);

#endif
