#include "analyzer/live/fleet.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/ledger/ledger_search.h"

#define SEARCH_EVERY_NS UINT64_C(1000000000)

struct fleet {
	const char *directory; /* NULL: only what was named */
	const struct report_settings *settings;
	struct follower *followers[FLEET_RUNS_MAX];
	size_t count;
	const struct report *reports[FLEET_RUNS_MAX];
	size_t report_count;
	const struct report *live_reports[FLEET_RUNS_MAX];
	size_t live_count;
	uint64_t search_due_ns;
};

static void follow(struct fleet *fleet, const char *path) {
	if (fleet->count < FLEET_RUNS_MAX)
		fleet->followers[fleet->count++] = follower_open(path, fleet->settings);
}

struct fleet *fleet_open(const char *const *paths, size_t path_count, const char *directory,
			 const struct report_settings *settings) {
	struct fleet *fleet = calloc(1, sizeof *fleet);
	if (fleet == NULL)
		return NULL;
	fleet->directory = directory;
	fleet->settings = settings;
	for (size_t i = 0; i < path_count; i++)
		follow(fleet, paths[i]);
	return fleet;
}

void fleet_close(struct fleet *fleet) {
	for (size_t i = 0; i < fleet->count; i++)
		follower_close(fleet->followers[i]);
	free(fleet);
}

/* ---- A directory's ledgers ------------------------------------------------------------------------------ */

static int compare_live_first(const void *left, const void *right) {
	const struct ledger_search_entry *a = left;
	const struct ledger_search_entry *b = right;
	bool is_a_live = a->glance.state == LEDGER_KEEPER_LIVE;
	bool is_b_live = b->glance.state == LEDGER_KEEPER_LIVE;
	if (is_a_live != is_b_live)
		return is_a_live ? -1 : 1;
	if (a->born_ns != b->born_ns)
		return a->born_ns > b->born_ns ? -1 : 1;
	return strcmp(a->path, b->path);
}

static bool is_listed(const struct ledger_search_list *found, const char *path) {
	for (size_t i = 0; i < found->count; i++)
		if (strcmp(found->entries[i].path, path) == 0)
			return true;
	return false;
}

static void drop_unlisted(struct fleet *fleet, const struct ledger_search_list *found) {
	size_t kept = 0;
	for (size_t i = 0; i < fleet->count; i++) {
		struct follower *follower = fleet->followers[i];
		if (is_listed(found, follower_path(follower)))
			fleet->followers[kept++] = follower;
		else
			follower_close(follower);
	}
	fleet->count = kept;
}

static bool is_followed(const struct fleet *fleet, const char *path) {
	for (size_t i = 0; i < fleet->count; i++)
		if (strcmp(follower_path(fleet->followers[i]), path) == 0)
			return true;
	return false;
}

static void search(struct fleet *fleet, uint64_t now_ns) {
	struct ledger_search_list found;
	if (fleet->directory == NULL || now_ns < fleet->search_due_ns)
		return;
	fleet->search_due_ns = now_ns + SEARCH_EVERY_NS;
	if (ledger_search_all(&found, fleet->directory, LEDGER_SEARCH_ANY_NAME) && found.count > 1)
		qsort(found.entries, found.count, sizeof *found.entries, compare_live_first);
	if (found.count > FLEET_RUNS_MAX)
		found.count = FLEET_RUNS_MAX;
	drop_unlisted(fleet, &found);
	for (size_t i = 0; i < found.count; i++)
		if (!is_followed(fleet, found.entries[i].path))
			follow(fleet, found.entries[i].path);
	ledger_search_release(&found);
}

/* ---- Looking ----------------------------------------------------------------------------------------------- */

static int compare_newest_first(const void *a, const void *b) {
	const struct report *left = *(const struct report *const *)a;
	const struct report *right = *(const struct report *const *)b;
	int order = strcmp(right->run.started != NULL ? right->run.started : "",
			   left->run.started != NULL ? left->run.started : "");
	return order != 0 ? order : strcmp(left->run.id, right->run.id);
}

static void look_at(struct fleet *fleet, struct follower *follower, uint64_t now_ns) {
	enum follower_state state = follower_look(follower, now_ns);
	const struct report *report = follower_report(follower);
	if (report == NULL)
		return;
	fleet->reports[fleet->report_count++] = report;
	if (state == FOLLOWER_LIVE)
		fleet->live_reports[fleet->live_count++] = report;
}

void fleet_look(struct fleet *fleet, uint64_t now_ns) {
	search(fleet, now_ns);
	fleet->report_count = 0;
	fleet->live_count = 0;
	for (size_t i = 0; i < fleet->count; i++)
		look_at(fleet, fleet->followers[i], now_ns);
	qsort(fleet->reports, fleet->report_count, sizeof fleet->reports[0], compare_newest_first);
	qsort(fleet->live_reports, fleet->live_count, sizeof fleet->live_reports[0], compare_newest_first);
}

const struct report *const *fleet_reports(const struct fleet *fleet, size_t *count) {
	*count = fleet->report_count;
	return fleet->reports;
}

const struct report *const *fleet_live_reports(const struct fleet *fleet, size_t *count) {
	*count = fleet->live_count;
	return fleet->live_reports;
}

const char *fleet_problem(const struct fleet *fleet, const char **path) {
	*path = fleet->directory;
	if (fleet->count == 0)
		return "no ledger there";
	*path = follower_path(fleet->followers[0]);
	const char *problem = follower_problem(fleet->followers[0]);
	return problem != NULL ? problem : "nothing was recorded yet";
}
