/*
 * Where this thread is: its native stack and the scripts that run on it, as one site of the ledger.
 */
#ifndef PQLEASE_SHIM_SITE_H
#define PQLEASE_SHIM_SITE_H

#include <stdint.h>

#include "shim/process.h"
#include "shim/script.h"
#include "shim/stack.h"

/* `caller` is the hook's return address. LEDGER_SITE_NONE, noted in the process record, if there is no stack. */
uint32_t site_here(const struct recording *now, const void *caller);

/* As site_here, and leaves what was captured. */
uint32_t site_capture(const struct recording *now, const void *caller, struct stack *stack,
		      struct script_stack *script);

/* As site_capture, for a release: the innermost native frames only. */
uint32_t site_capture_release(const struct recording *now, const void *caller, struct stack *stack,
			      struct script_stack *script);

#endif
