/*
 * A private lock-free cache from a 64-bit key to a 32-bit id, in static memory.
 *
 * It forgets when it likes (places are overwritten), but it never pairs a key with another key's id.
 * Any thread, signal handlers too; nobody waits: who finds a place being written does without.
 */
#ifndef PQLEASE_SHIM_ID_CACHE_H
#define PQLEASE_SHIM_ID_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct id_cache_place {
	_Atomic uint64_t key;
	_Atomic uint64_t word; /* id << 32 | generation << 16 | version; an odd version is being written */
};

struct id_cache {
	struct id_cache_place *places;
	uint32_t count; /* a power of two */
	_Atomic uint32_t generation;
};

/* Keys are expected to be hashes already: their low bits choose the place. */
bool id_cache_find(struct id_cache *cache, uint64_t key, uint32_t *id);

/* To be read before the id is worked out, so that an id older than id_cache_forget is not put. */
uint32_t id_cache_generation(struct id_cache *cache);
void id_cache_put(struct id_cache *cache, uint32_t generation, uint64_t key, uint32_t id);

/* Nothing that was put before, or that is being worked out now, is found afterwards. */
void id_cache_forget(struct id_cache *cache);

#endif
