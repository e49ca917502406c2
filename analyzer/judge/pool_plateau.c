#include "analyzer/judge/pool_plateau.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/hash_table.h"

enum { USES_PER_LEASE = 2 }; /* on average, or connections are taken for one use each: no pool */

struct taker_key {
	uint32_t pool;
	int32_t pid;
	int32_t thread;
};

struct taker {
	struct taker_key key;
	uint64_t first_ns;
	uint64_t last_ns;
	UT_hash_handle hh;
};

struct edge {
	uint32_t pool;
	uint64_t at_ns;
	int change; /* one more taker, or one less */
};

static struct taker *find_taker(struct taker **takers, struct arena *arena, struct taker_key key) {
	struct taker *taker;
	HASH_FIND(hh, *takers, &key, sizeof key, taker);
	if (taker != NULL)
		return taker;
	taker = arena_new(arena, struct taker);
	taker->key = key;
	HASH_ADD(hh, *takers, key, sizeof key, taker);
	return taker;
}

static void widen(struct taker **takers, struct arena *arena, const struct taker_key *key, uint64_t begun_ns,
		  uint64_t ended_ns) {
	struct taker *taker = find_taker(takers, arena, *key);
	if (taker->first_ns == 0 || begun_ns < taker->first_ns)
		taker->first_ns = begun_ns;
	if (ended_ns > taker->last_ns)
		taker->last_ns = ended_ns;
}

static struct taker *gather(const struct model *model, struct arena *arena) {
	struct taker *takers = NULL;
	for (size_t i = 0; i < model->use_count; i++) {
		const struct model_use *use = &model->uses[i];
		const struct taker_key key = {use->pool, use->pid, use->thread};
		if (!use->is_dedicated)
			widen(&takers, arena, &key, use->begun_ns, use->ended_ns);
	}
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		const struct taker_key key = {lease->pool, lease->pid, lease->use_thread};
		if (lease->is_in_use && !lease->is_dedicated)
			widen(&takers, arena, &key, lease->use_begun_ns, lease->until_ns);
	}
	return takers;
}

/* Who leaves at the moment another one comes was not there together with it. */
static int compare_edges(const void *a, const void *b) {
	const struct edge *left = a;
	const struct edge *right = b;
	if (left->pool != right->pool)
		return left->pool < right->pool ? -1 : 1;
	if (left->at_ns != right->at_ns)
		return left->at_ns < right->at_ns ? -1 : 1;
	return left->change - right->change;
}

const int64_t *pool_plateau_takers(const struct model *model, struct arena *arena) {
	int64_t *most = arena_array(arena, model->pool_count, sizeof *most);
	struct taker *takers = gather(model, arena);
	struct taker *taker;
	struct taker *next;
	size_t count = 0;
	struct edge *edges = arena_array(arena, 2 * (size_t)HASH_COUNT(takers), sizeof *edges);
	HASH_ITER(hh, takers, taker, next) {
		edges[count++] = (struct edge){taker->key.pool, taker->first_ns, 1};
		edges[count++] = (struct edge){taker->key.pool, taker->last_ns, -1};
	}
	HASH_CLEAR(hh, takers);
	qsort(edges, count, sizeof *edges, compare_edges);
	int64_t now = 0;
	for (size_t i = 0; i < count; i++) {
		now += edges[i].change;
		if (edges[i].pool < model->pool_count && now > most[edges[i].pool])
			most[edges[i].pool] = now;
	}
	return most;
}

int64_t pool_plateau_capacity(const struct model_pool *pool, int64_t takers) {
	const struct model_totals *totals = &pool->totals;
	bool is_full = totals->in_use_peak > 0 && totals->in_use_peak >= totals->open_peak;
	bool is_shared =
		totals->counter[MODEL_USES_ENDED] >= USES_PER_LEASE * totals->counter[MODEL_ESTABLISHED];
	return is_full && is_shared && takers > totals->open_peak ? totals->open_peak : 0;
}
