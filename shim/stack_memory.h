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

/* Makes what lies above `stack_pointer` on the calling thread's stack readable without probes. Returns
 * false when it is not the stack this thread began on (a coroutine's, an alternate signal stack): what
 * was learned must then be forgotten with stack_memory_leave, because such a stack may be unmapped. */
bool stack_memory_enter(uintptr_t stack_pointer);
void stack_memory_leave(void);

/* Whether both addresses lie on the part of the thread's own stack that is known. */
bool stack_memory_holds(uintptr_t low, uintptr_t high);

/* Reads the word at `address`, of any alignment; false if it cannot be read. */
bool stack_memory_read(uintptr_t address, uintptr_t *word);

#endif
