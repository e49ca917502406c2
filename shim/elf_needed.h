/*
 * Looking into an ELF file before it is loaded.
 */
#ifndef PQLEASE_SHIM_ELF_NEEDED_H
#define PQLEASE_SHIM_ELF_NEEDED_H

#include <stdbool.h>

/* Whether the shared object at `path` names a library beginning with `prefix` in its own DT_NEEDED. False for names
 * without a slash (the loader's search is not repeated here) and for whatever cannot be read. */
bool elf_needs(const char *path, const char *prefix);

#endif
