#include "analyzer/instant.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void instant_format(char text[INSTANT_TEXT_BYTES], uint64_t realtime_ns) {
	struct tm utc;
	time_t seconds = (time_t)(realtime_ns / 1000000000u);
	gmtime_r(&seconds, &utc);
	size_t length = strftime(text, INSTANT_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + length, INSTANT_TEXT_BYTES - length, ".%06uZ",
		 (unsigned)(realtime_ns % 1000000000u / 1000));
}

static uint64_t now_ns(clockid_t clock) {
	struct timespec now;
	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t instant_monotonic_ns(void) {
	return now_ns(CLOCK_MONOTONIC);
}

uint64_t instant_realtime_ns(void) {
	return now_ns(CLOCK_REALTIME);
}
