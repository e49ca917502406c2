#include "shim/ledger_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "shim/proc.h"

/*
 * Process records and the reaping of the dead.
 *
 * A process is dead when its pid is gone, or belongs to a process that started at another time. That can
 * be judged only within one pid namespace; elsewhere nobody is reaped.
 *
 * A process that ended by its own mark may still have running threads until the kernel stops them: their
 * slots are left alone, and its record belongs to nobody else, before the process is gone.
 */

static uint64_t word_of(enum ledger_process_state state, uint64_t generation, int32_t pid) {
	return (uint64_t)state << 56 | (generation & 0xffffff) << 32 | (uint32_t)pid;
}

static enum ledger_process_state state_of(uint64_t word) {
	return (enum ledger_process_state)(word >> 56);
}

static uint64_t generation_of(uint64_t word) {
	return word >> 32 & 0xffffff;
}

static int32_t pid_of(uint64_t word) {
	return (int32_t)(uint32_t)word;
}

static bool change_word(struct ledger_process *record, uint64_t from, enum ledger_process_state state,
			int32_t pid, uint64_t generation) {
	return atomic_compare_exchange_strong_explicit(&record->word, &from, word_of(state, generation, pid),
						       memory_order_acq_rel, memory_order_relaxed);
}

/* ---- Who is alive -------------------------------------------------------------------------------------- */

static bool is_gone(int32_t pid, uint64_t start_ticks, bool is_thorough) {
	if (kill(pid, 0) != 0 && errno == ESRCH)
		return true;
	uint64_t now = is_thorough && start_ticks ? proc_start_ticks(pid) : 0;
	return now != 0 && now != start_ticks;
}

/* ---- Folding: what a dead process left goes into the totals ---------------------------------------------- */

static bool is_orphan(const struct ledger_lease *lease, uint64_t ended_ns) {
	return ended_ns && ledger_is_orphan(lease->owner_gone_ns, lease->last_event_ns, ended_ns);
}

static enum ledger_left what_was_left(const struct ledger_lease *lease, enum ledger_lease_state state,
				      uint64_t ended_ns) {
	uint32_t flags = lease->flags;
	if (state == LEDGER_LEASE_FAILED)
		return LEDGER_LEFT_FAILED;
	if (state == LEDGER_LEASE_CONNECTING)
		return flags & LEDGER_LEASE_ASYNC ? LEDGER_LEFT_CONNECTING : LEDGER_LEFT_IN_CALL;
	if (!(flags & LEDGER_LEASE_ESTABLISHED))
		return LEDGER_LEFT_FAILED;
	if (state == LEDGER_LEASE_RESETTING)
		return LEDGER_LEFT_RESETTING;
	return is_orphan(lease, ended_ns) ? LEDGER_LEFT_ORPHANED : LEDGER_LEFT_OPEN;
}

static void keep_example(const struct ledger_account *account, const struct ledger_lease *lease,
			 enum ledger_left left, enum ledger_how_ended how, bool was_in_use,
			 uint64_t ended_ns) {
	struct ledger_ended ended = ledger_ended_of(lease);
	ended.release_facts = was_in_use ? LEDGER_FACT_IN_USE : 0;
	ended.ended_ns = ended_ns;
	ended.release = LEDGER_RELEASE_OWNER_GONE;
	ended.left = (uint8_t)left;
	ended.how_ended = (uint8_t)how;
	ledger_example_add(account, &ended);
}

static void fold_left(const struct ledger_account *account, struct ledger_lease *lease, enum ledger_left left,
		      enum ledger_how_ended how, bool was_in_use, uint64_t ended_ns) {
	uint64_t taken_ns = lease->established_ns ? lease->established_ns : lease->begun_ns;
	uint64_t until_ns = ended_ns ? ended_ns : ledger_now_ns();
	ledger_add_unreleased(account, left, how, taken_ns);
	if (lease->flags & LEDGER_LEASE_ESTABLISHED)
		ledger_add(account, LEDGER_LEFT_HELD_NS, until_ns - lease->held_since_ns, until_ns);
	keep_example(account, lease, left, how, was_in_use, ended_ns);
	if (left != LEDGER_LEFT_OPEN && left != LEDGER_LEFT_ORPHANED)
		return;
	/* Who finishes it elsewhere marks the same word: the second of the two sees the first, and takes it back. */
	uint32_t mark = LEDGER_LEASE_LEFT | (uint32_t)how << LEDGER_LEASE_LEFT_HOW_SHIFT |
		(left == LEDGER_LEFT_ORPHANED ? LEDGER_LEASE_LEFT_ORPHANED : 0);
	if (atomic_fetch_or(&lease->flags, mark) & LEDGER_LEASE_FINISHED_ELSEWHERE)
		ledger_take_back_unreleased(account, left, how, ledger_now_ns());
}

static bool is_own_end(enum ledger_how_ended how) {
	return how == LEDGER_ENDED_EXIT || how == LEDGER_ENDED_EXEC;
}

static void fold_slot(struct ledger_slot *slot, enum ledger_how_ended how, uint64_t ended_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	struct ledger_account account = {slot->ledger, lease->pool, lease->site};
	enum ledger_left left = what_was_left(lease, ledger_slot_state(slot), ended_ns);
	if (!ledger_slot_move(slot, LEDGER_LEASE_FOLDING))
		return;
	bool was_in_use = ledger_is_in_use(lease);
	ledger_use_fold(slot, ended_ns ? ended_ns : ledger_now_ns());
	if (lease->flags & LEDGER_LEASE_FINISHED_ELSEWHERE)
		ledger_add(&account, LEDGER_FINISHED_ELSEWHERE, 1, ledger_now_ns());
	else
		fold_left(&account, lease, left, how, was_in_use, ended_ns);
	if (was_in_use && is_own_end(how) && !(lease->flags & LEDGER_LEASE_FINISHED_ELSEWHERE))
		ledger_add_release(&account, LEDGER_SITE_NONE, LEDGER_FACT_LEFT | LEDGER_FACT_IN_USE,
				   lease->last_use_site, ended_ns ? ended_ns : ledger_now_ns());
	if (lease->flags & LEDGER_LEASE_ESTABLISHED)
		ledger_add_open(&account, -1, ledger_now_ns());
	ledger_slot_free(slot);
}

/* States in which the owner (or an earlier reaper) was in the middle of adding to the totals. */
static bool is_torn(enum ledger_lease_state state) {
	return state == LEDGER_LEASE_ESTABLISHING || state == LEDGER_LEASE_FAILING ||
		state == LEDGER_LEASE_CLOSING || state == LEDGER_LEASE_FOLDING;
}

static void clear_torn_slot(struct ledger_slot *slot) {
	bool was_torn = is_torn(ledger_slot_state(slot));
	if (was_torn)
		ledger_count_loss(slot->ledger, LEDGER_TORN);
	ledger_slot_free(slot);
}

static void fold_slots(struct ledger_header *ledger, uint32_t process, bool are_threads_gone) {
	const struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	struct ledger_section *section = &ledger->section[LEDGER_LEASES];
	uint64_t used = atomic_load_explicit(&section->used, memory_order_relaxed);
	for (uint64_t number = 0; number < used && number < section->capacity; number++) {
		struct ledger_lease *lease = ledger_unit(ledger, LEDGER_LEASES, number);
		struct ledger_slot slot = {ledger, lease ? atomic_load(&lease->word) : 0, (uint32_t)number,
					   lease};
		if ((uint32_t)slot.word != process + 1)
			continue;
		enum ledger_lease_state state = ledger_slot_state(&slot);
		bool is_at_rest = state == LEDGER_LEASE_OPEN || state == LEDGER_LEASE_FAILED;
		if (!is_at_rest && !are_threads_gone)
			continue; /* a thread is about to write into it */
		if (state == LEDGER_LEASE_CLAIMED || is_torn(state))
			clear_torn_slot(&slot);
		else if (state != LEDGER_LEASE_FREE)
			fold_slot(&slot, record->how_ended, record->ended_ns);
	}
}

/* Who we are when we reap; set when the process claims its record. */
static _Atomic uint64_t own_reaper_word;

static uint64_t reaper_word_of(const struct ledger_process_identity *identity) {
	return identity->start_ticks << 32 | (uint32_t)identity->pid;
}

static bool reaper_is_gone(uint64_t reaper) {
	if (kill(pid_of(reaper), 0) != 0 && errno == ESRCH)
		return true;
	uint32_t start = (uint32_t)(reaper >> 32);
	uint64_t now = start ? proc_start_ticks(pid_of(reaper)) : 0;
	return now != 0 && (uint32_t)now != start;
}

/* Makes us the only one who folds this record; a reaper that died is taken over. */
static bool take_reaping(struct ledger_process *record) {
	uint64_t reaper = atomic_load_explicit(&record->reaper, memory_order_acquire);
	if (reaper != 0 && !reaper_is_gone(reaper))
		return false;
	return atomic_compare_exchange_strong_explicit(&record->reaper, &reaper,
						       atomic_load(&own_reaper_word), memory_order_acq_rel,
						       memory_order_relaxed);
}

/* Folds the slots of a record that we are REAPING. */
static bool fold_taken(struct ledger_header *ledger, uint32_t process, uint64_t word, bool are_threads_gone) {
	struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	uint64_t reaping = word_of(LEDGER_PROCESS_REAPING, generation_of(word), pid_of(word));
	if (record->how_ended == LEDGER_ENDED_NOT)
		atomic_store(&record->how_ended, LEDGER_ENDED_UNKNOWN);
	if (atomic_load(&record->slots) > 0)
		fold_slots(ledger, process, are_threads_gone);
	if (are_threads_gone)
		atomic_store(&record->slots, 0);
	bool is_folded = atomic_load(&record->slots) == 0;
	enum ledger_process_state state = is_folded ? LEDGER_PROCESS_FOLDED : LEDGER_PROCESS_ENDED;
	return change_word(record, reaping, state, pid_of(word), generation_of(word)) && is_folded;
}

/* Folds a record that is over (dead or ended). Returns whether it is FOLDED now by our doing. */
static bool fold_process(struct ledger_header *ledger, uint32_t process, uint64_t word,
			 bool are_threads_gone) {
	struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	uint64_t own = atomic_load(&own_reaper_word);
	bool is_folded = false;
	if (!take_reaping(record))
		return false;
	/* Before we had it, another reaper may have finished and the record may have got a new tenant: only a
	 * word that is still the same may be acted on. */
	if (atomic_load_explicit(&record->word, memory_order_acquire) == word &&
	    (state_of(word) == LEDGER_PROCESS_REAPING ||
	     change_word(record, word, LEDGER_PROCESS_REAPING, pid_of(word), generation_of(word))))
		is_folded = fold_taken(ledger, process, word, are_threads_gone);
	atomic_compare_exchange_strong_explicit(&record->reaper, &own, 0, memory_order_release,
						memory_order_relaxed);
	return is_folded;
}

/* ---- Walking the records ------------------------------------------------------------------------------------ */

static uint32_t records_used(const struct ledger_header *ledger) {
	const struct ledger_section *section = &ledger->section[LEDGER_PROCESSES];
	uint64_t used = atomic_load_explicit(&section->used, memory_order_relaxed);
	return (uint32_t)(used < section->capacity ? used : section->capacity);
}

static uint64_t record_word(struct ledger_header *ledger, uint32_t process, struct ledger_process **record) {
	*record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	return *record ? atomic_load_explicit(&(*record)->word, memory_order_acquire) : 0;
}

/* A claimed record stays claimed when its process is killed before it published it. A folded one holds slots
 * again when a thread outran the end of its process. */
static bool needs_folding(const struct ledger_process *record, uint64_t word) {
	switch (state_of(word)) {
	case LEDGER_PROCESS_CLAIMED:
	case LEDGER_PROCESS_RUNNING:
	case LEDGER_PROCESS_REAPING:
		return true;
	case LEDGER_PROCESS_ENDED:
	case LEDGER_PROCESS_FOLDED:
		return record->slots > 0;
	default:
		return false;
	}
}

static bool is_dead(const struct ledger_process *record, uint64_t word, uint64_t pid_namespace,
		    bool is_thorough) {
	return record->pid_namespace == pid_namespace && pid_namespace != 0 &&
		is_gone(pid_of(word), record->start_ticks, is_thorough);
}

static uint32_t reap(struct ledger_header *ledger, uint64_t pid_namespace, bool is_thorough) {
	uint32_t folded = 0;
	for (uint32_t process = 0; process < records_used(ledger); process++) {
		struct ledger_process *record;
		uint64_t word = record_word(ledger, process, &record);
		if (record && needs_folding(record, word) &&
		    is_dead(record, word, pid_namespace, is_thorough))
			folded += fold_process(ledger, process, word, true);
	}
	return folded;
}

/* open, read and close are cancellation points and set errno: the host must see neither. */
uint32_t ledger_reap(struct ledger_header *ledger, uint64_t pid_namespace) {
	int saved_errno = errno;
	int cancel_state;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	uint32_t folded = reap(ledger, pid_namespace, true);
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved_errno;
	return folded;
}

/* ---- Claiming a record ----------------------------------------------------------------------------------------- */

/* exec keeps pid and start time: a RUNNING record of ours is the image before. With another start time it
 * belonged to a dead process whose number we got. */
void ledger_process_end_earlier_images(struct ledger_header *ledger,
				       const struct ledger_process_identity *identity) {
	atomic_store(&own_reaper_word, reaper_word_of(identity));
	for (uint32_t process = 0; process < records_used(ledger); process++) {
		struct ledger_process *record;
		uint64_t word = record_word(ledger, process, &record);
		if (state_of(word) != LEDGER_PROCESS_RUNNING || pid_of(word) != identity->pid ||
		    record->pid_namespace != identity->pid_namespace)
			continue;
		bool is_ours = record->start_ticks == identity->start_ticks;
		ledger_process_end(ledger, process, identity->pid,
				   is_ours ? LEDGER_ENDED_EXEC : LEDGER_ENDED_UNKNOWN,
				   is_ours ? ledger_now_ns() : 0);
	}
}

/* Whether a record that is over may be given away. Only exec leaves a pid behind whose threads are gone. In
 * another namespace nobody knows who is gone: what holds no slot is free. */
static bool is_abandoned(const struct ledger_process *record, uint64_t word, uint64_t pid_namespace,
			 bool is_thorough) {
	if (record->pid_namespace != pid_namespace || pid_namespace == 0)
		return record->slots == 0;
	return record->how_ended != LEDGER_ENDED_EXIT ||
		is_gone(pid_of(word), record->start_ticks, is_thorough);
}

static bool is_free(struct ledger_header *ledger, uint32_t process, uint64_t *word,
		    const struct ledger_process_identity *identity, bool is_thorough) {
	struct ledger_process *record;
	*word = record_word(ledger, process, &record);
	if (!record || state_of(*word) == LEDGER_PROCESS_FREE)
		return record;
	bool is_over = state_of(*word) == LEDGER_PROCESS_ENDED || state_of(*word) == LEDGER_PROCESS_FOLDED;
	if (!is_over || !is_abandoned(record, *word, identity->pid_namespace, is_thorough))
		return false;
	if (record->slots > 0 && !fold_process(ledger, process, *word, true))
		return false;
	*word = record_word(ledger, process, &record);
	return state_of(*word) == LEDGER_PROCESS_ENDED || state_of(*word) == LEDGER_PROCESS_FOLDED;
}

/* All but the state word, which is ours now, and `reaper`, which somebody with a stale word may hold: clearing a held
 * lock would let two reap at once (found by the model of this protocol). */
static void clear_record(struct ledger_process *record) {
	size_t reaper = offsetof(struct ledger_process, reaper);
	size_t behind = reaper + sizeof record->reaper;
	memset((char *)record + sizeof record->word, 0, reaper - sizeof record->word);
	memset((char *)record + behind, 0, sizeof *record - behind);
}

static bool claim(struct ledger_header *ledger, uint32_t process,
		  const struct ledger_process_identity *identity, bool is_thorough) {
	struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	uint64_t word;
	if (!is_free(ledger, process, &word, identity, is_thorough) ||
	    !change_word(record, word, LEDGER_PROCESS_CLAIMED, identity->pid, generation_of(word) + 1))
		return false;
	clear_record(record);
	return true;
}

static uint32_t claim_any(struct ledger_header *ledger, const struct ledger_process_identity *identity,
			  bool is_thorough) {
	struct ledger_section *section = &ledger->section[LEDGER_PROCESSES];
	while (atomic_load_explicit(&section->used, memory_order_relaxed) < section->capacity) {
		uint64_t number = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
		if (number < section->capacity && claim(ledger, (uint32_t)number, identity, is_thorough))
			return (uint32_t)number;
		if (number < section->capacity && !ledger_unit(ledger, LEDGER_PROCESSES, number))
			break; /* no space */
	}
	uint32_t used = records_used(ledger);
	uint64_t hint = atomic_load_explicit(&ledger->process_hint, memory_order_relaxed);
	for (uint32_t i = 0; i < used; i++) {
		uint32_t process = (uint32_t)((hint + i) % used);
		if (claim(ledger, process, identity, is_thorough)) {
			atomic_store_explicit(&ledger->process_hint, process + 1, memory_order_relaxed);
			return process;
		}
	}
	return LEDGER_NO_PROCESS;
}

uint32_t ledger_process_claim(struct ledger_header *ledger, const struct ledger_process_identity *identity) {
	ledger_process_end_earlier_images(ledger, identity);
	reap(ledger, identity->pid_namespace, false);
	uint32_t process = claim_any(ledger, identity, false);
	if (process == LEDGER_NO_PROCESS) {
		reap(ledger, identity->pid_namespace, true);
		process = claim_any(ledger, identity, true);
	}
	if (process == LEDGER_NO_PROCESS) {
		ledger_count_loss(ledger, LEDGER_LOST_PROCESSES);
		return process;
	}
	struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	record->start_ticks = identity->start_ticks;
	record->stack_start = identity->stack_start;
	record->pid_namespace = identity->pid_namespace;
	return process;
}

void ledger_process_publish(struct ledger_header *ledger, uint32_t process) {
	struct ledger_process *record;
	uint64_t word = record_word(ledger, process, &record);
	if (state_of(word) == LEDGER_PROCESS_CLAIMED)
		change_word(record, word, LEDGER_PROCESS_RUNNING, pid_of(word), generation_of(word));
}

void ledger_process_end(struct ledger_header *ledger, uint32_t process, int32_t pid,
			enum ledger_how_ended how, uint64_t now_ns) {
	struct ledger_process *record;
	uint64_t word = record_word(ledger, process, &record);
	if (state_of(word) != LEDGER_PROCESS_RUNNING || pid_of(word) != pid)
		return;
	atomic_store_explicit(&record->ended_ns, now_ns, memory_order_relaxed);
	atomic_store_explicit(&record->how_ended, how, memory_order_relaxed);
	if (!change_word(record, word, LEDGER_PROCESS_ENDED, pid, generation_of(word)) || record->slots == 0)
		return;
	/* Folded at once: the gauges behind the peaks must not count the leases of an ended process. */
	fold_process(ledger, process, word_of(LEDGER_PROCESS_ENDED, generation_of(word), pid),
		     how != LEDGER_ENDED_EXIT);
}
