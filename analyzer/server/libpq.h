/*
 * libpq as the witness uses it, opened at run time: only who asks a server needs a libpq, with all that it brings along.
 */
#ifndef PQLEASE_ANALYZER_SERVER_LIBPQ_H
#define PQLEASE_ANALYZER_SERVER_LIBPQ_H

#include <libpq-fe.h>

#define LIBPQ_FUNCTIONS(X)   \
	X(PQbackendPID)      \
	X(PQclear)           \
	X(PQconnectdbParams) \
	X(PQconninfoFree)    \
	X(PQconninfoParse)   \
	X(PQerrorMessage)    \
	X(PQexec)            \
	X(PQfinish)          \
	X(PQfreemem)         \
	X(PQgetvalue)        \
	X(PQntuples)         \
	X(PQresultStatus)    \
	X(PQstatus)

struct libpq {
#define LIBPQ_POINTER(name) __typeof__(name) *name;
	LIBPQ_FUNCTIONS(LIBPQ_POINTER)
#undef LIBPQ_POINTER
};

/* Opens it at the first call. NULL if there is none that has all of these functions: *problem is then one line. It stays
 * open, since libraries below it do not like to be unloaded. */
const struct libpq *libpq_open(const char **problem);

#endif
