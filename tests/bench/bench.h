/* What the benchmark programs share. */
#ifndef PQLEASE_TESTS_BENCH_H
#define PQLEASE_TESTS_BENCH_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Of this process alone: whatever else the machine does. */
static inline uint64_t cpu_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline long argument(int argc, char **argv, int number, long otherwise) {
	return argc > number ? atol(argv[number]) : otherwise;
}

#endif
