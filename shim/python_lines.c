#include "shim/python_lines.h"

#include <stdbool.h>

#define NO_LINE_DELTA (-128)

/* What a location entry's code says of the line; the columns are skipped. */
enum location_code {
	ONE_LINE_FIRST = 10,
	ONE_LINE_LAST = 12,
	NO_COLUMNS = 13,
	LONG_FORM = 14,
	NO_LOCATION = 15
};

struct table {
	const uint8_t *at;
	const uint8_t *end;
};

static uint32_t line_of(int64_t line) {
	return line > 0 && line <= INT32_MAX ? (uint32_t)line : 0;
}

static uint32_t find_in_pairs(struct table table, int64_t line, int64_t offset_bytes) {
	int64_t at_bytes = 0;
	for (; table.end - table.at >= 2; table.at += 2) {
		at_bytes += table.at[0];
		if (at_bytes > offset_bytes)
			break;
		line += (int8_t)table.at[1];
	}
	return line_of(line);
}

static uint32_t find_in_ranges(struct table table, int64_t line, int64_t offset_bytes) {
	int64_t end_bytes = 0;
	for (; table.end - table.at >= 2; table.at += 2) {
		int8_t delta = (int8_t)table.at[1];
		end_bytes += table.at[0];
		if (delta != NO_LINE_DELTA)
			line += delta;
		if (end_bytes > offset_bytes)
			return delta != NO_LINE_DELTA ? line_of(line) : 0;
	}
	return 0;
}

/* Six bits in a byte, the lowest first; the lowest bit of all is the sign. */
static int64_t read_signed(struct table table) {
	uint64_t value = 0;
	bool goes_on = true;
	for (uint32_t shift = 0; goes_on && table.at < table.end && shift < 36; shift += 6) {
		goes_on = *table.at & 0x40;
		value |= (uint64_t)(*table.at++ & 0x3f) << shift;
	}
	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

static int64_t line_delta(uint32_t code, struct table behind) {
	if (code == NO_COLUMNS || code == LONG_FORM)
		return read_signed(behind);
	return code >= ONE_LINE_FIRST && code <= ONE_LINE_LAST ? (int64_t)code - ONE_LINE_FIRST : 0;
}

/* An entry begins with a byte whose highest bit is set: code, and number of instructions less one. */
static uint32_t find_in_locations(struct table table, int64_t line, int64_t offset_bytes) {
	int64_t end_bytes = 0;
	while (table.at < table.end) {
		uint8_t head = *table.at++;
		uint32_t code = head >> 3 & 15;
		end_bytes += ((head & 7) + 1) * 2;
		line += line_delta(code, table);
		if (end_bytes > offset_bytes)
			return code != NO_LOCATION ? line_of(line) : 0;
		while (table.at < table.end && !(*table.at & 0x80))
			table.at++;
	}
	return 0;
}

uint32_t python_line(enum python_lines kind, const uint8_t *bytes, size_t length_bytes, int32_t first_line,
		     int64_t offset_bytes) {
	struct table table = {bytes, bytes + length_bytes};
	if (offset_bytes < 0)
		return line_of(first_line);
	switch (kind) {
	case PYTHON_LINES_PAIRS:
		return find_in_pairs(table, first_line, offset_bytes);
	case PYTHON_LINES_RANGES:
		return find_in_ranges(table, first_line, offset_bytes);
	default:
		return find_in_locations(table, first_line, offset_bytes);
	}
}
