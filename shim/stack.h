/*
 * Capturing the calling thread's native stack.
 *
 * stack_unwinder.h keeps libunwind apart, stack_memory.h says what may be read.
 *
 * libunwind is opened at run time with RTLD_LOCAL: linked in, it would replace the program's C++
 * exception unwinder. Its memory probe is replaced by ours before the first unwind, because its own
 * uses a pipe in the host that the host may close and reuse (measured: a host's socket lost bytes).
 */
#ifndef PQLEASE_SHIM_STACK_H
#define PQLEASE_SHIM_STACK_H

#include <stdbool.h>
#include <stdint.h>

#define STACK_FRAMES_MAX 64u

struct stack {
	uint32_t count; /* 0: unavailable */
	bool is_truncated;
	uint64_t hash; /* of the raw addresses, never 0 when count > 0 */
	/* Return addresses, innermost first; pc[0] lies in the caller of the hook. */
	uintptr_t pc[STACK_FRAMES_MAX];
};

enum stack_availability {
	STACK_AVAILABLE,
	STACK_NO_LIBUNWIND,    /* it could not be opened, or lacks a symbol */
	STACK_UNWINDER_UNSAFE, /* its memory probe or its pipe could not be replaced */
	STACK_OFF              /* depth 0 */
};

/* Remembers where the main thread's stack ends. Constructor only. `argv` as the loader gave it. */
void stack_init(const void *argv);

/* Opens libunwind. Called once per process, at the first libpq call, before any capture; may allocate
 * (inside dlopen). `depth` is the number of frames to keep, 0..STACK_FRAMES_MAX. */
enum stack_availability stack_open(uint32_t depth);

/* Captures the stack above the hook whose return address is `caller`; frames of ours are dropped. When
 * the unwinder gives nothing beyond ours, count is 0. Any thread, any stack, inside a signal handler and
 * inside another capture too; no allocation but libunwind's own table (mmap, 256 KiB per thread), no
 * descriptor, errno untouched; never faults on a broken or table-less stack. */
void stack_capture(struct stack *stack, const void *caller);

/* As stack_capture, but at most `depth` frames. */
void stack_capture_near(struct stack *stack, const void *caller, uint32_t depth);

#endif
