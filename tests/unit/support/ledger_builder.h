/*
 * Ledgers made by hand: what a shim would have written, without a shim. For tests of the reading side.
 * Everything asserts; times are seconds after the ledger was created.
 */
#ifndef PQLEASE_TESTS_LEDGER_BUILDER_H
#define PQLEASE_TESTS_LEDGER_BUILDER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/ledger_file.h"

struct ledger_builder {
	struct ledger_map map;
	struct ledger_header *ledger;
	char directory[64];
	char path[PATH_MAX];
};

/* A ledger of the smallest size in a directory of its own, created on 2024-02-29T12:00:00Z by pid 4000 of
 * a machine that was shut down since. */
void ledger_builder_open(struct ledger_builder *builder, const char *const *command);
/* Removes everything. */
void ledger_builder_close(struct ledger_builder *builder);

uint64_t ledger_builder_at(double seconds); /* as the ledger's monotonic clock shows it */
void ledger_builder_end_run(struct ledger_builder *builder, double at, int exit_status);

uint32_t ledger_builder_string(struct ledger_builder *builder, const char *text);

/* ---- Sites -------------------------------------------------------------------------------------- */

/* Number plus 1, as frames refer to it. */
uint32_t ledger_builder_module(struct ledger_builder *builder, const char *path);
struct ledger_frame ledger_builder_native(uint32_t module, uint64_t address);
struct ledger_frame ledger_builder_script(struct ledger_builder *builder, enum ledger_frame_language language,
					  const char *file, const char *function, uint32_t line);
uint32_t ledger_builder_site(struct ledger_builder *builder, const struct ledger_frame *frames,
			     uint16_t count);

/* ---- Processes and pools -------------------------------------------------------------------------- */

struct ledger_builder_process {
	int32_t pid;
	enum ledger_process_state state;
	enum ledger_how_ended how;
	const char *role;
	const char *exe;
	double attached;
	double ended; /* 0: unknown */
};

/* Record number. */
uint32_t ledger_builder_process(struct ledger_builder *builder, const struct ledger_builder_process *process);
uint32_t ledger_builder_pool(struct ledger_builder *builder, const char *role, const char *host,
			     const char *database, const char *application_name);

/* ---- Bookings -------------------------------------------------------------------------------------- */

struct ledger_builder_account {
	uint32_t pool;
	uint32_t site;
};

void ledger_builder_count(struct ledger_builder *builder, struct ledger_builder_account account,
			  enum ledger_counter counter, uint64_t amount, double at);
void ledger_builder_time(struct ledger_builder *builder, struct ledger_builder_account account,
			 enum ledger_measure measure, double seconds);
void ledger_builder_histogram_add(struct ledger_builder *builder, struct ledger_histogram *histogram,
				  uint64_t value_ns);
void ledger_builder_peak(struct ledger_builder *builder, struct ledger_builder_account account, int64_t open);
void ledger_builder_fold(struct ledger_builder *builder, struct ledger_builder_account account,
			 enum ledger_left left, enum ledger_how_ended how, double taken);
void ledger_builder_failure(struct ledger_builder *builder, uint32_t reason, uint64_t count, double at);
/* An example as a reaper keeps it. */
void ledger_builder_example(struct ledger_builder *builder, struct ledger_builder_account account,
			    enum ledger_left left, enum ledger_how_ended how, int32_t pid, double taken,
			    double ended);
/* A slot that is not free; fields may be changed afterwards. */
struct ledger_lease *ledger_builder_lease(struct ledger_builder *builder, uint32_t process, int32_t pid,
					  struct ledger_builder_account account,
					  enum ledger_lease_state state, double taken);

#endif
