/*
 * The site of a use or a release, cheaply where they come fast: a stack that was captured before is recognised on the
 * stack itself.
 *
 * A place is the hook's return address and stack pointer in one thread. At least once a millisecond it is captured in
 * full. In between, a call from there is taken for the stack captured before if all its return addresses still lie where
 * they lay then. A full capture that contradicts what would have been recognised ends that for the place. Stacks with
 * script frames are always captured: the interpreter's native frames do not tell them apart.
 */
#ifndef PQLEASE_SHIM_SITE_RECALL_H
#define PQLEASE_SHIM_SITE_RECALL_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/process.h"
#include "shim/script.h"

/* Site number. `mark` is an address in the hook's frame, below its return address. `is_assumed` tells that it was
 * recognised, not captured. */
uint32_t site_recall(const struct recording *now, const void *caller, const void *mark, uint64_t now_ns,
		     bool *is_assumed);

/* As site_recall, for a release (the innermost frames only), with raw facts about the scripts on the stack. */
uint32_t site_recall_release(const struct recording *now, const void *caller, const void *mark,
			     uint64_t now_ns, struct script_state *state);

/* What was learned from addresses is forgotten: before a library is unloaded. */
void site_recall_forget(void);

#endif
