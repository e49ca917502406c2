/*
 * The frames of a CPython thread, read from its own structures in memory.
 *
 * Each version lays them out in its own way (python_layout_of()). Whether the interpreter here is as its version says is
 * checked on the frames themselves: until a whole stack with a caller in it has been right in every type, size and
 * number, each word is probed before it is read; from then on it is loaded at once. Frames of the calling thread do not
 * change while it is in a hook, with or without the interpreter's lock.
 */
#ifndef PQLEASE_SHIM_PYTHON_FRAMES_H
#define PQLEASE_SHIM_PYTHON_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/python_lines.h"
#include "shim/script.h"

/* How the position in the code is kept. */
enum python_position {
	PYTHON_POSITION_BYTES,
	PYTHON_POSITION_UNITS, /* of two bytes */
	PYTHON_POSITION_POINTER
};

/* What tells that the native loop was entered for a frame. */
enum python_entry {
	PYTHON_ENTRY_ALWAYS,
	PYTHON_ENTRY_FLAG,  /* a byte of the frame */
	PYTHON_ENTRY_BORDER /* a frame of no code between it and its caller */
};

/* Offsets in bytes. */
struct python_layout {
	uint32_t minor; /* of 3.minor */
	enum python_position position;
	enum python_entry entry;
	enum python_lines lines;
	uint16_t thread_id; /* of the thread state */
	uint16_t thread_interpreter;
	uint16_t thread_top;   /* the innermost frame, or what points to it: */
	int16_t top_frame;     /* its field for the frame, -1: thread_top is the frame */
	uint16_t frame_caller; /* of a frame */
	uint16_t frame_code;
	uint16_t frame_position;
	uint16_t frame_entry;       /* byte: PYTHON_ENTRY_FLAG, or the owner of PYTHON_ENTRY_BORDER */
	uint16_t code_first_line;   /* of a code object */
	uint16_t code_instructions; /* PYTHON_POSITION_POINTER: they begin here; else the bytes object */
	uint16_t code_file;
	uint16_t code_function;
	uint16_t code_lines;
	uint16_t text_ascii; /* of a string: where its characters begin, of the three ways to keep them */
	uint16_t text_compact;
	uint16_t text_elsewhere; /* pointer to them */
	/* That the collector runs, an int: of the interpreter, or up to 3.8 of the runtime (_PyRuntime); 0: unknown. */
	uint16_t collecting;
};

/* NULL for a version whose layout is not known. */
const struct python_layout *python_layout_of(uint32_t minor);

/* The interpreter in this process. */
struct python {
	const struct python_layout *layout;
	uintptr_t frame_type; /* addresses of type objects; 0 if frames are no objects */
	uintptr_t code_type;
	uintptr_t text_type;
	uintptr_t bytes_type;
	bool is_trusted; /* set by python_frames_walk() */
};

/* Appends the frames of `thread_state`, which must belong to the calling thread, innermost first. False if something does
 * not look as the layout says: then nothing that was appended is to be believed. */
bool python_frames_walk(struct python *python, uintptr_t thread_state, struct script_stack *stack);

/* Whether a frame appended by python_frames_walk() in the same hook is at an instruction that only lets go of references: what
 * it leads to is the destruction of an object. False where that is not known: of a version with other numbers, or an
 * instruction that the interpreter has specialised. */
bool python_frames_is_letting_go(const struct python *python, const struct script_frame *frame);

/* A frame appended by python_frames_walk() in the same hook, in words. */
void python_frames_describe(const struct python *python, const struct script_frame *frame,
			    struct script_text *text);

#endif
