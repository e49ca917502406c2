#include "shim/libpq_facts.h"

#include <stddef.h>
#include <string.h>

#include "shim/failure.h"

/* Smaller than a PGconn of any version (12: 1 400 bytes), and reaches the SQLSTATE in all of 12 to 18 (at most 522). Not
 * malloc_usable_size: a program may bring its own allocator without it. */
#define PGCONN_SEARCHED_BYTES 640u

static enum lease_outcome outcome_of(ConnStatusType status) {
	return status == CONNECTION_OK     ? LEASE_ESTABLISHED
		: status == CONNECTION_BAD ? LEASE_FAILED
					   : LEASE_PENDING;
}

/* Of names that no server has confirmed. ':' and '/' in a user or database are where libpq leaves the rest of a URI that
 * it split at the wrong place; hosts need them (IPv6, socket directories). */
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-$"

/* A server that accepted the connection vouches for its names; a failed attempt's may be anything. */
static bool may_be_stored(const char *text, const char *plain_characters, enum lease_outcome outcome) {
	if (!text)
		return true;
	if (outcome != LEASE_ESTABLISHED)
		return text[strspn(text, plain_characters)] == '\0';
	for (; *text; text++)
		if (*text == '@' || *text == '=' || (*text == ':' && text[1] == '/' && text[2] == '/'))
			return false;
	return true;
}

static struct ledger_endpoint_facts endpoint_of(const struct libpq_api *api, const PGconn *conn,
						enum lease_outcome outcome) {
	struct ledger_endpoint_facts endpoint = {.host = api->PQhost(conn),
						 .port = api->PQport(conn),
						 .database = api->PQdb(conn),
						 .user = api->PQuser(conn)};
	const struct {
		const char *text;
		const char *plain_characters;
	} parts[] = {{endpoint.host, PLAIN ":/,%"},
		     {endpoint.port, "0123456789,"},
		     {endpoint.database, PLAIN},
		     {endpoint.user, PLAIN}};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!may_be_stored(parts[i].text, parts[i].plain_characters, outcome))
			return (struct ledger_endpoint_facts){0};
	return endpoint;
}

struct lease_facts libpq_facts(const struct libpq_api *api, const PGconn *conn) {
	struct lease_facts facts = {.outcome = outcome_of(api->PQstatus(conn))};
	if (facts.outcome == LEASE_FAILED)
		facts.failure = failure_classify(api->PQerrorMessage(conn), conn, PGCONN_SEARCHED_BYTES);
	if (facts.outcome != LEASE_FAILED || failure_was_contacted((enum failure_reason)facts.failure))
		facts.endpoint = endpoint_of(api, conn, facts.outcome);
	facts.is_unix_socket = facts.endpoint.host && facts.endpoint.host[0] == '/';
	if (facts.outcome == LEASE_ESTABLISHED) {
		const char *name = api->PQparameterStatus(conn, "application_name");
		facts.application_name = may_be_stored(name, PLAIN, facts.outcome) ? name : NULL;
		facts.backend_pid = api->PQbackendPID(conn);
		facts.server_version = (uint32_t)api->PQserverVersion(conn);
		facts.is_tls = api->PQsslInUse((PGconn *)conn);
	}
	return facts;
}

/* CONNECTION_NEEDED and STARTED wait for the network (names included); MADE sends the first packet. */
enum ledger_phase libpq_phase(const struct libpq_api *api, const PGconn *conn) {
	switch (api->PQstatus(conn)) {
	case CONNECTION_NEEDED:
	case CONNECTION_STARTED:
	case CONNECTION_MADE:
		return LEDGER_PHASE_TCP;
	case CONNECTION_SSL_STARTUP:
	case CONNECTION_GSS_STARTUP:
		return LEDGER_PHASE_TLS;
	default:
		return LEDGER_PHASE_AUTH;
	}
}
