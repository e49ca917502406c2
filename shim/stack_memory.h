/*
 * What of this process's memory may be read without a fault, and reading it.
 *
 * Unwinding follows addresses that a broken stack may have made up. Every read goes through here: at
 * once when it lies on the calling thread's own stack, after a probe elsewhere. The probe is a system
 * call that only copies from the address (rt_sigprocmask with a `how` that it refuses); it needs no
 * descriptor. Any thread, signal handlers too; nothing allocates, locks or changes errno for good.
 */
#ifndef PQLEASE_SHIM_STACK_MEMORY_H
#define PQLEASE_SHIM_STACK_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Remembers where the main thread's stack ends; whatever lies between its frames and `argv` is mapped. */
void stack_memory_init(const void *argv);

/* Whether the probe tells readable from unreadable memory here (an emulator or a filter might not). */
bool stack_memory_is_known(void);

/* Asks about one address, for 0.1 us; what holds of it holds of its page. */
bool stack_memory_is_readable(uintptr_t address);

/* Makes what lies above `stack_pointer` on the calling thread's stack readable without probes. Returns
 * false when it is not the stack this thread began on (a coroutine's, an alternate signal stack): what
 * was learned must then be forgotten with stack_memory_leave, because such a stack may be unmapped. */
bool stack_memory_enter(uintptr_t stack_pointer);
void stack_memory_leave(void);

#define STACK_MEMORY_PAGE_BYTES UINT64_C(4096)
#define STACK_MEMORY_COUNT_BITS 24u
#define STACK_MEMORY_COUNT_MAX ((UINT64_C(1) << STACK_MEMORY_COUNT_BITS) - 1)

/* The pages of this thread's stack that were seen to be mapped: number of the page behind the last <<
 * STACK_MEMORY_COUNT_BITS | count. One word, so that a signal handler that captures between our load and our
 * store leaves and finds either range, never a mixture. 0: none. */
extern _Thread_local volatile uint64_t stack_memory_known_pages;

/* Whether both addresses lie on the part of the thread's own stack that is known. */
static inline bool stack_memory_holds(uintptr_t low, uintptr_t high) {
	uint64_t word = stack_memory_known_pages;
	uint64_t last = (word >> STACK_MEMORY_COUNT_BITS) - 1;
	uint64_t count = word & STACK_MEMORY_COUNT_MAX;
	return last - low / STACK_MEMORY_PAGE_BYTES < count && last - high / STACK_MEMORY_PAGE_BYTES < count;
}

/* Reads the word at `address`, of any alignment; false if it cannot be read. Inline is what an ordinary stack takes,
 * twice per frame. */
bool stack_memory_read_elsewhere(uintptr_t address, uintptr_t *word);

__attribute__((no_sanitize_address)) static inline bool stack_memory_read(uintptr_t address,
									  uintptr_t *word) {
	if (!stack_memory_holds(address, address + sizeof *word - 1))
		return stack_memory_read_elsewhere(address, word);
	/* A frame's words are read on purpose, wherever the sanitizer drew its borders. */
	__builtin_memcpy(word, (const void *)address, sizeof *word);
	return true;
}

#endif
