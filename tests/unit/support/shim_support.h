/*
 * What the shim's unit tests share: a directory that goes away, a ledger in it, threads and children.
 */
#ifndef PQLEASE_TESTS_SHIM_SUPPORT_H
#define PQLEASE_TESTS_SHIM_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/ledger_file.h"
#include "shim/ledger_writer.h"

/* A fresh directory below /dev/shm; removed, with the files directly in it, by shim_support_close. */
void shim_support_open(void);
void shim_support_close(void);
/* Path of `name` in the directory; valid until the fourth next call. */
const char *shim_support_path(const char *name);

/* A new ledger of `size_bytes` in the directory, mapped; its file is unlinked already. */
struct ledger_header *shim_support_ledger(uint64_t size_bytes);
void shim_support_release(struct ledger_header *ledger);

/* Runs `work(argument, number)` in `count` threads that start at the same time, and joins them. */
typedef void shim_support_work(void *argument, uint32_t number);
void shim_support_threads(uint32_t count, shim_support_work *work, void *argument);

/* Forks `count` children that run `work` and leave by _exit(0); false unless all did. */
bool shim_support_children(uint32_t count, shim_support_work *work, void *argument);

/* Forks one child; the caller waits for it. */
pid_t shim_support_child(shim_support_work *work, void *argument, uint32_t number);
/* Kills with SIGKILL and waits. */
void shim_support_kill(pid_t child);

/* Who this process is, as the shim would say. */
struct ledger_process_identity shim_support_identity(void);
/* Claims and publishes a record for this process. */
uint32_t shim_support_join(struct ledger_header *ledger);

/* Number of slots that are not FREE. */
uint32_t shim_support_slots_in_use(struct ledger_header *ledger);
/* Sums of a counter over pools and over sites; both must be equal. */
uint64_t shim_support_counter(struct ledger_header *ledger, enum ledger_counter counter);
uint64_t shim_support_unreleased(struct ledger_header *ledger);
uint64_t shim_support_lost(const struct ledger_header *ledger, enum ledger_loss loss);

/* A small, fast, repeatable random number. */
uint64_t shim_support_random(uint64_t *state);

#endif
