/*
 * Where this thread is: its native stack and the scripts that run on it, as one site of the ledger.
 */
#ifndef PQLEASE_SHIM_SITE_H
#define PQLEASE_SHIM_SITE_H

#include <stdint.h>

#include "shim/process.h"
#include "shim/script.h"

/* `caller` is the hook's return address. LEDGER_SITE_NONE, noted in the process record, if there is no stack. `state` may
 * be NULL; else it is filled with raw facts about the scripts (for a release). */
uint32_t site_here(const struct recording *now, const void *caller, struct script_state *state);

#endif
