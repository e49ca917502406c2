/*
 * Where the library to preload is, and whether the loader can be given that path.
 */
#ifndef PQLEASE_ANALYZER_PROGRAM_SHIM_PATH_H
#define PQLEASE_ANALYZER_PROGRAM_SHIM_PATH_H

#include <limits.h>
#include <stdbool.h>

struct shim_path {
	char path[PATH_MAX]; /* absolute; what a reason is about if it cannot be used */
	char reason[3 * PATH_MAX];
};

/* Beside us in a build tree, else where `make install` puts it. False with a reason if it is not there, or cannot be
 * preloaded from there. */
bool shim_path_find(struct shim_path *shim);

/* Whether one entry of LD_PRELOAD, of `length` bytes, names a shim, this one or another. */
bool shim_path_is_shim(const char *entry, unsigned long length);

#endif
