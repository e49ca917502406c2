#include "shim/stack_table.h"

#include <stddef.h>

#include "shim/id_cache.h"
#include "shim/ledger_writer.h"
#include "shim/modules.h"

#define CACHE_PLACES 4096u

static struct id_cache_place cache_places[CACHE_PLACES];
static struct id_cache cache = {.places = cache_places, .count = CACHE_PLACES};

/* Addresses of generated code say nothing to anybody, and differ from run to run: a run of such frames
 * is stored as one frame without an address, or every compilation would make new sites. */
static bool locate(struct ledger_header *ledger, uintptr_t pc, const struct ledger_frame *before,
		   struct ledger_frame *frame) {
	struct module_place place = modules_locate(ledger, pc);
	bool is_unknown = place.module == 0;
	if (is_unknown && before && before->language == LEDGER_FRAME_NATIVE && before->where == 0)
		return false;
	*frame = (struct ledger_frame){.language = LEDGER_FRAME_NATIVE,
				       .where = place.module,
				       .address = is_unknown ? 0 : place.address};
	return true;
}

/* Not inlined: the frames would take their 2 KiB from every look-up. */
__attribute__((noinline)) static uint32_t intern(struct ledger_header *ledger, const struct stack *stack,
						 const struct script_stack *script) {
	struct ledger_frame frames[STACK_FRAMES_MAX + SCRIPT_FRAMES_MAX];
	uint32_t count = script_merge(ledger, stack, script, locate, frames);
	bool is_truncated = stack->is_truncated || script->is_truncated;
	return ledger_intern_site(ledger, frames, count, is_truncated ? LEDGER_SITE_TRUNCATED : 0);
}

uint32_t stack_table_site(struct ledger_header *ledger, const struct stack *stack,
			  const struct script_stack *script) {
	uint32_t site;
	if (stack->count == 0 && script->count == 0)
		return LEDGER_SITE_NONE;
	uint64_t key = script->count > 0 ? script_mix(stack->hash, script->hash) : stack->hash;
	if (id_cache_find(&cache, key, &site))
		return site;
	uint32_t generation = id_cache_generation(&cache);
	site = intern(ledger, stack, script);
	/* A stack that found no room is counted each time, so it has to ask each time. */
	if (site >= LEDGER_SITE_FIRST)
		id_cache_put(&cache, generation, key, site);
	return site;
}

void stack_table_forget(void) {
	id_cache_forget(&cache);
}
