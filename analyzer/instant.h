/*
 * Instants as people and programs read them.
 */
#ifndef PQLEASE_ANALYZER_INSTANT_H
#define PQLEASE_ANALYZER_INSTANT_H

#include <stddef.h>
#include <stdint.h>

enum { INSTANT_TEXT_BYTES = 40 };

/* RFC 3339 in UTC with microseconds, "2024-02-29T23:59:59.123456Z". Nanoseconds since 1970 are cut, not
 * rounded, so that order is kept. */
void instant_format(char text[INSTANT_TEXT_BYTES], uint64_t realtime_ns);

/* Nanoseconds of CLOCK_MONOTONIC and of CLOCK_REALTIME. */
uint64_t instant_monotonic_ns(void);
uint64_t instant_realtime_ns(void);

#endif
