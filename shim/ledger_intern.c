#include "shim/ledger_writer.h"

#include <string.h>

#include "shim/ledger_file.h"

/* Longer probe sequences mean a nearly full index: give up rather than crawl in the host. */
#define PROBES_MAX 256u

void ledger_count_loss(struct ledger_header *ledger, enum ledger_loss loss) {
	atomic_fetch_add_explicit(&ledger->lost[loss], 1, memory_order_relaxed);
}

void *ledger_unit(struct ledger_header *ledger, enum ledger_section_kind kind, uint64_t number) {
	const struct ledger_section *section = &ledger->section[kind];
	uint64_t offset = section->offset + number * section->entry_size_bytes;
	if (number >= section->capacity || !ledger_file_is_backed(ledger, offset, section->entry_size_bytes))
		return NULL;
	return (char *)ledger + offset;
}

/* Takes `count` units of a dense section; returns the first one's number, or `capacity` when full. The
 * bound is checked before the addition so that a full table's counter does not run away. */
static uint64_t take_units(struct ledger_header *ledger, enum ledger_section_kind kind, uint64_t count) {
	struct ledger_section *section = &ledger->section[kind];
	if (atomic_load_explicit(&section->used, memory_order_relaxed) + count > section->capacity)
		return section->capacity;
	uint64_t first = atomic_fetch_add_explicit(&section->used, count, memory_order_relaxed);
	uint64_t offset = section->offset + first * section->entry_size_bytes;
	if (first + count > section->capacity ||
	    !ledger_file_populate(ledger, offset, count * section->entry_size_bytes))
		return section->capacity;
	return first;
}

static uint64_t mix(uint64_t hash, uint64_t word) {
	hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
	return hash ^ hash >> 32;
}

static uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t length_bytes) {
	const char *at = bytes;
	for (; length_bytes >= 8; at += 8, length_bytes -= 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		hash = mix(hash, word);
	}
	uint64_t rest = length_bytes;
	for (size_t i = 0; i < length_bytes; i++)
		rest = rest << 8 | (unsigned char)at[i];
	return mix(hash, rest);
}

/* ---- One way of interning for every table ------------------------------------------------------ */

/* What a table needs to be interned: how to compare an entry with a key, and how to make one. Ids in an
 * index are never 0. `make` returns 0 when nothing more fits. */
struct interning {
	enum ledger_section_kind index;
	enum ledger_loss loss;
	bool (*is_equal)(struct ledger_header *ledger, uint32_t id, uint64_t hash, const void *key);
	uint32_t (*make)(struct ledger_header *ledger, uint64_t hash, const void *key);
	void (*prepare)(struct ledger_header
				*ledger); /* what is slow about `make`, without taking anything; or NULL */
};

/* Threads of a pool start together. A loser of the race wastes what it made, so all that takes time happens
 * before the last look. */
static bool is_still_empty(struct ledger_header *ledger, const struct interning *how, _Atomic uint32_t *slot,
			   uint32_t *id) {
	if (how->prepare)
		how->prepare(ledger);
	*id = atomic_load_explicit(slot, memory_order_acquire);
	return *id == 0;
}

/*
 * An entry is complete before its id appears in the index, and the index slot is taken by one
 * compare-and-swap from 0: nobody sees half an entry and nobody waits. Who loses the race for a slot
 * uses the winner's entry if it is equal, else goes on with its own; an entry left without a slot is an
 * orphan that no record names.
 */
static uint32_t intern(struct ledger_header *ledger, const struct interning *how, uint64_t hash,
		       const void *key) {
	uint64_t mask = ledger->section[how->index].capacity - 1;
	uint32_t own = 0;
	for (uint64_t probe = 0; probe < PROBES_MAX; probe++) {
		_Atomic uint32_t *slot = ledger_unit(ledger, how->index, (hash + probe) & mask);
		uint32_t id = slot ? atomic_load_explicit(slot, memory_order_acquire) : 0;
		if (slot && id == 0) {
			if (own == 0 && is_still_empty(ledger, how, slot, &id))
				own = how->make(ledger, hash, key);
			if (own != 0 && id == 0 &&
			    atomic_compare_exchange_strong_explicit(slot, &id, own, memory_order_acq_rel,
								    memory_order_acquire))
				return own;
		}
		if (id != 0 && how->is_equal(ledger, id, hash, key))
			return id;
		if (!slot || id == 0)
			break;
	}
	ledger_count_loss(ledger, how->loss);
	return 0;
}

/* ---- Strings ------------------------------------------------------------------------------------- */

struct string_key {
	const char *text;
	size_t length_bytes;
};

static struct ledger_string *string_at(struct ledger_header *ledger, uint32_t id) {
	return ledger_unit(ledger, LEDGER_STRINGS, id);
}

static bool string_is_equal(struct ledger_header *ledger, uint32_t id, uint64_t hash, const void *key) {
	const struct string_key *wanted = key;
	const struct ledger_string *string = string_at(ledger, id);
	return string && string->hash == (uint32_t)hash && string->length_bytes == wanted->length_bytes &&
		memcmp(string + 1, wanted->text, wanted->length_bytes) == 0;
}

static uint32_t string_make(struct ledger_header *ledger, uint64_t hash, const void *key) {
	const struct string_key *wanted = key;
	uint64_t units = (sizeof(struct ledger_string) + wanted->length_bytes + 1 + 7) / 8;
	uint64_t first = take_units(ledger, LEDGER_STRINGS, units);
	struct ledger_string *string = string_at(ledger, (uint32_t)first);
	if (!string)
		return 0;
	string->length_bytes = (uint32_t)wanted->length_bytes;
	string->hash = (uint32_t)hash;
	memcpy(string + 1, wanted->text, wanted->length_bytes);
	return (uint32_t)first;
}

uint32_t ledger_intern_string(struct ledger_header *ledger, const char *text) {
	static const struct interning strings = {LEDGER_STRING_INDEX, LEDGER_LOST_STRINGS, string_is_equal,
						 string_make, NULL};
	if (!text || !*text)
		return 0;
	struct string_key key = {text, strnlen(text, LEDGER_STRING_MAX_BYTES)};
	return intern(ledger, &strings, mix_bytes(1, text, key.length_bytes), &key);
}

const char *ledger_string_text(struct ledger_header *ledger, uint32_t id) {
	const struct ledger_string *string = id ? string_at(ledger, id) : NULL;
	return string ? (const char *)(string + 1) : "";
}

/* ---- Modules --------------------------------------------------------------------------------------- */

static bool module_is_equal(struct ledger_header *ledger, uint32_t id, uint64_t hash, const void *key) {
	const struct ledger_module *wanted = key;
	const struct ledger_module *module = ledger_unit(ledger, LEDGER_MODULES, id - 1);
	return module && module->hash == hash && module->path == wanted->path &&
		module->build_id_length == wanted->build_id_length &&
		module->file_bytes == wanted->file_bytes &&
		memcmp(module->build_id, wanted->build_id, sizeof module->build_id) == 0;
}

static uint32_t module_make(struct ledger_header *ledger, uint64_t hash, const void *key) {
	uint64_t number = take_units(ledger, LEDGER_MODULES, 1);
	struct ledger_module *module = ledger_unit(ledger, LEDGER_MODULES, number);
	if (!module)
		return 0;
	*module = *(const struct ledger_module *)key;
	module->hash = hash;
	return (uint32_t)number + 1;
}

uint32_t ledger_intern_module(struct ledger_header *ledger, const struct ledger_module_facts *facts) {
	static const struct interning modules = {LEDGER_MODULE_INDEX, LEDGER_LOST_MODULES, module_is_equal,
						 module_make, NULL};
	struct ledger_module key = {.path = ledger_intern_string(ledger, facts->path),
				    .text_start = facts->text_start,
				    .text_end = facts->text_end,
				    .file_bytes = facts->file_bytes};
	key.build_id_length = (uint8_t)(facts->build_id_length < sizeof key.build_id ? facts->build_id_length
										     : sizeof key.build_id);
	if (key.build_id_length > 0)
		memcpy(key.build_id, facts->build_id, key.build_id_length);
	uint64_t hash = mix_bytes(mix(2, key.path), key.build_id, sizeof key.build_id);
	return intern(ledger, &modules, mix(hash, key.file_bytes), &key);
}

/* ---- Pools and their endpoints ------------------------------------------------------------------------ */

static bool endpoint_is_equal(struct ledger_header *ledger, uint32_t id, uint64_t hash, const void *key) {
	const struct ledger_endpoint *wanted = key;
	const struct ledger_endpoint *endpoint = ledger_unit(ledger, LEDGER_ENDPOINTS, id - 1);
	return endpoint && endpoint->hash == hash && endpoint->host == wanted->host &&
		endpoint->port == wanted->port && endpoint->database == wanted->database &&
		endpoint->user == wanted->user;
}

static uint32_t endpoint_make(struct ledger_header *ledger, uint64_t hash, const void *key) {
	uint64_t number = take_units(ledger, LEDGER_ENDPOINTS, 1);
	struct ledger_endpoint *endpoint = ledger_unit(ledger, LEDGER_ENDPOINTS, number);
	if (!endpoint)
		return 0;
	*endpoint = *(const struct ledger_endpoint *)key;
	endpoint->hash = hash;
	return (uint32_t)number + 1;
}

static uint32_t intern_endpoint(struct ledger_header *ledger, const struct ledger_endpoint_facts *facts) {
	static const struct interning endpoints = {LEDGER_ENDPOINT_INDEX, LEDGER_LOST_POOLS,
						   endpoint_is_equal, endpoint_make, NULL};
	struct ledger_endpoint key = {.host = ledger_intern_string(ledger, facts->host),
				      .port = ledger_intern_string(ledger, facts->port),
				      .database = ledger_intern_string(ledger, facts->database),
				      .user = ledger_intern_string(ledger, facts->user)};
	uint64_t hash =
		mix(mix(3, (uint64_t)key.host << 32 | key.port), (uint64_t)key.database << 32 | key.user);
	return intern(ledger, &endpoints, hash, &key);
}

void ledger_pool_application_name(struct ledger_header *ledger, uint32_t pool, uint32_t application_name) {
	struct ledger_pool *entry = ledger_unit(ledger, LEDGER_POOLS, pool);
	uint32_t seen = entry ? atomic_load_explicit(&entry->application_name, memory_order_relaxed) : 0;
	if (!entry || seen == application_name || seen == LEDGER_APPLICATION_NAMES_DIFFER)
		return;
	/* Earlier leases without a name differ from this one, too. */
	bool is_first = seen == 0 && atomic_load(&entry->totals.counter[LEDGER_ESTABLISHED]) == 0;
	if (is_first && atomic_compare_exchange_strong(&entry->application_name, &seen, application_name))
		return;
	if (seen != application_name)
		atomic_store_explicit(&entry->application_name, LEDGER_APPLICATION_NAMES_DIFFER,
				      memory_order_relaxed);
}

struct pool_key {
	uint32_t role;
	uint32_t endpoint;
};

static uint64_t hash_pool(const struct pool_key *key) {
	return mix(4, (uint64_t)key->role << 32 | key->endpoint);
}

static bool pool_is_equal(struct ledger_header *ledger, uint32_t id, uint64_t hash, const void *key) {
	const struct pool_key *wanted = key;
	const struct ledger_pool *pool = ledger_unit(ledger, LEDGER_POOLS, id);
	return pool && pool->hash == hash && pool->role == wanted->role && pool->endpoint == wanted->endpoint;
}

static uint32_t pool_make(struct ledger_header *ledger, uint64_t hash, const void *key) {
	const struct pool_key *wanted = key;
	uint64_t number = take_units(ledger, LEDGER_POOLS, 1);
	struct ledger_pool *pool = ledger_unit(ledger, LEDGER_POOLS, number);
	if (!pool)
		return 0;
	uint64_t timeline = take_units(ledger, LEDGER_TIMELINES, 1);
	pool->hash = hash;
	pool->role = wanted->role;
	pool->endpoint = wanted->endpoint;
	pool->timeline = timeline < ledger->section[LEDGER_TIMELINES].capacity ? (uint32_t)timeline : 0;
	return (uint32_t)number;
}

static void touch_next(struct ledger_header *ledger, enum ledger_section_kind kind) {
	ledger_unit(ledger, kind, atomic_load_explicit(&ledger->section[kind].used, memory_order_relaxed));
}

/* Timelines are few and large: each begins with pages that nobody touched yet. */
static void pool_prepare(struct ledger_header *ledger) {
	touch_next(ledger, LEDGER_POOLS);
	touch_next(ledger, LEDGER_TIMELINES);
}

static bool is_text(struct ledger_header *ledger, uint32_t id, const char *text) {
	return strcmp(ledger_string_text(ledger, id), text ? text : "") == 0;
}

static bool is_endpoint(struct ledger_header *ledger, uint32_t id,
			const struct ledger_endpoint_facts *facts) {
	const struct ledger_endpoint *endpoint = id ? ledger_unit(ledger, LEDGER_ENDPOINTS, id - 1) : NULL;
	if (!endpoint || !facts)
		return !endpoint && !facts;
	return is_text(ledger, endpoint->host, facts->host) && is_text(ledger, endpoint->port, facts->port) &&
		is_text(ledger, endpoint->database, facts->database) &&
		is_text(ledger, endpoint->user, facts->user);
}

/* Whether the entry, if it is a whole one, is what the caller looks for. */
static bool is_pool(struct ledger_header *ledger, uint32_t number, uint32_t role,
		    const struct ledger_endpoint_facts *facts) {
	const struct ledger_pool *pool = ledger_unit(ledger, LEDGER_POOLS, number);
	struct pool_key key = {role, pool ? pool->endpoint : 0};
	return pool_is_equal(ledger, number, hash_pool(&key), &key) &&
		is_endpoint(ledger, key.endpoint, facts);
}

uint32_t ledger_intern_pool(struct ledger_header *ledger, uint32_t role,
			    const struct ledger_endpoint_facts *endpoint) {
	static const struct interning pools = {LEDGER_POOL_INDEX, LEDGER_LOST_POOLS, pool_is_equal, pool_make,
					       pool_prepare};
	/* A thread hardly ever changes its pool: comparing texts is cheaper than looking each of them up. */
	static __thread uint32_t last;
	if (last != LEDGER_POOL_OTHER && is_pool(ledger, last, role, endpoint))
		return last;
	struct pool_key key = {role, endpoint ? intern_endpoint(ledger, endpoint) : 0};
	last = intern(ledger, &pools, hash_pool(&key), &key);
	return last;
}

/* ---- Who released what ------------------------------------------------------------------------------- */

struct releaser_key {
	uint32_t site;
	uint32_t release_site;
	uint32_t facts;
	uint32_t use_site;
};

static bool releaser_is_equal(struct ledger_header *ledger, uint32_t id, uint64_t hash, const void *key) {
	const struct releaser_key *wanted = key;
	const struct ledger_releaser *releaser = ledger_unit(ledger, LEDGER_RELEASERS, id - 1);
	return releaser && releaser->hash == hash && releaser->site == wanted->site &&
		releaser->release_site == wanted->release_site && releaser->facts == wanted->facts &&
		releaser->use_site == wanted->use_site;
}

static uint32_t releaser_make(struct ledger_header *ledger, uint64_t hash, const void *key) {
	const struct releaser_key *wanted = key;
	uint64_t number = take_units(ledger, LEDGER_RELEASERS, 1);
	struct ledger_releaser *releaser = ledger_unit(ledger, LEDGER_RELEASERS, number);
	if (!releaser)
		return 0;
	releaser->hash = hash;
	releaser->site = wanted->site;
	releaser->release_site = wanted->release_site;
	releaser->facts = wanted->facts;
	releaser->use_site = wanted->use_site;
	return (uint32_t)number + 1;
}

void ledger_add_release(const struct ledger_account *account, uint32_t release_site, uint32_t facts,
			uint32_t use_site, uint64_t now_ns) {
	static const struct interning releasers = {LEDGER_RELEASER_INDEX, LEDGER_LOST_RELEASERS,
						   releaser_is_equal, releaser_make, NULL};
	/* Most threads release in one place what they took in one place. */
	static __thread uint32_t last;
	struct releaser_key key = {account->site, release_site, facts, use_site};
	uint64_t hash = mix(mix(6, (uint64_t)key.site << 32 | key.release_site),
			    (uint64_t)key.use_site << 32 | key.facts);
	bool is_last = last && releaser_is_equal(account->ledger, last, hash, &key);
	uint32_t id = is_last ? last : intern(account->ledger, &releasers, hash, &key);
	last = id;
	struct ledger_releaser *releaser = id ? ledger_unit(account->ledger, LEDGER_RELEASERS, id - 1) : NULL;
	if (!releaser)
		return;
	ledger_widen(&releaser->inverted_first_ns, &releaser->last_ns, now_ns);
	atomic_fetch_add_explicit(&releaser->count, 1, memory_order_relaxed);
}

/* ---- Sites ------------------------------------------------------------------------------------------- */

struct site_key {
	const struct ledger_frame *frames;
	uint32_t count;
	uint16_t flags;
};

static bool site_is_equal(struct ledger_header *ledger, uint32_t id, uint64_t hash, const void *key) {
	const struct site_key *wanted = key;
	const struct ledger_site *site = ledger_unit(ledger, LEDGER_SITES, id);
	if (!site || site->hash != hash || site->frame_count != wanted->count || site->flags != wanted->flags)
		return false;
	const struct ledger_frame *frames = ledger_unit(ledger, LEDGER_FRAMES, site->first_frame);
	return frames && memcmp(frames, wanted->frames, wanted->count * sizeof *frames) == 0;
}

static uint32_t site_make(struct ledger_header *ledger, uint64_t hash, const void *key) {
	const struct site_key *wanted = key;
	uint64_t number = take_units(ledger, LEDGER_SITES, 1);
	struct ledger_site *site = ledger_unit(ledger, LEDGER_SITES, number);
	uint64_t first = site ? take_units(ledger, LEDGER_FRAMES, wanted->count) : 0;
	struct ledger_frame *frames = site ? ledger_unit(ledger, LEDGER_FRAMES, first) : NULL;
	if (!frames)
		return 0;
	memcpy(frames, wanted->frames, wanted->count * sizeof *frames);
	site->hash = hash;
	site->first_frame = (uint32_t)first;
	site->frame_count = (uint16_t)wanted->count;
	site->flags = wanted->flags;
	return (uint32_t)number;
}

uint32_t ledger_intern_site(struct ledger_header *ledger, const struct ledger_frame *frames, uint32_t count,
			    uint16_t flags) {
	static const struct interning sites = {LEDGER_SITE_INDEX, LEDGER_LOST_SITES, site_is_equal, site_make,
					       NULL};
	if (count == 0)
		return LEDGER_SITE_NONE;
	struct site_key key = {frames, count, flags};
	uint32_t site =
		intern(ledger, &sites, mix_bytes(mix(5, flags), frames, count * sizeof *frames), &key);
	return site ? site : LEDGER_SITE_LOST;
}
