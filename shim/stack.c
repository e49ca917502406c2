#include "shim/stack.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

#include "shim/stack_memory.h"
#include "shim/stack_unwinder.h"

/* Between the unwinder and the caller of a hook lie a few functions of ours. */
#define OWN_FRAMES_MAX 12u
#define HASH_LANES 4u
#define TRACE_MAX (OWN_FRAMES_MAX + STACK_FRAMES_MAX + 1)

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static uint32_t depth_to_keep; /* 0: no captures */
static uintptr_t own_text_end;

void stack_init(const void *argv) {
	stack_memory_init(argv);
}

/* ---- Our own code ---------------------------------------------------------------------------------- */

/* The linker's symbol for the first byte of this library; its executable segment follows. */
static uintptr_t find_own_text_end(void) {
	uintptr_t start = (uintptr_t)&__ehdr_start;
	const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(start + __ehdr_start.e_phoff);
	uintptr_t bias = start; /* of a library and a position-independent program */
	uintptr_t end = start;
	for (uint16_t i = 0; i < __ehdr_start.e_phnum; i++)
		if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0)
			bias = start - segments[i].p_vaddr;
	for (uint16_t i = 0; i < __ehdr_start.e_phnum; i++)
		if (segments[i].p_type == PT_LOAD && (segments[i].p_flags & PF_X))
			end = bias + segments[i].p_vaddr + segments[i].p_memsz;
	return end;
}

static bool is_ours(const void *pc) {
	return (uintptr_t)pc >= (uintptr_t)&__ehdr_start && (uintptr_t)pc < own_text_end;
}

/* Index of the first frame to keep. A caller that is not there (a thunk that tail-calls) leaves the
 * frames outside our code. */
static uint32_t find_caller(void *const *trace, uint32_t count, const void *caller) {
	for (uint32_t i = 0; i < count; i++)
		if (trace[i] == caller)
			return i;
	uint32_t first = 0;
	while (first < count && is_ours(trace[first]))
		first++;
	return first;
}

/* ---- Capture ------------------------------------------------------------------------------------------ */

enum stack_availability stack_open(uint32_t depth) {
	if (depth == 0)
		return STACK_OFF;
	own_text_end = find_own_text_end();
	enum stack_availability availability = stack_unwinder_open();
	if (availability == STACK_AVAILABLE)
		depth_to_keep = depth < STACK_FRAMES_MAX ? depth : STACK_FRAMES_MAX;
	return availability;
}

/* Multiplication carries every bit upwards, the shift brings the upper ones back down. */
static uint64_t mix(uint64_t hash, uint64_t word) {
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

/* In lanes: a multiplication has to wait for the one before it in its lane only. */
static uint64_t hash_frames(const struct stack *stack) {
	uint64_t lane[HASH_LANES] = {stack->count, stack->is_truncated};
	uint64_t hash = 0;
	for (uint32_t i = 0; i < stack->count; i++)
		lane[i % HASH_LANES] = mix(lane[i % HASH_LANES], stack->pc[i]);
	for (uint32_t i = 0; i < HASH_LANES; i++)
		hash = mix(hash, lane[i]);
	return hash ? hash : 1;
}

static void capture(struct stack *stack, const void *caller, uint32_t depth) {
	void *trace[TRACE_MAX];
	stack->count = 0;
	stack->is_truncated = false;
	stack->hash = 0;
	if (depth == 0)
		return;
	int saved_errno = errno;
	uint32_t size = OWN_FRAMES_MAX + depth + 1;
	uint32_t count = stack_unwinder_trace(trace, size);
	errno = saved_errno;
	uint32_t first = find_caller(trace, count, caller);
	uint32_t found = count - first;
	stack->count = found < depth ? found : depth;
	stack->is_truncated = found > depth || count == size;
	if (stack->count == 0)
		return;
	memcpy(stack->pc, trace + first, stack->count * sizeof *stack->pc);
	stack->hash = hash_frames(stack);
}

void stack_capture(struct stack *stack, const void *caller) {
	capture(stack, caller, depth_to_keep);
}

void stack_capture_near(struct stack *stack, const void *caller, uint32_t depth) {
	capture(stack, caller, depth < depth_to_keep ? depth : depth_to_keep);
}
