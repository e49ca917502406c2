#include "analyzer/server/server_account.h"

#include <inttypes.h>
#include <string.h>

struct comparing {
	struct report *report;
	struct report_server *server;
	const struct model *model;
	const struct server_reading *now;
	size_t joined; /* open leases that are sessions of the server */
	size_t leases; /* open leases with a known backend */
};

/* ---- Whose sessions ----------------------------------------------------------------------------- */

static bool is_open(const struct model_lease *lease) {
	return !lease->is_owner_gone && lease->state == MODEL_LEASE_OPEN;
}

static bool is_our_database(const struct model *model, const char *database) {
	for (size_t i = 0; i < model->pool_count; i++)
		if (*model->pools[i].database != '\0' && strcmp(model->pools[i].database, database) == 0)
			return true;
	return false;
}

static const struct model_lease *lease_of(const struct model *model, int32_t backend_pid) {
	for (size_t i = 0; i < model->lease_count; i++)
		if (model->leases[i].backend_pid == backend_pid &&
		    model->leases[i].state != MODEL_LEASE_FAILED)
			return &model->leases[i];
	return NULL;
}

/* Process ids come back after a while: only the latest of a pid tells. */
static const struct model_ended *ended_of(const struct model *model, int32_t backend_pid) {
	const struct model_ended *latest = NULL;
	for (size_t i = 0; i < model->history_count; i++)
		if (model->history[i].backend_pid == backend_pid &&
		    (latest == NULL || model->history[i].ended_ns > latest->ended_ns))
			latest = &model->history[i];
	return latest;
}

void server_account_mark_dedicated(struct model *model, const struct server_reading *now) {
	if (now->is_behind_pooler)
		return;
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct server_session *session =
			server_witness_session(now, model->leases[i].backend_pid);
		model->leases[i].is_dedicated |= session != NULL && session->holds_advisory_lock;
	}
}

/* ---- Unmatched ---------------------------------------------------------------------------------- */

static void add_session(struct comparing *comparing, const struct server_session *session) {
	const struct model_lease *lease = lease_of(comparing->model, session->pid);
	if (lease != NULL && is_open(lease))
		return;
	const struct model_ended *ended = ended_of(comparing->model, session->pid);
	const char *why = lease != NULL || ended != NULL
		? "ended in the ledger, still there on the server"
		: "not in the ledger: a program without the shim, or of another run";
	bool is_foreign = lease == NULL && ended == NULL;
	comparing->server->foreign_sessions += is_foreign;
	comparing->server->zombie_sessions += !is_foreign;
	comparing->server->unmatched[comparing->server->unmatched_count++] =
		(struct report_unmatched){.side = "server",
					  .backend_pid = session->pid,
					  .pid = lease != NULL    ? lease->pid
						  : ended != NULL ? ended->pid
								  : REPORT_UNKNOWN,
					  .database = session->database,
					  .user = session->user,
					  .application_name = session->application_name,
					  .why = why};
}

static void add_lease(struct comparing *comparing, const struct model_lease *lease) {
	const struct model_pool *pool = &comparing->model->pools[lease->pool];
	if (!is_open(lease) || lease->backend_pid == 0)
		return;
	comparing->leases++;
	if (server_witness_session(comparing->now, lease->backend_pid) != NULL) {
		comparing->joined++;
		return;
	}
	comparing->server->unknown_leases++;
	comparing->server->unmatched[comparing->server->unmatched_count++] =
		(struct report_unmatched){.side = "ledger",
					  .backend_pid = lease->backend_pid,
					  .pid = lease->pid,
					  .database = pool->database,
					  .user = pool->user,
					  .application_name = pool->application_name,
					  .why = "open in the ledger, unknown to the server"};
}

static void join(struct comparing *comparing) {
	struct report_server *server = comparing->server;
	size_t most = comparing->now->session_count + comparing->model->lease_count;
	server->unmatched = arena_array(&comparing->report->arena, most, sizeof *server->unmatched);
	for (size_t i = 0; i < comparing->now->session_count; i++)
		if (is_our_database(comparing->model, comparing->now->sessions[i].database))
			add_session(comparing, &comparing->now->sessions[i]);
	for (size_t i = 0; i < comparing->model->lease_count; i++)
		add_lease(comparing, &comparing->model->leases[i]);
	/* A pooler tells its clients numbers of its own: none of several is the server's. */
	server->is_pooled = comparing->now->is_behind_pooler ||
		(comparing->leases > 0 && comparing->joined == 0 && server->foreign_sessions > 0);
	if (!server->is_pooled)
		return;
	server->unmatched_count = 0;
	server->foreign_sessions = 0;
	server->zombie_sessions = 0;
	server->unknown_leases = 0;
}

/* ---- Counts ------------------------------------------------------------------------------------- */

static int64_t smaller_known(int64_t a, int64_t b) {
	return a == REPORT_UNKNOWN ? b : b == REPORT_UNKNOWN ? a : a < b ? a : b;
}

static void take_limits(struct comparing *comparing) {
	struct report_server *server = comparing->server;
	server->version = *comparing->now->version != '\0' ? comparing->now->version : NULL;
	server->max_connections = comparing->now->max_connections;
	server->reserved = comparing->now->reserved;
	server->role_limit = REPORT_UNKNOWN;
	server->database_limit = REPORT_UNKNOWN;
	server->clients = (int64_t)comparing->now->session_count;
	for (size_t i = 0; i < comparing->model->pool_count; i++) {
		const struct model_pool *pool = &comparing->model->pools[i];
		const struct server_role *role = server_witness_role(comparing->now, pool->user);
		const struct server_database *database =
			server_witness_database(comparing->now, pool->database);
		if (role != NULL)
			server->role_limit = smaller_known(server->role_limit, role->connection_limit);
		if (database != NULL)
			server->database_limit =
				smaller_known(server->database_limit, database->connection_limit);
	}
}

/* The witness has looked twice by then; of its first session the first look told, of the second the second. */
static int64_t own_sessions(const struct comparing *comparing, const char *database) {
	return strcmp(comparing->now->own_database, database) == 0 ? 1 : 0;
}

static void take_deltas(struct comparing *comparing, const struct server_reading *before) {
	struct report_server *server = comparing->server;
	server->sessions_delta = REPORT_UNKNOWN;
	server->sessions_abandoned_delta = REPORT_UNKNOWN;
	if (before == NULL)
		return;
	int64_t sessions = 0;
	int64_t abandoned = 0;
	for (size_t i = 0; i < comparing->now->database_count; i++) {
		const struct server_database *after = &comparing->now->databases[i];
		const struct server_database *first = server_witness_database(before, after->name);
		if (!is_our_database(comparing->model, after->name))
			continue;
		bool is_known = after->sessions != SERVER_WITNESS_UNKNOWN &&
			(first == NULL ||
			 (first->sessions != SERVER_WITNESS_UNKNOWN && first->sessions <= after->sessions));
		if (!is_known)
			return;
		sessions += after->sessions - (first != NULL ? first->sessions : 0) -
			own_sessions(comparing, after->name);
		abandoned += after->sessions_abandoned - (first != NULL ? first->sessions_abandoned : 0);
	}
	server->sessions_delta = sessions;
	server->sessions_abandoned_delta = abandoned;
}

/* What the server calls sessions. */
static int64_t counted_sessions(const struct report_totals *totals) {
	return totals->established + totals->resets_succeeded + totals->probes_answered;
}

static void judge(struct comparing *comparing) {
	struct report_server *server = comparing->server;
	const struct report_totals *totals = &comparing->report->totals;
	struct arena *arena = &comparing->report->arena;
	bool has_deltas = server->sessions_delta != REPORT_UNKNOWN;
	bool is_compared = has_deltas || comparing->leases > 0 || server->zombie_sessions > 0;
	server->agrees = REPORT_UNKNOWN;
	if (server->is_pooled) {
		server->message =
			"A pooler stands between the program and the server: process ids and counts of "
			"sessions are the pooler's and were not compared.";
		return;
	}
	bool is_same = server->unknown_leases + server->zombie_sessions == 0;
	if (has_deltas)
		is_same &= server->sessions_delta == counted_sessions(totals) &&
			server->sessions_abandoned_delta == totals->unreleased;
	if (is_compared)
		server->agrees = is_same;
	if (!is_compared)
		server->message =
			"Nothing to compare: no lease is open, and the server was not asked before the run.";
	else if (has_deltas)
		server->message = arena_text(arena,
					     "The server %s: %" PRId64 " sessions, %" PRId64
					     " abandoned; the ledger has %" PRId64 " and %" PRId64 ".",
					     is_same ? "agrees" : "does not agree", server->sessions_delta,
					     server->sessions_abandoned_delta, counted_sessions(totals),
					     totals->unreleased);
	else
		server->message =
			arena_text(arena,
				   "The server %s: %zu of %zu open leases are its sessions, %" PRId64
				   " sessions outlived their lease.",
				   is_same ? "agrees" : "does not agree", comparing->joined,
				   comparing->leases, server->zombie_sessions);
}

void server_account_fill(struct report *report, const struct model *model, const struct server_reading *now,
			 const struct server_reading *before) {
	struct report_server *server = arena_new(&report->arena, struct report_server);
	struct comparing comparing = {.report = report, .server = server, .model = model, .now = now};
	report->server = server;
	take_limits(&comparing);
	join(&comparing);
	take_deltas(&comparing, before);
	judge(&comparing);
}
