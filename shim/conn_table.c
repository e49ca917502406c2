#include "shim/conn_table.h"

#include <stdatomic.h>
#include <stddef.h>

#define PROBES_MAX 512u
#define LOOKS_MAX 8u

/*
 * An address, once stored, keeps its place; the place is given to another address only while it is a
 * tombstone or forgotten. A reader may see the address of a place that is being refilled: `version` is odd
 * meanwhile and changed afterwards, so it looks again.
 */
struct place {
	_Atomic uintptr_t conn;
	_Atomic uint32_t version;
	_Atomic uint32_t state;
	_Atomic uint32_t generation;
	_Atomic uint32_t instance;
	_Atomic uint32_t slot;
	_Atomic uint64_t word;
};

static struct place places[CONN_TABLE_CAPACITY];

static uint32_t first_probe(uintptr_t conn) {
	return (uint32_t)((uint64_t)conn * UINT64_C(0x9e3779b97f4a7c15) >> 32) % CONN_TABLE_CAPACITY;
}

static struct place *place_at(uintptr_t conn, uint32_t probe) {
	return &places[(first_probe(conn) + probe) % CONN_TABLE_CAPACITY];
}

/* A place whose version is odd is being given to another address, and may be for long if its thread was
 * interrupted: what it held is over. Looked at in this order, a place that was given away meanwhile is not taken
 * for ours unless it is given away after the last look, which lock_own and read_place notice. */
static bool is_place_of(const struct place *place, uintptr_t held, uintptr_t conn) {
	return held == conn && !(atomic_load_explicit(&place->version, memory_order_acquire) & 1) &&
		atomic_load_explicit(&place->conn, memory_order_relaxed) == conn;
}

/* The place that holds the address, NULL if none does. */
static struct place *place_of(uintptr_t conn) {
	for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
		struct place *place = place_at(conn, probe);
		uintptr_t held = atomic_load_explicit(&place->conn, memory_order_acquire);
		if (is_place_of(place, held, conn))
			return place;
		if (held == 0 && atomic_load_explicit(&place->version, memory_order_acquire) == 0)
			return NULL; /* never taken; while it is being taken, ours may lie behind it */
	}
	return NULL;
}

/* Takes a place for writing: its version becomes odd, before anything else of it changes. */
static bool lock_version(struct place *place, uint32_t version) {
	if (version & 1 ||
	    !atomic_compare_exchange_strong_explicit(&place->version, &version, version + 1,
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	atomic_thread_fence(memory_order_release);
	return true;
}

/* Nobody else changes an odd version. */
static void unlock(struct place *place) {
	uint32_t version = atomic_load_explicit(&place->version, memory_order_relaxed);
	atomic_store_explicit(&place->version, version + 1, memory_order_release);
}

/* A place that holds no connection, for `conn`. */
static bool lock_unused(struct place *place, uintptr_t conn) {
	uint32_t version = atomic_load_explicit(&place->version, memory_order_acquire);
	uint32_t state = atomic_load_explicit(&place->state, memory_order_relaxed);
	if (state == CONN_HELD || state == CONN_BORROWED || !lock_version(place, version))
		return false;
	atomic_store_explicit(&place->conn, conn, memory_order_relaxed);
	return true;
}

/* The place that `conn` had before, whatever was known about it; false if it was given to another address. A
 * place changes hands only with its version, so the one looked at is the one locked. */
static bool lock_own(struct place *place, uintptr_t conn) {
	uint32_t version = atomic_load_explicit(&place->version, memory_order_acquire);
	return atomic_load_explicit(&place->conn, memory_order_relaxed) == conn &&
		lock_version(place, version);
}

static struct place *lock_free_place(uintptr_t conn) {
	for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
		struct place *place = place_at(conn, probe);
		if (atomic_load_explicit(&place->conn, memory_order_relaxed) == 0 && lock_unused(place, conn))
			return place;
	}
	/* No place was never used: give up the oldest memory of a finished connection near by. */
	for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
		struct place *place = place_at(conn, probe);
		if (lock_unused(place, conn))
			return place;
	}
	return NULL;
}

static void fill(struct place *place, const struct conn_entry *entry) {
	atomic_store_explicit(&place->generation, entry->generation, memory_order_relaxed);
	atomic_store_explicit(&place->instance, entry->instance, memory_order_relaxed);
	atomic_store_explicit(&place->slot, entry->slot, memory_order_relaxed);
	atomic_store_explicit(&place->word, entry->word, memory_order_relaxed);
	atomic_store_explicit(&place->state, entry->state, memory_order_relaxed);
}

bool conn_table_put(const void *conn, const struct conn_entry *entry) {
	uintptr_t address = (uintptr_t)conn;
	struct place *place = place_of(address);
	if (!place || !lock_own(place, address))
		place = lock_free_place(address);
	if (!place)
		return false;
	fill(place, entry);
	unlock(place);
	return true;
}

/* False if the place changes or was given to another address: look again. */
static bool read_place(const struct place *place, uintptr_t conn, struct conn_entry *found) {
	uint32_t version = atomic_load_explicit(&place->version, memory_order_acquire);
	*found = (struct conn_entry){
		.state = (enum conn_state)atomic_load_explicit(&place->state, memory_order_relaxed),
		.generation = atomic_load_explicit(&place->generation, memory_order_relaxed),
		.instance = atomic_load_explicit(&place->instance, memory_order_relaxed),
		.slot = atomic_load_explicit(&place->slot, memory_order_relaxed),
		.word = atomic_load_explicit(&place->word, memory_order_relaxed),
	};
	bool is_ours = atomic_load_explicit(&place->conn, memory_order_relaxed) == conn;
	atomic_thread_fence(memory_order_acquire);
	return is_ours && !(version & 1) &&
		atomic_load_explicit(&place->version, memory_order_relaxed) == version;
}

struct conn_entry conn_table_find(const void *conn) {
	struct conn_entry found = {.state = CONN_UNKNOWN};
	/* Each further look means that a tombstone was given away under our eyes. */
	for (uint32_t look = 0; look < LOOKS_MAX; look++) {
		const struct place *place = conn ? place_of((uintptr_t)conn) : NULL;
		if (!place)
			break;
		if (read_place(place, (uintptr_t)conn, &found))
			return found;
	}
	return (struct conn_entry){.state = CONN_UNKNOWN};
}

/* The place is locked: between finding it and changing it, it may have been given to a connection of another
 * address, which must not be finished in our name. */
static bool change_state(const void *conn, uint32_t from, uint32_t to) {
	for (uint32_t look = 0; conn && look < LOOKS_MAX; look++) {
		struct place *place = place_of((uintptr_t)conn);
		if (!place)
			return false;
		if (!lock_own(place, (uintptr_t)conn))
			continue;
		bool is_changed = atomic_load_explicit(&place->state, memory_order_relaxed) == from;
		if (is_changed)
			atomic_store_explicit(&place->state, to, memory_order_relaxed);
		unlock(place);
		return is_changed;
	}
	return false;
}

bool conn_table_finish(const void *conn) {
	return change_state(conn, CONN_HELD, CONN_FINISHED) ||
		change_state(conn, CONN_BORROWED, CONN_FINISHED);
}

bool conn_table_borrow(const void *conn) {
	return change_state(conn, CONN_HELD, CONN_BORROWED);
}

void conn_table_forget(const void *conn) {
	change_state(conn, CONN_FINISHED, CONN_UNKNOWN);
}
