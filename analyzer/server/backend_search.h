/*
 * Which leases had a server process: the open ones, those of the history and the kept examples. A server gives its
 * process numbers out again, so there may be several.
 */
#ifndef PQLEASE_ANALYZER_SERVER_BACKEND_SEARCH_H
#define PQLEASE_ANALYZER_SERVER_BACKEND_SEARCH_H

#include "analyzer/model.h"

enum backend_state {
	BACKEND_OPEN,
	BACKEND_RELEASED,
	BACKEND_LEFT,         /* never finished, its process has ended */
	BACKEND_OTHER_PROCESS /* used by a process that did not take it */
};

struct backend_match {
	enum backend_state state;
	const struct model_process *process; /* NULL: its record is gone */
	const struct model_lease *lease;     /* of BACKEND_OPEN, else NULL */
	int32_t pid;
	int32_t thread;
	const char *role;
	const char *test; /* "" unknown */
	uint32_t site;
	uint32_t use_site;      /* where it was used last, MODEL_SITE_NONE unknown */
	uint32_t release_site;  /* MODEL_SITE_NONE unknown */
	uint32_t release_facts; /* enum model_release_fact */
	uint64_t taken_ns;
	uint64_t until_ns; /* now, or its end; 0 unknown */
};

struct backend_matches {
	struct backend_match *matches; /* newest first */
	size_t count;
};

/* In a settled model. Everything is allocated from `arena`. */
void backend_search(struct backend_matches *found, struct arena *arena, const struct model *model,
		    int32_t backend_pid);

#endif
