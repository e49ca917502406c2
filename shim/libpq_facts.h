/*
 * What libpq's accessors say about a connection, reduced to what may be stored.
 */
#ifndef PQLEASE_SHIM_LIBPQ_FACTS_H
#define PQLEASE_SHIM_LIBPQ_FACTS_H

#include "shim/lease.h"
#include "shim/libpq_api.h"

/* `conn` is not NULL. The texts in the result belong to the connection. A component that may carry a piece of a
 * password leaves the whole endpoint unknown: libpq splits malformed URIs in surprising places. */
struct lease_facts libpq_facts(const struct libpq_api *api, const PGconn *conn);

/* What the connection is waiting for. */
enum ledger_phase libpq_phase(const struct libpq_api *api, const PGconn *conn);

#endif
