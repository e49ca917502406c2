/*
 * What a gate asks for: items that findings fail, budgets, suppressions, a baseline. Options and configuration fill
 * it; each part knows where it was set, so that a failure and --explain can say so.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_POLICY_H
#define PQLEASE_ANALYZER_GATE_GATE_POLICY_H

#include <stdio.h>

#include "analyzer/gate/baseline.h"
#include "analyzer/gate/gate_input.h"
#include "analyzer/gate/suppression.h"

enum gate_word {
	GATE_ON_LEVEL,  /* "error", "warning", "note": findings of this level or a worse one */
	GATE_ON_KIND,   /* "never-finished", "exit-closed:2" */
	GATE_ON_NEW,    /* errors and warnings that are new or worse */
	GATE_ON_STALE,  /* lines of the baseline that are fixed or stale */
	GATE_ON_UNUSED, /* suppressions that matched nothing */
	GATE_ON_NOTHING
};

struct gate_fail_on {
	enum gate_word word;
	enum finding_level level; /* of GATE_ON_LEVEL */
	const char *name;         /* the word or the kind */
	uint64_t limit;           /* of GATE_ON_KIND: fails at this count, summed over its findings */
	const char *source;
};

enum gate_metric {
	GATE_MAX_OPEN,
	GATE_MAX_UTILIZATION,
	GATE_P95_ACQUIRE,
	GATE_MAX_HOLD,
	GATE_RESERVED, /* as GATE_MAX_OPEN, with the total and the slots that must stay free */
	GATE_EXPECTED, /* exactly this many open at the peak */
	GATE_METRIC_COUNT
};

/* What a budget is about; patterns of the shell, NULL: any. All of them NULL: the run as a whole. A function or file
 * selects sites, the others pools. */
struct gate_selector {
	const char *role;
	const char *endpoint; /* host:port */
	const char *database;
	const char *user;
	const char *function;
	const char *file;
};

struct gate_budget {
	enum gate_metric metric;
	double limit;  /* connections, ratio or seconds */
	int64_t total; /* of GATE_RESERVED */
	int64_t free;
	struct gate_selector selector;
	const char *source;
};

struct gate_policy {
	struct arena arena;
	struct gate_fail_on *fail_on;
	size_t fail_on_count;
	struct gate_budget *budgets;
	size_t budget_count;
	struct suppression *suppressions;
	size_t suppression_count;
	bool has_baseline;
	struct baseline baseline;
	const char *baseline_source; /* where the use of a baseline was asked for */
};

/* The default gate. Released with gate_policy_release(). */
void gate_policy_init(struct gate_policy *policy);
void gate_policy_release(struct gate_policy *policy);

/* Takes the place of what --fail-on said before: "never-finished,exit-closed:2,new", or "none". Returns what is
 * wrong with it, NULL if nothing is. */
const char *gate_policy_fail_on(struct gate_policy *policy, const char *list, const char *source);

/* Parses a limit of `metric` as options and configurations write it; false if it is none. */
bool gate_policy_parse_limit(enum gate_metric metric, const char *text, double *limit);
/* A budget with the same metric and no selector takes the place of the one before. */
void gate_policy_add_budget(struct gate_policy *policy, const struct gate_budget *budget);
void gate_policy_add_suppressions(struct gate_policy *policy, const struct suppression *suppressions,
				  size_t count);

/* "max-open", "max-utilization", "p95-acquire", "max-hold", "reserved", "connections" */
const char *gate_metric_name(enum gate_metric metric);
/* "20", "90%", "100ms" */
const char *gate_policy_limit_text(struct arena *arena, enum gate_metric metric, double limit);
/* "role web, endpoint db:5432"; "run" for no selector. */
const char *gate_policy_selector_text(struct arena *arena, const struct gate_selector *selector);

/* The effective gate with the source of each part, one per line. */
void gate_policy_explain(const struct gate_policy *policy, FILE *stream);

#endif
