/*
 * The wrappers that replace libpq's functions: one shape per kind of call, no logic.
 *
 * Every wrapper forwards to the very libpq that its caller is bound to; calls that libpq makes to itself and
 * calls of a disabled shim are passed straight through. Whether a call is libpq's own is judged by its
 * return address, not by a depth counter: a longjmp out of libpq (Perl, Ruby) would leave a counter stuck.
 * errno is what the real function left, before and after.
 */
#include "shim/libpq_api.h"

#include <errno.h>

#include "shim/instance.h"
#include "shim/lease.h"
#include "shim/libpq_facts.h"
#include "shim/process.h"

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

static struct instance_binding bind(const void *caller) {
	struct instance_binding binding = instance_of_caller(caller);
	if (!binding.api)
		process_note(LEDGER_NOTE_UNBOUND_CALLER);
	return binding;
}

/* A connection stays with the libpq that made it, whoever calls. */
static struct instance_binding bind_conn(const void *caller, const PGconn *conn) {
	struct instance_binding binding = bind(caller);
	uint32_t instance;
	if (binding.is_internal || !instance_has_others() || !lease_instance(conn, &instance))
		return binding;
	const struct libpq_api *own = instance_api(instance);
	if (own)
		binding.api = own;
	return binding;
}

static bool is_recorded(const struct instance_binding *binding) {
	return binding->api && !binding->is_internal && !process_is_disabled();
}

/* The whole shape of a wrapper: forward when there is nothing to record, else `before`, the real call, `after`.
 * Last resort without a libpq: the value with which the real function says that it could do nothing. */
#define FORWARD(name, arguments, nothing) \
	(binding.api && binding.api->name ? binding.api->name arguments : (nothing))

#define AROUND(before, real_call, after) \
	do {                             \
		int kept_errno = errno;  \
		before;                  \
		errno = kept_errno;      \
		real_call;               \
		kept_errno = errno;      \
		after;                   \
		errno = kept_errno;      \
	} while (0)

static void connect_ended(struct lease_call *call, const struct instance_binding *binding,
			  const PGconn *conn) {
	struct lease_facts facts = {.outcome = LEASE_FAILED};
	if (conn)
		facts = libpq_facts(binding->api, conn);
	lease_connect_end(call, conn, binding->instance, &facts);
}

#define DEFINE_CONNECT_KIND(name, parameters, arguments, kind)                                       \
	EXPORT PGconn *name parameters {                                                             \
		struct instance_binding binding = bind(CALLER);                                      \
		if (!is_recorded(&binding))                                                          \
			return FORWARD(name, arguments, NULL);                                       \
		struct lease_call call;                                                              \
		PGconn *conn;                                                                        \
		AROUND(lease_connect_begin(&call, kind, CALLER), conn = binding.api->name arguments, \
		       connect_ended(&call, &binding, conn));                                        \
		return conn;                                                                         \
	}

#define DEFINE_CONNECT(name, result, parameters, arguments) \
	DEFINE_CONNECT_KIND(name, parameters, arguments, LEASE_CALL_CONNECT)

#define DEFINE_CONNECT_START(name, result, parameters, arguments) \
	DEFINE_CONNECT_KIND(name, parameters, arguments, LEASE_CALL_CONNECT_START)

/* libpq's own polls inside a synchronous connect show its phases; they are observed without being counted. */
static void poll_begun(struct lease_poll *poll, const struct instance_binding *binding, const PGconn *conn) {
	poll->is_recorded = false;
	/* A signal handler may poll no connection at all while its thread is inside a connect. */
	if (binding->is_internal || conn)
		lease_poll_begin(poll, binding->is_internal ? NULL : conn, libpq_phase(binding->api, conn));
}

static void poll_ended(struct lease_poll *poll, const struct instance_binding *binding, const PGconn *conn,
		       PostgresPollingStatusType status) {
	struct lease_facts facts = {.outcome = LEASE_PENDING};
	bool is_settled = status == PGRES_POLLING_OK || status == PGRES_POLLING_FAILED;
	if (poll->is_recorded && is_settled && !binding->is_internal)
		facts = libpq_facts(binding->api, conn);
	lease_poll_end(poll, &facts);
}

#define DEFINE_POLL(name, result, parameters, arguments)                                        \
	EXPORT result name parameters {                                                         \
		struct instance_binding binding = bind_conn(CALLER, conn);                      \
		if (!binding.api || process_is_disabled())                                      \
			return FORWARD(name, arguments, PGRES_POLLING_FAILED);                  \
		struct lease_poll poll;                                                         \
		result status;                                                                  \
		AROUND(poll_begun(&poll, &binding, conn), status = binding.api->name arguments, \
		       poll_ended(&poll, &binding, conn, status));                              \
		return status;                                                                  \
	}

static void reset_ended(struct lease_call *call, const struct instance_binding *binding, const PGconn *conn) {
	if (!call->is_recorded)
		return;
	struct lease_facts facts = libpq_facts(binding->api, conn);
	lease_reset_end(call, &facts);
}

#define DEFINE_RESET(name, result, parameters, arguments)                                \
	EXPORT void name parameters {                                                    \
		struct instance_binding binding = bind_conn(CALLER, conn);               \
		if (!is_recorded(&binding)) {                                            \
			FORWARD(name, arguments, (void)0);                               \
			return;                                                          \
		}                                                                        \
		struct lease_call call;                                                  \
		AROUND(lease_reset_begin(&call, LEASE_CALL_RESET, conn, CALLER),         \
		       binding.api->name arguments, reset_ended(&call, &binding, conn)); \
	}

#define DEFINE_RESET_START(name, result, parameters, arguments)                                       \
	EXPORT int name parameters {                                                                  \
		struct instance_binding binding = bind_conn(CALLER, conn);                            \
		if (!is_recorded(&binding))                                                           \
			return FORWARD(name, arguments, 0);                                           \
		struct lease_call call;                                                               \
		int is_started;                                                                       \
		AROUND(lease_reset_begin(&call, LEASE_CALL_RESET_START, conn, CALLER),                \
		       is_started = binding.api->name arguments, reset_ended(&call, &binding, conn)); \
		return is_started;                                                                    \
	}

#define DEFINE_FINISH(name, result, parameters, arguments)                 \
	EXPORT void name parameters {                                      \
		struct instance_binding binding = bind_conn(CALLER, conn); \
		if (is_recorded(&binding)) {                               \
			int kept_errno = errno;                            \
			lease_finish(conn, CALLER);                        \
			errno = kept_errno;                                \
		}                                                          \
		FORWARD(name, arguments, (void)0);                         \
	}

/* What libpq says about the connection behind a call that may have ended a command. */
static void use_ended(struct use_call *use, const struct instance_binding *binding, const PGconn *conn) {
	if (!use->is_recorded ||
	    !lease_use_end(use, (enum use_status)binding->api->PQtransactionStatus(conn)))
		return;
	struct lease_facts facts = libpq_facts(binding->api, conn);
	lease_use_broken(use, &facts);
}

/* Prototypes: the libpq whose header this is compiled with may be older than the function. */
#define DEFINE_USE_IF(name, result, parameters, arguments, kind, text, condition)                            \
	EXPORT result name parameters;                                                                       \
	EXPORT result name parameters {                                                                      \
		struct instance_binding binding = bind_conn(CALLER, conn);                                   \
		if (!(condition) || !binding.api->name)                                                      \
			return FORWARD(name, arguments, (result)0);                                          \
		struct use_call use;                                                                         \
		result value;                                                                                \
		AROUND(lease_use_begin(&use, conn, kind, text, CALLER), value = binding.api->name arguments, \
		       use_ended(&use, &binding, conn));                                                     \
		return value;                                                                                \
	}

#define DEFINE_USE(name, result, parameters, arguments, kind, text) \
	DEFINE_USE_IF(name, result, parameters, arguments, kind, text, is_recorded(&binding))

#define DEFINE_QUERY(name, result, parameters, arguments) \
	DEFINE_USE(name, result, parameters, arguments, USE_COMMAND, query)
#define DEFINE_PREPARE(name, result, parameters, arguments) \
	DEFINE_USE(name, result, parameters, arguments, USE_COMMAND, "PREPARE")
#define DEFINE_COMMAND(name, result, parameters, arguments) \
	DEFINE_USE(name, result, parameters, arguments, USE_COMMAND, NULL)
/* Also when libpq calls itself: so it works on large objects (lo_read, lo_import), of which nothing else is seen. */
#define DEFINE_FUNCTION_CALL(name, result, parameters, arguments)             \
	DEFINE_USE_IF(name, result, parameters, arguments, USE_COMMAND, NULL, \
		      binding.api && !process_is_disabled())
#define DEFINE_SEND_QUERY(name, result, parameters, arguments) \
	DEFINE_USE(name, result, parameters, arguments, USE_SEND, query)
#define DEFINE_SEND_PREPARE(name, result, parameters, arguments) \
	DEFINE_USE(name, result, parameters, arguments, USE_SEND, "PREPARE")
#define DEFINE_SEND(name, result, parameters, arguments) \
	DEFINE_USE(name, result, parameters, arguments, USE_SEND, NULL)
#define DEFINE_RESULT(name, result, parameters, arguments) \
	DEFINE_USE(name, result, parameters, arguments, USE_RESULT, NULL)

#define DEFINE_PROBE(name, result, parameters, arguments)                                                  \
	EXPORT result name parameters {                                                                    \
		struct instance_binding binding = bind(CALLER);                                            \
		if (!is_recorded(&binding))                                                                \
			return FORWARD(name, arguments, PQPING_NO_ATTEMPT);                                \
		struct lease_call call;                                                                    \
		result answer;                                                                             \
		AROUND(lease_connect_begin(&call, LEASE_CALL_PROBE, CALLER),                               \
		       answer = binding.api->name arguments, lease_probe_end(&call, answer == PQPING_OK)); \
		return answer;                                                                             \
	}

#define DEFINE_CANCEL_HANDLE(name, result, parameters, arguments)          \
	EXPORT result name parameters;                                     \
	EXPORT result name parameters {                                    \
		struct instance_binding binding = bind_conn(CALLER, conn); \
		result handle = FORWARD(name, arguments, NULL);            \
		lease_is_cancel_handle(handle);                            \
		return handle;                                             \
	}

#define HOOK(name, shape, result, parameters, arguments) DEFINE_##shape(name, result, parameters, arguments)
#include "shim/hooks.def"
