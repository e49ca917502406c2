#include "shim/id_cache.h"

#include <stddef.h>

#define PROBES_MAX 8u
#define VERSION_MASK UINT64_C(0xffff)
#define GENERATION_MASK UINT32_C(0xffff)

/*
 * Why a key is never paired with another key's id
 *
 * A place is written only by the thread that turned its version from even to odd by compare-and-swap;
 * that thread stores the key, then the word with the next even version, with release order. A reader
 * takes the word (acquire), the key, and the word again behind an acquire fence, and believes them only
 * if both words are the same and even. The key it read was stored either before that word or by a later
 * writer. A later writer turned the version odd first; the reader that saw its key also sees, behind the
 * fence, its odd or a later version, so the two words differ. They could be equal only if exactly a
 * multiple of 2^15 writes, with the same id at the end, fitted between the reader's two loads.
 *
 * A writer that never finishes (its thread left through siglongjmp, or the process forked meanwhile)
 * leaves an odd version: that place is out of use, and the next ones serve.
 */

static uint64_t make_word(uint32_t id, uint32_t generation, uint64_t version) {
	return (uint64_t)id << 32 | (uint64_t)(generation & GENERATION_MASK) << 16 | (version & VERSION_MASK);
}

static bool is_being_written(uint64_t word) {
	return word & 1;
}

static bool is_of(uint64_t word, uint32_t generation) {
	return ((uint32_t)(word >> 16) & GENERATION_MASK) == (generation & GENERATION_MASK) &&
		(word & VERSION_MASK) != 0;
}

static struct id_cache_place *place_at(struct id_cache *cache, uint64_t key, uint32_t probe) {
	return &cache->places[(key + probe) & (cache->count - 1)];
}

uint32_t id_cache_generation(struct id_cache *cache) {
	return atomic_load_explicit(&cache->generation, memory_order_acquire);
}

bool id_cache_find(struct id_cache *cache, uint64_t key, uint32_t *id) {
	uint32_t generation = id_cache_generation(cache);
	for (uint32_t i = 0; i < PROBES_MAX; i++) {
		struct id_cache_place *place = place_at(cache, key, i);
		uint64_t word = atomic_load_explicit(&place->word, memory_order_acquire);
		uint64_t found = atomic_load_explicit(&place->key, memory_order_relaxed);
		if (found != key || is_being_written(word) || !is_of(word, generation))
			continue;
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&place->word, memory_order_relaxed) != word)
			continue;
		*id = (uint32_t)(word >> 32);
		return true;
	}
	return false;
}

/* Version 0 means never written: it is skipped when versions wrap. */
static uint64_t next_version(uint64_t word) {
	uint64_t version = (word + 2) & VERSION_MASK;
	return version ? version : 2;
}

static bool try_to_write(struct id_cache_place *place, uint64_t word, uint64_t key, uint64_t next) {
	if (is_being_written(word) ||
	    !atomic_compare_exchange_strong_explicit(&place->word, &word, word | 1, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	/* Who sees this key must also see the odd version. */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&place->key, key, memory_order_relaxed);
	atomic_store_explicit(&place->word, next, memory_order_release);
	return true;
}

void id_cache_put(struct id_cache *cache, uint32_t generation, uint64_t key, uint32_t id) {
	for (uint32_t i = 0; i <= PROBES_MAX; i++) {
		/* With every place taken, the key decides which one is lost. */
		bool is_last = i == PROBES_MAX;
		struct id_cache_place *place =
			place_at(cache, key, is_last ? (uint32_t)(key >> 32) % PROBES_MAX : i);
		uint64_t word = atomic_load_explicit(&place->word, memory_order_relaxed);
		if (!is_last && is_of(word, id_cache_generation(cache)))
			continue;
		if (try_to_write(place, word, key, make_word(id, generation, next_version(word))))
			return;
	}
}

static void clear(struct id_cache *cache, uint32_t generation) {
	for (uint32_t i = 0; i < cache->count; i++) {
		uint64_t word = atomic_load_explicit(&cache->places[i].word, memory_order_relaxed);
		try_to_write(&cache->places[i], word, 0, make_word(0, generation, next_version(word)));
	}
}

/* Places of another generation look free. Before the 16 bits in a word begin again they are all written,
 * so that none of an equal generation long ago comes back. */
void id_cache_forget(struct id_cache *cache) {
	uint32_t generation = id_cache_generation(cache);
	do {
		if ((generation & GENERATION_MASK) == GENERATION_MASK)
			clear(cache, generation);
	} while (!atomic_compare_exchange_weak_explicit(&cache->generation, &generation, generation + 1,
							memory_order_acq_rel, memory_order_acquire));
}
