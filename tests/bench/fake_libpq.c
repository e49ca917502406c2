/*
 * A libpq without a server: connects, queries and finishes at once, so that a benchmark sees the shim's own time. Only
 * benchmarks use it; every test runs against the real one.
 */
#include <stdlib.h>

#include <libpq-fe.h>

struct pg_conn {
	int generation;
};

PGconn *PQconnectdb(const char *conninfo) {
	(void)conninfo;
	PGconn *conn = malloc(sizeof *conn);
	if (conn)
		conn->generation = 1;
	return conn;
}

void PQfinish(PGconn *conn) {
	free(conn);
}

ConnStatusType PQstatus(const PGconn *conn) {
	return conn ? CONNECTION_OK : CONNECTION_BAD;
}

#define TEXT_OF_CONN(name, text)         \
	char *name(const PGconn *conn) { \
		(void)conn;              \
		return (char *)(text);   \
	}
TEXT_OF_CONN(PQhost, "/run/postgresql")
TEXT_OF_CONN(PQport, "5432")
TEXT_OF_CONN(PQdb, "bench")
TEXT_OF_CONN(PQuser, "bench")
TEXT_OF_CONN(PQerrorMessage, "")

const char *PQparameterStatus(const PGconn *conn, const char *name) {
	(void)conn, (void)name;
	return "bench";
}

int PQbackendPID(const PGconn *conn) {
	(void)conn;
	return 4711;
}

int PQserverVersion(const PGconn *conn) {
	(void)conn;
	return 150000;
}

int PQsslInUse(PGconn *conn) {
	(void)conn;
	return 0;
}

/* Queries that take no time: a result is never looked at. */
PGresult *PQexec(PGconn *conn, const char *query) {
	(void)query;
	return (PGresult *)conn;
}

int PQsendQuery(PGconn *conn, const char *query) {
	(void)query;
	conn->generation = 2;
	return 1;
}

PGresult *PQgetResult(PGconn *conn) {
	conn->generation--;
	return conn->generation > 0 ? (PGresult *)conn : NULL;
}

PGTransactionStatusType PQtransactionStatus(const PGconn *conn) {
	return conn->generation > 1 ? PQTRANS_ACTIVE : PQTRANS_IDLE;
}
