#include "analyzer/symbols/span_table.h"

#include <stdlib.h>

#define STEPS_MAX 4096u

bool span_table_add(struct span_table *table, uint64_t low, uint64_t high, uint32_t value, uint32_t rank) {
	if (low >= high)
		return true;
	if (table->count == table->capacity) {
		size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
		struct span *spans = reallocarray(table->spans, capacity, sizeof *spans);
		if (spans == NULL)
			return false;
		table->spans = spans;
		table->capacity = capacity;
	}
	table->spans[table->count++] = (struct span){.low = low, .high = high, .value = value, .rank = rank};
	return true;
}

/* Inner ranges behind outer ones: searches run backwards. */
static int compare_spans(const void *a, const void *b) {
	const struct span *one = a;
	const struct span *other = b;

	if (one->low != other->low)
		return one->low < other->low ? -1 : 1;
	if (one->high != other->high)
		return one->high > other->high ? -1 : 1;
	if (one->rank != other->rank)
		return one->rank < other->rank ? -1 : 1;
	return one->value < other->value ? 1 : one->value > other->value ? -1 : 0;
}

void span_table_sort(struct span_table *table) {
	uint64_t reach = 0;

	if (table->count > 1)
		qsort(table->spans, table->count, sizeof *table->spans, compare_spans);
	for (size_t i = 0; i < table->count; i++) {
		if (table->spans[i].high > reach)
			reach = table->spans[i].high;
		table->spans[i].reach = reach;
	}
}

/* How many ranges begin at or before the address. */
static size_t count_begun(const struct span_table *table, uint64_t address) {
	size_t first = 0;
	size_t last = table->count;

	while (first < last) {
		size_t middle = first + (last - first) / 2;
		if (table->spans[middle].low <= address)
			first = middle + 1;
		else
			last = middle;
	}
	return first;
}

const struct span *span_table_next(const struct span_table *table, uint64_t address, size_t *cursor) {
	size_t place = *cursor == SPAN_TABLE_START ? count_begun(table, address) : *cursor;

	for (size_t steps = 0; place > 0 && steps < STEPS_MAX; steps++) {
		const struct span *span = &table->spans[--place];
		if (span->reach <= address)
			break;
		if (span->high > address) {
			*cursor = place;
			return span;
		}
	}
	*cursor = 0;
	return NULL;
}

void span_table_release(struct span_table *table) {
	free(table->spans);
	*table = (struct span_table){0};
}
