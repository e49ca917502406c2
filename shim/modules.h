/*
 * Loaded objects: from a program counter to (module of the ledger, ELF address).
 */
#ifndef PQLEASE_SHIM_MODULES_H
#define PQLEASE_SHIM_MODULES_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/ledger_format.h"

struct module_place {
	uint32_t module;  /* module number plus 1 in the ledger, 0 unknown (generated code, table full) */
	uint64_t address; /* ELF address: pc - load bias; the pc itself when the module is unknown */
};

/* `pc` is a return address: it belongs to the object of the byte before it.
 * Interns the module at its first sight (path, build-id from the mapped PT_NOTE, executable range).
 * Lock-free and without allocation when the module was seen before; safe beside dlopen and dlclose of
 * other modules (_dl_find_object). */
struct module_place modules_locate(struct ledger_header *ledger, uintptr_t pc);

/* Forgets the private cache: called before a library is unloaded. Async-safe with respect to readers. */
void modules_forget(void);

#endif
