/*
 * The report: every fact that any format shows, computed once. Its members are the keys of the JSON
 * report (schema "pqlease/report-1"), which is the contract; renderers add nothing but form.
 *
 * Unknown is REPORT_UNKNOWN for counts, NAN for seconds and ratios, NULL for text and instants; a renderer
 * never shows an unknown value as 0. Text is as the ledger had it: unsafe until a renderer made it safe.
 */
#ifndef PQLEASE_ANALYZER_REPORT_REPORT_H
#define PQLEASE_ANALYZER_REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/arena.h"
#include "analyzer/judge/finding.h"
#include "analyzer/model.h"
#include "analyzer/report/report_settings.h"
#include "analyzer/symbols/site_frames.h"

struct gate_outcome;

#define REPORT_SCHEMA "pqlease/report-1"
#define REPORT_UNKNOWN INT64_MIN

struct report_run {
	const char *id;
	const char *host;
	const char *const *command;
	size_t command_count;
	const char *started;
	const char *ended;
	double duration;
	int64_t exit_code;
	bool live;
};

struct report_count {
	const char *key;
	int64_t value;
};

struct report_verdict {
	const char *cause;
	const char *const *candidates;
	size_t candidate_count;
	const char *message;
	const struct report_count *evidence;
	size_t evidence_count;
	const char *const *advice;
	size_t advice_count;
};

struct report_lost {
	int64_t leases;
	int64_t sites;
	int64_t processes;
	int64_t torn;
	int64_t other;
};

struct report_trust {
	bool ok;
	const char *const *reasons;
	size_t reason_count;
	int64_t processes;
	struct report_lost lost;
	int64_t history_overwritten;
	const char *off_reason; /* what a process that could not record said, NULL if none did */
};

struct report_totals {
	int64_t attempts;
	int64_t established;
	int64_t failed;
	int64_t abandoned;
	int64_t in_progress;
	int64_t probes;
	int64_t probes_answered;
	int64_t resets;
	int64_t resets_succeeded;
	int64_t finished;
	int64_t failed_finished;
	int64_t finish_unseen;
	int64_t double_finish;
	int64_t inherited_finish;
	int64_t unreleased;
	int64_t open;
	int64_t peak_open;
	double mean_open;
	int64_t uses;
	int64_t in_use;
	int64_t peak_in_use;
	int64_t inherited_use;
	int64_t returned_late;
};

/* A distribution in seconds; everything but count is NAN when it is empty. */
struct report_times {
	int64_t count;
	double min;
	double mean;
	double p50;
	double p90;
	double p95;
	double p99;
	double max;
	const struct histogram *distribution; /* NULL where it is not kept */
};

struct report_phases {
	bool is_known;
	struct report_times tcp;
	struct report_times tls;
	struct report_times auth;
	const struct histogram *distributions; /* enum model_phase; NULL unknown */
};

struct report_held {
	double in_query;
	double idle_in_transaction;
	double idle;
};

struct report_failure {
	const char *class_name;
	int64_t count;
	const char *sqlstate;
	const char *message;
	const char *first;
	const char *last;
};

struct report_pool {
	const char *role;
	const char *host;
	const char *port;
	const char *database;
	const char *user;
	const char *application_name;
	int64_t open;
	int64_t peak_open;
	double mean_open;
	int64_t in_use;
	int64_t peak_in_use;
	double mean_in_use; /* from the pool's first event to its last */
	int64_t idle;       /* open and not in use */
	int64_t waiting;    /* callers inside libpq (pool_waits.h); unknown when the run has ended */
	int64_t capacity;
	const char *capacity_source; /* configured, server, inferred */
	int64_t base_size;
	int64_t reserved;   /* slots that others must leave free for it, as configured */
	int64_t available;  /* capacity that is not in use */
	int64_t overflow;   /* open above the base size */
	double utilization; /* of the capacity: now in a live run, else the mean */
	double share;       /* of the connection time that all roles spent at this endpoint */
	const char *status;
	const char *name;     /* the role, with the endpoint behind it if the role has several */
	const char *sentence; /* "Pool 'main': 23% utilized (...)", NULL if its use is not known */
	uint32_t number;      /* in the model */
	bool is_pooled;       /* a pooler stands before the server */
	struct report_times connect_time;
	struct report_times hold_time;
	struct report_times use_time;
	struct report_times
		first_command_time; /* of each lease; behind a pooler with the wait for the server */
	const struct histogram *distributions; /* behind the times: enum model_measure; NULL unknown */
};

struct report_process {
	int64_t pid;
	int64_t parent;
	const char *role;
	const char *exe;
	const char *script;
	const char *started;
	const char *ended;
	const char *how_ended;
	int64_t open;
};

/* Established leases of a site by who released them; the rest is open. */
struct report_released {
	int64_t by_program; /* a call of its own */
	int64_t dropped;    /* the last reference was dropped, and the object destroyed at once */
	int64_t collector;
	int64_t at_exit; /* by the interpreter's shutdown, a static destructor, a handler of exit() */
	int64_t other_process;
	int64_t unknown;
	int64_t never; /* left by a process that ended */
};

struct report_site {
	int64_t id;
	const char *fingerprint;
	const struct site_frames *frames;
	int64_t leases;
	int64_t attempts;
	int64_t failed;
	int64_t open;
	int64_t peak_open;
	int64_t finished;
	struct report_times connect_time;
	struct report_times hold_time;
	struct report_released released;
};

struct report_example {
	int64_t pid;
	int64_t backend_pid;
	const char *taken;
	double age;
	const char *test;
	int64_t taken_site; /* a site id */
};

struct report_finding {
	const struct finding *finding;
	int64_t site;
	int64_t pool;
	const char *first;
	const char *last;
	const struct report_example *examples;
	size_t example_count;
};

/* A test that attempts were made in; only those whose detail is still there are counted. */
struct report_test {
	const char *name; /* as its framework names it, without pytest's phase */
	int64_t attempts;
};

/* Who had a connection when another one was refused. */
struct report_holder {
	const char *role;
	int64_t pid;
	int64_t backend_pid;
	int64_t site;
	int64_t use_site;
	const char *state;
	double age;
	double state_for; /* since the last command began or ended */
	const char *statement;
	int64_t dedicated; /* 0, 1 or REPORT_UNKNOWN */
};

struct report_snapshot {
	const char *at;
	const char *failure;
	const char *sqlstate;
	const char *message;
	const char *role; /* who was refused */
	int64_t pid;
	int64_t site;
	const struct report_holder *holders; /* oldest first */
	size_t holder_count;
	int64_t missing; /* holders that were not kept */
};

struct report_lease {
	int64_t pid;
	int64_t backend_pid;
	int64_t thread;
	const char *role;
	const char *state;
	double age;
	double idle_for;
	int64_t site;
	int64_t last_use_site;
	int64_t dedicated; /* 0, 1 or REPORT_UNKNOWN */
};

/* A session without a lease, or a lease without a session. */
struct report_unmatched {
	const char *side; /* server or ledger: who has it */
	int64_t backend_pid;
	int64_t pid;
	const char *database;
	const char *user;
	const char *application_name;
	const char *why;
};

struct report_server {
	const char *version;
	int64_t max_connections;
	int64_t reserved;
	int64_t role_limit; /* the smallest of the roles and databases of the run */
	int64_t database_limit;
	int64_t clients; /* sessions of clients on the whole server when it was asked */
	int64_t sessions_delta;
	int64_t sessions_abandoned_delta;
	int64_t agrees; /* 0, 1 or REPORT_UNKNOWN */
	bool is_pooled;
	const char *message;
	int64_t foreign_sessions; /* in the run's databases, not in the ledger */
	int64_t zombie_sessions;  /* whose lease has ended */
	int64_t unknown_leases;   /* open, but no session */
	struct report_unmatched *unmatched;
	size_t unmatched_count;
};

struct report {
	struct arena arena;
	struct report_run run;
	struct report_verdict verdict;
	struct report_trust trust;
	struct report_totals totals;
	struct report_phases connect_phases;
	struct report_times connect_time;
	struct report_times failed_time;
	struct report_times hold_time;
	struct report_times use_time;
	struct report_held held;
	struct report_failure *failures;
	size_t failure_count;
	struct report_pool *pools;
	size_t pool_count;
	struct report_process *processes;
	size_t process_count;
	struct report_site *sites; /* only those that something was booked on */
	size_t site_count;
	struct report_finding *findings;
	size_t finding_count;
	struct report_test *tests; /* in the order of their first attempts */
	size_t test_count;
	struct report_lease *open_leases;
	size_t open_lease_count;
	struct report_snapshot *snapshots; /* oldest first */
	size_t snapshot_count;
	struct report_server *server;          /* NULL: not asked */
	const struct model_timeline *timeline; /* of the run; NULL unknown */
	uint64_t created_realtime_ns;          /* when its epochs begin */
	uint64_t until_realtime_ns;            /* up to when the numbers go */
	const struct gate_outcome *gate;       /* what the gate said (gate/gate.h), NULL if none judged */
};

/* Builds the report of a settled model (aftermath.h). `symbols` may be NULL, and `settings`, for the standard
 * ones. The model, the symbols and what the settings point to must outlive the report. */
void report_build(struct report *report, const struct model *model, struct symbol_source *symbols,
		  const struct report_settings *settings);
void report_release(struct report *report);

/* The report's entry of a site number, NULL if it has none. */
const struct report_site *report_find_site(const struct report *report, int64_t id);
/* The application frame of a site, NULL if its stack is unknown. */
const struct site_frame *report_application_frame(const struct report_site *site);

/* "app.py:8 in take", "shop+0x2345 in ?"; NULL if the stack is unknown. Text is raw. */
const char *report_place_text(struct arena *arena, const struct report *report, int64_t site);

#endif
