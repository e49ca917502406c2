/*
 * The life of a use: from the first command on an idle connection until the connection is idle again outside a
 * transaction, all results consumed.
 *
 * A plain C interface over a lease slot that unit tests drive without preloading. It judges by what libpq says of the
 * connection after a call (PQtransactionStatus of the libpq that the connection belongs to): as long as a result has not
 * been fetched, a COPY runs or a pipeline is not empty, it says USE_ACTIVE. So one rule serves synchronous, asynchronous,
 * COPY and pipeline calls. Nothing has to be undone when a longjmp leaves a call: the next call finds what libpq says then.
 *
 * Around each real call: use_enter, use_leave; on the caller's thread, errno is the hooks' business. Two threads that
 * are inside calls on one connection at once make its numbers inexact, and are counted.
 */
#ifndef PQLEASE_SHIM_USE_H
#define PQLEASE_SHIM_USE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/ledger_writer.h"
#include "shim/process.h"
#include "shim/statement.h"

/* PGTransactionStatusType. */
enum use_status { USE_IDLE, USE_ACTIVE, USE_IN_TRANSACTION, USE_TRANSACTION_FAILED, USE_BROKEN };

enum use_kind {
	USE_COMMAND, /* sends a command and waits for what it answers */
	USE_SEND,    /* sends a command */
	USE_RESULT   /* goes on with what was sent before */
};

struct use_call {
	struct ledger_slot slot;
	uint64_t begun_ns;
	int32_t thread;
	int32_t thread_before; /* who was inside already; 0 nobody */
	bool is_recorded;
	bool is_waiting; /* until the command has an answer */
};

/* Before the real call on an established lease. `caller` is the hook's return address, and `mark` an address in the hook's
 * frame. */
void use_enter(struct use_call *call, const struct recording *now, const struct ledger_slot *slot,
	       enum use_kind kind, enum statement statement, const void *caller, const void *mark);

/* After it. Returns true if this call found the session broken that had not been before. */
bool use_leave(struct use_call *call, enum use_status status);

/* Before the lease ends or is reset, with the slot in a state in which nobody else touches it: a use in progress ends with it. */
void use_lease_ends(struct ledger_slot *slot, uint64_t now_ns);

/* A thread that may be in a transaction took another lease by waiting for it. Who does not wait (an event loop) has several
 * connections in transactions at once, and blocks none of them. */
void use_lease_taken(const struct ledger_account *account, uint64_t now_ns);

#endif
