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
static uint32_t locate_frames(struct ledger_header *ledger, const struct stack *stack,
			      struct ledger_frame *frames) {
	uint32_t count = 0;
	for (uint32_t i = 0; i < stack->count; i++) {
		struct module_place place = modules_locate(ledger, stack->pc[i]);
		bool is_unknown = place.module == 0;
		if (is_unknown && count > 0 && frames[count - 1].where == 0)
			continue;
		frames[count++] = (struct ledger_frame){.language = LEDGER_FRAME_NATIVE,
							.where = place.module,
							.address = is_unknown ? 0 : place.address};
	}
	return count;
}

/* Not inlined: the frames would take their 1 KiB from every look-up. */
__attribute__((noinline)) static uint32_t intern(struct ledger_header *ledger, const struct stack *stack) {
	struct ledger_frame frames[STACK_FRAMES_MAX];
	uint32_t count = locate_frames(ledger, stack, frames);
	return ledger_intern_site(ledger, frames, count, stack->is_truncated ? LEDGER_SITE_TRUNCATED : 0);
}

uint32_t stack_table_site(struct ledger_header *ledger, const struct stack *stack) {
	uint32_t site;
	if (stack->count == 0)
		return LEDGER_SITE_NONE;
	if (id_cache_find(&cache, stack->hash, &site))
		return site;
	uint32_t generation = id_cache_generation(&cache);
	site = intern(ledger, stack);
	/* A stack that found no room is counted each time, so it has to ask each time. */
	if (site >= LEDGER_SITE_FIRST)
		id_cache_put(&cache, generation, stack->hash, site);
	return site;
}

void stack_table_forget(void) {
	id_cache_forget(&cache);
}
