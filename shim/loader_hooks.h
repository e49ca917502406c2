/*
 * What the dlsym and dlopen hooks decide, for the assembly of an architecture.
 */
#ifndef PQLEASE_SHIM_LOADER_HOOKS_H
#define PQLEASE_SHIM_LOADER_HOOKS_H

/* Every thunk has the same size, so that the thunk of an instance is found by multiplication. */
#define LOADER_THUNK_BYTES 32

/* libpq copies that a process may use at once; more are forwarded but not recorded. */
#define INSTANCES_MAX 16

#ifndef __ASSEMBLER__

/* What dlsym should return instead of the real answer, NULL for the real one. A hooked libpq function asked for by
 * an explicit handle becomes the thunk that remembers which libpq the handle led to. */
void *loader_hooks_dlsym(void *handle, const char *name);

/* The handle of an object that had to be opened here, NULL to go on with the real dlopen. `caller` is the return
 * address of the program's call. */
void *loader_hooks_dlopen(const char *path, int flags, const void *caller);

/* The flags with which the real dlopen is called. */
int loader_hooks_dlopen_flags(const char *path, int flags);

#endif
#endif
