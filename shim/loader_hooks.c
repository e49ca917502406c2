/*
 * The C half of the dlsym and dlopen hooks; the assembly of an architecture calls it and then jumps to the real
 * function, so that the loader still sees the program's own return address: RTLD_NEXT, RTLD_DEFAULT and a
 * caller's RUNPATH keep their meaning.
 */
#include "shim/loader_hooks.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "shim/elf_needed.h"
#include "shim/instance.h"
#include "shim/loader.h"
#include "shim/process.h"

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
