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
typedef int loader_dlclose_function(void *handle);
loader_dlclose_function *loader_real_dlclose(void);

/* Address of a symbol that `object` itself defines, NULL if it does not. Reads the object's own hash table: takes no
 * lock (dlsym waits for the loader's, which a thread may hold for ever in a forked child) and counts no
 * reference. The object must stay loaded meanwhile. */
void *loader_symbol(const struct link_map *object, const char *name);

/* The same with the size that the symbol table says; 0 if it does not. */
void *loader_symbol_extent(const struct link_map *object, const char *name, size_t *size_bytes);

/* The object that this library is, and the last one that was loaded before main: between them nothing is ever
 * unloaded. Constructor only / any time after. */
void loader_remember_startup(void);
const struct link_map *
loader_next_startup_object(const struct link_map *object); /* NULL at the end; NULL argument:
										     the first behind us */

/* The program itself; NULL before loader_remember_startup(). */
const struct link_map *loader_program(void);

/* The name that other objects need it by; NULL if it has none. */
const char *loader_soname(const struct link_map *object);

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
