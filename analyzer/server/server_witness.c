#include "analyzer/server/server_witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analyzer/server/libpq.h"

enum { SETTLING_LOOKS = 20, SETTLING_PAUSE_MS = 50 };

/* Opened before anything is asked of it. */
static const struct libpq *libpq;

/* ---- The login ---------------------------------------------------------------------------------- */

static bool is_libpq_there(const char **problem) {
	libpq = libpq_open(problem);
	return libpq != NULL;
}

const char *server_witness_refuse(const char *conninfo) {
	static const char *const secrets[] = {"password", "sslpassword"};
	const char *problem;
	char *message = NULL;
	const char *reason = NULL;
	/* A missing library is told by who wants to read. */
	if (!is_libpq_there(&problem))
		return NULL;
	/* The message is not shown: it quotes what it did not understand. */
	PQconninfoOption *options = libpq->PQconninfoParse(conninfo, &message);
	libpq->PQfreemem(message);
	if (options == NULL)
		return "not a connection string of libpq";
	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
		for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
			if (option->val != NULL && strcmp(option->keyword, secrets[i]) == 0)
				reason = "a password on the command line can be read by everybody: use "
					 "PGPASSWORD, a password file or a service";
	libpq->PQconninfoFree(options);
	return reason;
}

static const char *first_line(struct arena *arena, const char *message) {
	size_t length = strcspn(message, "\n");
	return length > 0 ? arena_copy(arena, message, length) : "no reason given";
}

static PGconn *log_in(const char *conninfo) {
	/* What the conninfo says overrides what stands before it. */
	const char *const keywords[] = {"connect_timeout", "fallback_application_name", "dbname",
					"client_encoding", NULL};
	const char *const values[] = {"5", "pqlease", conninfo, "UTF8", NULL};
	return libpq->PQconnectdbParams(keywords, values, 1);
}

/* ---- Rows --------------------------------------------------------------------------------------- */

struct asking {
	PGconn *conn;
	struct arena *arena;
	const char *problem; /* the first one */
};

/* NULL after a problem; PQclear is the caller's. */
static PGresult *ask(struct asking *asking, const char *query) {
	if (asking->problem != NULL)
		return NULL;
	PGresult *result = libpq->PQexec(asking->conn, query);
	if (libpq->PQresultStatus(result) == PGRES_TUPLES_OK ||
	    libpq->PQresultStatus(result) == PGRES_COMMAND_OK)
		return result;
	asking->problem = first_line(asking->arena, libpq->PQerrorMessage(asking->conn));
	libpq->PQclear(result);
	return NULL;
}

static const char *text_at(const struct asking *asking, const PGresult *result, int row, int column) {
	const char *value = libpq->PQgetvalue(result, row, column);
	return arena_copy(asking->arena, value, strlen(value));
}

/* "" and -1 are how the server says "none". */
static int64_t number_at(const PGresult *result, int row, int column) {
	const char *value = libpq->PQgetvalue(result, row, column);
	if (*value == '\0' || strcmp(value, "-1") == 0)
		return SERVER_WITNESS_UNKNOWN;
	return strtoll(value, NULL, 10);
}

/* ---- What is asked ------------------------------------------------------------------------------ */

static void read_settings(struct asking *asking, struct server_reading *reading) {
	PGresult *result =
		ask(asking,
		    "SELECT current_setting('server_version'), current_database(), "
		    "current_setting('max_connections'), "
		    "current_setting('superuser_reserved_connections')::int + "
		    "coalesce(current_setting('reserved_connections', true), '0')::int, pg_backend_pid()");
	if (result == NULL)
		return;
	reading->version = text_at(asking, result, 0, 0);
	reading->own_database = text_at(asking, result, 0, 1);
	reading->max_connections = number_at(result, 0, 2);
	reading->reserved = number_at(result, 0, 3);
	reading->is_behind_pooler = number_at(result, 0, 4) != libpq->PQbackendPID(asking->conn);
	libpq->PQclear(result);
}

/* The counts of sessions came with version 14. */
static void read_databases(struct asking *asking, struct server_reading *reading) {
	PGresult *result =
		ask(asking,
		    "SELECT d.datname, d.datconnlimit, to_jsonb(s)->>'sessions', "
		    "to_jsonb(s)->>'sessions_abandoned' FROM pg_database d "
		    "LEFT JOIN pg_stat_database s ON s.datid = d.oid ORDER BY d.datname COLLATE \"C\"");
	if (result == NULL)
		return;
	reading->database_count = (size_t)libpq->PQntuples(result);
	reading->databases = arena_array(asking->arena, reading->database_count, sizeof *reading->databases);
	for (int row = 0; row < libpq->PQntuples(result); row++)
		reading->databases[row] =
			(struct server_database){.name = text_at(asking, result, row, 0),
						 .connection_limit = number_at(result, row, 1),
						 .sessions = number_at(result, row, 2),
						 .sessions_abandoned = number_at(result, row, 3)};
	libpq->PQclear(result);
}

static void read_roles(struct asking *asking, struct server_reading *reading) {
	PGresult *result =
		ask(asking, "SELECT rolname, rolconnlimit FROM pg_roles ORDER BY rolname COLLATE \"C\"");
	if (result == NULL)
		return;
	reading->role_count = (size_t)libpq->PQntuples(result);
	reading->roles = arena_array(asking->arena, reading->role_count, sizeof *reading->roles);
	for (int row = 0; row < libpq->PQntuples(result); row++)
		reading->roles[row] = (struct server_role){.name = text_at(asking, result, row, 0),
							   .connection_limit = number_at(result, row, 1)};
	libpq->PQclear(result);
}

static void read_sessions(struct asking *asking, struct server_reading *reading) {
	PGresult *result = ask(
		asking,
		"SELECT pid, datname, usename, application_name, state, EXISTS (SELECT FROM pg_locks l WHERE "
		"l.pid = a.pid AND l.locktype = 'advisory' AND l.granted) FROM pg_stat_activity a "
		"WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid");
	if (result == NULL)
		return;
	reading->session_count = (size_t)libpq->PQntuples(result);
	reading->sessions = arena_array(asking->arena, reading->session_count, sizeof *reading->sessions);
	for (int row = 0; row < libpq->PQntuples(result); row++)
		reading->sessions[row] = (struct server_session){
			.pid = (int32_t)number_at(result, row, 0),
			.database = text_at(asking, result, row, 1),
			.user = text_at(asking, result, row, 2),
			.application_name = text_at(asking, result, row, 3),
			.state = text_at(asking, result, row, 4),
			.holds_advisory_lock = *libpq->PQgetvalue(result, row, 5) == 't'};
	libpq->PQclear(result);
}

static const char *read_all(struct server_reading *reading, struct arena *arena, PGconn *conn) {
	struct asking asking = {conn, arena, NULL};
	*reading = (struct server_reading){.version = "", .own_database = ""};
	/* A statement of its own: when it is over, the server has counted our own session. */
	libpq->PQclear(ask(&asking, "SET statement_timeout = '5s'"));
	read_settings(&asking, reading);
	read_databases(&asking, reading);
	read_roles(&asking, reading);
	read_sessions(&asking, reading);
	return asking.problem;
}

/* ---- Reading ------------------------------------------------------------------------------------ */

const char *server_witness_read(struct server_reading *reading, struct arena *arena, const char *conninfo) {
	return server_witness_read_settled(reading, arena, conninfo, NULL, 0);
}

static bool is_any_there(const struct server_reading *reading, const int32_t *pids, size_t pid_count) {
	for (size_t i = 0; i < pid_count; i++)
		if (server_witness_session(reading, pids[i]) != NULL)
			return true;
	return false;
}

static bool counts_differ(const struct server_reading *a, const struct server_reading *b) {
	if (a->database_count != b->database_count)
		return true;
	for (size_t i = 0; i < a->database_count; i++)
		if (a->databases[i].sessions != b->databases[i].sessions ||
		    a->databases[i].sessions_abandoned != b->databases[i].sessions_abandoned)
			return true;
	return false;
}

static void pause_between_looks(void) {
	struct timespec pause = {.tv_nsec = SETTLING_PAUSE_MS * 1000000L};
	nanosleep(&pause, NULL);
}

const char *server_witness_read_settled(struct server_reading *reading, struct arena *arena,
					const char *conninfo, const int32_t *pids, size_t pid_count) {
	const char *problem;
	if (!is_libpq_there(&problem))
		return problem;
	PGconn *conn = log_in(conninfo);
	problem = libpq->PQstatus(conn) == CONNECTION_OK ? read_all(reading, arena, conn)
							 : first_line(arena, libpq->PQerrorMessage(conn));
	for (int look = 0; pid_count > 0 && problem == NULL && look < SETTLING_LOOKS; look++) {
		struct server_reading before = *reading;
		pause_between_looks();
		problem = read_all(reading, arena, conn);
		if (problem == NULL && !is_any_there(reading, pids, pid_count) &&
		    !counts_differ(&before, reading))
			break;
	}
	libpq->PQfinish(conn);
	return problem;
}

/* ---- Looking up --------------------------------------------------------------------------------- */

const struct server_session *server_witness_session(const struct server_reading *reading, int32_t pid) {
	for (size_t i = 0; i < reading->session_count; i++)
		if (reading->sessions[i].pid == pid)
			return &reading->sessions[i];
	return NULL;
}

const struct server_database *server_witness_database(const struct server_reading *reading,
						      const char *name) {
	for (size_t i = 0; i < reading->database_count; i++)
		if (strcmp(reading->databases[i].name, name) == 0)
			return &reading->databases[i];
	return NULL;
}

const struct server_role *server_witness_role(const struct server_reading *reading, const char *name) {
	for (size_t i = 0; i < reading->role_count; i++)
		if (strcmp(reading->roles[i].name, name) == 0)
			return &reading->roles[i];
	return NULL;
}
