/*
 * Files that people write for the gate: read whole, and refused with the place of the fault.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_INPUT_H
#define PQLEASE_ANALYZER_GATE_GATE_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/arena.h"

enum { GATE_INPUT_MAX_BYTES = 16 << 20 };

/* Text of `length` bytes, zero-terminated, without zero bytes inside. Lives in an arena. */
struct gate_input {
	const char *name; /* the path as given: how messages call it */
	const char *text;
	size_t length;
};

/* One line for people: "pqlease.yaml:3:5" and what is wrong there. */
struct gate_error {
	const char *place;
	const char *why;
};

/* All return false and fill `error` if the text cannot be had. */
bool gate_input_read(struct gate_input *input, struct arena *arena, const char *path,
		     struct gate_error *error);
bool gate_input_of_bytes(struct gate_input *input, struct arena *arena, const char *name, const char *bytes,
			 size_t length, struct gate_error *error);

/* Fills `error` and returns false. Line and column begin with 1; 0: not known. */
bool gate_input_refuse(struct gate_error *error, struct arena *arena, const char *name, size_t line,
		       size_t column, const char *why_format, ...) __attribute__((format(printf, 6, 7)));

/* The next line of `*rest`, cut out as a copy without its end; NULL at the end of the text. */
const char *gate_input_line(struct arena *arena, const char **rest);

#endif
