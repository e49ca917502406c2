/*
 * A second libpq for tests: another name, another version, another layout of PGconn. It really connects, through a
 * copy of the system's libpq in a namespace of its own, which no preloaded library can see. A PGconn of another
 * libpq given to this one ends the program; one of this given to another is noise to it.
 */
#include <dlfcn.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x6f7468657220636fUL

struct pg_conn {
	unsigned char noise[4096]; /* what another libpq takes for its own fields */
	unsigned long magic;
	PGconn *inner;
};

static void *inner_function(const char *name) {
	static void *(*gate)(const char *name);
	if (!gate) {
		void *library = dlmopen(LM_ID_NEWLM, GATE, RTLD_NOW);
		gate = library ? (void *(*)(const char *))dlsym(library, "gate_function") : NULL;
	}
	void *function = gate ? gate(name) : NULL;
	if (!function) {
		fprintf(stderr, "other libpq: %s: %s\n", name, dlerror());
		abort();
	}
	return function;
}

#define INNER(name) ((__typeof__(&name))inner_function(#name))

static PGconn *inner_of(const PGconn *conn) {
	if (conn && conn->magic == MAGIC)
		return conn->inner;
	fprintf(stderr, "other libpq: a connection of another libpq\n");
	abort();
}

static PGconn *wrap(PGconn *inner) {
	PGconn *conn = malloc(sizeof *conn);
	memset(conn->noise, 0x7f, sizeof conn->noise);
	conn->magic = MAGIC;
	conn->inner = inner;
	return conn;
}

PGconn *PQconnectdb(const char *conninfo) {
	return wrap(INNER(PQconnectdb)(conninfo));
}

PGconn *PQconnectStart(const char *conninfo) {
	return wrap(INNER(PQconnectStart)(conninfo));
}

void PQfinish(PGconn *conn) {
	INNER(PQfinish)(inner_of(conn));
	conn->magic = 0;
	free(conn);
}

int PQlibVersion(void) {
	return 990000;
}

#define OF_CONN(result, name) \
	result name(PGconn *conn) { return INNER(name)(inner_of(conn)); }
#define OF_CONST_CONN(result, name) \
	result name(const PGconn *conn) { return INNER(name)(inner_of(conn)); }

OF_CONN(PostgresPollingStatusType, PQconnectPoll)
OF_CONN(PostgresPollingStatusType, PQresetPoll)
OF_CONN(int, PQresetStart)
OF_CONN(int, PQsslInUse)
OF_CONST_CONN(ConnStatusType, PQstatus)
OF_CONST_CONN(char *, PQhost)
OF_CONST_CONN(char *, PQport)
OF_CONST_CONN(char *, PQdb)
OF_CONST_CONN(char *, PQuser)
OF_CONST_CONN(char *, PQerrorMessage)
OF_CONST_CONN(int, PQbackendPID)
OF_CONST_CONN(int, PQserverVersion)
OF_CONST_CONN(int, PQsocket)

void PQreset(PGconn *conn) {
	INNER(PQreset)(inner_of(conn));
}

const char *PQparameterStatus(const PGconn *conn, const char *name) {
	return INNER(PQparameterStatus)(inner_of(conn), name);
}

PGPing PQping(const char *conninfo) {
	return INNER(PQping)(conninfo);
}
