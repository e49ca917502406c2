/*
 * libpq as this project uses it: the only place that knows libpq-fe.h. Nothing is linked; every function is
 * reached through a table filled at run time from the very libpq that a caller is bound to.
 */
#ifndef PQLEASE_SHIM_LIBPQ_API_H
#define PQLEASE_SHIM_LIBPQ_API_H

#include <libpq-fe.h>

struct pg_cancel_conn; /* PGcancelConn, libpq 17 and later; headers of 12 to 16 lack it */

/* Not hooked: accessors (2 ns, NULL-safe, PostgreSQL 12 to 18) and what tells binding apart. */
#define LIBPQ_ACCESSORS(X)     \
	X(PQstatus)            \
	X(PQhost)              \
	X(PQport)              \
	X(PQdb)                \
	X(PQuser)              \
	X(PQerrorMessage)      \
	X(PQbackendPID)        \
	X(PQserverVersion)     \
	X(PQsslInUse)          \
	X(PQtransactionStatus) \
	X(PQparameterStatus)

/* In this order everywhere: hooks.def first, then the accessors. */
enum libpq_function {
#define HOOK(name, shape, result, parameters, arguments) LIBPQ_##name,
#include "shim/hooks.def"
#undef HOOK
#define ACCESSOR(name) LIBPQ_##name,
	LIBPQ_ACCESSORS(ACCESSOR)
#undef ACCESSOR
		LIBPQ_FUNCTION_COUNT
};
#define LIBPQ_HOOK_COUNT LIBPQ_PQstatus

/* The functions of one libpq, by the types of its own header. */
struct libpq_api {
#define HOOK(name, shape, result, parameters, arguments) result(*name) parameters;
#include "shim/hooks.def"
#undef HOOK
#define ACCESSOR(name) __typeof__(&name) name;
	LIBPQ_ACCESSORS(ACCESSOR)
#undef ACCESSOR
};

#endif
