#include "shim/site.h"

#include <stddef.h>

#include "shim/stack.h"
#include "shim/stack_table.h"

#define RELEASE_FRAMES 24u /* an interpreter's destructors call each other for a while */

static uint32_t site_within(const struct recording *now, const void *caller, uint32_t depth,
			    struct stack *stack, struct script_stack *script) {
	stack_capture_near(stack, caller, depth);
	if (stack->count == 0)
		process_note(LEDGER_NOTE_STACK_UNAVAILABLE);
	script_capture(script, stack);
	process_note_runtimes();
	return stack_table_site(now->ledger, stack, script);
}

uint32_t site_capture(const struct recording *now, const void *caller, struct stack *stack,
		      struct script_stack *script) {
	return site_within(now, caller, STACK_FRAMES_MAX, stack, script);
}

uint32_t site_here(const struct recording *now, const void *caller) {
	struct stack stack;
	struct script_stack script;
	return site_capture(now, caller, &stack, &script);
}

/* Who releases is near: a part of the stack says it, in a part of the time. */
uint32_t site_capture_release(const struct recording *now, const void *caller, struct stack *stack,
			      struct script_stack *script) {
	return site_within(now, caller, RELEASE_FRAMES, stack, script);
}
