#include "analyzer/judge/pool_load.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "analyzer/judge/pool_plateau.h"
#include "analyzer/judge/pool_waits.h"
#include "analyzer/judge/pool_window.h"
#include "analyzer/server/server_witness.h"

/* ---- Capacity ----------------------------------------------------------------------------------- */

static const struct report_capacity *said_of(const struct report_settings *settings, const char *role) {
	for (size_t i = 0; i < settings->capacity_count; i++)
		if (fnmatch(settings->capacities[i].role, role, 0) == 0)
			return &settings->capacities[i];
	return NULL;
}

static void take_configured(struct report_pool *pool, const struct report_settings *settings) {
	static const struct report_capacity nothing;
	const struct report_capacity *said = said_of(settings, pool->role != NULL ? pool->role : "");
	if (said == NULL)
		said = &nothing;
	int64_t capacity = said->capacity > 0 ? said->capacity : settings->limit;
	if (said->base_size > 0)
		pool->base_size = said->base_size;
	if (said->reserved > 0)
		pool->reserved = said->reserved;
	if (capacity <= 0)
		return;
	pool->capacity = capacity;
	pool->capacity_source = "configured";
}

static void take_inferred(struct report_pool *pool, const struct model *model, const int64_t *takers) {
	int64_t capacity = pool_plateau_capacity(&model->pools[pool->number], takers[pool->number]);
	if (pool->capacity != REPORT_UNKNOWN || capacity == 0)
		return;
	pool->capacity = capacity;
	pool->capacity_source = "inferred";
}

/* What the server grants at most, all roles together unless the role or the database has a limit of its own. */
static void take_servers(struct report_pool *pool, const struct server_reading *server) {
	const struct server_role *role = pool->user != NULL ? server_witness_role(server, pool->user) : NULL;
	const struct server_database *database =
		pool->database != NULL ? server_witness_database(server, pool->database) : NULL;
	if (pool->capacity != REPORT_UNKNOWN || server->is_behind_pooler ||
	    server->max_connections == SERVER_WITNESS_UNKNOWN)
		return;
	int64_t slots = server->max_connections - server->reserved;
	if (role != NULL && role->connection_limit != SERVER_WITNESS_UNKNOWN &&
	    role->connection_limit < slots)
		slots = role->connection_limit;
	if (database != NULL && database->connection_limit != SERVER_WITNESS_UNKNOWN &&
	    database->connection_limit < slots)
		slots = database->connection_limit;
	if (slots <= 0)
		return;
	pool->capacity = slots;
	pool->capacity_source = "server";
}

/* ---- Level -------------------------------------------------------------------------------------- */

const char *pool_load_status(double in_use, int64_t capacity, bool has_refused,
			     const struct thresholds *thresholds) {
	if (has_refused)
		return "exhausted";
	if (capacity == REPORT_UNKNOWN || isnan(in_use))
		return "unknown";
	/* Rounded as people see it: 90 % of 10 is 9, whatever a binary fraction says. */
	double ratio = round(in_use / (double)capacity * 1e6) / 1e6;
	return ratio >= thresholds->utilization_critical   ? "critical"
		: ratio >= thresholds->utilization_warning ? "warning"
							   : "healthy";
}

bool pool_load_is_for_lack_of_slots(const char *class_name) {
	static const char *const classes[] = {"too_many_clients", "reserved_slots", "role_limit",
					      "database_limit", "pooler_limit"};
	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
		if (strcmp(class_name, classes[i]) == 0)
			return true;
	return false;
}

/* When somebody was refused for lack of slots last; 0: never. */
static uint64_t last_refusal_ns(const struct model *model) {
	uint64_t last_ns = 0;
	for (size_t i = 0; i < model->failure_count; i++)
		if (pool_load_is_for_lack_of_slots(model->failures[i].class_name) &&
		    model->failures[i].last_ns > last_ns)
			last_ns = model->failures[i].last_ns;
	return last_ns;
}

static bool is_within(const struct model *model, uint64_t instant_ns, double window_ns) {
	if (instant_ns == 0)
		return false;
	return !model->run.is_live || instant_ns >= model->run.until_ns ||
		(double)(model->run.until_ns - instant_ns) <= window_ns;
}

/* A pooler refuses with the first command: no attempt failed, but the moment was kept. */
static uint64_t last_snapshot_ns(const struct model *model, uint32_t pool) {
	uint64_t last_ns = 0;
	for (size_t i = 0; i < model->snapshot_count; i++)
		if (model->snapshots[i].pool == pool && model->snapshots[i].at_ns > last_ns)
			last_ns = model->snapshots[i].at_ns;
	return last_ns;
}

/* Failures are counted by reason and by pool, not by both: a pool without failed attempts was refused what was
 * kept in snapshots, if anything. */
static bool has_refused(const struct model *model, uint32_t pool, double window_ns) {
	bool has_failed = model->pools[pool].totals.counter[MODEL_FAILED] > 0;
	return (has_failed && is_within(model, last_refusal_ns(model), window_ns)) ||
		is_within(model, last_snapshot_ns(model, pool), window_ns);
}

static bool has_waited(const struct model *model, const struct report_pool *pool,
		       const struct report_settings *settings) {
	struct pool_waits waits = pool_waits_long(model, pool, &settings->thresholds);
	return is_within(model, waits.last_ns, settings->thresholds.utilization_window * 1e9);
}

/* ---- In use, over time -------------------------------------------------------------------------- */

static double span_ns(uint64_t from_ns, uint64_t to_ns) {
	return from_ns != 0 && to_ns > from_ns ? (double)(to_ns - from_ns) : 0;
}

/* From the pool's first event to its last one, or to now. */
static double life_ns(const struct model *model, const struct report_pool *pool) {
	const struct model_totals *totals = &model->pools[pool->number].totals;
	uint64_t first_ns = totals->first_ns;
	uint64_t last_ns = totals->last_ns;
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		if (lease->pool != pool->number)
			continue;
		if (first_ns == 0 || lease->begun_ns < first_ns)
			first_ns = lease->begun_ns;
		if (lease->until_ns > last_ns)
			last_ns = lease->until_ns;
	}
	return span_ns(first_ns, last_ns);
}

/* Uses that have ended, and those of connections in use now. */
static double used_ns(const struct model *model, const struct report_pool *pool) {
	double used = (double)model->pools[pool->number].totals.time[MODEL_USE_TIME].sum_ns;
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		if (lease->pool == pool->number && lease->is_in_use)
			used += span_ns(lease->use_begun_ns, lease->until_ns);
	}
	return used;
}

static int64_t at_least_zero(int64_t value) {
	return value > 0 ? value : 0;
}

/* A pool without a timeline of its own is judged by its mean, if it is old enough to have one. */
static double lasting_level(const struct model *model, const struct report_pool *pool, double now,
			    double life_ns, double window_ns) {
	double lasted = pool_window_level(model, pool->number, window_ns / 1e9);
	if (isnan(lasted) && life_ns >= window_ns)
		lasted = pool->mean_in_use;
	return fmin(now, lasted);
}

static void fill_levels(struct report_pool *pool, const struct model *model,
			const struct report_settings *settings) {
	bool is_known = pool->in_use != REPORT_UNKNOWN;
	bool has_capacity = pool->capacity != REPORT_UNKNOWN;
	double life = life_ns(model, pool);
	double window_ns = settings->thresholds.utilization_window * 1e9;
	pool->mean_in_use = is_known && life > 0 ? used_ns(model, pool) / life : NAN;
	pool->idle = is_known ? at_least_zero(pool->open - pool->in_use) : REPORT_UNKNOWN;
	if (pool->base_size != REPORT_UNKNOWN)
		pool->overflow = at_least_zero(pool->open - pool->base_size);
	double level = model->run.is_live && is_known ? (double)pool->in_use : pool->mean_in_use;
	if (is_known && has_capacity) {
		pool->available = at_least_zero(pool->capacity - pool->in_use);
		pool->utilization = level / (double)pool->capacity;
	}
	if (is_known && model->run.is_live)
		pool->waiting = pool_waits_now(model, pool, &settings->thresholds);
	/* A peak of a moment is no trouble: live, a level counts that has lasted. */
	double lasting =
		model->run.is_live && is_known ? lasting_level(model, pool, level, life, window_ns) : level;
	pool->status = pool_load_status(lasting, pool->capacity,
					has_refused(model, pool->number, window_ns) ||
						has_waited(model, pool, settings),
					&settings->thresholds);
}

/* ---- How it began ------------------------------------------------------------------------------- */

enum { SECONDS_KEPT = 299 };

static uint64_t sum_cells(const struct model_series *series, uint32_t from, uint32_t before) {
	uint64_t sum = 0;
	for (size_t i = 0; i < series->cell_count; i++)
		if (series->cells[i].epoch >= from && series->cells[i].epoch < before)
			sum += series->cells[i].value;
	return sum;
}

/* What was open when `from` began goes on until a cell says otherwise. */
static uint64_t most_open(const struct model_timeline *timeline, int resolution, uint32_t from,
			  uint32_t before) {
	const struct model_series *open = &timeline->series[resolution][MODEL_METRIC_OPEN];
	const struct model_series *peak = &timeline->series[resolution][MODEL_METRIC_OPEN_PEAK];
	uint64_t most = 0;
	for (size_t i = 0; i < open->cell_count && open->cells[i].epoch < from; i++)
		most = open->cells[i].value;
	for (size_t i = 0; i < peak->cell_count; i++)
		if (peak->cells[i].epoch >= from && peak->cells[i].epoch < before &&
		    peak->cells[i].value > most)
			most = peak->cells[i].value;
	return most;
}

bool pool_load_measure_start(struct pool_load_start *start, const struct model *model, double window_s) {
	double run_s = span_ns(model->run.created_ns, model->run.until_ns) / 1e9;
	int resolution = run_s <= SECONDS_KEPT ? MODEL_SECONDS : MODEL_MINUTES;
	double epoch_s = resolution == MODEL_SECONDS ? 1 : 60;
	const struct model_series *attempts = &model->timeline.series[resolution][MODEL_METRIC_ATTEMPTS];
	*start = (struct pool_load_start){0};
	if (attempts->cell_count == 0)
		return false;
	uint32_t first = attempts->cells[0].epoch;
	uint32_t behind = first + (uint32_t)ceil(window_s / epoch_s);
	if (run_s < behind * epoch_s)
		return false;
	start->begun_ns = model->run.created_ns + (uint64_t)(first * epoch_s * 1e9);
	start->attempts = sum_cells(attempts, first, behind);
	start->failures =
		sum_cells(&model->timeline.series[resolution][MODEL_METRIC_FAILURES], first, behind);
	start->peak = most_open(&model->timeline, resolution, first, behind);
	start->steady_peak = most_open(&model->timeline, resolution, behind, UINT32_MAX);
	return true;
}

/* ---- Sentences ---------------------------------------------------------------------------------- */

static bool is_same(const char *a, const char *b) {
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

const char *pool_load_name(struct report *report, const struct report_pool *pool) {
	const char *role = pool->role != NULL ? pool->role : "?";
	size_t endpoints = 0;
	for (size_t i = 0; i < report->pool_count; i++)
		endpoints += is_same(report->pools[i].role, pool->role);
	if (endpoints <= 1)
		return role;
	return arena_text(&report->arena, "%s %s@%s:%s/%s", role, pool->user != NULL ? pool->user : "?",
			  pool->host != NULL ? pool->host : "?", pool->port != NULL ? pool->port : "?",
			  pool->database != NULL ? pool->database : "?");
}

static const char *say_source(const struct report_pool *pool) {
	return pool->capacity_source != NULL && strcmp(pool->capacity_source, "inferred") == 0
		? ", capacity inferred"
		: "";
}

static const char *say_live(struct report *report, const struct report_pool *pool, const char *name) {
	const char *waiting = pool->waiting == REPORT_UNKNOWN
		? "waiting unknown"
		: arena_text(&report->arena, "%" PRId64 " waiting", pool->waiting);
	if (pool->capacity == REPORT_UNKNOWN)
		return arena_text(&report->arena,
				  "Pool '%s': %" PRId64 " active, %" PRId64 " idle, %s (capacity unknown)",
				  name, pool->in_use, pool->idle, waiting);
	return arena_text(&report->arena,
			  "Pool '%s': %.0f%% utilized (%" PRId64 "/%" PRId64 " active, %" PRId64
			  " idle, %s%s)",
			  name, 100 * pool->utilization, pool->in_use, pool->capacity, pool->available,
			  waiting, say_source(pool));
}

static const char *say_ended(struct report *report, const struct report_pool *pool, const char *name) {
	if (pool->capacity == REPORT_UNKNOWN)
		return arena_text(&report->arena,
				  "Pool '%s': %.1f active on average, peak %" PRId64 " (capacity unknown)",
				  name, pool->mean_in_use, pool->peak_in_use);
	return arena_text(&report->arena,
			  "Pool '%s': %.0f%% utilized on average (%.1f/%" PRId64 " active, peak %" PRId64
			  "%s)",
			  name, 100 * pool->utilization, pool->mean_in_use, pool->capacity, pool->peak_in_use,
			  say_source(pool));
}

static const char *say_load(struct report *report, const struct report_pool *pool) {
	if (pool->in_use == REPORT_UNKNOWN || (!report->run.live && isnan(pool->mean_in_use)))
		return NULL;
	const char *name = pool_load_name(report, pool);
	return report->run.live ? say_live(report, pool, name) : say_ended(report, pool, name);
}

/* ---- All pools ---------------------------------------------------------------------------------- */

static bool is_same_endpoint(const struct report_pool *a, const struct report_pool *b) {
	return is_same(a->host, b->host) && is_same(a->port, b->port) && is_same(a->database, b->database);
}

/* Roles at one endpoint compete for the same slots, whoever logs in. */
static double share_of(const struct report *report, const struct report_pool *pool) {
	double all = 0;
	for (size_t i = 0; i < report->pool_count; i++)
		if (is_same_endpoint(&report->pools[i], pool))
			all += report->pools[i].mean_open;
	return all > 0 ? pool->mean_open / all : NAN;
}

void pool_load_fill(struct report *report, const struct model *model,
		    const struct report_settings *settings) {
	const int64_t *takers = pool_plateau_takers(model, &report->arena);
	for (size_t i = 0; i < report->pool_count; i++) {
		struct report_pool *pool = &report->pools[i];
		take_configured(pool, settings);
		take_inferred(pool, model, takers);
		if (settings->server != NULL)
			take_servers(pool, settings->server);
		pool->is_pooled = pool_waits_is_pooled(model, pool->number);
		fill_levels(pool, model, settings);
		pool->share = share_of(report, pool);
		pool->name = pool_load_name(report, pool);
		pool->sentence = say_load(report, pool);
	}
}
