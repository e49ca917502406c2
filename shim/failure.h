/*
 * Why a connect failed: from libpq's message and SQLSTATE to a line of failure.def.
 */
#ifndef PQLEASE_SHIM_FAILURE_H
#define PQLEASE_SHIM_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

enum failure_reason {
#define FAILURE(reason, class, sqlstate, pattern, text, is_contacted) FAILURE_##reason,
#include "shim/failure.def"
#undef FAILURE
	FAILURE_REASON_COUNT
};

/* `message` is PQerrorMessage, may be NULL. If no pattern is found in it (translated messages), the
 * `conn_bytes` of the PGconn at `conn` are searched for a SQLSTATE that the table knows. Keeps nothing. */
enum failure_reason failure_classify(const char *message, const void *conn, size_t conn_bytes);

/* Whether libpq had parsed the conninfo and tried an address: only then its accessors can be believed. */
bool failure_was_contacted(enum failure_reason reason);

/* Whether somebody had no connection left to give. */
bool failure_is_exhaustion(enum failure_reason reason);

#endif
