#include "analyzer/judge/rank_test.h"

#include <math.h>
#include <stddef.h>

static double bucket_count(const struct histogram *histogram, unsigned octave, unsigned bucket) {
	return histogram->octave[octave] != NULL ? (double)histogram->octave[octave][bucket] : 0;
}

struct ranking {
	double base; /* values so far */
	double other;
	double u;    /* pairs so far in which other's value is larger */
	double ties; /* sum of t^3 - t */
};

static void rank_bucket(struct ranking *ranking, double base, double other) {
	double tied = base + other;
	ranking->u += other * (ranking->base + base / 2);
	ranking->ties += tied * tied * tied - tied;
	ranking->base += base;
	ranking->other += other;
}

static double p_of(const struct ranking *ranking) {
	double pairs = ranking->base * ranking->other;
	double all = ranking->base + ranking->other;
	double variance = pairs / 12 * (all + 1 - ranking->ties / (all * (all - 1)));
	double distance = fabs(ranking->u - pairs / 2) - 0.5;
	if (!(variance > 0) || distance <= 0)
		return 1;
	return erfc(distance / sqrt(variance) / sqrt(2));
}

struct rank_test rank_test_compare(const struct histogram *base, const struct histogram *other) {
	struct ranking ranking = {0};
	for (unsigned octave = 0; octave < HISTOGRAM_OCTAVES; octave++)
		for (unsigned bucket = 0; bucket < HISTOGRAM_OCTAVE_BUCKETS; bucket++)
			rank_bucket(&ranking, bucket_count(base, octave, bucket),
				    bucket_count(other, octave, bucket));
	struct rank_test test = {.base_count = (uint64_t)ranking.base,
				 .other_count = (uint64_t)ranking.other,
				 .u = ranking.u,
				 .superiority = 0.5,
				 .p = 1};
	if (ranking.base > 0 && ranking.other > 0) {
		test.superiority = ranking.u / (ranking.base * ranking.other);
		test.p = p_of(&ranking);
	}
	return test;
}
