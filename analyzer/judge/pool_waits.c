#include "analyzer/judge/pool_waits.h"

#include <string.h>

/* ---- Behind a pooler -------------------------------------------------------------------------------------------- */

/* The kernel's PID_MAX_LIMIT. A pooler tells a random number of 32 bits: one of a thousand looks like a process id. */
enum { HIGHEST_PROCESS_ID = 4 * 1024 * 1024 };

static bool is_poolers(int32_t backend_pid) {
	return backend_pid < 0 || backend_pid > HIGHEST_PROCESS_ID;
}

static bool is_same_port(const struct model *model, uint32_t pool, uint32_t other) {
	const struct model_pool *a = &model->pools[pool];
	const struct model_pool *b = &model->pools[other];
	return other == pool ||
		(a->port[0] != '\0' && strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0);
}

bool pool_waits_is_pooled(const struct model *model, uint32_t pool) {
	for (size_t i = 0; i < model->lease_count; i++)
		if (is_poolers(model->leases[i].backend_pid) &&
		    is_same_port(model, pool, model->leases[i].pool))
			return true;
	for (size_t i = 0; i < model->history_count; i++)
		if (is_poolers(model->history[i].backend_pid) &&
		    is_same_port(model, pool, model->history[i].pool))
			return true;
	return false;
}

/* ---- Now -------------------------------------------------------------------------------------------------------- */

static double age_s(uint64_t begun_ns, uint64_t until_ns) {
	return begun_ns != 0 && until_ns > begun_ns ? (double)(until_ns - begun_ns) / 1e9 : 0;
}

static bool is_of(const struct model_lease *lease, const struct report_pool *pool) {
	return lease->pool == pool->number && !lease->is_owner_gone;
}

static bool is_in_first_command(const struct model_lease *lease) {
	return lease->is_in_use && lease->command_begun_ns != 0 && lease->use_commands == 1 &&
		!lease->is_dedicated;
}

static bool is_empty_command(const struct model_lease *lease) {
	return strcmp(lease->statement, "BEGIN") == 0;
}

static int64_t count_connecting(const struct model *model, const struct report_pool *pool) {
	int64_t count = 0;
	for (size_t i = 0; i < model->lease_count; i++)
		count += is_of(&model->leases[i], pool) && model->leases[i].state == MODEL_LEASE_CONNECTING;
	return count;
}

/* First commands in flight for longer than an answer of the server takes. */
static int64_t count_first_commands(const struct model *model, const struct report_pool *pool, double than_s,
				    bool only_empty) {
	int64_t count = 0;
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		count += is_of(lease, pool) && is_in_first_command(lease) &&
			(!only_empty || is_empty_command(lease)) &&
			age_s(lease->command_begun_ns, model->run.until_ns) >= than_s;
	}
	return count;
}

static int64_t above_capacity(const struct report_pool *pool) {
	bool is_known = pool->capacity != REPORT_UNKNOWN && pool->in_use != REPORT_UNKNOWN;
	return is_known && pool->in_use > pool->capacity ? pool->in_use - pool->capacity : 0;
}

/* Of a pool without a pooler: its own queue is out of sight while it has nothing left to give. */
static int64_t waiting_to_connect(int64_t connecting, const struct report_pool *pool) {
	bool is_full = pool->in_use >= pool->open && pool->open > 0 &&
		(pool->capacity == REPORT_UNKNOWN || pool->in_use >= pool->capacity);
	return connecting == 0 && is_full ? REPORT_UNKNOWN : connecting;
}

int64_t pool_waits_now(const struct model *model, const struct report_pool *pool,
		       const struct thresholds *thresholds) {
	int64_t connecting = count_connecting(model, pool);
	if (!pool->is_pooled)
		return waiting_to_connect(connecting, pool);
	int64_t candidates = count_first_commands(model, pool, thresholds->connect_warning, false);
	int64_t certain = count_first_commands(model, pool, thresholds->connect_warning, true);
	int64_t above = above_capacity(pool);
	if (above > candidates)
		above = candidates;
	if (above > certain)
		certain = above;
	if (connecting + certain == 0 && candidates > 0 && pool->capacity == REPORT_UNKNOWN)
		return REPORT_UNKNOWN;
	return connecting + certain;
}

/* ---- Long waits ------------------------------------------------------------------------------------------------- */

/* How many of the pool's uses went on at an instant, this one's not. */
static int64_t in_use_at(const struct model *model, uint32_t pool, uint64_t instant_ns) {
	int64_t count = 0;
	for (size_t i = 0; i < model->use_count; i++)
		count += model->uses[i].pool == pool && model->uses[i].begun_ns < instant_ns &&
			model->uses[i].ended_ns > instant_ns;
	for (size_t i = 0; i < model->lease_count; i++)
		count += model->leases[i].pool == pool && model->leases[i].is_in_use &&
			model->leases[i].use_begun_ns < instant_ns;
	return count;
}

static bool was_full(const struct model *model, const struct report_pool *pool, uint64_t instant_ns) {
	return pool->capacity != REPORT_UNKNOWN &&
		in_use_at(model, pool->number, instant_ns) >= pool->capacity;
}

static void add_wait(struct pool_waits *waits, uint64_t length_ns, uint64_t ended_ns, uint32_t site) {
	waits->count++;
	if (length_ns > waits->longest_ns) {
		waits->longest_ns = length_ns;
		waits->site = site;
	}
	if (waits->first_ns == 0 || ended_ns < waits->first_ns)
		waits->first_ns = ended_ns;
	if (ended_ns > waits->last_ns)
		waits->last_ns = ended_ns;
}

static void add_uses(struct pool_waits *waits, const struct model *model, const struct report_pool *pool,
		     double than_s) {
	for (size_t i = 0; pool->is_pooled && i < model->use_count; i++) {
		const struct model_use *use = &model->uses[i];
		/* Who was refused in the end is a failure already. */
		if (use->pool != pool->number || use->is_broken || use->is_dedicated ||
		    (double)use->first_command_ns / 1e9 < than_s)
			continue;
		if (use->is_begun_empty || was_full(model, pool, use->begun_ns))
			add_wait(waits, use->first_command_ns, use->begun_ns + use->first_command_ns,
				 use->site);
	}
}

/* The first command of a use that goes on, in flight or behind it. */
static uint64_t first_command_of(const struct model *model, const struct model_lease *lease) {
	if (!is_in_first_command(lease))
		return lease->is_in_use ? lease->use_first_command_ns : 0;
	return model->run.until_ns > lease->command_begun_ns ? model->run.until_ns - lease->command_begun_ns
							     : 0;
}

static void add_leases(struct pool_waits *waits, const struct model *model, const struct report_pool *pool,
		       double than_s) {
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		uint64_t first_ns = first_command_of(model, lease);
		if (pool->is_pooled && is_of(lease, pool) && !lease->is_broken && !lease->is_dedicated &&
		    (double)first_ns / 1e9 >= than_s &&
		    (lease->is_begun_empty || was_full(model, pool, lease->use_begun_ns)))
			add_wait(waits, first_ns, lease->use_begun_ns + first_ns, lease->last_use_site);
		uint64_t connect_ns =
			lease->established_ns > lease->begun_ns ? lease->established_ns - lease->begun_ns : 0;
		if (is_of(lease, pool) && lease->was_established && (double)connect_ns / 1e9 >= than_s &&
		    was_full(model, pool, lease->begun_ns))
			add_wait(waits, connect_ns, lease->established_ns, lease->site);
	}
}

static void add_history(struct pool_waits *waits, const struct model *model, const struct report_pool *pool,
			double than_s) {
	for (size_t i = 0; i < model->history_count; i++) {
		const struct model_ended *ended = &model->history[i];
		if (ended->pool == pool->number && ended->established_ns != 0 &&
		    (double)ended->connect_ns / 1e9 >= than_s && was_full(model, pool, ended->begun_ns))
			add_wait(waits, ended->connect_ns, ended->established_ns, ended->site);
	}
}

struct pool_waits pool_waits_long(const struct model *model, const struct report_pool *pool,
				  const struct thresholds *thresholds) {
	struct pool_waits waits = {0};
	double than_s = thresholds->connect_critical;
	add_uses(&waits, model, pool, than_s);
	add_leases(&waits, model, pool, than_s);
	add_history(&waits, model, pool, than_s);
	return waits;
}
