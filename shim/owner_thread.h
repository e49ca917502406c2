/*
 * When a thread ends, the leases that it took and that are still there are marked with the instant.
 *
 * A pthread key whose value is set only in threads that took a lease: its destructor runs when such a thread returns,
 * calls pthread_exit or is cancelled, not when the process ends. What a coroutine took belongs to the thread it ran
 * on. A thread that the kernel ends without libc (a raw exit system call) is not seen.
 */
#ifndef PQLEASE_SHIM_OWNER_THREAD_H
#define PQLEASE_SHIM_OWNER_THREAD_H

#include "shim/ledger_writer.h"

/* Constructor only. Without a key that is free of allocation no thread is watched. */
void owner_thread_init(void);

/* The calling thread took this lease. No allocation, no system call. */
void owner_thread_took(const struct ledger_slot *slot);

#endif
