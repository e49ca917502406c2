#include "analyzer/ledger_search.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "analyzer/ledger_keeper.h"

/* Times of the file itself say little: writing through a mapping does not change them, keeping symbols does. */
static uint64_t created_ns(const char *path) {
	struct ledger_keeper_glance glance;
	ledger_keeper_glance(&glance, path);
	return glance.state != LEDGER_KEEPER_UNREADABLE ? glance.created_realtime_ns : 0;
}

bool ledger_search_newest(char path[PATH_MAX], const char *directory, uid_t user) {
	char pattern[64];
	char candidate[PATH_MAX];
	uint64_t newest_ns = 0;
	DIR *entries = opendir(directory);
	if (entries == NULL)
		return false;
	snprintf(pattern, sizeof pattern, "pqlease.%u.*.ledger", (unsigned)user);
	for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
		if (fnmatch(pattern, entry->d_name, 0) != 0)
			continue;
		int length = snprintf(candidate, sizeof candidate, "%s/%s", directory, entry->d_name);
		uint64_t found_ns =
			length > 0 && (size_t)length < sizeof candidate ? created_ns(candidate) : 0;
		if (found_ns <= newest_ns)
			continue;
		newest_ns = found_ns;
		strcpy(path, candidate);
	}
	closedir(entries);
	return newest_ns != 0;
}
