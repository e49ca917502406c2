/*
 * The environment of a COMMAND that is recorded: our own, with the shim in LD_PRELOAD.
 */
#ifndef PQLEASE_ANALYZER_PROGRAM_PRELOAD_ENVIRONMENT_H
#define PQLEASE_ANALYZER_PROGRAM_PRELOAD_ENVIRONMENT_H

#include <stdbool.h>

struct preload_variable {
	const char *name;
	const char *value; /* NULL: leave it alone; "": remove it */
};

/* Whether our own LD_PRELOAD has a shim. */
bool preload_environment_is_shim_on(void);

/* The LD_PRELOAD of our caller without any shim, behind ours if `shim_path` is not NULL. Owned by the caller; NULL without
 * memory. */
char *preload_environment_list(const char *shim_path);

/* A copy of our environment with `changes` (ended by a NULL name), in one block that is the caller's to
 * free. Our own stays as it is. NULL without memory. */
char **preload_environment_changed(const struct preload_variable *changes);

/* What a COMMAND is started with; `shim_path` NULL: it does not tolerate the shim. `role` may be NULL. */
char **preload_environment_of(const char *shim_path, const char *ledger_path, const char *role);

#endif
