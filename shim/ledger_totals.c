#include "shim/ledger_writer.h"

#include <time.h>

#include "shim/ledger_file.h"

uint64_t ledger_now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void raise_to(_Atomic uint64_t *word, uint64_t value) {
	uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
	while (seen < value &&
	       !atomic_compare_exchange_weak_explicit(word, &seen, value, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

void ledger_widen(_Atomic uint64_t *inverted_first_ns, _Atomic uint64_t *last_ns, uint64_t now_ns) {
	raise_to(inverted_first_ns, ~now_ns);
	raise_to(last_ns, now_ns);
}

static void raise_gauge_to(_Atomic int64_t *peak, int64_t value) {
	int64_t seen = atomic_load_explicit(peak, memory_order_relaxed);
	while (seen < value &&
	       !atomic_compare_exchange_weak_explicit(peak, &seen, value, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

/* ---- Histograms ----------------------------------------------------------------------------------- */

/* 2^(k/32) in units of 2^-31: where bucket k of an octave begins. */
static const uint32_t bucket_starts[LEDGER_OCTAVE_BUCKETS] = {
	0x80000000u, 0x82cd8699u, 0x85aac368u, 0x88980e81u, 0x8b95c1e4u, 0x8ea4398bu, 0x91c3d374u,
	0x94f4efa9u, 0x9837f052u, 0x9b8d39bau, 0x9ef53261u, 0xa2704303u, 0xa5fed6aau, 0xa9a15ab5u,
	0xad583eeau, 0xb123f582u, 0xb504f334u, 0xb8fbaf47u, 0xbd08a39fu, 0xc12c4ccau, 0xc5672a11u,
	0xc9b9bd86u, 0xce248c15u, 0xd2a81d92u, 0xd744fccbu, 0xdbfbb798u, 0xe0ccdeecu, 0xe5b906e7u,
	0xeac0c6e8u, 0xefe4b99cu, 0xf5257d15u, 0xfa83b2dbu};

static uint32_t bucket_of(uint64_t value_ns) {
	uint32_t mantissa = (uint32_t)(value_ns << __builtin_clzll(value_ns) >> 32);
	uint32_t bucket = 0;
	for (uint32_t step = LEDGER_OCTAVE_BUCKETS / 2; step > 0; step /= 2)
		if (mantissa >= bucket_starts[bucket + step])
			bucket += step;
	return bucket;
}

/* Number in LEDGER_OCTAVES of octave `octave`, allocated now if need be; UINT32_MAX when full. */
static uint32_t octave_number(struct ledger_header *ledger, _Atomic uint16_t *octave) {
	uint16_t known = atomic_load_explicit(octave, memory_order_acquire);
	if (known)
		return known - 1u;
	struct ledger_section *section = &ledger->section[LEDGER_OCTAVES];
	uint64_t capacity = section->capacity < UINT16_MAX ? section->capacity : UINT16_MAX;
	if (atomic_load_explicit(&section->used, memory_order_relaxed) >= capacity)
		return UINT32_MAX;
	uint64_t number = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
	if (number >= capacity || !ledger_unit(ledger, LEDGER_OCTAVES, number))
		return UINT32_MAX;
	if (atomic_compare_exchange_strong_explicit(octave, &known, (uint16_t)(number + 1),
						    memory_order_acq_rel, memory_order_acquire))
		return (uint32_t)number;
	return known - 1u;
}

struct bucket_place {
	uint8_t octave;
	uint8_t bucket;
};

static struct bucket_place place_of(uint64_t value_ns) {
	int log2 = value_ns ? 63 - __builtin_clzll(value_ns) : 0;
	int octave = log2 - (int)LEDGER_OCTAVE_FIRST_LOG2;
	if (octave >= (int)LEDGER_OCTAVE_COUNT)
		return (struct bucket_place){LEDGER_OCTAVE_COUNT - 1, LEDGER_OCTAVE_BUCKETS - 1};
	if (octave < 0)
		return (struct bucket_place){0, 0};
	return (struct bucket_place){(uint8_t)octave, (uint8_t)bucket_of(value_ns)};
}

/* Values of about the same length stand in one octave, which is looked up once for all that follow each other. */
static void count_buckets(struct ledger_header *ledger, struct ledger_histogram *histogram,
			  const struct bucket_place *places, uint32_t count) {
	struct ledger_octave *counters = NULL;
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || places[i].octave != places[i - 1].octave) {
			uint32_t number = octave_number(ledger, &histogram->octave[places[i].octave]);
			counters = number != UINT32_MAX ? ledger_unit(ledger, LEDGER_OCTAVES, number) : NULL;
		}
		if (counters)
			atomic_fetch_add_explicit(&counters->bucket[places[i].bucket], 1,
						  memory_order_relaxed);
		else
			ledger_count_loss(ledger, LEDGER_LOST_OCTAVES);
	}
}

/* What several values come to, worked out once for all histograms that they go into. */
struct values {
	uint64_t sum_ns;
	uint64_t min_ns;
	uint64_t max_ns;
	uint32_t count;
	struct bucket_place places[LEDGER_BATCH_USES];
};

static void sum_up(struct values *values, const uint64_t *values_ns, uint32_t count) {
	uint64_t sum_ns = 0, min_ns = UINT64_MAX, max_ns = 0;
	values->count = count < LEDGER_BATCH_USES ? count : LEDGER_BATCH_USES;
	for (uint32_t i = 0; i < values->count; i++) {
		values->places[i] = place_of(values_ns[i]);
		sum_ns += values_ns[i];
		min_ns = values_ns[i] < min_ns ? values_ns[i] : min_ns;
		max_ns = values_ns[i] > max_ns ? values_ns[i] : max_ns;
	}
	values->sum_ns = sum_ns;
	values->min_ns = min_ns;
	values->max_ns = max_ns;
}

static void add_values(struct ledger_header *ledger, struct ledger_histogram *histogram,
		       const struct values *values) {
	count_buckets(ledger, histogram, values->places, values->count);
	raise_to(&histogram->inverted_min_ns, ~values->min_ns);
	raise_to(&histogram->max_ns, values->max_ns);
	atomic_fetch_add_explicit(&histogram->sum_ns, values->sum_ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->count, values->count, memory_order_relaxed);
}

void ledger_histogram_add(struct ledger_header *ledger, struct ledger_histogram *histogram,
			  uint64_t value_ns) {
	struct values values;
	sum_up(&values, &value_ns, 1);
	add_values(ledger, histogram, &values);
}

/* ---- Totals ----------------------------------------------------------------------------------------- */

static struct ledger_pool *account_pool(const struct ledger_account *account) {
	struct ledger_pool *pool = ledger_unit(account->ledger, LEDGER_POOLS, account->pool);
	return pool ? pool : ledger_unit(account->ledger, LEDGER_POOLS, LEDGER_POOL_OTHER);
}

static struct ledger_site *account_site(const struct ledger_account *account) {
	struct ledger_site *site = ledger_unit(account->ledger, LEDGER_SITES, account->site);
	return site ? site : ledger_unit(account->ledger, LEDGER_SITES, LEDGER_SITE_LOST);
}

static void add(struct ledger_totals *totals, enum ledger_counter counter, uint64_t amount, uint64_t now_ns) {
	atomic_fetch_add_explicit(&totals->counter[counter], amount, memory_order_relaxed);
	raise_to(&totals->inverted_first_ns, ~now_ns);
	raise_to(&totals->last_ns, now_ns);
}

void ledger_add(const struct ledger_account *account, enum ledger_counter counter, uint64_t amount,
		uint64_t now_ns) {
	add(&account_pool(account)->totals, counter, amount, now_ns);
	add(&account_site(account)->totals, counter, amount, now_ns);
}

void ledger_add_time(const struct ledger_account *account, enum ledger_measure measure,
		     uint64_t duration_ns) {
	ledger_add_times(account, measure, &duration_ns, 1);
}

void ledger_add_times(const struct ledger_account *account, enum ledger_measure measure,
		      const uint64_t *durations_ns, uint32_t count) {
	struct values values;
	sum_up(&values, durations_ns, count);
	add_values(account->ledger, &account_pool(account)->totals.time[measure], &values);
	add_values(account->ledger, &account_site(account)->totals.time[measure], &values);
}

void ledger_add_phase_time(struct ledger_header *ledger, enum ledger_phase phase, uint64_t duration_ns) {
	ledger_histogram_add(ledger, &ledger->phase_time[phase], duration_ns);
}

void ledger_add_failure(struct ledger_header *ledger, uint32_t reason, uint64_t now_ns) {
	struct ledger_failure *failure = ledger_unit(ledger, LEDGER_FAILURES, reason);
	if (!failure)
		return;
	raise_to(&failure->inverted_first_ns, ~now_ns);
	raise_to(&failure->last_ns, now_ns);
	atomic_fetch_add_explicit(&failure->count, 1, memory_order_relaxed);
}

static void add_unreleased(struct ledger_totals *totals, enum ledger_left left, enum ledger_how_ended how,
			   uint64_t when_ns) {
	atomic_fetch_add_explicit(&totals->unreleased[left][how], 1, memory_order_relaxed);
	raise_to(&totals->inverted_first_finding_ns[LEDGER_FINDING_LEFT + left], ~when_ns);
	raise_to(&totals->last_finding_ns[LEDGER_FINDING_LEFT + left], when_ns);
}

void ledger_add_unreleased(const struct ledger_account *account, enum ledger_left left,
			   enum ledger_how_ended how, uint64_t when_ns) {
	add_unreleased(&account_pool(account)->totals, left, how, when_ns);
	add_unreleased(&account_site(account)->totals, left, how, when_ns);
}

void ledger_take_back_unreleased(const struct ledger_account *account, enum ledger_left left,
				 enum ledger_how_ended how, uint64_t now_ns) {
	struct ledger_totals *const totals[] = {&account_pool(account)->totals,
						&account_site(account)->totals};
	for (size_t i = 0; i < 2; i++)
		atomic_fetch_sub_explicit(&totals[i]->unreleased[left][how], 1, memory_order_relaxed);
	ledger_add(account, LEDGER_FINISHED_ELSEWHERE, 1, now_ns);
}

void ledger_add_misuse(const struct ledger_account *account, enum ledger_counter counter,
		       enum ledger_finding_time finding, uint64_t now_ns) {
	struct ledger_totals *totals = &account_site(account)->totals;
	ledger_add(account, counter, 1, now_ns);
	raise_to(&totals->inverted_first_finding_ns[finding], ~now_ns);
	raise_to(&totals->last_finding_ns[finding], now_ns);
}

/* ---- Timelines --------------------------------------------------------------------------------------- */

enum cell_change { CELL_ADD, CELL_SET, CELL_RAISE };

static void change_cell(_Atomic uint64_t *cell, uint32_t epoch, enum cell_change change, uint32_t value) {
	uint64_t tag = (uint64_t)epoch + 1;
	uint64_t seen = atomic_load(cell);
	for (;;) {
		uint64_t seen_tag = seen >> 32;
		uint32_t current = seen_tag == tag ? (uint32_t)seen : 0;
		uint32_t next = change == CELL_ADD ? current + value : value;
		if (change == CELL_RAISE && next < current)
			next = current;
		uint64_t word = tag << 32 | next;
		if (seen_tag > tag || word == seen)
			return;
		if (atomic_compare_exchange_weak(cell, &seen, word))
			return;
	}
}

/* The moment of an event as the three resolutions see it, computed once per event. */
struct moment {
	struct ledger_header *ledger;
	uint32_t second;
	uint32_t minute;
	uint32_t hour;
};

static struct moment moment_of(struct ledger_header *ledger, uint64_t now_ns) {
	uint64_t created_ns = ledger->created_monotonic_ns;
	uint32_t second = (uint32_t)((now_ns > created_ns ? now_ns - created_ns : 0) / 1000000000u);
	return (struct moment){ledger, second, second / 60, second / 3600};
}

static void change_metric(const struct moment *at, struct ledger_timeline *timeline,
			  enum ledger_metric metric, enum cell_change change, uint32_t value) {
	change_cell(&timeline->second[metric][at->second % LEDGER_SECOND_CELLS], at->second, change, value);
	change_cell(&timeline->minute[metric][at->minute % LEDGER_MINUTE_CELLS], at->minute, change, value);
	change_cell(&timeline->hour[metric][at->hour % LEDGER_HOUR_CELLS], at->hour, change, value);
}

static uint32_t as_value(int64_t gauge) {
	return gauge > 0 ? (uint32_t)gauge : 0;
}

/* Two threads may change the gauge in one order and come here in the other. The reader carries the last value
 * forward, so it is written again until it is the gauge's; gauge and cells are read and changed in one order for
 * all (sequentially consistent, which costs nothing on x86-64). */
static void change_open(const struct moment *at, uint32_t number, const _Atomic int64_t *gauge,
			int64_t before, int64_t after) {
	struct ledger_timeline *timeline = ledger_unit(at->ledger, LEDGER_TIMELINES, number);
	if (!timeline)
		return;
	change_metric(at, timeline, LEDGER_METRIC_OPEN_PEAK, CELL_RAISE,
		      as_value(before > after ? before : after));
	for (int64_t written = ~after; written != after; after = atomic_load(gauge)) {
		change_metric(at, timeline, LEDGER_METRIC_OPEN, CELL_SET, as_value(after));
		written = after;
	}
}

static void count_attempt(const struct moment *at, uint32_t number, bool has_failed) {
	struct ledger_timeline *timeline = ledger_unit(at->ledger, LEDGER_TIMELINES, number);
	if (!timeline)
		return;
	change_metric(at, timeline, LEDGER_METRIC_ATTEMPTS, CELL_ADD, 1);
	if (has_failed)
		change_metric(at, timeline, LEDGER_METRIC_FAILURES, CELL_ADD, 1);
}

/* A ledger may hold anything: a gauge at its limit wraps as the atomic addition does. */
static int64_t sum_of(int64_t gauge, int change) {
	return (int64_t)((uint64_t)gauge + (uint64_t)(int64_t)change);
}

/* Returns the gauge after the change. */
static int64_t change_gauge(_Atomic int64_t *gauge, _Atomic int64_t *peak, int change) {
	int64_t now = sum_of(atomic_fetch_add(gauge, change), change);
	raise_gauge_to(peak, now);
	return now;
}

void ledger_add_open(const struct ledger_account *account, int change, uint64_t now_ns) {
	struct ledger_pool *pool = account_pool(account);
	struct ledger_site *site = account_site(account);
	int64_t open = change_gauge(&account->ledger->open, &account->ledger->open_peak, change);
	int64_t pool_open = change_gauge(&pool->totals.open, &pool->totals.open_peak, change);
	int64_t site_open = change_gauge(&site->totals.open, &site->totals.open_peak, change);
	struct moment at = moment_of(account->ledger, now_ns);
	change_open(&at, 0, &account->ledger->open, sum_of(open, -change), open);
	if (pool->timeline) /* a pool without a timeline of its own has only the run's */
		change_open(&at, pool->timeline, &pool->totals.open, sum_of(pool_open, -change), pool_open);
	ledger_trend_change(account->ledger, site, sum_of(site_open, -change), site_open, now_ns);
}

void ledger_add_attempt(const struct ledger_account *account, bool has_failed, uint64_t now_ns) {
	struct moment at = moment_of(account->ledger, now_ns);
	uint32_t own = account_pool(account)->timeline;
	count_attempt(&at, 0, has_failed);
	if (own)
		count_attempt(&at, own, has_failed);
}

/* ---- Uses in progress --------------------------------------------------------------------------------- */

/* The entry for what has no pool of its own is always there. */
static bool has_pools(struct ledger_header *ledger) {
	return atomic_load_explicit(&ledger->section[LEDGER_POOLS].used, memory_order_relaxed) > 2;
}

uint32_t ledger_add_in_use(const struct ledger_account *account) {
	struct ledger_totals *pool = &account_pool(account)->totals;
	change_gauge(&pool->in_use, &pool->in_use_peak, 1);
	if (!has_pools(account->ledger))
		return LEDGER_LEASE_IN_USE;
	change_gauge(&account->ledger->in_use, &account->ledger->in_use_peak, 1);
	return LEDGER_LEASE_IN_USE | LEDGER_LEASE_IN_USE_RUN;
}

void ledger_take_in_use(const struct ledger_account *account, uint32_t flags) {
	if (flags & LEDGER_LEASE_IN_USE)
		atomic_fetch_sub(&account_pool(account)->totals.in_use, 1);
	if (flags & LEDGER_LEASE_IN_USE_RUN)
		atomic_fetch_sub(&account->ledger->in_use, 1);
}

static void show_in_use(const struct moment *at, uint32_t number, const _Atomic int64_t *gauge) {
	struct ledger_timeline *timeline = ledger_unit(at->ledger, LEDGER_TIMELINES, number);
	uint32_t value = as_value(atomic_load(gauge));
	if (!timeline)
		return;
	change_metric(at, timeline, LEDGER_METRIC_IN_USE_PEAK, CELL_RAISE, value);
	change_metric(at, timeline, LEDGER_METRIC_IN_USE, CELL_SET, value);
}

void ledger_show_in_use(const struct ledger_account *account, uint64_t now_ns) {
	struct ledger_pool *pool = account_pool(account);
	struct moment at = moment_of(account->ledger, now_ns);
	show_in_use(&at, 0, has_pools(account->ledger) ? &account->ledger->in_use : &pool->totals.in_use);
	if (pool->timeline)
		show_in_use(&at, pool->timeline, &pool->totals.in_use);
}
