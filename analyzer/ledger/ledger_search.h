/*
 * The ledgers in a directory, and which one is meant when none is named.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_LEDGER_SEARCH_H
#define PQLEASE_ANALYZER_LEDGER_LEDGER_SEARCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "analyzer/ledger/ledger_keeper.h"

struct ledger_search_entry {
	char path[PATH_MAX];
	uint64_t born_ns; /* CLOCK_REALTIME; of the file if the ledger cannot be read */
	struct ledger_keeper_glance glance;
};

struct ledger_search_list {
	struct ledger_search_entry *entries; /* newest first */
	size_t count;
};

/* For ledger_search_all: files of any name that ends in .ledger. */
#define LEDGER_SEARCH_ANY_NAME ((uid_t)-1)

/* What looks by its name like a ledger of `user` in `directory`; links are not followed. False if the directory cannot
 * be read, errno says why; then there is nothing to release. */
bool ledger_search_all(struct ledger_search_list *list, const char *directory, uid_t user);
void ledger_search_release(struct ledger_search_list *list);

/* The readable ledger of `user` in `directory` that was created last; false if there is none. */
bool ledger_search_newest(char path[PATH_MAX], const char *directory, uid_t user);

/* The ledger that a command means: `operand`, or with none the newest of this user. NULL after the line of error. */
const char *ledger_search_meant(char newest[PATH_MAX], const char *operand);

#endif
