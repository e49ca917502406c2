#include "shim/owner_thread.h"

#include <pthread.h>

#include "shim/process.h"

/* glibc keeps the values of this many keys in the thread itself, and allocates for later ones (nptl, struct pthread,
 * PTHREAD_KEY_2NDLEVEL_SIZE). */
#define KEYS_WITHOUT_ALLOCATION 32u
#define TAKEN_MAX 8u

static pthread_key_t key;
static bool has_key;

/* Most threads hold one or two leases at once. Who held more is looked up in the whole table, once, at its end. */
static __thread struct taken {
	bool is_watched;
	bool has_overflowed;
	uint32_t count;
	struct {
		uint32_t number;
		uint64_t word;
	} slot[TAKEN_MAX];
} taken;

/* ---- Taking ------------------------------------------------------------------------------------------------- */

static bool is_still_there(struct ledger_header *ledger, uint32_t number, uint64_t word) {
	struct ledger_slot slot;
	return ledger_slot_find(&slot, ledger, number, word);
}

static uint32_t place_for(struct ledger_header *ledger, uint32_t number) {
	for (uint32_t i = 0; i < taken.count; i++)
		if (taken.slot[i].number == number)
			return i; /* the lease before it in this slot is over */
	if (taken.count < TAKEN_MAX)
		return taken.count++;
	for (uint32_t i = 0; i < TAKEN_MAX; i++)
		if (!is_still_there(ledger, taken.slot[i].number, taken.slot[i].word))
			return i;
	return TAKEN_MAX;
}

void owner_thread_took(const struct ledger_slot *slot) {
	if (!has_key)
		return;
	if (!taken.is_watched)
		taken.is_watched = pthread_setspecific(key, &taken) == 0;
	uint32_t place = place_for(slot->ledger, slot->number);
	if (place == TAKEN_MAX) {
		taken.has_overflowed = true;
		return;
	}
	taken.slot[place].number = slot->number;
	taken.slot[place].word = slot->word;
}

/* ---- The end of a thread ---------------------------------------------------------------------------------------- */

/* The slot may go to another lease while it is marked: the mark is then taken away again. */
static void mark(struct ledger_header *ledger, uint32_t number, uint64_t word, uint64_t now_ns) {
	struct ledger_slot slot;
	uint64_t unmarked = 0;
	if (!ledger_slot_find(&slot, ledger, number, word))
		return;
	_Atomic uint64_t *gone_ns = &ledger_slot_lease(&slot)->owner_gone_ns;
	if (!atomic_compare_exchange_strong(gone_ns, &unmarked, now_ns))
		return;
	if (!is_still_there(ledger, number, word))
		atomic_compare_exchange_strong(gone_ns, &now_ns, 0);
}

static void mark_noted(const struct recording *now, uint64_t now_ns) {
	for (uint32_t i = 0; i < taken.count; i++)
		if ((uint32_t)taken.slot[i].word == now->process + 1) /* not of the process before a fork */
			mark(now->ledger, taken.slot[i].number, taken.slot[i].word, now_ns);
}

/* More than were noted. A lease of an earlier thread with the same number is marked already. */
static void mark_all(const struct recording *now, int32_t thread, uint64_t now_ns) {
	const struct ledger_section *section = &now->ledger->section[LEDGER_LEASES];
	uint64_t used = atomic_load_explicit(&section->used, memory_order_relaxed);
	for (uint64_t number = 0; number < used && number < section->capacity; number++) {
		struct ledger_lease *lease = ledger_unit(now->ledger, LEDGER_LEASES, number);
		if (!lease)
			continue; /* no space there yet */
		uint64_t word = atomic_load_explicit(&lease->word, memory_order_acquire);
		if ((uint32_t)word == now->process + 1 && lease->thread == thread)
			mark(now->ledger, (uint32_t)number, word, now_ns);
	}
}

/* Another destructor may connect after this one: the thread is then watched again, and this runs again. */
static void thread_ended(void *unused) {
	(void)unused;
	const struct recording *now = process_recording_if_attached();
	if (now && taken.has_overflowed)
		mark_all(now, process_thread_id(), ledger_now_ns());
	else if (now)
		mark_noted(now, ledger_now_ns());
	taken = (struct taken){0};
}

void owner_thread_init(void) {
	if (has_key || pthread_key_create(&key, thread_ended) != 0)
		return;
	has_key = key < KEYS_WITHOUT_ALLOCATION;
	if (!has_key)
		pthread_key_delete(key);
}
