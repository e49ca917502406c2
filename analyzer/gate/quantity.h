/*
 * Quantities as people write them in options and configurations. All return false for anything else than the whole
 * text being one; blanks may stand before a unit.
 */
#ifndef PQLEASE_ANALYZER_GATE_QUANTITY_H
#define PQLEASE_ANALYZER_GATE_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

/* Digits: "0", "60". */
bool quantity_parse_count(const char *text, uint64_t *count);
/* "100ms", "1.5 s", "5 min"; us, ms, s, min, h. A number without a unit is none. */
bool quantity_parse_seconds(const char *text, double *seconds);
/* "90%", "90" and "0.9%" are percents; the result is 1 for 100 %. */
bool quantity_parse_percent(const char *text, double *ratio);
/* Not negative: "3", "0.5". */
bool quantity_parse_number(const char *text, double *number);
/* "2027-01-31", a day that exists; as days since 1970-01-01. */
bool quantity_parse_date(const char *text, int64_t *day);

/* Today in UTC, as days since 1970-01-01, and such a day as text. */
int64_t quantity_today(void);
void quantity_format_date(char text[11], int64_t day);

#endif
