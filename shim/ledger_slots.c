#include "shim/ledger_writer.h"

#include <string.h>

/*
 * Lease slots and the history ring.
 *
 * A search for a free slot starts where this thread freed one last (connect and finish in a loop always
 * hit), then near the shared hint, then takes a slot never used before, and only then walks the table.
 */
#define HINT_PROBES 64u
#define REAP_PAUSE_NS 100000000u

static __thread uint32_t last_freed_slot; /* number plus 1 */

static uint64_t word_of(enum ledger_lease_state state, uint64_t generation, uint32_t owner) {
	return (uint64_t)state << 56 | (generation & 0xffffff) << 32 | owner;
}

static enum ledger_lease_state state_of(uint64_t word) {
	return (enum ledger_lease_state)(word >> 56);
}

static uint64_t generation_of(uint64_t word) {
	return word >> 32 & 0xffffff;
}

enum ledger_lease_state ledger_slot_state(const struct ledger_slot *slot) {
	return state_of(slot->word);
}

static bool claim(struct ledger_slot *slot, uint32_t number, uint32_t process) {
	struct ledger_lease *lease = ledger_unit(slot->ledger, LEDGER_LEASES, number);
	if (!lease)
		return false;
	uint64_t seen = atomic_load_explicit(&lease->word, memory_order_relaxed);
	if (state_of(seen) != LEDGER_LEASE_FREE)
		return false;
	uint64_t claimed = word_of(LEDGER_LEASE_CLAIMED, generation_of(seen) + 1, process + 1);
	if (!atomic_compare_exchange_strong_explicit(&lease->word, &seen, claimed, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	memset((char *)lease + sizeof lease->word, 0, sizeof *lease - sizeof lease->word);
	slot->number = number;
	slot->word = claimed;
	slot->lease = lease;
	return true;
}

static bool claim_between(struct ledger_slot *slot, uint64_t first, uint64_t count, uint64_t limit,
			  uint32_t process) {
	for (uint64_t i = 0; i < count && limit > 0; i++)
		if (claim(slot, (uint32_t)((first + i) % limit), process))
			return true;
	return false;
}

static bool claim_never_used(struct ledger_slot *slot, struct ledger_section *section, uint32_t process) {
	while (atomic_load_explicit(&section->used, memory_order_relaxed) < section->capacity) {
		uint64_t number = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
		if (number < section->capacity && claim(slot, (uint32_t)number, process))
			return true;
		if (number < section->capacity && !ledger_unit(slot->ledger, LEDGER_LEASES, number))
			return false; /* no space */
	}
	return false;
}

static uint64_t slots_used(const struct ledger_section *section) {
	uint64_t used = atomic_load_explicit(&section->used, memory_order_relaxed);
	return used < section->capacity ? used : section->capacity;
}

static bool claim_any(struct ledger_slot *slot, uint32_t process) {
	struct ledger_section *section = &slot->ledger->section[LEDGER_LEASES];
	uint64_t used = slots_used(section);
	uint64_t hint = atomic_load_explicit(&slot->ledger->lease_hint, memory_order_relaxed);
	if (last_freed_slot && last_freed_slot <= used && claim(slot, last_freed_slot - 1, process))
		return true;
	return claim_between(slot, hint, HINT_PROBES < used ? HINT_PROBES : used, used, process) ||
		claim_never_used(slot, section, process) ||
		claim_between(slot, 0, slots_used(section), slots_used(section), process);
}

static _Atomic uint32_t *slots_held(struct ledger_header *ledger, uint32_t process) {
	struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	return record ? &record->slots : NULL;
}

/* Asking the kernel about every process takes milliseconds: a program that keeps the table full pays it ten times a
 * second at most, not at every connect. */
static bool reap_now_and_then(struct ledger_header *ledger, uint32_t process) {
	static _Atomic uint64_t last_reap_ns;
	const struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	uint64_t now_ns = ledger_now_ns();
	uint64_t last_ns = atomic_load_explicit(&last_reap_ns, memory_order_relaxed);
	if (now_ns - last_ns < REAP_PAUSE_NS ||
	    !atomic_compare_exchange_strong_explicit(&last_reap_ns, &last_ns, now_ns, memory_order_relaxed,
						     memory_order_relaxed))
		return false;
	return ledger_reap(ledger, record->pid_namespace) > 0;
}

struct ledger_slot ledger_slot_claim(struct ledger_header *ledger, uint32_t process) {
	struct ledger_slot slot = {.ledger = ledger, .number = LEDGER_NO_SLOT};
	_Atomic uint32_t *held = slots_held(ledger, process);
	if (!held)
		return slot;
	atomic_fetch_add_explicit(held, 1, memory_order_relaxed); /* before: never less than the truth */
	if (claim_any(&slot, process) || (reap_now_and_then(ledger, process) && claim_any(&slot, process)))
		return slot;
	atomic_fetch_sub_explicit(held, 1, memory_order_relaxed);
	slot.number = LEDGER_NO_SLOT;
	ledger_count_loss(ledger, LEDGER_LOST_LEASES);
	return slot;
}

/* Who closes or folds a slot is alone with it: whoever else found it would count its end a second time. */
static bool is_findable(enum ledger_lease_state state) {
	return state != LEDGER_LEASE_FREE && state != LEDGER_LEASE_CLOSING && state != LEDGER_LEASE_FOLDING;
}

bool ledger_slot_find_again(struct ledger_slot *slot) {
	uint64_t word = slot->word;
	slot->word = atomic_load_explicit(&ledger_slot_lease(slot)->word, memory_order_acquire);
	return (slot->word << 8) == (word << 8) && is_findable(state_of(slot->word));
}

bool ledger_slot_find(struct ledger_slot *slot, struct ledger_header *ledger, uint32_t number,
		      uint64_t word) {
	struct ledger_lease *lease = ledger_unit(ledger, LEDGER_LEASES, number);
	if (!lease)
		return false;
	*slot = (struct ledger_slot){ledger, word, number, lease};
	return ledger_slot_find_again(slot);
}

bool ledger_slot_move(struct ledger_slot *slot, enum ledger_lease_state state) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	uint64_t next = word_of(state, generation_of(slot->word), (uint32_t)slot->word);
	uint64_t expected = slot->word;
	if (!lease ||
	    !atomic_compare_exchange_strong_explicit(&lease->word, &expected, next, memory_order_acq_rel,
						     memory_order_relaxed))
		return false;
	slot->word = next;
	return true;
}

void ledger_slot_free(struct ledger_slot *slot) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	uint32_t process = (uint32_t)slot->word - 1;
	uint64_t expected = slot->word;
	uint64_t freed = word_of(LEDGER_LEASE_FREE, generation_of(slot->word), 0);
	if (!lease ||
	    !atomic_compare_exchange_strong_explicit(&lease->word, &expected, freed, memory_order_release,
						     memory_order_relaxed))
		return;
	_Atomic uint32_t *held = slots_held(slot->ledger, process);
	if (held)
		atomic_fetch_sub_explicit(held, 1, memory_order_relaxed);
	last_freed_slot = slot->number + 1;
	atomic_store_explicit(&slot->ledger->lease_hint, slot->number, memory_order_relaxed);
}

/* ---- History ------------------------------------------------------------------------------------------ */

struct ledger_ended ledger_ended_of(const struct ledger_lease *lease) {
	return (struct ledger_ended){
		.begun_ns = lease->begun_ns,
		.established_ns = lease->established_ns,
		.connect_ns = lease->connect_ns,
		.pid = lease->pid,
		.thread = lease->thread,
		.backend_pid = lease->backend_pid,
		.site = lease->site,
		.pool = lease->pool,
		.role = lease->role,
		.test = lease->test,
		.application_name = lease->application_name,
		.flags = lease->flags | (lease->use_flags & LEDGER_LEASE_USE_FLAGS),
		.failure = (uint8_t)lease->failure,
		.uses = lease->uses,
		.resets = lease->resets,
		.in_query_ns = lease->in_query_ns,
		.idle_in_transaction_ns = lease->idle_in_transaction_ns,
		.commands = lease->commands,
		.idle_ns = lease->idle_ns,
		.owner_gone_ns = lease->owner_gone_ns,
		.last_use_site = lease->last_use_site,
	};
}

static void copy_payload(struct ledger_ended *to, const struct ledger_ended *from, uint64_t sequence) {
	memcpy((char *)to + 16, (const char *)from + 16, sizeof *to - 16);
	to->check = ledger_ended_check(from, sequence);
}

/*
 * The claim fails only against a younger entry, the publication only if a writer of the next lap took the
 * entry meanwhile; both mean that this writer slept through a whole lap of the ring. Its stores may then
 * have hit the younger entry, which the check makes visible to the reader.
 */
void ledger_history_add(struct ledger_header *ledger, const struct ledger_ended *ended) {
	struct ledger_section *section = &ledger->section[LEDGER_HISTORY];
	uint64_t sequence = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
	struct ledger_ended *entry = ledger_unit(ledger, LEDGER_HISTORY, sequence % section->capacity);
	uint64_t seen = entry ? atomic_load_explicit(&entry->word, memory_order_relaxed) : UINT64_MAX;
	/* Sequence 0 would look unwritten while it is being written: all words are one lap ahead. */
	uint64_t writing = (sequence + section->capacity) << 1;
	uint64_t claimed = writing;
	if (seen < writing &&
	    atomic_compare_exchange_strong_explicit(&entry->word, &seen, writing, memory_order_acq_rel,
						    memory_order_relaxed)) {
		copy_payload(entry, ended, sequence);
		if (atomic_compare_exchange_strong_explicit(&entry->word, &claimed, writing | 1,
							    memory_order_release, memory_order_relaxed))
			return;
	}
	ledger_count_loss(ledger, LEDGER_LOST_HISTORY);
}

void ledger_example_add(const struct ledger_account *account, const struct ledger_ended *ended) {
	struct ledger_header *ledger = account->ledger;
	struct ledger_section *section = &ledger->section[LEDGER_UNRELEASED];
	struct ledger_site *site = ledger_unit(ledger, LEDGER_SITES, account->site);
	if (!site ||
	    atomic_fetch_add_explicit(&site->example_count, 1, memory_order_relaxed) >= LEDGER_SITE_EXAMPLES)
		return; /* enough of this kind: not a loss */
	uint64_t number = atomic_load_explicit(&section->used, memory_order_relaxed);
	if (number < section->capacity)
		number = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
	struct ledger_ended *entry = ledger_unit(ledger, LEDGER_UNRELEASED, number);
	if (!entry) {
		ledger_count_loss(ledger, LEDGER_LOST_EXAMPLES);
		return;
	}
	copy_payload(entry, ended, number);
	atomic_store_explicit(&entry->word, (number << 1) | 1, memory_order_release);
}
