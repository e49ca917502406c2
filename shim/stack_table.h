/*
 * Same stack, same site: a private table in front of the ledger's interning.
 */
#ifndef PQLEASE_SHIM_STACK_TABLE_H
#define PQLEASE_SHIM_STACK_TABLE_H

#include <stdint.h>

#include "shim/ledger_format.h"
#include "shim/script.h"
#include "shim/stack.h"

/* Site number of a captured stack and the scripts that run on it. Warm: a look-up by the hash of the raw addresses and
 * of what the script frames are, no lock, no allocation. Cold: frames are located, described, merged and interned.
 * LEDGER_SITE_NONE for empty stacks.
 * Consecutive frames in no loaded object (generated code) become one frame with module 0 and address 0. */
uint32_t stack_table_site(struct ledger_header *ledger, const struct stack *stack,
			  const struct script_stack *script);

/* Forgets raw addresses (they may mean other code from now on): before a library is unloaded, and in
 * a process that attached to another ledger. */
void stack_table_forget(void);

#endif
