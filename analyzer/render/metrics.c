#include "analyzer/render/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/judge/restarts.h"
#include "analyzer/text.h"

/* What is being written: a sample at a time, of one family, for one run after the other. */
struct page {
	FILE *stream;
	struct arena arena;
	const struct report *report;
	const char *family;
	bool has_labels;
};

/* ---- Samples ------------------------------------------------------------------------------------------ */

static void write_escaped(FILE *stream, const char *text) {
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			fputs("\\n", stream);
		else if (*text == '\\' || *text == '"')
			fprintf(stream, "\\%c", *text);
		else
			fputc(*text, stream);
	}
}

static void label(struct page *page, const char *name, const char *value) {
	fprintf(page->stream, "%s%s=\"", page->has_labels ? "," : "{", name);
	write_escaped(page->stream, value != NULL ? text_valid_utf8(&page->arena, value) : "");
	fputc('"', page->stream);
	page->has_labels = true;
}

static void begin(struct page *page, const char *suffix) {
	fprintf(page->stream, "%s%s", page->family, suffix);
	page->has_labels = false;
	label(page, "host", page->report->run.host);
	label(page, "run", page->report->run.id);
}

static void end(struct page *page, double value) {
	fprintf(page->stream, "} %.15g\n", value);
}

static bool is_known(int64_t count) {
	return count != REPORT_UNKNOWN;
}

/* A family with one value for each run. */
static void write_count(struct page *page, int64_t count) {
	if (!is_known(count))
		return;
	begin(page, "");
	end(page, (double)count);
}

static void write_labelled(struct page *page, const char *name, const char *value, double number) {
	if (isnan(number))
		return;
	begin(page, "");
	label(page, name, value);
	end(page, number);
}

/* ---- Histograms ------------------------------------------------------------------------------------------- */

/* What OpenTelemetry advises for durations of operations, and finer ones: a connect over a unix socket takes 1.4 ms. */
static const char *const limits[] = {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
				     "0.01",   "0.025",   "0.05",   "0.1",   "0.25",   "0.5",
				     "1",      "2.5",     "5",      "10"};
enum { LIMIT_COUNT = sizeof limits / sizeof limits[0] };

typedef void label_writer(struct page *page, const void *subject);

static void write_histogram(struct page *page, const struct histogram *histogram, label_writer *labels,
			    const void *subject) {
	for (int i = 0; i <= LIMIT_COUNT; i++) {
		bool is_last = i == LIMIT_COUNT;
		begin(page, "_bucket");
		labels(page, subject);
		label(page, "le", is_last ? "+Inf" : limits[i]);
		uint64_t above = is_last
			? 0
			: histogram_count_above(histogram, (uint64_t)(strtod(limits[i], NULL) * 1e9));
		end(page, (double)(histogram->count - above));
	}
	begin(page, "_sum");
	labels(page, subject);
	end(page, (double)histogram->sum_ns / 1e9);
	begin(page, "_count");
	labels(page, subject);
	end(page, (double)histogram->count);
}

/* ---- Pools -------------------------------------------------------------------------------------------------- */

/* As OpenTelemetry names a pool that has no name: where it leads to; the role has a label of its own. */
static const char *pool_name(struct page *page, const struct report_pool *pool) {
	return arena_text(&page->arena, "%s:%s/%s", pool->host != NULL ? pool->host : "",
			  pool->port != NULL ? pool->port : "", pool->database != NULL ? pool->database : "");
}

static void label_pool(struct page *page, const void *subject) {
	const struct report_pool *pool = subject;
	label(page, "role", pool->role);
	label(page, "db_client_connection_pool_name", pool_name(page, pool));
	label(page, "user", pool->user);
}

static void write_pool_value(struct page *page, const struct report_pool *pool, double value) {
	if (isnan(value))
		return;
	begin(page, "");
	label_pool(page, pool);
	end(page, value);
}

static double value_of(int64_t count) {
	return is_known(count) ? (double)count : NAN;
}

#define FOR_EACH_POOL(page, pool)                                    \
	for (const struct report_pool *pool = (page)->report->pools; \
	     pool < (page)->report->pools + (page)->report->pool_count; pool++)

static void write_state(struct page *page, const struct report_pool *pool, const char *state, int64_t count) {
	begin(page, "");
	label_pool(page, pool);
	label(page, "db_client_connection_state", state);
	end(page, (double)count);
}

/* Without knowledge of uses nobody can say which are idle: only the sum is there then (pqlease_connections_open). */
static void write_connection_count(struct page *page) {
	FOR_EACH_POOL(page, pool) {
		if (!is_known(pool->in_use))
			continue;
		write_state(page, pool, "used", pool->in_use);
		write_state(page, pool, "idle", pool->open - pool->in_use);
	}
}

static void write_connection_max(struct page *page) {
	FOR_EACH_POOL(page, pool) {
		if (!is_known(pool->capacity))
			continue;
		begin(page, "");
		label_pool(page, pool);
		label(page, "source", pool->capacity_source);
		end(page, (double)pool->capacity);
	}
}

static void write_waiting(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, value_of(pool->waiting));
}

static void write_available(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, value_of(pool->available));
}

static void write_overflow(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, value_of(pool->overflow));
}

static void write_reserved(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, value_of(pool->reserved));
}

static void write_open(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, (double)pool->open);
}

static void write_peak(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, value_of(pool->peak_open));
}

static void write_utilization(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, pool->utilization);
}

static void write_status(struct page *page) {
	static const char *const words[] = {"healthy", "warning", "critical", "exhausted", "unknown"};
	FOR_EACH_POOL(page, pool)
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		begin(page, "");
		label_pool(page, pool);
		label(page, "status", words[i]);
		end(page, strcmp(words[i], pool->status) == 0);
	}
}

static void write_pool_times(struct page *page, enum model_measure measure, bool are_known) {
	FOR_EACH_POOL(page, pool)
	if (pool->distributions != NULL && are_known)
		write_histogram(page, &pool->distributions[measure], label_pool, pool);
}

static void write_create_time(struct page *page) {
	write_pool_times(page, MODEL_CONNECT_TIME, true);
}

static void write_use_time(struct page *page) {
	write_pool_times(page, MODEL_USE_TIME, is_known(page->report->totals.uses));
}

static void write_hold_time(struct page *page) {
	write_pool_times(page, MODEL_HOLD_TIME, true);
}

static void write_alias_size(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, value_of(pool->capacity));
}

static void write_alias_checked_out(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, value_of(pool->in_use));
}

static void write_alias_percent(struct page *page) {
	FOR_EACH_POOL(page, pool)
	write_pool_value(page, pool, pool->utilization * 100);
}

/* ---- The run ---------------------------------------------------------------------------------------------------- */

static void write_live(struct page *page) {
	write_count(page, page->report->run.live);
}

static void write_trust(struct page *page) {
	write_count(page, page->report->trust.ok);
}

static void write_processes(struct page *page) {
	write_count(page, page->report->trust.processes);
}

static void write_running(struct page *page) {
	int64_t running = 0;
	for (size_t i = 0; i < page->report->process_count; i++)
		running += strcmp(page->report->processes[i].how_ended, "running") == 0;
	write_count(page, running);
}

static void write_attempts(struct page *page) {
	const struct report_totals *totals = &page->report->totals;
	write_labelled(page, "result", "established", (double)totals->established);
	write_labelled(page, "result", "failed", (double)totals->failed);
	write_labelled(page, "result", "abandoned", (double)totals->abandoned);
}

static int64_t count_failures(const struct report *report, const char *class_name) {
	int64_t count = 0;
	for (size_t i = 0; i < report->failure_count; i++)
		if (strcmp(report->failures[i].class_name, class_name) == 0)
			count += report->failures[i].count;
	return count;
}

static void write_timeouts(struct page *page) {
	write_count(page, count_failures(page->report, "timeout"));
}

/* Those that never happened too: a rate cannot see a series that begins with one. */
static void write_failures(struct page *page) {
	static const char *const classes[] = {"too_many_clients",
					      "reserved_slots",
					      "role_limit",
					      "database_limit",
					      "pooler_limit",
					      "auth",
					      "timeout",
					      "refused",
					      "dns",
					      "tls",
					      "no_database",
					      "server_closed",
					      "other"};
	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
		write_labelled(page, "class", classes[i], (double)count_failures(page->report, classes[i]));
}

static void label_phase(struct page *page, const void *subject) {
	label(page, "phase", subject);
}

static void write_phases(struct page *page) {
	static const char *const names[MODEL_PHASE_COUNT] = {"tcp", "tls", "auth"};
	const struct report_phases *phases = &page->report->connect_phases;
	for (int i = 0; i < MODEL_PHASE_COUNT && phases->is_known && phases->distributions != NULL; i++)
		write_histogram(page, &phases->distributions[i], label_phase, names[i]);
}

static void write_held(struct page *page) {
	const struct report_held *held = &page->report->held;
	write_labelled(page, "state", "in_query", held->in_query);
	write_labelled(page, "state", "idle_in_transaction", held->idle_in_transaction);
	write_labelled(page, "state", "idle", held->idle);
}

static void write_resets(struct page *page) {
	write_count(page, page->report->totals.resets);
}

static void write_returned_late(struct page *page) {
	write_count(page, page->report->totals.returned_late);
}

static void write_inherited(struct page *page) {
	write_count(page, page->report->totals.inherited_use);
}

static void write_restarts(struct page *page) {
	struct restarts restarts;
	restarts_find(&restarts, &page->arena, page->report);
	write_count(page, (int64_t)restarts.count);
}

static void write_uses(struct page *page) {
	write_count(page, page->report->totals.uses);
}

static void write_lost(struct page *page) {
	const struct report_lost *lost = &page->report->trust.lost;
	write_labelled(page, "reason", "leases", (double)lost->leases);
	write_labelled(page, "reason", "sites", (double)lost->sites);
	write_labelled(page, "reason", "processes", (double)lost->processes);
	write_labelled(page, "reason", "torn", (double)lost->torn);
	write_labelled(page, "reason", "other", (double)lost->other);
}

/* ---- Places -------------------------------------------------------------------------------------------------------- */

/* A count at a place: of open connections by role, or of what a finding counts. */
struct place {
	const char *role; /* NULL: not said */
	const char *kind;
	const char *level;
	int64_t site;
	int64_t count;
	const char *fingerprint;
};

static const char *place_text(struct page *page, int64_t site) {
	const char *text = report_place_text(&page->arena, page->report, site);
	return text != NULL ? text : "unknown";
}

static void write_place(struct page *page, const struct place *place, const char *location) {
	begin(page, "");
	if (place->role != NULL)
		label(page, "role", place->role);
	if (place->kind != NULL)
		label(page, "kind", place->kind);
	if (place->level != NULL)
		label(page, "level", place->level);
	label(page, "location", location);
	label(page, "fingerprint", place->fingerprint);
	end(page, (double)place->count);
}

static int compare_texts(const char *a, const char *b) {
	return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

static bool is_same_group(const struct place *a, const struct place *b) {
	return compare_texts(a->role, b->role) == 0 && compare_texts(a->kind, b->kind) == 0 &&
		compare_texts(a->level, b->level) == 0;
}

static int compare_counts(const void *a, const void *b) {
	const struct place *left = a;
	const struct place *right = b;
	if (left->count != right->count)
		return left->count > right->count ? -1 : 1;
	return (left->site > right->site) - (left->site < right->site);
}

/* The largest by name, the rest summed by role or kind. */
static void write_places(struct page *page, struct place *places, size_t count) {
	if (count > 1)
		qsort(places, count, sizeof *places, compare_counts);
	for (size_t i = 0; i < count && i < METRICS_TOP_SITES; i++)
		write_place(page, &places[i], place_text(page, places[i].site));
	for (size_t i = METRICS_TOP_SITES; i < count; i++) {
		struct place sum = places[i];
		sum.fingerprint = "";
		if (sum.count < 0)
			continue; /* summed already */
		for (size_t j = i + 1; j < count; j++)
			if (places[j].count >= 0 && is_same_group(&sum, &places[j])) {
				sum.count += places[j].count;
				places[j].count = -1;
			}
		write_place(page, &sum, "other");
	}
}

static const char *fingerprint_of(const struct page *page, int64_t site) {
	const struct report_site *found = report_find_site(page->report, site);
	return found != NULL ? found->fingerprint : "";
}

static int compare_places(const void *a, const void *b) {
	const struct place *left = a;
	const struct place *right = b;
	int order = strcmp(left->fingerprint, right->fingerprint);
	return order != 0 ? order : compare_texts(left->role, right->role);
}

/* Equal ones become one, which has the sum. Returns how many are left. */
static size_t sum_equal_places(struct place *places, size_t count) {
	size_t kept = 0;
	if (count > 1)
		qsort(places, count, sizeof *places, compare_places);
	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && compare_places(&places[kept - 1], &places[i]) == 0)
			places[kept - 1].count += places[i].count;
		else
			places[kept++] = places[i];
	}
	return kept;
}

static void write_site_open(struct page *page) {
	const struct report *report = page->report;
	struct place *places = arena_array(&page->arena, report->open_lease_count, sizeof *places);
	for (size_t i = 0; i < report->open_lease_count; i++) {
		const struct report_lease *lease = &report->open_leases[i];
		places[i] = (struct place){.role = lease->role,
					   .site = lease->site,
					   .count = 1,
					   .fingerprint = fingerprint_of(page, lease->site)};
	}
	write_places(page, places, sum_equal_places(places, report->open_lease_count));
}

typedef bool finding_filter(const struct finding *finding);

static void write_some_findings(struct page *page, finding_filter *is_wanted) {
	const struct report *report = page->report;
	struct place *places = arena_array(&page->arena, report->finding_count, sizeof *places);
	size_t count = 0;
	for (size_t i = 0; i < report->finding_count; i++) {
		const struct finding *finding = report->findings[i].finding;
		if (is_wanted(finding))
			places[count++] = (struct place){.kind = finding->kind,
							 .level = finding_level_name(finding->level),
							 .site = report->findings[i].site,
							 .count = (int64_t)finding->count,
							 .fingerprint = finding->fingerprint};
	}
	write_places(page, places, count);
}

static bool is_any(const struct finding *finding) {
	return finding != NULL;
}

static bool is_leak(const struct finding *finding) {
	static const char *const kinds[] = {"never-finished", "owner-thread-gone",   "exit-closed",
					    "growing",        "failed-not-finished", "finalizer-closed"};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(finding->kind, kinds[i]) == 0)
			return true;
	return false;
}

static void write_findings(struct page *page) {
	write_some_findings(page, is_any);
}

static void write_leaks(struct page *page) {
	write_some_findings(page, is_leak);
}

/* Suspects of now, and those that came back: together they only grow. */
static void write_suspects(struct page *page) {
	int64_t returned = page->report->totals.returned_late;
	int64_t suspects = returned != REPORT_UNKNOWN ? returned : 0;
	for (size_t i = 0; i < page->report->finding_count; i++) {
		const struct finding *finding = page->report->findings[i].finding;
		suspects += finding->certainty == FINDING_SUSPICION ? (int64_t)finding->count : 0;
	}
	write_count(page, suspects);
}

/* ---- Families ---------------------------------------------------------------------------------------------------------- */

static const struct family {
	const char *name;
	const char *type;
	const char *help;
	void (*write)(struct page *page);
	bool is_alias;
} families[] = {
	{"db_client_connection_count", "gauge",
	 "Open connections by state (used: in a query or a transaction).", write_connection_count, false},
	{"db_client_connection_max", "gauge", "Capacity of the pool, and where that number is from.",
	 write_connection_max, false},
	{"db_client_connection_create_time_seconds", "histogram", "Time to establish a connection.",
	 write_create_time, false},
	{"db_client_connection_use_time_seconds", "histogram",
	 "Time from the first command of a use until the connection was idle again.", write_use_time, false},
	{"db_client_connection_timeouts_total", "counter", "Attempts that ended by connect_timeout.",
	 write_timeouts, false},
	{"db_client_connection_pending_requests", "gauge", "Callers that wait inside libpq.", write_waiting,
	 false},
	{"pqlease_hold_time_seconds", "histogram", "Time from established to finished.", write_hold_time,
	 false},
	{"pqlease_connections_open", "gauge", "Open connections.", write_open, false},
	{"pqlease_connections_peak", "gauge", "Most connections open at once.", write_peak, false},
	{"pqlease_pool_utilization_ratio", "gauge", "Connections in use over capacity.", write_utilization,
	 false},
	{"pqlease_pool_available", "gauge", "Capacity that is not in use.", write_available, false},
	{"pqlease_pool_overflow", "gauge", "Connections above the base size.", write_overflow, false},
	{"pqlease_pool_reserved", "gauge", "Slots that others must leave free for it.", write_reserved,
	 false},
	{"pqlease_pool_status", "gauge", "1 for the word that describes the pool.", write_status, false},
	{"pqlease_attempts_total", "counter", "Ended attempts to connect by result.", write_attempts, false},
	{"pqlease_connect_failures_total", "counter", "Failed attempts by class.", write_failures, false},
	{"pqlease_connect_phase_seconds", "histogram", "Parts of the time to connect.", write_phases, false},
	{"pqlease_hold_seconds_total", "counter", "Connection time by what was done with it.", write_held,
	 false},
	{"pqlease_uses_total", "counter", "Ended uses.", write_uses, false},
	{"pqlease_resets_total", "counter", "PQreset and its kin.", write_resets, false},
	{"pqlease_used_after_fork_total", "counter", "Connections used by a process that did not take them.",
	 write_inherited, false},
	{"pqlease_restarts_total", "counter", "Processes that vanished and came back.", write_restarts,
	 false},
	{"pqlease_leaks_total", "counter", "Connections that leaked, by kind and the line that took them.",
	 write_leaks, false},
	{"pqlease_suspects_total", "counter", "Connections suspected to have leaked, so far.", write_suspects,
	 false},
	{"pqlease_unleaked_total", "counter", "Suspects that came back.", write_returned_late, false},
	{"pqlease_site_connections_open", "gauge", "Open connections by role and the line that took them.",
	 write_site_open, false},
	{"pqlease_finding_leases", "gauge", "Connections or attempts of a finding.", write_findings, false},
	{"pqlease_processes_seen_total", "counter", "Processes that called libpq.", write_processes, false},
	{"pqlease_processes_running", "gauge", "Of these, running.", write_running, false},
	{"pqlease_events_dropped_total", "counter", "What could not be recorded.", write_lost, false},
	{"pqlease_trust_ok", "gauge", "1 if nothing that findings depend on was lost.", write_trust, false},
	{"pqlease_run_live", "gauge", "1 while the run goes on.", write_live, false},
	{"db_pool_size", "gauge", "As db_client_connection_max.", write_alias_size, true},
	{"db_pool_checkedout", "gauge", "As db_client_connection_count, used.", write_alias_checked_out,
	 true},
	{"db_pool_usage_percent", "gauge", "As pqlease_pool_utilization_ratio, times 100.",
	 write_alias_percent, true},
};

void metrics_write(const struct report *const *reports, size_t count, const struct metrics_options *options,
		   FILE *stream) {
	struct page page = {.stream = stream};
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		const struct family *family = &families[i];
		if (family->is_alias && !options->with_aliases)
			continue;
		page.family = family->name;
		fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
			family->type);
		for (size_t r = 0; r < count; r++) {
			page.report = reports[r];
			family->write(&page);
		}
		arena_release(&page.arena);
		page.arena = (struct arena){0};
	}
}
