#include "analyzer/histogram.h"

#include <math.h>
#include <stddef.h>

static void note_value(struct histogram *histogram, uint64_t value_ns) {
	if (histogram->count == 0 || value_ns < histogram->min_ns)
		histogram->min_ns = value_ns;
	if (value_ns > histogram->max_ns)
		histogram->max_ns = value_ns;
	histogram->sum_ns += value_ns;
	histogram->count++;
}

void histogram_add_bucket(struct histogram *histogram, struct arena *arena, unsigned octave, unsigned bucket,
			  uint64_t count) {
	if (histogram->octave[octave] == NULL)
		histogram->octave[octave] = arena_array(arena, HISTOGRAM_OCTAVE_BUCKETS, sizeof(uint64_t));
	histogram->octave[octave][bucket] += count;
}

static unsigned place_of(uint64_t value_ns) {
	int last = HISTOGRAM_OCTAVES * HISTOGRAM_OCTAVE_BUCKETS - 1;
	double position =
		value_ns > 0 ? (log2((double)value_ns) - HISTOGRAM_FIRST_LOG2) * HISTOGRAM_OCTAVE_BUCKETS : 0;
	return position < 0 ? 0 : position > last ? (unsigned)last : (unsigned)position;
}

void histogram_add_value(struct histogram *histogram, struct arena *arena, uint64_t value_ns) {
	unsigned place = place_of(value_ns);
	note_value(histogram, value_ns);
	histogram_add_bucket(histogram, arena, place / HISTOGRAM_OCTAVE_BUCKETS,
			     place % HISTOGRAM_OCTAVE_BUCKETS, 1);
}

void histogram_merge(struct histogram *into, struct arena *arena, const struct histogram *other) {
	if (other->count == 0)
		return;
	if (into->count == 0 || other->min_ns < into->min_ns)
		into->min_ns = other->min_ns;
	if (other->max_ns > into->max_ns)
		into->max_ns = other->max_ns;
	into->count += other->count;
	into->sum_ns += other->sum_ns;
	for (unsigned octave = 0; octave < HISTOGRAM_OCTAVES; octave++)
		for (unsigned bucket = 0; other->octave[octave] != NULL && bucket < HISTOGRAM_OCTAVE_BUCKETS;
		     bucket++)
			if (other->octave[octave][bucket] != 0)
				histogram_add_bucket(into, arena, octave, bucket,
						     other->octave[octave][bucket]);
}

static uint64_t bucketed_count(const struct histogram *histogram) {
	uint64_t count = 0;
	for (unsigned octave = 0; octave < HISTOGRAM_OCTAVES; octave++)
		for (unsigned bucket = 0;
		     histogram->octave[octave] != NULL && bucket < HISTOGRAM_OCTAVE_BUCKETS; bucket++)
			count += histogram->octave[octave][bucket];
	return count;
}

static double bucket_middle_ns(unsigned octave, unsigned bucket) {
	return exp2(HISTOGRAM_FIRST_LOG2 + octave + (bucket + 0.5) / HISTOGRAM_OCTAVE_BUCKETS);
}

static double clamped(const struct histogram *histogram, double value_ns) {
	double min_ns = (double)histogram->min_ns;
	double max_ns = (double)histogram->max_ns;
	return value_ns < min_ns ? min_ns : value_ns > max_ns ? max_ns : value_ns;
}

double histogram_quantile_ns(const struct histogram *histogram, double quantile) {
	uint64_t total = bucketed_count(histogram);
	if (histogram->count == 0)
		return 0;
	uint64_t rank = (uint64_t)ceil(quantile * (double)total);
	if (rank <= 1)
		rank = 1;
	if (rank >= total)
		return (double)histogram->max_ns;
	uint64_t seen = 0;
	for (unsigned octave = 0; octave < HISTOGRAM_OCTAVES; octave++)
		for (unsigned bucket = 0;
		     histogram->octave[octave] != NULL && bucket < HISTOGRAM_OCTAVE_BUCKETS; bucket++) {
			seen += histogram->octave[octave][bucket];
			if (seen >= rank)
				return clamped(histogram, bucket_middle_ns(octave, bucket));
		}
	return (double)histogram->max_ns;
}

double histogram_mean_ns(const struct histogram *histogram) {
	return histogram->count > 0 ? (double)histogram->sum_ns / (double)histogram->count : 0;
}

uint64_t histogram_count_above(const struct histogram *histogram, uint64_t value_ns) {
	uint64_t count = 0;
	if (histogram->count == 0 || histogram->max_ns <= value_ns)
		return 0;
	if (histogram->min_ns > value_ns)
		return histogram->count;
	for (unsigned place = place_of(value_ns) + 1; place < HISTOGRAM_OCTAVES * HISTOGRAM_OCTAVE_BUCKETS;
	     place++) {
		const uint64_t *octave = histogram->octave[place / HISTOGRAM_OCTAVE_BUCKETS];
		count += octave != NULL ? octave[place % HISTOGRAM_OCTAVE_BUCKETS] : 0;
	}
	return count > 0 ? count : 1; /* the longest, which shares its bucket with the limit */
}
