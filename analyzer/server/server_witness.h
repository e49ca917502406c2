/*
 * The server as a witness: its limits, its sessions, its counts of sessions, read by a login of the user's.
 *
 * The password comes from where libpq takes it (PGPASSWORD, a password file, a service): one in the conninfo would stand
 * on our command line for everybody to read, and is refused.
 */
#ifndef PQLEASE_ANALYZER_SERVER_SERVER_WITNESS_H
#define PQLEASE_ANALYZER_SERVER_SERVER_WITNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/arena.h"

#define SERVER_WITNESS_UNKNOWN INT64_MIN

/* A client's session on the server. */
struct server_session {
	int32_t pid;
	const char *database;
	const char *user;
	const char *application_name;
	const char *state; /* "" if this login may not see it */
	bool holds_advisory_lock;
};

struct server_database {
	const char *name;
	int64_t connection_limit; /* as role's */
	int64_t sessions; /* since the statistics were reset; SERVER_WITNESS_UNKNOWN before version 14 */
	int64_t sessions_abandoned; /* of these, those whose client vanished */
};

struct server_role {
	const char *name;
	int64_t connection_limit; /* SERVER_WITNESS_UNKNOWN: none */
};

/* What the server said at one moment. Strings are never NULL. */
struct server_reading {
	const char *version;
	const char *own_database; /* that of the witness, whose own session is counted there */
	int64_t max_connections;
	int64_t reserved;                /* slots that ordinary roles do not get */
	bool is_behind_pooler;           /* the session's process is not the one that libpq was told */
	struct server_session *sessions; /* of clients, without the witness, by pid */
	size_t session_count;
	struct server_database *databases; /* by name */
	size_t database_count;
	struct server_role *roles; /* by name */
	size_t role_count;
};

/* Why this conninfo cannot be used, NULL if it can be tried. */
const char *server_witness_refuse(const char *conninfo);

/* Connects, reads, goes away. Returns NULL, or in `arena` the reason, one line without secrets. */
const char *server_witness_read(struct server_reading *reading, struct arena *arena, const char *conninfo);

/* Reads until the sessions `pids` are gone and the counts have settled, for a second at most: a server counts a session
 * some moments after its client has ended. */
const char *server_witness_read_settled(struct server_reading *reading, struct arena *arena,
					const char *conninfo, const int32_t *pids, size_t pid_count);

const struct server_session *server_witness_session(const struct server_reading *reading, int32_t pid);
const struct server_database *server_witness_database(const struct server_reading *reading, const char *name);
const struct server_role *server_witness_role(const struct server_reading *reading, const char *name);

#endif
