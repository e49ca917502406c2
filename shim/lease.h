/*
 * The life of a lease: begun, established or failed, reset, released.
 *
 * A plain C interface over the ledger that unit tests drive without preloading; it knows neither libpq's
 * headers nor the loader. PGconn addresses are opaque numbers here. Acquisition is recorded after the real
 * call, release before it, because the allocator hands addresses out again at once.
 *
 * `caller` is the hook's return address. A synchronous attempt that a longjmp, an exception or a cancellation cut short
 * is recognised at the thread's next entry. All functions may be called by any thread, and do nothing when recording is off.
 * errno is preserved by the hooks, not here.
 */
#ifndef PQLEASE_SHIM_LEASE_H
#define PQLEASE_SHIM_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/ledger_writer.h"
#include "shim/use.h"

enum lease_outcome { LEASE_PENDING, LEASE_ESTABLISHED, LEASE_FAILED };

/* What libpq told about a connection. Texts are the connection's own and are read during the call only; NULL
 * where unknown or not to be stored. */
struct lease_facts {
	enum lease_outcome outcome;
	struct ledger_endpoint_facts endpoint;
	const char *application_name;
	int32_t backend_pid;
	uint32_t server_version;
	bool is_tls;
	bool is_unix_socket;
	uint32_t failure; /* reason (line of failure.def), for LEASE_FAILED */
};

enum lease_call_kind {
	LEASE_CALL_CONNECT,
	LEASE_CALL_CONNECT_START,
	LEASE_CALL_PROBE,
	LEASE_CALL_RESET,
	LEASE_CALL_RESET_START
};

/* One hooked call in progress; lives on the hook's stack. */
struct lease_call {
	enum lease_call_kind kind;
	bool is_recorded;
	struct ledger_slot slot; /* not of a probe */
	struct ledger_account account;
	uint64_t begun_ns;
};

/* PQconnectdb and friends, PQconnectStart and friends, PQping*: around the real call. `conn` is NULL when the
 * library returned none; a probe has neither `conn` nor `facts`. */
void lease_connect_begin(struct lease_call *call, enum lease_call_kind kind, const void *caller);
void lease_connect_end(struct lease_call *call, const void *conn, uint32_t instance,
		       const struct lease_facts *facts);
void lease_probe_end(struct lease_call *call, bool was_answered);

/* PQreset, PQresetStart. Of a connection that another process opened it ends that process's session, and what comes of
 * it is a lease of its own. */
void lease_reset_begin(struct lease_call *call, enum lease_call_kind kind, const void *conn,
		       const void *caller);
void lease_reset_end(struct lease_call *call, const struct lease_facts *facts);

/* A poll of an asynchronous attempt by the program (`conn`), or one that libpq makes itself inside a
 * synchronous attempt of this thread (NULL). `phase` is what the connection was waiting for before the call. */
struct lease_poll {
	struct ledger_slot slot;
	enum ledger_phase phase;
	bool is_recorded;
};
void lease_poll_begin(struct lease_poll *poll, const void *conn, enum ledger_phase phase);
/* `facts` NULL or LEASE_PENDING: the attempt goes on. */
void lease_poll_end(struct lease_poll *poll, const struct lease_facts *facts);

/* Around a call that sends a command or fetches its results. Also notices a connection that another process opened (fork)
 * and one that is finished already. `text` is the command's, NULL if unknown; only its first word is looked at. The caller keeps `call` in its own frame. If lease_use_end returns true,
 * lease_use_broken is told what libpq says about it: `failure` of the facts is all that is looked at. */
void lease_use_begin(struct use_call *call, const void *conn, enum use_kind kind, const char *text,
		     const void *caller);
bool lease_use_end(struct use_call *call, enum use_status status);
void lease_use_broken(const struct use_call *call, const struct lease_facts *facts);

/* Before the real PQfinish. */
void lease_finish(const void *conn, const void *caller);

/* `handle` was just made by PQcancelCreate: its address is no connection. */
void lease_is_cancel_handle(const void *handle);

/* Which libpq a connection was taken from; false if the connection is unknown. */
bool lease_instance(const void *conn, uint32_t *instance);

#endif
