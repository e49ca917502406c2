/*
 * Which of many address ranges contain an address. Ranges may overlap and nest.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_SPAN_TABLE_H
#define PQLEASE_ANALYZER_SYMBOLS_SPAN_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	uint64_t low;
	uint64_t high;  /* one past the last address */
	uint64_t reach; /* the highest `high` up to here, set by span_table_sort() */
	uint32_t value;
	uint32_t rank; /* of ranges that are equal otherwise, the highest rank is found first */
};

struct span_table {
	struct span *spans;
	size_t count;
	size_t capacity;
};

/* Where a search begins. */
#define SPAN_TABLE_START SIZE_MAX

/* Ignores empty ranges. False when out of memory. The table starts zeroed. */
bool span_table_add(struct span_table *table, uint64_t low, uint64_t high, uint32_t value, uint32_t rank);

/* Must be called after the last add and before the first search. */
void span_table_sort(struct span_table *table);

/* The next range that contains the address, those that begin last first; NULL at the end. *cursor is
 * SPAN_TABLE_START at first. A search visits a bounded number of ranges. */
const struct span *span_table_next(const struct span_table *table, uint64_t address, size_t *cursor);

void span_table_release(struct span_table *table);

#endif
