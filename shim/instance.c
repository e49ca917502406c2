#include "shim/instance.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "shim/loader.h"

static const char *const function_names[LIBPQ_FUNCTION_COUNT] = {
#define HOOK(name, shape, result, parameters, arguments) #name,
#include "shim/hooks.def"
#undef HOOK
#define ACCESSOR(name) #name,
	LIBPQ_ACCESSORS(ACCESSOR)
#undef ACCESSOR
};

_Static_assert(sizeof(struct libpq_api) == LIBPQ_FUNCTION_COUNT * sizeof(void *), "one pointer per name");

/* One libpq copy as one kind of caller reaches it. Written once, then published by `is_ready`. */
struct instance {
	_Atomic bool is_ready;
	struct link_map *libpq; /* the object that holds the accessors */
	uintptr_t start;        /* its mapping: what is called from here is libpq calling itself */
	uintptr_t end;
	union {
		struct libpq_api api;
		void *function[LIBPQ_FUNCTION_COUNT];
	};
};

static struct instance instances[INSTANCES_MAX];
static _Atomic uint32_t instance_count;

/* ---- The caller's own bindings ---------------------------------------------------------------------- */

static bool is_hooked(const char *name) {
	for (int i = 0; i < LIBPQ_HOOK_COUNT; i++)
		if (strcmp(function_names[i], name) == 0)
			return true;
	return false;
}

/* A slot that lazy binding has not filled yet points into the object's own PLT. A slot that points into its
 * own object for good is libpq calling itself. */
static bool is_bound(const struct link_map *object, const struct loader_slot *slot) {
	struct dl_find_object target;
	if (!loader_find((const void *)*slot->address, &target))
		return false;
	return target.dlfo_link_map != object || loader_symbol(object, slot->name) == (void *)*slot->address;
}

/* Address that the linker has bound for some unhooked PQ* symbol of `object`; 0 if none is bound yet. */
static uintptr_t bound_sibling(const struct link_map *object, const char **sibling) {
	struct loader_relocations relocations;
	if (!loader_relocations_of(object, &relocations))
		return 0;
	for (struct loader_slot slot; loader_next_slot(&relocations, &slot);) {
		if (strncmp(slot.name, "PQ", 2) == 0 && !is_hooked(slot.name) && is_bound(object, &slot)) {
			*sibling = slot.name;
			return *slot.address;
		}
	}
	return 0;
}

/* ---- Finding the functions ---------------------------------------------------------------------------- */

static bool is_libpq(const struct link_map *object) {
	return loader_symbol(object, "PQconnectdb") && loader_symbol(object, "PQstatus");
}

/* A library preloaded behind us that wraps the function, and is no libpq itself, stays in the chain. */
static void *wrapped(const char *name, void *real) {
	for (const struct link_map *object = NULL; (object = loader_next_startup_object(object));) {
		void *wrapper = loader_symbol(object, name);
		if (wrapper)
			return loader_symbol(object, "PQstatus") ? real : wrapper;
	}
	return real;
}

/* `is_chained`: what wraps libpq behind us is called in its place. */
static bool describe(struct instance *instance, const struct link_map *libpq, bool is_chained) {
	struct dl_find_object found;
	for (int i = 0; i < LIBPQ_FUNCTION_COUNT; i++) {
		void *real = loader_symbol(libpq, function_names[i]);
		bool may_be_wrapped = real && is_chained && i < LIBPQ_HOOK_COUNT;
		instance->function[i] = may_be_wrapped ? wrapped(function_names[i], real) : real;
	}
	if (!instance->api.PQconnectdb || !instance->api.PQfinish || !instance->api.PQstatus ||
	    !loader_find((const void *)instance->api.PQstatus, &found))
		return false;
	instance->libpq = found.dlfo_link_map;
	instance->start = (uintptr_t)found.dlfo_map_start;
	instance->end = (uintptr_t)found.dlfo_map_end;
	return true;
}

static const struct link_map *object_of(const void *address) {
	struct dl_find_object found;
	return address && loader_find(address, &found) ? found.dlfo_link_map : NULL;
}

/* The libpq that was linked into the program or a library of it. */
static const struct link_map *startup_libpq(void) {
	for (const struct link_map *object = NULL; (object = loader_next_startup_object(object));)
		if (is_libpq(object))
			return object;
	return NULL;
}

/* Wrappers stand before libpq in the global scope alone: a libpq that a plugin has for itself is not theirs, and their
 * own search for it would find nothing. The loader is asked only if there is a wrapper and libpq came after main. */
static bool is_behind_wrapper(const struct link_map *libpq) {
	const struct link_map *startup = startup_libpq();
	for (const struct link_map *object = NULL;
	     (object = loader_next_startup_object(object)) && object != startup;)
		for (int i = 0; i < LIBPQ_HOOK_COUNT; i++)
			if (loader_symbol(object, function_names[i]))
				return libpq ==
					(startup ? startup : object_of(loader_dlsym(RTLD_NEXT, "PQstatus")));
	return false;
}

/* What lazy binding would find: the global scope, then what the caller brought in with it. Asks the loader, which takes
 * its lock; a reference that this counts is given back, so that the caller can still be unloaded. dlsym is given a
 * handle of dlopen, never a link_map: on an object loaded as a dependency it would crash (empty search list). */
static const struct link_map *ask_loader(const struct link_map *caller) {
	const struct link_map *libpq = object_of(loader_dlsym(RTLD_NEXT, "PQstatus"));
	if (libpq || !caller->l_name[0])
		return libpq;
	void *scope = loader_real_dlopen()(caller->l_name, RTLD_LAZY | RTLD_NOLOAD);
	if (!scope)
		return NULL;
	libpq = object_of(loader_dlsym(scope, "PQstatus"));
	loader_real_dlclose()(scope);
	return libpq;
}

/*
 * In this order:
 *  1. the object that the caller's bound PQ* sibling lies in: the dynamic linker's own decision, read without a lock;
 *  2. nothing bound yet: a libpq loaded before main is first in every scope;
 *  3. else the loader is asked.
 */
static bool resolve(struct instance *instance, const struct link_map *caller) {
	const char *sibling = NULL;
	const struct link_map *libpq = object_of((const void *)bound_sibling(caller, &sibling));
	if (!libpq || !is_libpq(libpq))
		libpq = startup_libpq();
	if (!libpq)
		libpq = ask_loader(caller);
	return libpq && describe(instance, libpq, is_behind_wrapper(libpq));
}

static bool is_loaded(const struct instance *instance) {
	struct dl_find_object found;
	return loader_find((const void *)instance->start, &found) && found.dlfo_link_map == instance->libpq &&
		(uintptr_t)found.dlfo_map_start == instance->start;
}

/* When all are taken, the place of a libpq that was unloaded: nobody can be calling it. INSTANCES_MAX if there is none. */
static uint32_t take_place(uint32_t count) {
	if (count < INSTANCES_MAX) {
		uint32_t number = atomic_fetch_add(&instance_count, 1);
		if (number < INSTANCES_MAX)
			return number;
	}
	for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
		bool is_ready = true;
		if (atomic_load_explicit(&instances[i].is_ready, memory_order_acquire) &&
		    !is_loaded(&instances[i]) &&
		    atomic_compare_exchange_strong(&instances[i].is_ready, &is_ready, false))
			return i;
	}
	return INSTANCES_MAX;
}

/* The candidate is stored if no equal one is known; threads that race may store it twice, which is harmless. */
static uint32_t remember(const struct instance *candidate) {
	uint32_t count = atomic_load_explicit(&instance_count, memory_order_acquire);
	for (uint32_t i = 0; i < count && i < INSTANCES_MAX; i++)
		if (atomic_load_explicit(&instances[i].is_ready, memory_order_acquire) &&
		    instances[i].libpq == candidate->libpq && instances[i].start == candidate->start &&
		    memcmp(&instances[i].api, &candidate->api, sizeof candidate->api) == 0)
			return i;
	uint32_t number = take_place(count);
	if (number >= INSTANCES_MAX)
		return INSTANCES_MAX;
	struct instance *instance = &instances[number];
	memcpy((char *)instance + offsetof(struct instance, libpq),
	       (const char *)candidate + offsetof(struct instance, libpq),
	       sizeof *instance - offsetof(struct instance, libpq));
	atomic_store_explicit(&instance->is_ready, true, memory_order_release);
	return number;
}

/* ---- Caching per caller --------------------------------------------------------------------------------- */

/* A cache word is one atomic: the caller's address (48 bits on x86-64 and aarch64 user space), internal (1),
 * instance (7), generation (8 low bits). */
#define CACHE_CAPACITY 512u

static _Atomic uint64_t cache[CACHE_CAPACITY];
static _Atomic uint32_t cache_generation;

static _Atomic uint64_t *cache_place(uintptr_t caller) {
	return &cache[(caller * UINT64_C(0x9e3779b97f4a7c15) >> 40) % CACHE_CAPACITY];
}

static uint64_t cache_word(uintptr_t caller, bool is_internal, uint32_t instance, uint32_t generation) {
	return (uint64_t)caller << 16 | (uint64_t)is_internal << 15 | (uint64_t)(instance & 0x7f) << 8 |
		(generation & 0xff);
}

static struct instance_binding bind_to(uint32_t number, bool is_internal) {
	return (struct instance_binding){&instances[number].api, number, is_internal};
}

/* More copies than we keep: the call is forwarded as if it were libpq's own, and not recorded. */
static struct instance_binding bind_beyond(const struct instance *candidate) {
	static __thread struct libpq_api api;
	api = candidate->api;
	return (struct instance_binding){&api, INSTANCES_MAX, true};
}

static struct instance_binding find(uintptr_t caller, uint32_t generation) {
	struct instance candidate = {0};
	const struct link_map *object = object_of((const void *)caller);
	const struct link_map *fallback = object ? NULL : startup_libpq(); /* generated code */
	if (!(object && resolve(&candidate, object)) &&
	    !(fallback && describe(&candidate, fallback, is_behind_wrapper(fallback))))
		return (struct instance_binding){NULL, INSTANCES_MAX, false};
	bool is_internal = caller >= candidate.start && caller < candidate.end;
	uint32_t number = remember(&candidate);
	if (number == INSTANCES_MAX)
		return bind_beyond(&candidate);
	atomic_store_explicit(cache_place(caller), cache_word(caller, is_internal, number, generation),
			      memory_order_relaxed);
	return bind_to(number, is_internal);
}

__thread uint32_t instance_named_by_thunk;

uint32_t instance_of_function(const void *function) {
	struct instance candidate = {0};
	const struct link_map *object = object_of(function);
	return object && is_libpq(object) && describe(&candidate, object, false) ? remember(&candidate)
										 : INSTANCES_MAX;
}

struct instance_binding instance_of_caller(const void *caller) {
	uintptr_t address = (uintptr_t)caller;
	if (instance_named_by_thunk) {
		uint32_t named = instance_named_by_thunk - 1;
		instance_named_by_thunk = 0;
		return bind_to(named, false);
	}
	uint32_t generation = atomic_load_explicit(&cache_generation, memory_order_acquire);
	uint64_t word = atomic_load_explicit(cache_place(address), memory_order_relaxed);
	if (word >> 16 == address && (word & 0xff) == (generation & 0xff)) {
		uint32_t number = word >> 8 & 0x7f;
		/* Pairs with the publication of the instance by another thread. */
		if (atomic_load_explicit(&instances[number].is_ready, memory_order_acquire))
			return bind_to(number, word >> 15 & 1);
	}
	int saved_errno = errno;
	struct instance_binding found = find(address, generation);
	errno = saved_errno;
	return found;
}

bool instance_has_others(void) {
	return atomic_load_explicit(&instance_count, memory_order_relaxed) > 1;
}

const struct libpq_api *instance_api(uint32_t instance) {
	return instance < INSTANCES_MAX &&
			atomic_load_explicit(&instances[instance].is_ready, memory_order_acquire) &&
			is_loaded(&instances[instance])
		? &instances[instance].api
		: NULL;
}

/* The generation turns away words that another thread is about to store; the words themselves go because eight
 * bits of generation come round. */
void instance_forget(void) {
	atomic_fetch_add_explicit(&cache_generation, 1, memory_order_release);
	for (size_t i = 0; i < CACHE_CAPACITY; i++)
		atomic_store_explicit(&cache[i], 0, memory_order_relaxed);
}
