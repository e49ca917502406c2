/*
 * Whether the connections of COMMAND would be recorded. Looks at files, and asks the dynamic loader of a program for
 * its list as ldd does; starts nothing else, prints nothing.
 */
#ifndef PQLEASE_ANALYZER_DOCTOR_DIAGNOSIS_H
#define PQLEASE_ANALYZER_DOCTOR_DIAGNOSIS_H

#include <stdbool.h>

#include "analyzer/arena.h"

/* In the order in which one of them outweighs another, when COMMAND starts several programs. */
enum diagnosis_answer {
	DIAGNOSIS_NO_LIBPQ, /* nothing of libpq was found: a guess, since a library can be opened at any time */
	DIAGNOSIS_UNSEEN,   /* something is in the way, or the protocol is spoken without libpq */
	DIAGNOSIS_LIKELY_SEEN, /* a driver that uses libpq was found, and nothing is in the way */
	DIAGNOSIS_SEEN         /* libpq is loaded with the program, and its loader takes the shim */
};

struct diagnosis {
	enum diagnosis_answer answer;
	const char *reason; /* a sentence or several; all text belongs to the arena */
	const char *advice; /* NULL if there is none */
};

struct diagnosis_question {
	struct arena *arena;
	const char *shim_path;
	const char *search_path; /* PATH */
	int depth;               /* of commands that start commands: 0 */
};

/* `words` is COMMAND with its arguments, ended by NULL. Returns 0, or the errno of execvp if COMMAND cannot be started
 * at all; `diagnosis` is untouched then. */
int diagnosis_make(struct diagnosis *diagnosis, const struct diagnosis_question *question,
		   const char *const *words);

/* Whether the exit status of `doctor` is 0: something of libpq was found and nothing is in the way. */
bool diagnosis_is_promising(const struct diagnosis *diagnosis);

#endif
