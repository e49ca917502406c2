/*
 * CPython's tables from instruction to line, decoded without the interpreter: its own functions read what tracing tools
 * of other threads may be changing.
 */
#ifndef PQLEASE_SHIM_PYTHON_LINES_H
#define PQLEASE_SHIM_PYTHON_LINES_H

#include <stddef.h>
#include <stdint.h>

enum python_lines {
	PYTHON_LINES_PAIRS,    /* co_lnotab, 3.6 to 3.9 */
	PYTHON_LINES_RANGES,   /* co_linetable of 3.10 (PEP 626) */
	PYTHON_LINES_LOCATIONS /* co_linetable since 3.11 (PEP 657) */
};

/* Line of the instruction at `offset_bytes`, 0 if the table gives it none. `offset_bytes` is negative before the first
 * instruction: the first line. Any bytes are safe. */
uint32_t python_line(enum python_lines kind, const uint8_t *table, size_t length_bytes, int32_t first_line,
		     int64_t offset_bytes);

#endif
