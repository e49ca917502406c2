#include "shim/failure.h"

#include <string.h>

static const struct {
	const char *sqlstate;
	const char *pattern;
	bool is_contacted;
} reasons[] = {
#define FAILURE(reason, class, sqlstate, pattern, text, is_contacted) {sqlstate, pattern, is_contacted},
#include "shim/failure.def"
#undef FAILURE
};

/* How messages begin that libpq writes after it parsed the conninfo (12 to 18). The message of a malformed
 * conninfo quotes it, and a quoted piece must not be taken for a reason. */
static const char *const contact_prefixes[] = {
	"connection to server",
	"could not connect to server",
	"FATAL",
	"fe_sendauth",
	"timeout expired",
	"server closed",
	"server does not support",
	"SSL error",
	"could not translate host name",
	"could not parse network address",
	"could not receive data from server",
	"could not send",
	"server certificate",
	"root certificate file",
	"ERROR",
};

static bool is_from_contact(const char *message) {
	for (size_t i = 0; i < sizeof contact_prefixes / sizeof *contact_prefixes; i++)
		if (strncmp(message, contact_prefixes[i], strlen(contact_prefixes[i])) == 0)
			return true;
	return false;
}

static enum failure_reason by_pattern(const char *message) {
	if (!is_from_contact(message))
		return strncmp(message, "out of memory", 13) == 0 ? FAILURE_OUT_OF_MEMORY : FAILURE_OTHER;
	for (int reason = 0; reason < FAILURE_REASON_COUNT; reason++)
		if (reasons[reason].pattern && strstr(message, reasons[reason].pattern))
			return (enum failure_reason)reason;
	return FAILURE_OTHER;
}

/* libpq keeps the last SQLSTATE as text in the PGconn but has no accessor for it (measured: offset 356 in
 * 15, 404 in 17, no false hits among the states of the table). */
static enum failure_reason by_sqlstate(const char *bytes, size_t count) {
	for (int reason = 0; reason < FAILURE_REASON_COUNT; reason++)
		for (size_t at = 0;
		     !reasons[reason].pattern && reasons[reason].sqlstate[0] && at + 6 <= count; at++)
			if (memcmp(bytes + at, reasons[reason].sqlstate, 6) == 0)
				return (enum failure_reason)reason;
	return FAILURE_OTHER;
}

enum failure_reason failure_classify(const char *message, const void *conn, size_t conn_bytes) {
	enum failure_reason reason = message ? by_pattern(message) : FAILURE_OTHER;
	return reason == FAILURE_OTHER && conn ? by_sqlstate(conn, conn_bytes) : reason;
}

bool failure_was_contacted(enum failure_reason reason) {
	return reasons[reason].is_contacted;
}

bool failure_is_exhaustion(enum failure_reason reason) {
	switch (reason) {
	case FAILURE_TOO_MANY_CLIENTS:
	case FAILURE_RESERVED_SLOTS:
	case FAILURE_ROLE_LIMIT:
	case FAILURE_DATABASE_LIMIT:
	case FAILURE_POOLER_MAX_CLIENTS:
	case FAILURE_POOLER_WAIT_TIMEOUT:
	case FAILURE_STATE_53300:
		return true;
	default:
		return false;
	}
}
