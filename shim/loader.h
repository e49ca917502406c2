/*
 * The dynamic loader as we use it: objects by address, their bound symbols, the real dlsym.
 * x86-64 and aarch64 ELF, glibc 2.34 or later.
 */
#ifndef PQLEASE_SHIM_LOADER_H
#define PQLEASE_SHIM_LOADER_H

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The loaded object that `address` lies in. Lock-free. */
bool loader_find(const void *address, struct dl_find_object *found);

/* dlsym past any hook of ours; keeps the meaning of RTLD_NEXT for this library. */
void *loader_dlsym(void *handle, const char *name);

/* The real functions behind the hooks, found at the first call and never NULL. Any thread. */
typedef void *loader_dlsym_function(void *handle, const char *name);
typedef void *loader_dlopen_function(const char *path, int flags);
loader_dlsym_function *loader_real_dlsym(void);
loader_dlopen_function *loader_real_dlopen(void);

/* Where an object's calls through PLT and GOT lead. */
struct loader_relocations {
	const struct link_map *object;
	const ElfW(Sym) * symbols;
	const char *strings;
	const ElfW(Rela) * table[2]; /* DT_JMPREL, DT_RELA */
	size_t count[2];
	size_t position; /* of the walk */
};

struct loader_slot {
	const char *name;
	uintptr_t *address; /* the GOT entry; may be read-only */
};

bool loader_relocations_of(const struct link_map *object, struct loader_relocations *relocations);

/* The next slot that holds the address of a named symbol; false at the end. */
bool loader_next_slot(struct loader_relocations *relocations, struct loader_slot *slot);

#endif
