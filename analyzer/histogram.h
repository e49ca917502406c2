/*
 * Distributions of durations: exponential buckets, base 2^(1/32), with exact count, sum, min and max.
 * A quantile is within 1.1 % of the exact sample quantile. Histograms merge by addition.
 *
 * Octave o holds the values in [2^(o+8), 2^(o+9)) ns in 32 buckets, the first and the last octave also
 * everything below and above. Octaves are allocated from the arena when they get their first sample.
 */
#ifndef PQLEASE_ANALYZER_HISTOGRAM_H
#define PQLEASE_ANALYZER_HISTOGRAM_H

#include <stdint.h>

#include "analyzer/arena.h"

enum { HISTOGRAM_OCTAVES = 48, HISTOGRAM_OCTAVE_BUCKETS = 32, HISTOGRAM_FIRST_LOG2 = 8 };

struct histogram {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t min_ns; /* meaningless while count is 0 */
	uint64_t max_ns;
	uint64_t *octave[HISTOGRAM_OCTAVES]; /* NULL: all zero */
};

void histogram_add_value(struct histogram *histogram, struct arena *arena, uint64_t value_ns);
/* Adds samples to one bucket; count, sum, min and max are the caller's business. */
void histogram_add_bucket(struct histogram *histogram, struct arena *arena, unsigned octave, unsigned bucket,
			  uint64_t count);
void histogram_merge(struct histogram *into, struct arena *arena, const struct histogram *other);

/* The value below which the fraction `quantile` (0..1) of the samples lies, in [min, max]; 0 when empty.
 * Samples that found no bucket (a full octave table) are taken to be spread like the others. */
double histogram_quantile_ns(const struct histogram *histogram, double quantile);
/* Samples longer than `value_ns`, which is taken as the edge of the next bucket. */
uint64_t histogram_count_above(const struct histogram *histogram, uint64_t value_ns);
double histogram_mean_ns(const struct histogram *histogram);

#endif
