/*
 * Which libpq a caller is bound to.
 *
 * A process may hold several libpq copies (a wheel's bundled one beside the system's), loaded RTLD_LOCAL or
 * linked, and mixing two of them corrupts memory. So every call goes on to the copy that the dynamic linker
 * gave the caller for its *other* PQ* symbols (FACTS: the only technique right in all layouts).
 */
#ifndef PQLEASE_SHIM_INSTANCE_H
#define PQLEASE_SHIM_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/libpq_api.h"
#include "shim/loader_hooks.h"

struct instance_binding {
	const struct libpq_api *api; /* NULL: no libpq could be found for this caller */
	uint32_t instance;           /* number, for conn_table */
	bool is_internal;            /* the caller is libpq itself */
};

/* `caller` is a return address in the calling object. Cached per address; no lock, no allocation of ours (dlopen
 * with RTLD_NOLOAD may allocate inside the loader at first sight of a caller). Any thread; errno untouched. */
struct instance_binding instance_of_caller(const void *caller);

/* The libpq that a function looked up with dlsym belongs to; INSTANCES_MAX if there is no room for another. */
uint32_t instance_of_function(const void *function);

/* Set by a thunk for the wrapper that it jumps to: instance number plus 1. Taken by the next instance_of_caller of
 * the thread. */
extern __thread uint32_t instance_named_by_thunk __attribute__((visibility("hidden")));

/* Whether more than one libpq, or way to reach it, was seen. */
bool instance_has_others(void);

/* The functions of an instance seen before; NULL when it has been unloaded. */
const struct libpq_api *instance_api(uint32_t instance);

/* Forgets which caller is bound to what: before a library is unloaded. */
void instance_forget(void);

#endif
