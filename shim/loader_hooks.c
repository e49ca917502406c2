/*
 * The C half of the dlsym and dlopen hooks; the assembly of an architecture calls it and then jumps to the real
 * function, so that the loader still sees the program's own return address: RTLD_NEXT, RTLD_DEFAULT and a
 * caller's RUNPATH keep their meaning.
 */
#include "shim/loader_hooks.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

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

/* A page of the object's read-only relocations is opened for one store; the other slots are writable. */
static bool store(uintptr_t *slot, uintptr_t value) {
	struct loaded_object object;
	uintptr_t page = (uintptr_t)slot & ~(uintptr_t)(PAGE_BYTES - 1);
	bool is_read_only = false;
	if (!loaded_object_find((uintptr_t)slot, &object) || object.segment_count == 0)
		return false;
	for (uint32_t i = 0; i < object.segment_count; i++) {
		uintptr_t start = object.bias + object.segments[i].p_vaddr;
		is_read_only = is_read_only ||
			(object.segments[i].p_type == PT_GNU_RELRO && (uintptr_t)slot >= start &&
			 (uintptr_t)slot < start + object.segments[i].p_memsz);
	}
	if (is_read_only && mprotect((void *)page, PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
		return false;
	__atomic_store_n(slot, value, __ATOMIC_RELEASE);
	if (is_read_only)
		mprotect((void *)page, PAGE_BYTES, PROT_READ);
	return true;
}

/* The object's own calls lead to the thunks of the libpq that its handle leads to. */
static void hook_slots(void *handle) {
	struct link_map *object;
	struct loader_relocations relocations;
	if (dlinfo(handle, RTLD_DI_LINKMAP, &object) != 0 || !loader_relocations_of(object, &relocations))
		return;
	for (struct loader_slot slot; loader_next_slot(&relocations, &slot);) {
		void *thunk = loader_hooks_dlsym(handle, slot.name);
		if (thunk)
			store(slot.address, (uintptr_t)thunk);
	}
}

static bool needs_libpq(const char *path) {
	return elf_needs(path, "libpq.") || elf_needs(path, "libpq-");
}

/* The program has a libpq, and it is not the one that the object at `path` names. */
static bool needs_another_libpq(const char *path) {
	struct dl_find_object found;
	const void *status = loader_dlsym(RTLD_NEXT, "PQstatus");
	const char *name = status && loader_find(status, &found) ? loader_soname(found.dlfo_link_map) : NULL;
	return name && needs_libpq(path) && !elf_needs(path, name);
}

/* Without the flag such an object would be bound to the program's libpq. So it keeps the flag, and its slots are
 * changed once it is there. Not a tail call: the path is known to lead to the file by itself. */
void *loader_hooks_dlopen(const char *path, int flags) {
	if (!path || !(flags & RTLD_DEEPBIND) || process_is_disabled())
		return NULL;
	int saved_errno = errno;
	void *handle = needs_another_libpq(path) ? loader_real_dlopen()(path, flags) : NULL;
	if (handle)
		hook_slots(handle);
	errno = saved_errno;
	return handle;
}

/* RTLD_DEEPBIND would hide the hooks from an object that calls libpq (PHP loads its extensions so); every other
 * object keeps the flag and with it the symbol isolation that its author wanted. */
int loader_hooks_dlopen_flags(const char *path, int flags) {
	if (!path || !(flags & RTLD_DEEPBIND) || process_is_disabled())
		return flags;
	int saved_errno = errno;
	bool needs_libpq = elf_needs(path, "libpq");
	errno = saved_errno;
	return needs_libpq ? flags & ~RTLD_DEEPBIND : flags;
}
