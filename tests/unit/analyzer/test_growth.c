/* Shapes of the number of open leases over a run: which of them are growth without end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "analyzer/judge/growth.h"

enum { CELLS = 48, CYCLES = 3 };

#define CELL_NS UINT64_C(1000000000)

/* Open at an instant (of 0 to 1), and the least that was open around it. */
typedef double shape(double at);

static bool grows(shape *open) {
	struct growth_cell cells[CELLS];
	struct growth growth;
	for (unsigned i = 0; i < CELLS; i++) {
		uint64_t least = UINT64_MAX;
		for (unsigned j = 0; j <= 10; j++) {
			double value = floor(open((i + j / 10.0) / CELLS));
			least = value < (double)least ? (uint64_t)value : least;
		}
		cells[i] = (struct growth_cell){i * CELL_NS, least, (uint64_t)floor(open((i + 1.0) / CELLS))};
	}
	return growth_judge(&growth, cells, CELLS, CELLS * CELL_NS, CYCLES);
}

/* ---- Growth ------------------------------------------------------------------------------------------- */

static double slow(double at) {
	return 1 + 8 * at;
}

static double steady(double at) {
	return 3 + 100 * at;
}

static double faster(double at) {
	return 5 + 60 * at * at;
}

static double under_bursts(double at) {
	return 40 * at + (fmod(at * 23, 1) < 0.3 ? 30 : 2);
}

static double in_steps(double at) {
	return 2 + floor(at * 16) * 2;
}

static double with_teeth(double at) {
	return 20 * at + 15 * fmod(at * 29, 1);
}

static void test_growth_is_seen(void **state) {
	(void)state;
	assert_true(grows(slow));
	assert_true(grows(steady));
	assert_true(grows(faster));
	assert_true(grows(under_bursts));
	assert_true(grows(in_steps));
	assert_true(grows(with_teeth));
}

/* ---- No growth -------------------------------------------------------------------------------------------- */

static double flat(double at) {
	(void)at;
	return 17;
}

static double one_step(double at) {
	return at < 0.6 ? 4 : 40;
}

static double two_steps(double at) {
	return at < 0.3 ? 2 : at < 0.7 ? 22 : 44;
}

static double fills_and_saturates(double at) {
	return 30 * (1 - exp(-6 * at));
}

static double fills_slowly(double at) {
	return 30 * (1 - exp(-3 * at));
}

static double fills_to_a_limit(double at) {
	return at < 0.75 ? 40 * at : 30;
}

static double teeth(double at) {
	return 2 + 40 * fmod(at * 11, 1);
}

static double tide(double at) {
	return 50 - 45 * cos(at * 6.2831853);
}

static double falls(double at) {
	return 90 - 80 * at;
}

static double bursts(double at) {
	return fmod(at * 37, 1) < 0.2 ? 60 : 3;
}

static double up_and_back(double at) {
	return at < 0.8 ? 60 * at : 48 * (1 - at) / 0.2;
}

static void test_other_shapes_are_no_growth(void **state) {
	(void)state;
	shape *const shapes[] = {flat,         one_step,         two_steps,  fills_and_saturates,
				 fills_slowly, fills_to_a_limit, teeth,      tide,
				 falls,        bursts,           up_and_back};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (grows(shapes[i]))
			fail_msg("shape %zu is taken for growth", i);
}

static void test_too_little_says_nothing(void **state) {
	(void)state;
	struct growth growth;
	struct growth_cell cells[] = {{0, 1, 2}, {CELL_NS, 2, 3}};
	assert_false(growth_judge(&growth, NULL, 0, CELL_NS, CYCLES));
	assert_false(growth_judge(&growth, cells, 2, 0, CYCLES));
	assert_false(growth_judge(&growth, cells, 2, 2 * CELL_NS, CYCLES));
}

/* ---- Properties -------------------------------------------------------------------------------------------- */

static uint64_t seed;

static double random_number(void) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed >> 11) / (double)(UINT64_C(1) << 53);
}

struct traffic {
	double arrivals; /* per tick */
	double hold;     /* ticks, mean */
	double limit;    /* of a pool that fills and keeps what it has; 0: none */
	double leak;     /* leases per tick that are never given back */
};

/* A service under load: leases come and go at random, `leak` of them never go. A pool that by chance was not full in two
 * thirds of the run is no example. */
static bool traffic_grows(const struct traffic *traffic) {
	enum { TICKS_PER_CELL = 50 };
	struct growth_cell cells[CELLS];
	struct growth growth;
	uint64_t open = (uint64_t)(traffic->arrivals * traffic->hold);
	double leaked = 0;
	unsigned full_at = 0;
	for (unsigned i = 0; i < CELLS; i++) {
		cells[i] = (struct growth_cell){i * CELL_NS, UINT64_MAX, 0};
		for (unsigned tick = 0; tick < TICKS_PER_CELL; tick++) {
			open += random_number() < traffic->arrivals;
			double gone = (double)open / traffic->hold;
			if (open > 0 && random_number() < gone && traffic->limit == 0)
				open--;
			if (traffic->limit > 0 && (double)open > traffic->limit)
				open = (uint64_t)traffic->limit;
			if (full_at == 0 && traffic->limit > 0 && (double)open >= traffic->limit)
				full_at = i + 1;
			leaked += traffic->leak;
			uint64_t now = open + (uint64_t)leaked;
			cells[i].least = now < cells[i].least ? now : cells[i].least;
			cells[i].last = now;
		}
	}
	bool is_example = traffic->limit == 0 || (full_at > 0 && full_at <= CELLS * 2 / 3);
	return is_example && growth_judge(&growth, cells, CELLS, CELLS * CELL_NS, CYCLES);
}

static unsigned count_growing(const struct traffic *traffic, unsigned runs) {
	unsigned count = 0;
	for (unsigned run = 0; run < runs; run++)
		count += traffic_grows(traffic);
	return count;
}

static void test_random_traffic_raises_no_alarm(void **state) {
	(void)state;
	enum { RUNS = 400 };
	seed = 88172645463325252u;
	for (double arrivals = 0.05; arrivals < 0.9; arrivals += 0.2)
		for (double hold = 2; hold < 200; hold *= 3) {
			struct traffic traffic = {.arrivals = arrivals, .hold = hold};
			unsigned alarms = count_growing(&traffic, RUNS);
			if (alarms > RUNS / 100)
				fail_msg(
					"%u of %d runs with %.2f arrivals held for %.0f are taken for growth",
					alarms, RUNS, arrivals, hold);
		}
}

static void test_pools_that_fill_raise_no_alarm(void **state) {
	(void)state;
	enum { RUNS = 400 };
	seed = 362436069;
	for (double limit = 5; limit < 60; limit += 9)
		for (double share = 0.1; share < 0.75; share += 0.1) {
			/* full after this share of the run */
			struct traffic traffic = {
				.arrivals = limit / (share * CELLS * 50), .hold = 0.5, .limit = limit};
			unsigned alarms = count_growing(&traffic, RUNS);
			if (alarms > RUNS / 100)
				fail_msg("%u of %d pools of %.0f, full after %.1f, are taken for growth",
					 alarms, RUNS, limit, share);
		}
}

static void test_leaks_under_traffic_are_found(void **state) {
	(void)state;
	enum { RUNS = 100 };
	seed = 521288629;
	for (double hold = 2; hold < 30; hold *= 3) {
		struct traffic traffic = {.arrivals = 0.3, .hold = hold, .leak = 0.02};
		unsigned found = count_growing(&traffic, RUNS);
		if (found < RUNS * 9 / 10)
			fail_msg("%u of %d leaks are found beside leases held for %.0f", found, RUNS, hold);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth_is_seen),
		cmocka_unit_test(test_other_shapes_are_no_growth),
		cmocka_unit_test(test_too_little_says_nothing),
		cmocka_unit_test(test_random_traffic_raises_no_alarm),
		cmocka_unit_test(test_pools_that_fill_raise_no_alarm),
		cmocka_unit_test(test_leaks_under_traffic_are_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
