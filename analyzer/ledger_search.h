/*
 * Which ledger is meant when none is named.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_SEARCH_H
#define PQLEASE_ANALYZER_LEDGER_SEARCH_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* The ledger of `user` in `directory` that was created last; false if there is none. Links are not followed. */
bool ledger_search_newest(char path[PATH_MAX], const char *directory, uid_t user);

#endif
