/*
 * Commands that start another command: what is started, and whether anything preloaded gets there.
 */
#ifndef PQLEASE_ANALYZER_DOCTOR_WRAPPERS_H
#define PQLEASE_ANALYZER_DOCTOR_WRAPPERS_H

#include <stdbool.h>

struct wrappers_step {
	bool is_wrapper;
	const char *const *command; /* what it starts; NULL if nothing, or not known */
	const char *barrier;        /* why nothing preloaded gets there, NULL if it does */
};

/* Looks at the first of `words` by the name of its file, and at the options behind it. A command that begins with
 * assignments (`LD_PRELOAD= psql`) is a wrapper as well. */
void wrappers_follow(struct wrappers_step *step, const char *const *words);

/* Why an assignment to a variable hides what comes behind it; NULL if it does not. */
const char *wrappers_judge_assignment(const char *word);

/* NAME=VALUE, with a name as shells allow it. */
bool wrappers_is_assignment(const char *word);

#endif
