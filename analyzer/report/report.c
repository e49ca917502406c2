#include "analyzer/report/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/instant.h"
#include "analyzer/judge/pool_load.h"
#include "analyzer/judge/release_kind.h"
#include "analyzer/report/report_tests.h"
#include "analyzer/report/report_snapshots.h"
#include "analyzer/rules/rule.h"
#include "analyzer/server/server_account.h"
#include "analyzer/symbols/site_groups.h"
#include "analyzer/text.h"
#include "analyzer/judge/trust.h"
#include "analyzer/judge/verdict.h"

/* What is needed to build a report besides the report itself. */
struct building {
	struct report *report;
	struct arena *arena;
	const struct model *model;
	struct report_settings settings;
	struct site_frames *frames; /* by site number */
	double observed_ns;         /* as long as anything was recorded */
};

/* Without a single frame the stack was unavailable: that is no place in a program. */
static int64_t site_id(const struct building *building, uint32_t number) {
	bool has_frames = number < building->model->site_count && building->frames[number].count > 0;
	return has_frames ? (int64_t)number : REPORT_UNKNOWN;
}

/* ---- Values ----------------------------------------------------------------------------------- */

static const char *known_text(const char *text) {
	return text != NULL && *text != '\0' ? text : NULL;
}

static int64_t known_number(int64_t value) {
	return value != 0 ? value : REPORT_UNKNOWN;
}

static double seconds_of(double value_ns) {
	return value_ns / 1e9;
}

static uint64_t span_ns(uint64_t from_ns, uint64_t to_ns) {
	return from_ns != 0 && to_ns > from_ns ? to_ns - from_ns : 0;
}

static const char *instant_of(const struct building *building, uint64_t monotonic_ns) {
	if (monotonic_ns == 0)
		return NULL;
	char *text = arena_array(building->arena, INSTANT_TEXT_BYTES, 1);
	instant_format(text, model_realtime_ns(building->model, monotonic_ns));
	return text;
}

static struct report_times unknown_times(void) {
	return (struct report_times){REPORT_UNKNOWN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NULL};
}

/* Whole nanoseconds: further digits would claim more than a bucket knows. */
static double quantile_of(const struct histogram *histogram, double quantile) {
	return seconds_of(round(histogram_quantile_ns(histogram, quantile)));
}

static struct report_times times_of(const struct histogram *histogram) {
	struct report_times times = unknown_times();
	times.count = (int64_t)histogram->count;
	if (histogram->count == 0)
		return times;
	times.min = seconds_of((double)histogram->min_ns);
	times.mean = seconds_of(histogram_mean_ns(histogram));
	times.p50 = quantile_of(histogram, 0.50);
	times.p90 = quantile_of(histogram, 0.90);
	times.p95 = quantile_of(histogram, 0.95);
	times.p99 = quantile_of(histogram, 0.99);
	times.max = seconds_of((double)histogram->max_ns);
	return times;
}

/* With what is needed to compare it with another run's. */
static struct report_times kept_times_of(const struct building *building, const struct histogram *histogram) {
	struct report_times times = times_of(histogram);
	struct histogram *copy = arena_new(building->arena, struct histogram);
	*copy = *histogram; /* the octaves are the model's, or the report's */
	times.distribution = copy;
	return times;
}

static struct report_times use_times_of(const struct building *building, const struct histogram *histogram) {
	return building->model->has_uses ? times_of(histogram) : unknown_times();
}

static int64_t use_count(const struct building *building, int64_t value) {
	return building->model->has_uses ? value : REPORT_UNKNOWN;
}

/* ---- Run -------------------------------------------------------------------------------------- */

/* Without the run command's mark the end is known only if every process left one. */
static uint64_t end_of_run(const struct model *model) {
	uint64_t end_ns = model->run.ended_ns;
	if (end_ns != 0 || model->run.is_live)
		return end_ns;
	for (size_t i = 0; i < model->process_count; i++) {
		if (model->processes[i].ended_ns == 0)
			return 0;
		if (model->processes[i].ended_ns > end_ns)
			end_ns = model->processes[i].ended_ns;
	}
	return end_ns;
}

static const char *hex_of(struct arena *arena, const uint8_t *bytes, size_t length) {
	char *text = arena_array(arena, 2 * length + 1, 1);
	for (size_t i = 0; i < length; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
	return text;
}

static void build_run(struct building *building) {
	const struct model_run *from = &building->model->run;
	struct report_run *run = &building->report->run;
	uint64_t end_ns = from->ended_ns != 0 ? from->ended_ns : from->until_ns;
	building->observed_ns = (double)span_ns(from->created_ns, from->until_ns);
	run->id = hex_of(building->arena, from->id, sizeof from->id);
	run->host = known_text(from->host);
	run->command = from->command;
	run->command_count = from->command_count;
	run->started = instant_of(building, from->created_ns);
	run->ended = instant_of(building, end_of_run(building->model));
	run->duration = seconds_of((double)span_ns(from->created_ns, end_ns));
	run->exit_code = from->is_made_by_run && from->ended_ns != 0 ? from->exit_status : REPORT_UNKNOWN;
	run->live = from->is_live;
	building->report->timeline = &building->model->timeline;
	building->report->created_realtime_ns = from->created_realtime_ns;
	building->report->until_realtime_ns = model_realtime_ns(building->model, from->until_ns);
}

/* ---- Open leases ------------------------------------------------------------------------------ */

static uint64_t taken_ns(const struct model_lease *lease) {
	return lease->established_ns != 0 ? lease->established_ns : lease->begun_ns;
}

static const char *lease_state(const struct building *building, const struct model_lease *lease) {
	switch (lease->state) {
	case MODEL_LEASE_CONNECTING:
	case MODEL_LEASE_RESETTING:
		return "connecting";
	case MODEL_LEASE_FAILED:
		return "failed";
	default:
		break;
	}
	if (!building->model->has_uses)
		return NULL;
	return lease->is_active ? "active" : lease->is_in_transaction ? "in_transaction" : "idle";
}

static void build_open_leases(struct building *building) {
	const struct model *model = building->model;
	struct report *report = building->report;
	report->open_leases = arena_array(building->arena, model->lease_count, sizeof *report->open_leases);
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *from = &model->leases[i];
		if (from->is_owner_gone)
			continue;
		bool is_idle = model->has_uses && from->state == MODEL_LEASE_OPEN && !from->is_active;
		struct report_lease *lease = &report->open_leases[report->open_lease_count++];
		lease->pid = from->pid;
		lease->backend_pid = known_number(from->backend_pid);
		lease->thread = known_number(from->thread);
		lease->role = known_text(from->role);
		lease->state = lease_state(building, from);
		lease->age = seconds_of((double)span_ns(taken_ns(from), from->until_ns));
		lease->idle_for =
			is_idle ? seconds_of((double)span_ns(from->last_event_ns, from->until_ns)) : NAN;
		lease->site = site_id(building, from->site);
		lease->last_use_site = from->last_use_site != MODEL_SITE_NONE
			? site_id(building, from->last_use_site)
			: REPORT_UNKNOWN;
		lease->dedicated = from->is_dedicated ? 1 : use_count(building, 0);
	}
}

/* ---- Totals and pools ------------------------------------------------------------------------- */

static bool is_open(const struct model_lease *lease) {
	return !lease->is_owner_gone && lease->state == MODEL_LEASE_OPEN;
}

static bool is_in_use(const struct model_lease *lease) {
	return is_open(lease) && (lease->is_active || lease->is_in_transaction);
}

/* A PGconn that had been a lease; the other kinds left behind never were. */
static bool is_left_lease(enum model_left left) {
	return left == MODEL_LEFT_OPEN || left == MODEL_LEFT_RESETTING || left == MODEL_LEFT_ORPHANED;
}

/* What was folded without a known end has only an upper bound. */
static bool has_unknown_ends(const struct model_totals *totals) {
	return totals->unreleased[MODEL_LEFT_OPEN][MODEL_UNKNOWN] +
		totals->unreleased[MODEL_LEFT_RESETTING][MODEL_UNKNOWN] +
		totals->unreleased[MODEL_LEFT_ORPHANED][MODEL_UNKNOWN] >
		0;
}

static bool has_known_end(const struct model *model, const struct model_lease *lease) {
	return lease->process != MODEL_NO_PROCESS && model->processes[lease->process].ended_ns != 0;
}

/* Lease time of a pool: finished, left behind, and still open; NAN if somebody's end is unknown. */
static double pool_held_ns(const struct building *building, uint32_t pool) {
	const struct model *model = building->model;
	const struct model_totals *totals = &model->pools[pool].totals;
	bool is_known = !has_unknown_ends(totals);
	double held_ns =
		(double)totals->time[MODEL_HOLD_TIME].sum_ns + (double)totals->counter[MODEL_LEFT_HELD_NS];
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		bool is_left = lease->is_owner_gone && is_left_lease(lease->left);
		if (lease->pool != pool || (!is_open(lease) && !is_left))
			continue;
		is_known &= !is_left || has_known_end(model, lease);
		held_ns += (double)span_ns(lease->established_ns, lease->until_ns);
	}
	return is_known ? held_ns : NAN;
}

/* A finish of what this process never held is booked on its role, but makes no pool. */
static bool says_nothing_of_pools(int counter) {
	return counter == MODEL_DOUBLE_FINISH || counter == MODEL_INHERITED_FINISH ||
		counter == MODEL_INHERITED_USE;
}

static bool pool_is_empty(const struct model_pool *pool, int64_t lease_count) {
	uint64_t booked = (uint64_t)lease_count;
	for (int i = 0; i < MODEL_COUNTER_COUNT; i++)
		booked |= says_nothing_of_pools(i) ? 0 : pool->totals.counter[i];
	for (int i = 0; i < MODEL_LEFT_COUNT * MODEL_HOW_COUNT; i++)
		booked |= pool->totals.unreleased[i / MODEL_HOW_COUNT][i % MODEL_HOW_COUNT];
	return booked == 0;
}

static int64_t at_least(int64_t value, int64_t least) {
	return value > least ? value : least;
}

static void build_pool(struct building *building, uint32_t number) {
	const struct model_pool *from = &building->model->pools[number];
	int64_t leases = 0;
	int64_t open = 0;
	int64_t in_use = 0;
	for (size_t i = 0; i < building->model->lease_count; i++) {
		const struct model_lease *lease = &building->model->leases[i];
		leases += lease->pool == number;
		open += lease->pool == number && is_open(lease);
		in_use += lease->pool == number && is_in_use(lease);
	}
	if (pool_is_empty(from, leases))
		return;
	struct report_pool *pool = &building->report->pools[building->report->pool_count++];
	*pool = (struct report_pool){.role = known_text(from->role),
				     .host = known_text(from->host),
				     .port = known_text(from->port),
				     .database = known_text(from->database),
				     .user = known_text(from->user),
				     .application_name = known_text(from->application_name),
				     .open = open,
				     .peak_open = at_least(from->totals.open_peak, open),
				     .idle = REPORT_UNKNOWN,
				     .waiting = REPORT_UNKNOWN,
				     .mean_in_use = NAN,
				     .capacity = REPORT_UNKNOWN,
				     .base_size = REPORT_UNKNOWN,
				     .reserved = REPORT_UNKNOWN,
				     .available = REPORT_UNKNOWN,
				     .overflow = REPORT_UNKNOWN,
				     .share = NAN,
				     .number = number,
				     .utilization = NAN,
				     .status = "unknown",
				     .distributions = from->totals.time};
	pool->mean_open =
		building->observed_ns > 0 ? pool_held_ns(building, number) / building->observed_ns : NAN;
	pool->in_use = use_count(building, in_use);
	pool->peak_in_use = use_count(building, at_least(from->totals.in_use_peak, in_use));
	pool->connect_time = times_of(&from->totals.time[MODEL_CONNECT_TIME]);
	pool->hold_time = times_of(&from->totals.time[MODEL_HOLD_TIME]);
	pool->use_time = use_times_of(building, &from->totals.time[MODEL_USE_TIME]);
	pool->first_command_time = use_times_of(building, &from->totals.time[MODEL_FIRST_COMMAND_TIME]);
}

static void build_pools(struct building *building) {
	building->report->pools =
		arena_array(building->arena, building->model->pool_count, sizeof *building->report->pools);
	for (uint32_t i = 0; i < building->model->pool_count; i++)
		build_pool(building, i);
}

static uint64_t count_all_hows(const struct model_totals *totals, enum model_left left) {
	uint64_t count = 0;
	for (int how = 0; how < MODEL_HOW_COUNT; how++)
		count += totals->unreleased[left][how];
	return count;
}

static uint64_t count_left_leases(const struct model_totals *totals) {
	uint64_t count = 0;
	for (int left = 0; left < MODEL_LEFT_COUNT; left++)
		if (is_left_lease((enum model_left)left))
			count += count_all_hows(totals, (enum model_left)left);
	return count;
}

static void count_leases(struct report_totals *totals, const struct model *model) {
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		bool is_connecting = lease->state == MODEL_LEASE_CONNECTING;
		totals->open += is_open(lease);
		totals->in_use += is_in_use(lease);
		totals->in_progress += is_connecting && !lease->is_owner_gone;
		totals->abandoned += is_connecting && lease->is_owner_gone;
		totals->unreleased += lease->is_owner_gone && is_left_lease(lease->left);
	}
}

static void count_totals(struct report_totals *to, const struct model_totals *from) {
	to->established = (int64_t)from->counter[MODEL_ESTABLISHED];
	to->failed = (int64_t)from->counter[MODEL_FAILED];
	to->abandoned =
		(int64_t)(from->counter[MODEL_ABANDONED] + count_all_hows(from, MODEL_LEFT_CONNECTING) +
			  count_all_hows(from, MODEL_LEFT_IN_CALL));
	to->probes = (int64_t)from->counter[MODEL_PROBES];
	to->probes_answered = (int64_t)from->counter[MODEL_PROBES_ANSWERED];
	to->resets = (int64_t)from->counter[MODEL_RESETS];
	to->resets_succeeded = (int64_t)from->counter[MODEL_RESETS_OK];
	to->finished = (int64_t)(from->counter[MODEL_FINISHED] + from->counter[MODEL_FINISHED_ELSEWHERE]);
	to->failed_finished = (int64_t)from->counter[MODEL_FAILED_FINISHED];
	to->finish_unseen = (int64_t)from->counter[MODEL_FINISH_UNSEEN];
	to->double_finish = (int64_t)from->counter[MODEL_DOUBLE_FINISH];
	to->inherited_finish = (int64_t)from->counter[MODEL_INHERITED_FINISH];
	to->inherited_use = (int64_t)from->counter[MODEL_INHERITED_USE];
	to->unreleased = (int64_t)count_left_leases(from);
	to->uses = (int64_t)from->counter[MODEL_USES_ENDED];
}

static double mean_open(const struct building *building) {
	double held_ns = 0;
	for (uint32_t i = 0; i < building->model->pool_count; i++)
		held_ns += pool_held_ns(building, i);
	return building->observed_ns > 0 ? held_ns / building->observed_ns : NAN;
}

/* Suspects by age (rule_long_held.c) that came back, as far as the last uses are kept: at least so many. */
static int64_t count_returned_suspects(const struct building *building) {
	const struct thresholds *thresholds = &building->settings.thresholds;
	int64_t count = 0;
	for (size_t i = 0; i < building->model->use_count; i++) {
		const struct model_use *use = &building->model->uses[i];
		double length = seconds_of((double)span_ns(use->begun_ns, use->ended_ns));
		double waiting = length - seconds_of((double)use->in_query_ns);
		count += length >= thresholds->long_held && waiting >= thresholds->idle_in_use_warning &&
			!use->is_dedicated && !use->is_left;
	}
	return count;
}

/* Orphans that the program gave back after all. */
static int64_t count_returned_orphans(const struct building *building) {
	int64_t count = 0;
	for (size_t i = 0; i < building->model->releaser_count; i++) {
		const struct model_releaser *releaser = &building->model->releasers[i];
		enum release_kind kind =
			release_kind_of(&building->frames[releaser->release_site], releaser->facts);
		bool is_returned = kind == RELEASE_EXPLICIT || kind == RELEASE_DROPPED;
		if ((releaser->facts & MODEL_FACT_ORPHAN) && is_returned)
			count += (int64_t)releaser->count;
	}
	return count;
}

/* What a lease that is still in its slot adds to the totals, up to now or to the end of its owner. */
static void add_held(struct report_held *held, const struct model_lease *lease) {
	double since_event_ns = (double)span_ns(lease->last_event_ns, lease->until_ns);
	held->in_query += (double)lease->use_in_query_ns;
	held->idle_in_transaction += (double)lease->use_idle_in_transaction_ns;
	held->idle += (double)lease->idle_ns;
	if (lease->command_begun_ns != 0)
		held->in_query += (double)span_ns(lease->command_begun_ns, lease->until_ns);
	else if (lease->is_in_use)
		held->idle_in_transaction += since_event_ns;
	else
		held->idle += since_event_ns;
}

static struct report_held held_time(const struct model *model, const struct model_totals *sum) {
	struct report_held held = {.in_query = (double)sum->counter[MODEL_IN_QUERY_NS],
				   .idle_in_transaction = (double)sum->counter[MODEL_IDLE_IN_TRANSACTION_NS],
				   .idle = (double)sum->counter[MODEL_IDLE_NS]};
	for (size_t i = 0; i < model->lease_count; i++)
		if (model->leases[i].state == MODEL_LEASE_OPEN)
			add_held(&held, &model->leases[i]);
	return (struct report_held){seconds_of(held.in_query), seconds_of(held.idle_in_transaction),
				    seconds_of(held.idle)};
}

static void build_totals(struct building *building) {
	const struct model *model = building->model;
	struct report *report = building->report;
	struct report_totals *totals = &report->totals;
	struct model_totals sum = {0};
	for (size_t i = 0; i < model->pool_count; i++)
		model_totals_add(&sum, building->arena, &model->pools[i].totals);
	count_totals(totals, &sum);
	count_leases(totals, model);
	totals->attempts = totals->established + totals->failed + totals->abandoned + totals->in_progress;
	totals->peak_open = at_least(model->run.open_peak, totals->open);
	totals->mean_open = mean_open(building);
	totals->peak_in_use = use_count(building, at_least(model->run.in_use_peak, totals->in_use));
	totals->in_use = use_count(building, totals->in_use);
	totals->uses = use_count(building, totals->uses);
	totals->returned_late =
		use_count(building, count_returned_suspects(building) + count_returned_orphans(building));
	report->connect_time = kept_times_of(building, &sum.time[MODEL_CONNECT_TIME]);
	report->failed_time = times_of(&sum.time[MODEL_FAILED_TIME]);
	report->hold_time = kept_times_of(building, &sum.time[MODEL_HOLD_TIME]);
	report->use_time = use_times_of(building, &sum.time[MODEL_USE_TIME]);
	report->held = model->has_uses ? held_time(model, &sum) : (struct report_held){NAN, NAN, NAN};
}

static void build_phases(struct building *building) {
	const struct histogram *phases = building->model->phase_time;
	struct report_phases *to = &building->report->connect_phases;
	to->tcp = times_of(&phases[MODEL_PHASE_TCP]);
	to->tls = times_of(&phases[MODEL_PHASE_TLS]);
	to->auth = times_of(&phases[MODEL_PHASE_AUTH]);
	to->distributions = phases;
	to->is_known = to->tcp.count + to->tls.count + to->auth.count > 0;
}

/* ---- Failures --------------------------------------------------------------------------------- */

static int compare_failures(const void *a, const void *b) {
	const struct report_failure *left = a;
	const struct report_failure *right = b;
	if (left->count != right->count)
		return left->count > right->count ? -1 : 1;
	return strcmp(left->message, right->message);
}

static void build_failures(struct building *building) {
	const struct model *model = building->model;
	struct report *report = building->report;
	report->failure_count = model->failure_count;
	report->failures = arena_array(building->arena, model->failure_count, sizeof *report->failures);
	for (size_t i = 0; i < model->failure_count; i++) {
		const struct model_failure *from = &model->failures[i];
		report->failures[i] = (struct report_failure){.class_name = from->class_name,
							      .count = (int64_t)from->count,
							      .sqlstate = known_text(from->sqlstate),
							      .message = from->text,
							      .first = instant_of(building, from->first_ns),
							      .last = instant_of(building, from->last_ns)};
	}
	qsort(report->failures, report->failure_count, sizeof *report->failures, compare_failures);
}

/* ---- Processes -------------------------------------------------------------------------------- */

static int compare_processes(const void *a, const void *b) {
	const struct model_process *left = *(const struct model_process *const *)a;
	const struct model_process *right = *(const struct model_process *const *)b;
	if (left->attached_ns != right->attached_ns)
		return left->attached_ns < right->attached_ns ? -1 : 1;
	return (left->pid > right->pid) - (left->pid < right->pid);
}

static void build_processes(struct building *building) {
	const struct model *model = building->model;
	struct report *report = building->report;
	const struct model_process **order =
		arena_array(building->arena, model->process_count, sizeof *order);
	for (size_t i = 0; i < model->process_count; i++)
		order[i] = &model->processes[i];
	qsort(order, model->process_count, sizeof *order, compare_processes);
	report->process_count = model->process_count;
	report->processes = arena_array(building->arena, model->process_count, sizeof *report->processes);
	for (size_t i = 0; i < model->process_count; i++) {
		const struct model_process *from = order[i];
		uint64_t started_ns = from->started_ns != 0 ? from->started_ns : from->attached_ns;
		report->processes[i] =
			(struct report_process){.pid = from->pid,
						.parent = known_number(from->parent_pid),
						.role = known_text(from->role),
						.exe = known_text(from->exe),
						.script = known_text(from->script),
						.started = instant_of(building, started_ns),
						.ended = instant_of(building, from->ended_ns),
						.how_ended = model_how_ended_name(from->how_ended),
						.open = (int64_t)from->open_count};
	}
}

/* ---- Sites ------------------------------------------------------------------------------------ */

/* What the slots add to a site's totals. */
struct site_slots {
	int64_t leases;
	int64_t open;
	int64_t connecting; /* also those of processes that are gone */
	int64_t left;       /* leases of processes that are gone */
	int64_t used;       /* leases that were last used here, or were when somebody was refused */
};

static void count_used(struct site_slots *slots, const struct model *model, uint32_t site) {
	if (site < model->site_count)
		slots[site].used++;
}

static void count_holders(struct site_slots *slots, const struct model *model) {
	for (size_t i = 0; i < model->snapshot_count; i++)
		for (size_t j = 0; j < model->snapshots[i].holder_count; j++) {
			count_used(slots, model, model->snapshots[i].holders[j].site);
			count_used(slots, model, model->snapshots[i].holders[j].use_site);
		}
}

static struct site_slots *count_site_slots(const struct building *building) {
	struct site_slots *slots = arena_array(building->arena, building->model->site_count, sizeof *slots);
	for (size_t i = 0; i < building->model->lease_count; i++) {
		const struct model_lease *lease = &building->model->leases[i];
		count_used(slots, building->model, lease->last_use_site);
		if (lease->site >= building->model->site_count)
			continue;
		slots[lease->site].leases++;
		slots[lease->site].open += is_open(lease);
		slots[lease->site].connecting += lease->state == MODEL_LEASE_CONNECTING;
		slots[lease->site].left += lease->is_owner_gone && is_left_lease(lease->left);
	}
	count_holders(slots, building->model);
	return slots;
}

static void build_site(struct building *building, uint32_t number, const struct site_slots *slots) {
	const struct model_totals *totals = &building->model->sites[number].totals;
	const uint64_t *counter = totals->counter;
	uint64_t left_ns = 0;
	for (int left = 0; left < MODEL_LEFT_COUNT; left++)
		left_ns |= totals->first_finding_ns[MODEL_LEFT_SEEN + left];
	bool is_empty = totals->first_ns == 0 && left_ns == 0 && slots->leases + slots->used == 0;
	if (is_empty || site_id(building, number) == REPORT_UNKNOWN)
		return;
	struct report_site *site = &building->report->sites[building->report->site_count++];
	uint64_t ended_attempts = counter[MODEL_ESTABLISHED] + counter[MODEL_FAILED] +
		counter[MODEL_ABANDONED] + count_all_hows(totals, MODEL_LEFT_CONNECTING) +
		count_all_hows(totals, MODEL_LEFT_IN_CALL);
	*site = (struct report_site){
		.id = number,
		.fingerprint = building->frames[number].fingerprint,
		.frames = &building->frames[number],
		.leases = (int64_t)(counter[MODEL_ESTABLISHED] + counter[MODEL_REVIVED]),
		.attempts = (int64_t)ended_attempts + slots->connecting,
		.failed = (int64_t)counter[MODEL_FAILED],
		.open = slots->open,
		.peak_open = at_least(totals->open_peak, slots->open),
		.finished = (int64_t)(counter[MODEL_FINISHED] + counter[MODEL_FINISHED_ELSEWHERE]),
		.connect_time = kept_times_of(building, &totals->time[MODEL_CONNECT_TIME]),
		.hold_time = kept_times_of(building, &totals->time[MODEL_HOLD_TIME])};
	site->released.never = (int64_t)count_left_leases(totals) + slots->left;
}

static void add_release(const struct building *building, const struct model_releaser *releaser) {
	int64_t id = releaser->site;
	struct report_site *site = (struct report_site *)report_find_site(building->report, id);
	if (site == NULL)
		return;
	int64_t *const counts[RELEASE_KIND_COUNT] = {[RELEASE_EXPLICIT] = &site->released.by_program,
						     [RELEASE_DROPPED] = &site->released.dropped,
						     [RELEASE_COLLECTOR] = &site->released.collector,
						     [RELEASE_EXIT] = &site->released.at_exit,
						     [RELEASE_OTHER_PROCESS] = &site->released.other_process,
						     [RELEASE_UNKNOWN] = &site->released.unknown};
	enum release_kind kind = release_kind_of(&building->frames[releaser->release_site], releaser->facts);
	*counts[kind] += (int64_t)releaser->count;
}

static void build_sites(struct building *building) {
	const struct model *model = building->model;
	struct site_slots *slots = count_site_slots(building);
	building->report->sites =
		arena_array(building->arena, model->site_count, sizeof *building->report->sites);
	for (uint32_t i = 0; i < model->site_count; i++)
		build_site(building, i, &slots[i]);
	for (size_t i = 0; i < model->releaser_count; i++)
		add_release(building, &model->releasers[i]);
}

static void resolve_frames(struct building *building, struct symbol_source *symbols) {
	struct site_frames_namer namer = {.arena = building->arena,
					  .model = building->model,
					  .symbols = symbols,
					  .code = building->settings.code,
					  .code_count = building->settings.code_count};
	building->frames =
		arena_array(building->arena, building->model->site_count, sizeof *building->frames);
	for (uint32_t i = 0; i < building->model->site_count; i++)
		site_frames_resolve(&building->frames[i], &namer, i);
	site_frames_namer_release(&namer);
}

/* ---- Findings --------------------------------------------------------------------------------- */

static const struct report_example *build_examples(const struct building *building,
						   const struct finding *finding) {
	struct report_example *examples =
		arena_array(building->arena, finding->example_count, sizeof *examples);
	for (size_t i = 0; i < finding->example_count; i++) {
		const struct finding_example *from = &finding->examples[i];
		examples[i] = (struct report_example){.pid = from->pid,
						      .backend_pid = known_number(from->backend_pid),
						      .taken = instant_of(building, from->taken_ns),
						      .age = seconds_of((double)from->age_ns),
						      .test = report_tests_name(building->arena, from->test),
						      .taken_site = site_id(building, from->taken_site)};
	}
	return examples;
}

static void build_findings(struct building *building) {
	struct report *report = building->report;
	struct site_groups groups;
	struct rule_findings found;
	site_groups_build(&groups, building->arena, building->model, building->frames);
	const struct rule_input input = {.model = building->model,
					 .arena = building->arena,
					 .settings = &building->settings,
					 .report = report};
	rule_judge_all(&found, &input, &groups);
	report->finding_count = found.count;
	report->findings = arena_array(building->arena, found.count, sizeof *report->findings);
	for (size_t i = 0; i < found.count; i++) {
		const struct finding *finding = &found.findings[i];
		report->findings[i] = (struct report_finding){
			.finding = finding,
			.site = site_id(building, finding->site),
			.pool = finding->has_pool ? (int64_t)finding->pool : REPORT_UNKNOWN,
			.first = instant_of(building, finding->first_ns),
			.last = instant_of(building, finding->last_ns),
			.examples = build_examples(building, finding),
			.example_count = finding->example_count};
	}
}

/* ---- The report ------------------------------------------------------------------------------- */

void report_build(struct report *report, const struct model *model, struct symbol_source *symbols,
		  const struct report_settings *settings) {
	struct building building = {.report = report, .arena = &report->arena, .model = model};
	building.settings = settings != NULL ? *settings : report_settings_standard();
	*report = (struct report){0};
	build_run(&building);
	resolve_frames(&building, symbols);
	build_totals(&building);
	build_phases(&building);
	build_failures(&building);
	build_pools(&building);
	build_processes(&building);
	build_sites(&building);
	build_open_leases(&building);
	report_snapshots_build(report, model, building.frames);
	pool_load_fill(report, model, &building.settings);
	if (building.settings.server != NULL)
		server_account_fill(report, model, building.settings.server, building.settings.server_before);
	build_findings(&building);
	report_tests_build(report, model);
	trust_judge(&report->trust, &report->arena, model, building.settings.unrecorded_reason);
	verdict_give(&report->verdict, &report->arena, report, model, &building.settings);
}

void report_release(struct report *report) {
	arena_release(&report->arena);
	*report = (struct report){0};
}

static int compare_site_id(const void *key, const void *element) {
	int64_t id = *(const int64_t *)key;
	int64_t other = ((const struct report_site *)element)->id;
	return (id > other) - (id < other);
}

const struct report_site *report_find_site(const struct report *report, int64_t id) {
	if (report->site_count == 0)
		return NULL;
	return bsearch(&id, report->sites, report->site_count, sizeof *report->sites, compare_site_id);
}

const struct site_frame *report_application_frame(const struct report_site *site) {
	if (site == NULL || site->frames->application == SITE_NO_FRAME)
		return NULL;
	return &site->frames->frames[site->frames->application];
}

const char *report_place_text(struct arena *arena, const struct report *report, int64_t site) {
	const struct site_frame *frame = report_application_frame(report_find_site(report, site));
	if (frame == NULL)
		return NULL;
	const char *function = frame->function != NULL ? frame->function : "?";
	if (frame->file != NULL)
		return arena_text(arena, "%s:%" PRIu32 " in %s", text_basename(frame->file), frame->line,
				  function);
	return arena_text(arena, "%s+0x%" PRIx64 " in %s",
			  frame->module != NULL ? text_basename(frame->module) : "?", frame->offset,
			  function);
}
