/*
 * The C half of the dlsym and dlopen hooks; the assembly of an architecture calls it and then jumps to the real
 * function, so that the loader still sees the program's own return address: RTLD_NEXT, RTLD_DEFAULT and a
 * caller's RUNPATH keep their meaning.
 */
#include "shim/loader_hooks.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/elf_needed.h"
#include "shim/instance.h"
#include "shim/loaded_object.h"
#include "shim/loader.h"
#include "shim/process.h"

#define PAGE_BYTES 4096u /* of x86-64; elsewhere a larger page makes mprotect refuse, and nothing is stored */

/* Indexed as enum libpq_function: the first thunk of every hooked function, INSTANCES_MAX in a row. */
extern const char *const loader_thunks[LIBPQ_HOOK_COUNT] __attribute__((visibility("hidden")));

static const char *const hooked_names[LIBPQ_HOOK_COUNT] = {
#define HOOK(name, shape, result, parameters, arguments) #name,
#include "shim/hooks.def"
#undef HOOK
};

static int hooked_function(const char *name) {
	for (int i = 0; name && name[0] == 'P' && name[1] == 'Q' && i < LIBPQ_HOOK_COUNT; i++)
		if (strcmp(hooked_names[i], name) == 0)
			return i;
	return -1;
}

static bool is_ours(const void *address) {
	struct dl_find_object ours, theirs;
	return loader_find((const void *)hooked_names, &ours) && loader_find(address, &theirs) &&
		ours.dlfo_link_map == theirs.dlfo_link_map;
}

void *loader_hooks_dlsym(void *handle, const char *name) {
	int function = hooked_function(name);
	if (function < 0 || handle == RTLD_NEXT || handle == RTLD_DEFAULT || process_is_disabled())
		return NULL;
	int saved_errno = errno;
	void *real = loader_dlsym(handle, name);
	void *replacement = NULL;
	if (real && !is_ours(real)) {
		uint32_t instance = instance_of_function(real);
		if (instance < INSTANCES_MAX)
			replacement = (void *)(loader_thunks[function] + instance * LOADER_THUNK_BYTES);
	}
	errno = saved_errno;
	return replacement;
}

/* ---- RTLD_DEEPBIND ------------------------------------------------------------------------------------------- */

/* The loader made every page read-only that lies wholly within the range. */
static bool is_read_only(const struct loaded_object *object, uintptr_t page) {
	for (uint32_t i = 0; i < object->segment_count; i++) {
		uintptr_t start = object->bias + object->segments[i].p_vaddr;
		if (object->segments[i].p_type == PT_GNU_RELRO && page + PAGE_BYTES > start &&
		    page + PAGE_BYTES <= start + object->segments[i].p_memsz)
			return true;
	}
	return false;
}

/* Two threads that open the same page would close it under each other. Whoever waits in vain (a second) stores nothing;
 * a forked child does not wait for a thread of its parent. */
static _Atomic int32_t page_opener; /* process id, 0 none */

static bool begin_opening(void) {
	enum { TRIES = 100000 };
	int32_t own = (int32_t)getpid();
	for (int i = 0; i < TRIES; i++) {
		int32_t other = atomic_load_explicit(&page_opener, memory_order_relaxed);
		if (other != own && atomic_compare_exchange_strong(&page_opener, &other, own))
			return true;
		sched_yield();
	}
	return false;
}

static void store_read_only(uintptr_t *slot, uintptr_t value, uintptr_t page) {
	if (!begin_opening())
		return;
	if (mprotect((void *)page, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0) {
		__atomic_store_n(slot, value, __ATOMIC_RELEASE);
		mprotect((void *)page, PAGE_BYTES, PROT_READ);
	}
	atomic_store(&page_opener, 0);
}

/* A page of the object's read-only relocations is opened for one store; the other slots are writable. */
static void store(uintptr_t *slot, uintptr_t value) {
	struct loaded_object object;
	uintptr_t page = (uintptr_t)slot & ~(uintptr_t)(PAGE_BYTES - 1);
	if (__atomic_load_n(slot, __ATOMIC_RELAXED) == value ||
	    !loaded_object_find((uintptr_t)slot, &object) || object.segment_count == 0)
		return;
	if (is_read_only(&object, page))
		store_read_only(slot, value, page);
	else
		__atomic_store_n(slot, value, __ATOMIC_RELEASE);
}

/* The object's calls lead to the thunks of the libpq that the handle leads to. */
static void hook_slots(void *handle, const struct link_map *object) {
	struct loader_relocations relocations;
	if (!loader_relocations_of(object, &relocations))
		return;
	for (struct loader_slot slot; loader_next_slot(&relocations, &slot);) {
		void *thunk = loader_hooks_dlsym(handle, slot.name);
		if (thunk)
			store(slot.address, (uintptr_t)thunk);
	}
}

/* The calls by which a libpq calls itself lead to the wrappers, which know its own calls by their caller. */
static void hook_own_slots(const struct link_map *libpq) {
	struct dl_find_object ours;
	struct loader_relocations relocations;
	if (!loader_find((const void *)hooked_names, &ours) || !loader_relocations_of(libpq, &relocations))
		return;
	for (struct loader_slot slot; loader_next_slot(&relocations, &slot);) {
		void *wrapper =
			hooked_function(slot.name) < 0 ? NULL : loader_symbol(ours.dlfo_link_map, slot.name);
		if (wrapper)
			store(slot.address, (uintptr_t)wrapper);
	}
}

/* Of what was opened with the flag: its own calls, and those of its libpq, as they would lead to us without it. */
static void hook_opened(void *handle) {
	struct link_map *object;
	struct dl_find_object libpq;
	const void *finish = loader_dlsym(handle, "PQfinish");
	if (!finish || is_ours(finish) || dlinfo(handle, RTLD_DI_LINKMAP, &object) != 0)
		return;
	bool is_found = loader_find(finish, &libpq);
	if (!is_found || libpq.dlfo_link_map != object)
		hook_slots(handle, object);
	if (is_found)
		hook_own_slots(libpq.dlfo_link_map);
}

static bool has_entry(const struct link_map *object, ElfW(Sxword) tag) {
	for (const ElfW(Dyn) *entry = object->l_ld; entry && entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == tag)
			return true;
	return false;
}

/* Whether the loader would search differently for this caller than for us: $ORIGIN is the caller's, and so are RUNPATH
 * (for a bare name) and RPATH (also for what the object needs; the program's own is used for everybody). */
static bool is_search_of_caller(const char *path, const struct link_map *caller) {
	return strchr(path, '$') || (has_entry(caller, DT_RPATH) && caller != loader_program()) ||
		(!strchr(path, '/') && has_entry(caller, DT_RUNPATH));
}

enum { SEARCH_BYTES = 16384, PATH_BYTES = 4096 };

static bool exists_in(const char *directory, const char *name, char path[PATH_BYTES]) {
	size_t directory_length = strlen(directory);
	size_t name_length = strlen(name);
	if (directory_length + name_length + 2 > PATH_BYTES)
		return false;
	memcpy(path, directory, directory_length);
	path[directory_length] = '/';
	memcpy(path + directory_length + 1, name, name_length + 1);
	return access(path, F_OK) == 0;
}

/* Opens a bare name where the loader would find it for this caller; what is in none of the directories can only be in
 * the loader's cache, which is the same for all. NULL if that cannot be told. */
static void *open_as_caller(const char *name, int flags, struct link_map *caller) {
	union {
		Dl_serinfo search;
		char bytes[SEARCH_BYTES];
	} buffer;
	char path[PATH_BYTES];
	void *loaded = loader_real_dlopen()(name, flags | RTLD_NOLOAD);
	if (loaded)
		return loaded;
	if (dlinfo(caller, RTLD_DI_SERINFOSIZE, &buffer.search) != 0 ||
	    buffer.search.dls_size > sizeof buffer || dlinfo(caller, RTLD_DI_SERINFO, &buffer.search) != 0)
		return NULL;
	for (unsigned i = 0; i < buffer.search.dls_cnt; i++) {
		const char *directory = buffer.search.dls_serpath[i].dls_name;
		if (exists_in(directory, "glibc-hwcaps", path))
			return NULL;
		if (exists_in(directory, name, path))
			return loader_real_dlopen()(path, flags);
	}
	return loader_real_dlopen()(name, flags);
}

static void *open_deepbind(const char *path, int flags, const void *caller_address) {
	struct dl_find_object caller;
	bool is_bare = !strchr(path, '/');
	if ((!is_bare && !elf_needs(path, "libpq")) || !loader_find(caller_address, &caller))
		return NULL;
	if (!is_search_of_caller(path, caller.dlfo_link_map))
		return loader_real_dlopen()(path, flags);
	return is_bare && !strchr(path, '$') ? open_as_caller(path, flags, caller.dlfo_link_map) : NULL;
}

static bool is_deepbind(const char *path, int flags) {
	return path && *path && (flags & RTLD_DEEPBIND) && !process_is_disabled();
}

/* The flag would hide the hooks from an object that calls libpq (PHP loads its extensions so). It keeps the flag, and
 * with it the symbol isolation that its author wanted; its slots are changed once it is there. No tail call, so only
 * where the loader finds the same for us as for the caller. */
void *loader_hooks_dlopen(const char *path, int flags, const void *caller) {
	if (!is_deepbind(path, flags))
		return NULL;
	int saved_errno = errno;
	void *handle = open_deepbind(path, flags, caller);
	if (handle)
		hook_opened(handle);
	errno = saved_errno;
	return handle;
}

/* Where that was not possible the flag is removed, from what calls libpq alone. */
int loader_hooks_dlopen_flags(const char *path, int flags) {
	if (!is_deepbind(path, flags))
		return flags;
	int saved_errno = errno;
	bool needs_libpq = elf_needs(path, "libpq");
	errno = saved_errno;
	return needs_libpq ? flags & ~RTLD_DEEPBIND : flags;
}
