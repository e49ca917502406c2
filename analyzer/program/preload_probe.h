/*
 * Asks the dynamic loader of a program whether it would take a library preloaded, the way ldd does: the
 * loader lists what it would map and starts nothing. For after a run that recorded nothing.
 */
#ifndef PQLEASE_ANALYZER_PROGRAM_PRELOAD_PROBE_H
#define PQLEASE_ANALYZER_PROGRAM_PRELOAD_PROBE_H

#include "analyzer/program/target.h"

enum preload_probe {
	PRELOAD_PROBE_UNKNOWN, /* the loader gave no list */
	PRELOAD_PROBE_TAKEN,
	PRELOAD_PROBE_REFUSED
};

enum { PRELOAD_PROBE_NAMES_BYTES = 16384 };

struct preload_probe_list {
	enum preload_probe answer;
	char libpq[PATH_MAX];   /* the libpq that would be loaded with the program, "" if none */
	char failure[PATH_MAX]; /* why the loader cannot start the program at all, "" if it can */
	char names[PRELOAD_PROBE_NAMES_BYTES]; /* of all libraries, a line feed before each; what fits */
};

/* `library` is an absolute path. Takes about a millisecond. */
void preload_probe_read(struct preload_probe_list *list, const struct target *target, const char *library);

/* The answer alone. */
enum preload_probe preload_probe_ask(const struct target *target, const char *library);

#endif
