#include "shim/site.h"

#include <stddef.h>

#include "shim/stack.h"
#include "shim/stack_table.h"

uint32_t site_here(const struct recording *now, const void *caller, struct script_state *state) {
	struct stack stack;
	struct script_stack script;
	stack_capture(&stack, caller);
	if (stack.count == 0)
		process_note(LEDGER_NOTE_STACK_UNAVAILABLE);
	script_capture(&script, &stack);
	process_note_runtimes();
	if (state)
		*state = script_state(&stack);
	return stack_table_site(now->ledger, &stack, &script);
}
