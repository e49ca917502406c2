#include "analyzer/live/edges.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/judge/restarts.h"

enum { REMEMBERED_MAX = 4096 }; /* pools and findings: who has more of them has seen enough lines */

/* What was said of one thing last. */
struct remembered {
	char *key;
	bool is_high;
	bool has_overflow;
	bool is_waiting;
	char status[16];
};

struct edges {
	const struct thresholds *thresholds;
	struct remembered *remembered;
	size_t count;
	size_t restart_count;
	bool was_live;
};

struct telling {
	struct arena arena;
	edge_teller *tell;
	void *context;
};

struct edges *edges_new(const struct thresholds *thresholds) {
	struct edges *edges = calloc(1, sizeof *edges);
	if (edges != NULL)
		edges->thresholds = thresholds;
	return edges;
}

void edges_free(struct edges *edges) {
	for (size_t i = 0; i < edges->count; i++)
		free(edges->remembered[i].key);
	free(edges->remembered);
	free(edges);
}

/* The entry of `key`; a new one is all zero. NULL when there are too many. */
static struct remembered *remember(struct edges *edges, const char *key, bool *is_new) {
	*is_new = false;
	for (size_t i = 0; i < edges->count; i++)
		if (strcmp(edges->remembered[i].key, key) == 0)
			return &edges->remembered[i];
	if (edges->count == REMEMBERED_MAX)
		return NULL;
	struct remembered *grown =
		reallocarray(edges->remembered, edges->count + 1, sizeof *edges->remembered);
	char *copy = strdup(key);
	if (grown == NULL || copy == NULL) {
		edges->remembered = grown != NULL ? grown : edges->remembered;
		free(copy);
		return NULL;
	}
	edges->remembered = grown;
	*is_new = true;
	grown[edges->count] = (struct remembered){.key = copy};
	return &grown[edges->count++];
}

/* ---- Pools ------------------------------------------------------------------------------------------------ */

static enum edge_severity severity_of(const char *status) {
	if (strcmp(status, "critical") == 0 || strcmp(status, "exhausted") == 0)
		return EDGE_CRITICAL;
	return strcmp(status, "warning") == 0 ? EDGE_WARNING : EDGE_INFO;
}

static void tell_status(struct telling *telling, struct remembered *before, const struct report_pool *pool) {
	if (strcmp(before->status, pool->status) == 0)
		return;
	const char *sentence = pool->sentence != NULL ? pool->sentence : pool->name;
	telling->tell(telling->context, severity_of(pool->status), pool->name,
		      arena_text(&telling->arena, "%s: %s", pool->status, sentence));
	strncpy(before->status, pool->status, sizeof before->status - 1);
}

static void tell_usage(struct telling *telling, const struct edges *edges, struct remembered *before,
		       const struct report_pool *pool) {
	bool is_high = pool->utilization >= edges->thresholds->utilization_warning; /* not for NAN */
	if (is_high && !before->is_high)
		telling->tell(telling->context,
			      pool->utilization >= edges->thresholds->utilization_critical ? EDGE_CRITICAL
											   : EDGE_WARNING,
			      pool->name,
			      arena_text(&telling->arena,
					 "Connection pool usage high: %.1f%% (%" PRId64 "/%" PRId64 ")",
					 100 * pool->utilization, pool->in_use, pool->capacity));
	before->is_high = is_high;
}

static void tell_overflow(struct telling *telling, struct remembered *before,
			  const struct report_pool *pool) {
	bool has_overflow = pool->overflow != REPORT_UNKNOWN && pool->overflow > 0;
	if (has_overflow && !before->has_overflow)
		telling->tell(telling->context, EDGE_INFO, pool->name,
			      arena_text(&telling->arena,
					 "Pool overflow active: %" PRId64 " overflow connections",
					 pool->overflow));
	before->has_overflow = has_overflow;
}

static void tell_waiting(struct telling *telling, const struct edges *edges, struct remembered *before,
			 const struct report_pool *pool) {
	bool is_waiting =
		pool->waiting != REPORT_UNKNOWN && (double)pool->waiting > edges->thresholds->waiting;
	if (is_waiting && !before->is_waiting)
		telling->tell(telling->context, EDGE_CRITICAL, pool->name,
			      arena_text(&telling->arena, "Pool '%s' has %" PRId64 " waiting client(s)",
					 pool->name, pool->waiting));
	before->is_waiting = is_waiting;
}

static void look_at_pool(struct edges *edges, struct telling *telling, const struct report_pool *pool) {
	bool is_new;
	struct remembered *before =
		remember(edges, arena_text(&telling->arena, "pool %s", pool->name), &is_new);
	if (before == NULL)
		return;
	tell_status(telling, before, pool);
	tell_usage(telling, edges, before, pool);
	tell_overflow(telling, before, pool);
	tell_waiting(telling, edges, before, pool);
}

/* ---- The run -------------------------------------------------------------------------------------------------- */

static enum edge_severity severity_of_level(enum finding_level level) {
	return level == FINDING_ERROR ? EDGE_CRITICAL : level == FINDING_WARNING ? EDGE_WARNING : EDGE_INFO;
}

static void look_at_finding(struct edges *edges, struct telling *telling, const struct finding *finding) {
	bool is_new;
	const char *key = arena_text(&telling->arena, "finding %s %s", finding->kind, finding->fingerprint);
	if (remember(edges, key, &is_new) != NULL && is_new)
		telling->tell(telling->context, severity_of_level(finding->level), NULL,
			      arena_text(&telling->arena, "%s: %s", finding->kind, finding->message));
}

static void look_at_restarts(struct edges *edges, struct telling *telling, const struct report *report) {
	struct restarts restarts;
	restarts_find(&restarts, &telling->arena, report);
	size_t new_count = restarts.count > edges->restart_count ? restarts.count - edges->restart_count : 0;
	for (size_t i = new_count; i-- > 0;) { /* newest first there, oldest first here */
		const struct report_process *gone = restarts.all[i].gone;
		telling->tell(telling->context, EDGE_WARNING, NULL,
			      arena_text(&telling->arena,
					 "process %" PRId64 " of role '%s' came back as %" PRId64
					 " (restart #%zu)",
					 gone->pid, gone->role != NULL ? gone->role : "?",
					 restarts.all[i].successor->pid, restarts.count - i));
	}
	edges->restart_count += new_count;
}

void edges_look(struct edges *edges, const struct report *report, edge_teller *tell, void *context) {
	struct telling telling = {.tell = tell, .context = context};
	/* Of an ended run the numbers are those of its whole life: no change of a moment ago. */
	for (size_t i = 0; i < report->pool_count && (report->run.live || !edges->was_live); i++)
		look_at_pool(edges, &telling, &report->pools[i]);
	for (size_t i = 0; i < report->finding_count; i++)
		look_at_finding(edges, &telling, report->findings[i].finding);
	look_at_restarts(edges, &telling, report);
	if (edges->was_live && !report->run.live)
		tell(context, EDGE_INFO, NULL, "the run has ended");
	edges->was_live = report->run.live;
	arena_release(&telling.arena);
}
