#include "shim/ledger_writer.h"

#include "shim/ledger_file.h"

#define COUNT_BITS 28u
#define COUNT_MASK UINT64_C(0xfffffff)

static uint64_t as_count(int64_t gauge) {
	return gauge < 0 ? 0 : (uint64_t)gauge > COUNT_MASK ? COUNT_MASK : (uint64_t)gauge;
}

/* A slow writer never puts an older stage over a younger one. */
static void change_cell(_Atomic uint64_t *cell, uint32_t stage, uint64_t least, uint64_t last) {
	uint64_t tag = (uint64_t)stage + 1;
	uint64_t seen = atomic_load(cell);
	for (;;) {
		uint64_t seen_least = seen >> COUNT_BITS & COUNT_MASK;
		uint64_t next_least = seen >> 56 == tag && seen_least < least ? seen_least : least;
		uint64_t word = tag << 56 | next_least << COUNT_BITS | last;
		if (seen >> 56 > tag || word == seen || atomic_compare_exchange_weak(cell, &seen, word))
			return;
	}
}

static _Atomic uint64_t *cell_at(struct ledger_trend *trend, uint64_t age_ns, uint32_t *stage) {
	*stage = ledger_trend_stage(age_ns);
	uint64_t begin_ns = ledger_trend_begin_ns(*stage, 0);
	uint64_t width_ns = ledger_trend_begin_ns(*stage, 1) - begin_ns;
	return &trend->bank[*stage % 2][(age_ns - begin_ns) / width_ns % LEDGER_TREND_CELLS];
}

/* Most sites never hold two leases at once, and need no trend. */
static struct ledger_trend *trend_of(struct ledger_header *ledger, struct ledger_site *site, int64_t open) {
	uint32_t known = atomic_load_explicit(&site->trend, memory_order_acquire);
	struct ledger_section *section = &ledger->section[LEDGER_TRENDS];
	if (known == 0 && open >= LEDGER_TREND_FROM) {
		uint64_t number = atomic_load_explicit(&section->used, memory_order_relaxed);
		if (number < section->capacity)
			number = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
		bool has_room = ledger_unit(ledger, LEDGER_TRENDS, number) != NULL;
		uint32_t own = has_room ? (uint32_t)number + 1 : LEDGER_TREND_LOST;
		if (atomic_compare_exchange_strong_explicit(&site->trend, &known, own, memory_order_acq_rel,
							    memory_order_acquire)) {
			known = own;
			if (!has_room)
				ledger_count_loss(ledger, LEDGER_LOST_TRENDS);
		}
	}
	return known != 0 && known != LEDGER_TREND_LOST ? ledger_unit(ledger, LEDGER_TRENDS, known - 1)
							: NULL;
}

/* As with the timelines, two threads may come here in the other order than they changed the gauge: the last
 * value is written again until it is the gauge's. */
void ledger_trend_change(struct ledger_header *ledger, struct ledger_site *site, int64_t before,
			 int64_t after, uint64_t now_ns) {
	struct ledger_trend *trend = trend_of(ledger, site, after);
	uint64_t created_ns = ledger->created_monotonic_ns;
	uint32_t stage;
	if (!trend)
		return;
	_Atomic uint64_t *cell = cell_at(trend, now_ns > created_ns ? now_ns - created_ns : 0, &stage);
	uint64_t least = as_count(before < after ? before : after);
	for (int64_t written = ~after; written != after; after = atomic_load(&site->totals.open)) {
		change_cell(cell, stage, least < as_count(after) ? least : as_count(after), as_count(after));
		written = after;
	}
}
