/*
 * Sites that are one place in the program, taken together: one fingerprint, and the application frame at one line. Each
 * group counts what was left unreleased there, both by processes whose leases were folded already and by
 * gone ones whose slots are still in the ledger; nothing is counted twice.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_SITE_GROUPS_H
#define PQLEASE_ANALYZER_SYMBOLS_SITE_GROUPS_H

#include "analyzer/model.h"
#include "analyzer/judge/release_kind.h"
#include "analyzer/symbols/site_frames.h"

/* Leases or attempts left in one state by processes that ended in one way. */
struct site_left {
	uint64_t count;
	uint64_t first_ns; /* when the first and the last of them were taken; with folded ones among them */
	uint64_t last_ns;  /* these are bounds for all that was left there */
	uint64_t oldest_age_ns; /* of those whose end is known, else 0 */
};

/* Established leases that were given to PQfinish in one way. */
struct site_released {
	uint64_t count;
	uint64_t orphans;  /* of these, with their thread gone for long */
	uint64_t unused;   /* of these, seen to be never used */
	uint64_t first_ns; /* when they were released */
	uint64_t last_ns;
	uint32_t place; /* the site that released most of them */
	uint64_t place_count;
};

/* Leases of connection pools that were in use when they ended: checked out, and never given back. */
enum site_checkout_end { SITE_CHECKOUT_LEFT, SITE_CHECKOUT_CLOSED_AT_EXIT, SITE_CHECKOUT_END_COUNT };

struct site_checkouts {
	uint64_t count;
	uint64_t first_ns; /* when they ended */
	uint64_t last_ns;
};

struct site_example {
	bool is_borrowed; /* used here by a process that did not take it; else left by its owner: */
	enum model_left left;
	enum model_how_ended how;
	uint32_t taken_site;
	int32_t pid;
	int32_t backend_pid;
	uint64_t taken_ns;
	uint64_t age_ns;
	const char *test;
};

struct site_group {
	uint32_t site; /* the lowest site number of the group */
	const struct site_frames *frames;
	uint32_t *sites; /* all of them, ascending */
	size_t site_count;
	struct model_totals totals; /* counters only, no histograms */
	struct site_left left[MODEL_LEFT_COUNT][MODEL_HOW_COUNT];
	struct site_released released[RELEASE_KIND_COUNT];
	struct site_checkouts used[SITE_CHECKOUT_END_COUNT]; /* whose last use began here */
	uint64_t in_use_at_end[SITE_CHECKOUT_END_COUNT];     /* taken by a pool here */
	bool is_pool;                     /* a known connection pool took them: it keeps them on purpose */
	const struct model_lease **taken; /* here, and still in the slots; their owner may be gone */
	size_t taken_count;
	const struct model_lease **using_here; /* in use here now, taken anywhere */
	size_t using_count;
	struct site_example *examples; /* in the order in which they were taken */
	size_t example_count;
};

struct site_groups {
	struct site_group *groups; /* by lowest site number */
	size_t count;
	const size_t *group_of;           /* by site number */
	const struct site_frames *frames; /* by site number */
};

/* `frames` has one entry per site of the model. */
/* Of leases in a history or among examples, or left in a slot: one of those in `used`, at its last_use_site. */
bool site_groups_is_checkout(const struct site_groups *groups, const struct model_ended *ended,
			     enum site_checkout_end *end);
bool site_groups_is_left_checkout(const struct site_groups *groups, const struct model_lease *lease);

void site_groups_build(struct site_groups *groups, struct arena *arena, const struct model *model,
		       const struct site_frames *frames);

#endif
