/*
 * The runs that are watched together: ledgers that were named, or all that are found in a directory, new ones and
 * ended ones as they come and go. Belongs to one thread.
 */
#ifndef PQLEASE_ANALYZER_LIVE_FLEET_H
#define PQLEASE_ANALYZER_LIVE_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/live/follower.h"

/* Of a directory the newest so many are followed, live ones first: a machine that tests may hold thousands. */
enum { FLEET_RUNS_MAX = 64 };

struct fleet;

/* Either `paths` or `directory`. They and the settings must outlive the fleet. Nothing is read yet. */
struct fleet *fleet_open(const char *const *paths, size_t path_count, const char *directory,
			 const struct report_settings *settings);
void fleet_close(struct fleet *fleet);

/* What is due is read again, which invalidates what was returned before. */
void fleet_look(struct fleet *fleet, uint64_t now_ns);

/* The reports of all that could be read, newest run first, and of those still live; both in the fleet's memory. */
const struct report *const *fleet_reports(const struct fleet *fleet, size_t *count);
const struct report *const *fleet_live_reports(const struct fleet *fleet, size_t *count);
/* Why there is no report at all, with the path it is about: the first problem, else that the directory is empty. */
const char *fleet_problem(const struct fleet *fleet, const char **path);

#endif
