/*
 * Writing into a mapped ledger: claims, publications, additions, reaping.
 *
 * Every function may be called by any thread of any process at any time; none waits, allocates,
 * makes a system call on its warm path, or can fail in a way that the caller must handle: what does
 * not fit is counted in header->lost. Nothing here knows PGconn, stacks or settings.
 * Where a `ledger_*` handle is 0 or a number of a reserved entry, the additions still go somewhere
 * honest (LEDGER_POOL_OTHER, LEDGER_SITE_NONE, LEDGER_SITE_LOST).
 */
#ifndef PQLEASE_SHIM_LEDGER_WRITER_H
#define PQLEASE_SHIM_LEDGER_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/ledger_format.h"

uint64_t ledger_now_ns(void); /* CLOCK_MONOTONIC */

void ledger_count_loss(struct ledger_header *ledger, enum ledger_loss loss);

/* Unit `number` of a section, NULL if it is out of range or has no space. */
void *ledger_unit(struct ledger_header *ledger, enum ledger_section_kind kind, uint64_t number);

/* ---- Interning: same content, same id, for all processes ------------------------------------- */

/* String id, 0 for NULL, "" or a full arena. At most LEDGER_STRING_MAX_BYTES are kept. */
uint32_t ledger_intern_string(struct ledger_header *ledger, const char *text);
/* The text of an id that this process obtained from ledger_intern_string, "" for 0. */
const char *ledger_string_text(struct ledger_header *ledger, uint32_t id);

struct ledger_module_facts {
	const char *path;
	const uint8_t *build_id;
	size_t build_id_length; /* at most 20 are kept */
	uint64_t text_start;
	uint64_t text_end;
	uint64_t file_bytes;
};
/* Module number plus 1, 0 if the table is full. */
uint32_t ledger_intern_module(struct ledger_header *ledger, const struct ledger_module_facts *facts);

struct ledger_endpoint_facts { /* NULL: unknown */
	const char *host;
	const char *port;
	const char *database;
	const char *user;
};
/* Pool number of a role (string id) on an endpoint; LEDGER_POOL_OTHER if the table is full. */
uint32_t ledger_intern_pool(struct ledger_header *ledger, uint32_t role,
			    const struct ledger_endpoint_facts *endpoint);

/* The application name of a lease of the pool; names that differ leave the pool without one. */
void ledger_pool_application_name(struct ledger_header *ledger, uint32_t pool, uint32_t application_name);

/* Site number; LEDGER_SITE_NONE for no frames, LEDGER_SITE_LOST if the table is full (counted). */
uint32_t ledger_intern_site(struct ledger_header *ledger, const struct ledger_frame *frames, uint32_t count,
			    uint16_t flags);

/* ---- Totals ------------------------------------------------------------------------------------ */

/* Where an event is booked: its pool, its site and the run's own gauges and timelines. */
struct ledger_account {
	struct ledger_header *ledger;
	uint32_t pool;
	uint32_t site;
};

void ledger_add(const struct ledger_account *account, enum ledger_counter counter, uint64_t amount,
		uint64_t now_ns);
void ledger_add_time(const struct ledger_account *account, enum ledger_measure measure, uint64_t duration_ns);
void ledger_add_phase_time(struct ledger_header *ledger, enum ledger_phase phase, uint64_t duration_ns);
/* One failure of reason (line of failure.def, from 0). */
void ledger_add_failure(struct ledger_header *ledger, uint32_t reason, uint64_t now_ns);
/* A lease whose owner ended without releasing it; `when_ns` is when it was taken. */
void ledger_add_unreleased(const struct ledger_account *account, enum ledger_left left,
			   enum ledger_how_ended how, uint64_t when_ns);
/* A lease that was counted as left (open or orphaned) turned out to have been handed over: its session was finished
 * after all. */
void ledger_take_back_unreleased(const struct ledger_account *account, enum ledger_left left,
				 enum ledger_how_ended how, uint64_t now_ns);
/* An established lease of the account's site was finished at `release_site`; `facts` are enum ledger_release_fact, `use_site`
 * is 0 without LEDGER_FACT_IN_USE. */
void ledger_add_release(const struct ledger_account *account, uint32_t release_site, uint32_t facts,
			uint32_t use_site, uint64_t now_ns);
/* The open leases of a site changed. */
void ledger_trend_change(struct ledger_header *ledger, struct ledger_site *site, int64_t before,
			 int64_t after, uint64_t now_ns);
/* The instants of something that just happened. */
void ledger_widen(_Atomic uint64_t *inverted_first_ns, _Atomic uint64_t *last_ns, uint64_t now_ns);
/* A misuse seen at the account's site, with the instants of its finding. */
void ledger_add_misuse(const struct ledger_account *account, enum ledger_counter counter,
		       enum ledger_finding_time finding, uint64_t now_ns);
/* The number of open leases changes by one; peaks and timelines follow. */
void ledger_add_open(const struct ledger_account *account, int change, uint64_t now_ns);
/* An attempt ended: the timelines of attempts and failures. */
void ledger_add_attempt(const struct ledger_account *account, bool has_failed, uint64_t now_ns);

/* As ledger_add_time for at most LEDGER_BATCH_USES values: exact sums are added once. */
void ledger_add_times(const struct ledger_account *account, enum ledger_measure measure,
		      const uint64_t *durations_ns, uint32_t count);
/* A use begins: counted in its pool, and in the run if that has several pools. Returns the flags to be kept in use_flags,
 * and given back at its end. */
uint32_t ledger_add_in_use(const struct ledger_account *account);
void ledger_take_in_use(const struct ledger_account *account, uint32_t flags);
/* Writes the gauges of uses into the timelines. */
void ledger_show_in_use(const struct ledger_account *account, uint64_t now_ns);

/* Adds a value to a histogram (also used on private ones in tests). */
void ledger_histogram_add(struct ledger_header *ledger, struct ledger_histogram *histogram,
			  uint64_t value_ns);

/* ---- Process records ----------------------------------------------------------------------------- */

struct ledger_process_identity {
	int32_t pid;
	uint64_t start_ticks; /* 0 unknown */
	uint64_t stack_start; /* 0 unknown */
	uint64_t pid_namespace;
};

#define LEDGER_NO_PROCESS UINT32_MAX

/* Claims a record for this process: an earlier image of the same process (exec) is ended first, dead
 * processes are reaped. The caller fills the record and publishes it with ledger_process_publish.
 * LEDGER_NO_PROCESS if the table is full of living ones (counted). */
uint32_t ledger_process_claim(struct ledger_header *ledger, const struct ledger_process_identity *identity);
/* Ends records of this very process that an exec left RUNNING; what they held is folded. */
void ledger_process_end_earlier_images(struct ledger_header *ledger,
				       const struct ledger_process_identity *identity);
void ledger_process_publish(struct ledger_header *ledger, uint32_t process);
/* The process's own mark; what it still holds is folded. Ignored unless the record is RUNNING and of this
 * pid. Async-signal-safe. */
void ledger_process_end(struct ledger_header *ledger, uint32_t process, int32_t pid,
			enum ledger_how_ended how, uint64_t now_ns);
/* Folds what dead processes of this pid namespace left into the totals and frees their slots; returns how
 * many processes were folded. Makes system calls; errno and cancellation of the host are untouched. */
uint32_t ledger_reap(struct ledger_header *ledger, uint64_t pid_namespace);

/* ---- Lease slots ---------------------------------------------------------------------------------- */

/* A slot and the word its owner published last; slot UINT32_MAX is "not recorded". */
struct ledger_slot {
	struct ledger_header *ledger;
	uint64_t word;
	uint32_t number;
	struct ledger_lease *lease; /* its place, once it is known: see ledger_slot_lease */
};
#define LEDGER_NO_SLOT UINT32_MAX

static inline bool ledger_slot_is_valid(const struct ledger_slot *slot) {
	return slot->number != LEDGER_NO_SLOT;
}

/* Claims a free slot for process record `process`: state CLAIMED, every field zero. Reaps the dead if
 * the table is full; a still full table is counted as a lost lease. */
struct ledger_slot ledger_slot_claim(struct ledger_header *ledger, uint32_t process);
/* The slot `number` as it is now, if it is still the lease that `word` (in any state) named and nobody is closing
 * it. */
bool ledger_slot_find(struct ledger_slot *slot, struct ledger_header *ledger, uint32_t number, uint64_t word);
static inline struct ledger_lease *ledger_slot_lease(const struct ledger_slot *slot) {
	return slot->lease ? slot->lease : ledger_unit(slot->ledger, LEDGER_LEASES, slot->number);
}
/* The slot, found before by the same process, as it is now: as ledger_slot_find. */
bool ledger_slot_find_again(struct ledger_slot *slot);
enum ledger_lease_state ledger_slot_state(const struct ledger_slot *slot);
/* Moves the slot from the state it was last seen in; false if somebody else moved it (a reaper that
 * took us for dead): the caller drops the slot. */
bool ledger_slot_move(struct ledger_slot *slot, enum ledger_lease_state state);
/* CLOSING -> FREE. */
void ledger_slot_free(struct ledger_slot *slot);

/* ---- Uses: by the lease's own thread, unless said ------------------------------------------------------ */

/* The use in progress as it is in the slot. */
struct ledger_use ledger_use_of(const struct ledger_slot *slot, uint64_t ended_ns);
/* Keeps an ended use of less than LEDGER_BATCH_NS in the slot, for which there must be room. */
void ledger_batch_add(struct ledger_lease *lease, const struct ledger_use *use);
/* Adds the uses kept in the slot to the totals; returns how many. */
uint32_t ledger_batch_flush(struct ledger_header *ledger, struct ledger_lease *lease, uint64_t now_ns);
/* As ledger_batch_flush, for a lease whose owner is gone. */
void ledger_batch_fold(struct ledger_header *ledger, struct ledger_lease *lease, uint64_t now_ns);
/* Adds an ended use to the totals. */
void ledger_add_use(const struct ledger_account *account, const struct ledger_use *use);
/* Writes an ended use into its ring. */
void ledger_use_keep(struct ledger_header *ledger, const struct ledger_use *use);
/* The lease ends, by whoever is alone with it: what is kept in the slot goes into the totals, with the use in progress and
 * the idle time. */
void ledger_use_fold(struct ledger_slot *slot, uint64_t ended_ns);
/* Whether a lease that ends now ends in the middle of a use, last_use_site. Nobody is blamed for a command in flight, and a
 * dedicated lease is never given back. */
bool ledger_is_in_use(const struct ledger_lease *lease);

/* ---- Snapshots ------------------------------------------------------------------------------------------- */

/* Freezes who holds what, because `process` (record number) was refused a connection of the account's pool at the account's
 * site. At most one a second in a run; the dead are reaped first. Makes system calls; errno and cancellation of the host are untouched. */
void ledger_snapshot_take(const struct ledger_account *account, uint32_t process, uint32_t failure,
			  uint64_t now_ns);

/* ---- Rings ------------------------------------------------------------------------------------------ */

/* What a lease was, as the history and the examples keep it; the caller says how it ended. */
struct ledger_ended ledger_ended_of(const struct ledger_lease *lease);
/* Writes one ended lease into the history ring; `ended` comes without word and check. */
void ledger_history_add(struct ledger_header *ledger, const struct ledger_ended *ended);
/* Keeps an unreleased lease as an example, at most LEDGER_SITE_EXAMPLES of a site. */
void ledger_example_add(const struct ledger_account *account, const struct ledger_ended *ended);

#endif
