/*
 * Whether one distribution lies above another: the rank sum test of Mann and Whitney on histograms.
 *
 * Values of one bucket (1.1 % wide, often less than the scatter of a clock) count as ties, for which the variance is
 * corrected; the normal approximation with continuity correction, two-sided, as others' asymptotic methods have it.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_RANK_TEST_H
#define PQLEASE_ANALYZER_JUDGE_RANK_TEST_H

#include "analyzer/histogram.h"

enum { RANK_TEST_LEAST = 10 }; /* fewer values on a side decide nothing */

struct rank_test {
	uint64_t base_count; /* values in buckets */
	uint64_t other_count;
	double u;           /* of `other`: pairs in which its value is the larger one, ties half */
	double superiority; /* u over the number of pairs: 0.5 is no difference, 1 means every value is larger */
	double p;           /* 1 when a side is empty or all values are one tie */
};

struct rank_test rank_test_compare(const struct histogram *base, const struct histogram *other);

#endif
