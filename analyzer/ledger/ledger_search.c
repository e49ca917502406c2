#include "analyzer/ledger/ledger_search.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/commands/options.h"

static struct ledger_search_entry *add_entry(struct ledger_search_list *list) {
	if ((list->count & (list->count - 1)) == 0) {
		size_t capacity = list->count != 0 ? 2 * list->count : 1;
		struct ledger_search_entry *entries = reallocarray(list->entries, capacity, sizeof *entries);
		if (entries == NULL)
			return NULL;
		list->entries = entries;
	}
	return &list->entries[list->count];
}

/* Times of the file itself say little: writing through a mapping does not change them, keeping symbols does. */
static void look_at(struct ledger_search_entry *entry) {
	ledger_keeper_glance(&entry->glance, entry->path);
	const struct timespec *modified = &entry->glance.file.st_mtim;
	entry->born_ns = entry->glance.created_realtime_ns;
	if (entry->born_ns == 0)
		entry->born_ns = (uint64_t)modified->tv_sec * 1000000000u + (uint64_t)modified->tv_nsec;
}

static void add(struct ledger_search_list *list, const char *directory, const char *name) {
	struct ledger_search_entry *entry = add_entry(list);
	if (entry == NULL)
		return;
	int length = snprintf(entry->path, sizeof entry->path, "%s/%s", directory, name);
	if (length < 0 || (size_t)length >= sizeof entry->path)
		return;
	look_at(entry);
	list->count++;
}

static int compare_newest_first(const void *left, const void *right) {
	const struct ledger_search_entry *a = left;
	const struct ledger_search_entry *b = right;
	if (a->born_ns != b->born_ns)
		return a->born_ns > b->born_ns ? -1 : 1;
	return strcmp(a->path, b->path);
}

bool ledger_search_all(struct ledger_search_list *list, const char *directory, uid_t user) {
	char pattern[64] = "*.ledger";
	DIR *stream = opendir(directory);
	*list = (struct ledger_search_list){0};
	if (stream == NULL)
		return false;
	if (user != LEDGER_SEARCH_ANY_NAME)
		snprintf(pattern, sizeof pattern, "pqlease.%u.?*.ledger", (unsigned)user);
	for (const struct dirent *found = readdir(stream); found != NULL; found = readdir(stream))
		if (fnmatch(pattern, found->d_name, 0) == 0)
			add(list, directory, found->d_name);
	closedir(stream);
	if (list->count > 1)
		qsort(list->entries, list->count, sizeof *list->entries, compare_newest_first);
	return true;
}

void ledger_search_release(struct ledger_search_list *list) {
	free(list->entries);
	*list = (struct ledger_search_list){0};
}

bool ledger_search_newest(char path[PATH_MAX], const char *directory, uid_t user) {
	struct ledger_search_list list;
	bool is_found = false;
	if (!ledger_search_all(&list, directory, user))
		return false;
	for (size_t i = 0; i < list.count && !is_found; i++) {
		is_found = list.entries[i].glance.state != LEDGER_KEEPER_UNREADABLE;
		if (is_found)
			strcpy(path, list.entries[i].path);
	}
	ledger_search_release(&list);
	return is_found;
}

const char *ledger_search_meant(char newest[PATH_MAX], const char *operand) {
	if (operand != NULL)
		return operand;
	if (ledger_search_newest(newest, LEDGER_KEEPER_DIRECTORY, geteuid()))
		return newest;
	options_error(LEDGER_KEEPER_DIRECTORY, "no ledger of this user there");
	return NULL;
}
