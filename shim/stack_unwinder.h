/*
 * libunwind, opened at run time and made harmless: the only module that knows it.
 *
 * What is changed in the copy that this process has, before it unwinds anything:
 *   - its pipe is never opened (it would be read and written although the host may have closed it and
 *     reused the numbers), unless the program had loaded libunwind itself: then the pipe is its own;
 *   - it reads and writes the process's memory through stack_memory.h, which does not need the pipe;
 *   - it holds no lock that a forked child would find locked for ever;
 *   - while we unwind, it opens no file, and the fast path checks the addresses it follows.
 */
#ifndef PQLEASE_SHIM_STACK_UNWINDER_H
#define PQLEASE_SHIM_STACK_UNWINDER_H

#include <stdint.h>

#include "shim/stack.h"

/* Once per process, before any capture; may allocate (inside dlopen). STACK_OFF is never returned. */
enum stack_availability stack_unwinder_open(void);

/* Writes at most `size` return addresses, innermost first, beginning with one inside the caller of this
 * function; returns how many. Any thread, signal handlers too; reads no unreadable memory. */
uint32_t stack_unwinder_trace(void **addresses, uint32_t size);

#endif
