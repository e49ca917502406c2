#include "analyzer/live/health.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "analyzer/instant.h"
#include "analyzer/live/history.h"
#include "analyzer/judge/restarts.h"
#include "analyzer/text.h"

/* ---- Values ----------------------------------------------------------------------------------------- */

static json_t *text(const char *value) {
	struct arena arena = {0};
	json_t *json = value != NULL ? json_string(text_valid_utf8(&arena, value)) : json_null();
	arena_release(&arena);
	return json;
}

static json_t *count(int64_t value) {
	return value != REPORT_UNKNOWN ? json_integer(value) : json_null();
}

static json_t *percent(double ratio, double steps) {
	return isfinite(ratio) ? json_real(round(ratio * 100 * steps) / steps) : json_null();
}

static json_t *whole_percent(double ratio) {
	return isfinite(ratio) ? json_integer((json_int_t)llround(ratio * 100)) : json_null();
}

static json_t *realtime(uint64_t realtime_ns) {
	char instant[INSTANT_TEXT_BYTES];
	instant_format(instant, realtime_ns);
	return json_string(instant);
}

static json_t *timestamp_of(const struct report *report) {
	return realtime(report->until_realtime_ns);
}

static int64_t difference(int64_t a, int64_t b) {
	return a != REPORT_UNKNOWN && b != REPORT_UNKNOWN ? a - b : REPORT_UNKNOWN;
}

/* ---- Words -------------------------------------------------------------------------------------------- */

/* From good to bad; what a pool's word makes of the whole. */
static const struct word {
	const char *pool;
	const char *overall;
	const char *database;
} words[] = {{"healthy", "healthy", "healthy"},
	     {"unknown", "degraded", "unknown"},
	     {"warning", "warning", "warning"},
	     {"critical", "critical", "critical"},
	     {"exhausted", "critical", "critical"}};

static size_t rank_of(const char *pool_word) {
	size_t rank = 0;
	while (rank < sizeof words / sizeof words[0] - 1 && strcmp(words[rank].pool, pool_word) != 0)
		rank++;
	return rank;
}

struct found_pool {
	const struct report *report;
	const struct report_pool *pool; /* NULL: there is none */
};

static bool is_worse(const struct report_pool *pool, const struct report_pool *than) {
	if (than == NULL || rank_of(pool->status) != rank_of(than->status))
		return than == NULL || rank_of(pool->status) > rank_of(than->status);
	double load = isfinite(pool->utilization) ? pool->utilization : -1;
	double other = isfinite(than->utilization) ? than->utilization : -1;
	return load > other;
}

static struct found_pool worst_pool(const struct health_subject *subject, const char *name) {
	struct found_pool found = {subject->count > 0 ? subject->reports[0] : NULL, NULL};
	for (size_t i = 0; i < subject->count; i++)
		for (size_t j = 0; j < subject->reports[i]->pool_count; j++) {
			const struct report_pool *pool = &subject->reports[i]->pools[j];
			if ((name == NULL || strcmp(name, pool->name) == 0) && is_worse(pool, found.pool))
				found = (struct found_pool){subject->reports[i], pool};
		}
	return found;
}

const char *health_overall_word(const struct health_subject *subject) {
	struct found_pool worst = worst_pool(subject, NULL);
	return worst.pool != NULL ? words[rank_of(worst.pool->status)].overall : "degraded";
}

const char *health_worst_word(const struct health_subject *subject) {
	struct found_pool worst = worst_pool(subject, NULL);
	return worst.pool != NULL ? words[rank_of(worst.pool->status)].database : "unknown";
}

/* ---- One pool --------------------------------------------------------------------------------------------- */

static void set_pool_numbers(json_t *object, const struct report_pool *pool) {
	int64_t size = pool->base_size != REPORT_UNKNOWN ? pool->base_size : pool->capacity;
	json_object_set_new(object, "pool_size", count(size));
	json_object_set_new(object, "max_overflow", count(difference(pool->capacity, pool->base_size)));
	json_object_set_new(object, "available", count(pool->available));
	json_object_set_new(object, "in_use", count(pool->in_use));
	json_object_set_new(object, "overflow_active", count(pool->overflow));
	json_object_set_new(object, "total_capacity", count(pool->capacity));
	json_object_set_new(object, "usage_percent", percent(pool->utilization, 10));
}

static json_t *no_pool(void) {
	return json_pack("{s:s, s:s}", "status", "unknown", "message", "Pool monitor not initialized");
}

json_t *health_database(const struct health_subject *subject, const char *pool_name, size_t recent) {
	struct found_pool found = worst_pool(subject, pool_name);
	if (found.pool == NULL)
		return no_pool();
	json_t *object = json_object();
	json_object_set_new(object, "status", text(words[rank_of(found.pool->status)].database));
	json_object_set_new(object, "pool", text(found.pool->name));
	set_pool_numbers(object, found.pool);
	json_object_set_new(object, "timestamp", timestamp_of(found.report));
	if (recent > 0) {
		struct health_subject its_run = {&found.report, 1};
		json_object_set_new(object, "recent_history", health_history(&its_run, recent, 1));
	}
	return object;
}

json_t *health_aggregate(const struct health_subject *subject) {
	const char *word = health_overall_word(subject);
	json_t *object = json_object();
	json_object_set_new(object, "ok", json_boolean(strcmp(word, "critical") != 0));
	json_object_set_new(object, "status", text(word));
	json_object_set_new(object, "timestamp", realtime(instant_realtime_ns()));
	json_t *components = json_object();
	json_object_set_new(components, "database", health_database(subject, NULL, 0));
	json_object_set_new(object, "components", components);
	return object;
}

/* ---- All pools ----------------------------------------------------------------------------------------------- */

static json_t *pool_entry(const struct report *report, const struct report_pool *pool) {
	json_t *entry = json_object();
	json_object_set_new(entry, "poolName", text(pool->name));
	json_object_set_new(entry, "totalCount", count(pool->open));
	json_object_set_new(entry, "idleCount", count(pool->idle));
	json_object_set_new(entry, "waitingCount", count(pool->waiting));
	json_object_set_new(entry, "utilizationPercent", whole_percent(pool->utilization));
	json_object_set_new(entry, "status", text(pool->status));
	json_object_set_new(entry, "timestamp", timestamp_of(report));
	return entry;
}

static json_t *pool_entries(const struct health_subject *subject) {
	json_t *pools = json_array();
	for (size_t i = 0; i < subject->count; i++)
		for (size_t j = 0; j < subject->reports[i]->pool_count; j++)
			json_array_append_new(
				pools, pool_entry(subject->reports[i], &subject->reports[i]->pools[j]));
	return pools;
}

json_t *health_readiness(const struct health_subject *subject) {
	json_t *object = json_object();
	json_object_set_new(object, "status", text(health_overall_word(subject)));
	json_object_set_new(object, "timestamp", realtime(instant_realtime_ns()));
	json_object_set_new(object, "pools", pool_entries(subject));
	return object;
}

/* ---- History ---------------------------------------------------------------------------------------------------- */

static enum model_resolution resolution_of(unsigned interval) {
	return interval >= 3600 ? MODEL_HOURS : interval >= 60 ? MODEL_MINUTES : MODEL_SECONDS;
}

static int64_t capacity_of_all(const struct report *report) {
	int64_t sum = report->pool_count > 0 ? 0 : REPORT_UNKNOWN;
	for (size_t i = 0; i < report->pool_count && sum != REPORT_UNKNOWN; i++)
		sum = report->pools[i].capacity != REPORT_UNKNOWN ? sum + report->pools[i].capacity
								  : REPORT_UNKNOWN;
	return sum;
}

static json_t *sample_entry(const struct history_sample *sample, int64_t capacity) {
	bool is_known = capacity > 0 && sample->in_use != REPORT_UNKNOWN;
	json_t *object = json_object();
	json_object_set_new(object, "checkedout", count(sample->in_use));
	json_object_set_new(object, "usage_percent",
			    percent(is_known ? (double)sample->in_use / (double)capacity : NAN, 10));
	json_object_set_new(object, "total", count(sample->open));
	json_object_set_new(object, "timestamp", realtime(sample->end_realtime_ns));
	return object;
}

json_t *health_history(const struct health_subject *subject, size_t limit, unsigned interval) {
	struct history_sample samples[HISTORY_MAX];
	json_t *entries = json_array();
	if (subject->count == 0)
		return entries;
	const struct report *report = subject->reports[0];
	size_t found = history_take(samples, limit, report, resolution_of(interval));
	for (size_t i = 0; i < found; i++)
		json_array_append_new(entries, sample_entry(&samples[i], capacity_of_all(report)));
	return entries;
}

/* ---- Everything --------------------------------------------------------------------------------------------------- */

static void set_aliases(json_t *object, const struct report_pool *pool) {
	const struct {
		const char *key;
		int64_t value;
	} aliases[] = {
		{"checkedout", pool->in_use},        {"checkedin", pool->idle},
		{"overflow", pool->overflow},        {"total_possible", pool->capacity},
		{"reserved", pool->reserved},        {"min_connections", pool->base_size},
		{"max_connections", pool->capacity}, {"active_connections", pool->in_use},
		{"idle_connections", pool->idle},    {"db_pool_min", pool->base_size},
		{"db_pool_max", pool->capacity},     {"db_active_connections", pool->in_use},
	};
	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
		json_object_set_new(object, aliases[i].key, count(aliases[i].value));
	bool is_known = strcmp(pool->status, "unknown") != 0;
	json_object_set_new(object, "is_healthy",
			    is_known ? json_boolean(strcmp(pool->status, "healthy") == 0) : json_null());
}

static json_t *restart_history(const struct restarts *restarts) {
	json_t *list = json_array();
	for (size_t i = 0; i < restarts->count; i++) {
		const struct restart *restart = &restarts->all[i];
		json_t *entry = json_object();
		json_object_set_new(entry, "role", text(restart->gone->role));
		json_object_set_new(entry, "pid", json_integer(restart->gone->pid));
		json_object_set_new(entry, "how_ended", text(restart->gone->how_ended));
		json_object_set_new(entry, "new_pid", json_integer(restart->successor->pid));
		json_object_set_new(entry, "restarted", text(restart->successor->started));
		json_array_append_new(list, entry);
	}
	return list;
}

static void set_restarts(json_t *object, const struct report *report) {
	struct arena arena = {0};
	struct restarts restarts;
	restarts_find(&restarts, &arena, report);
	json_object_set_new(object, "process_pool_restarts", json_integer((json_int_t)restarts.count));
	json_object_set_new(object, "process_pool_health_check_failures", json_null());
	json_object_set_new(object, "restarts_per_hour",
			    isfinite(restarts.per_hour) ? json_real(restarts.per_hour) : json_null());
	json_object_set_new(object, "restart_history", restart_history(&restarts));
	arena_release(&arena);
}

json_t *health_everything(const struct health_subject *subject) {
	struct found_pool found = worst_pool(subject, NULL);
	json_t *object = json_object();
	json_object_set_new(object, "schema", json_integer(1));
	json_object_set_new(object, "status", text(health_worst_word(subject)));
	json_object_set_new(object, "timestamp",
			    found.report != NULL ? timestamp_of(found.report)
						 : realtime(instant_realtime_ns()));
	json_object_set_new(object, "run", text(found.report != NULL ? found.report->run.id : NULL));
	json_object_set_new(object, "live", json_boolean(found.report != NULL && found.report->run.live));
	if (found.pool != NULL) {
		json_object_set_new(object, "pool", text(found.pool->name));
		set_pool_numbers(object, found.pool);
		set_aliases(object, found.pool);
	}
	if (found.report != NULL)
		set_restarts(object, found.report);
	json_object_set_new(object, "pools", pool_entries(subject));
	json_object_set_new(object, "recent_history", health_history(subject, 5, 1));
	return object;
}
