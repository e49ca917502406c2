/*
 * Reading an interpreter's structures, whose layout may have been taken for another.
 *
 * Until a layout has proved itself on live frames, every page is probed before it is read; afterwards reads are direct.
 * A read that cannot be done gives zero and breaks the reader: who walks asks once, at the end.
 */
#ifndef PQLEASE_SHIM_SCRIPT_MEMORY_H
#define PQLEASE_SHIM_SCRIPT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shim/stack_memory.h"

#define SCRIPT_MEMORY_PAGES 16u

struct script_memory {
	bool is_proved;
	bool is_broken;
	uintptr_t page[SCRIPT_MEMORY_PAGES]; /* seen to be readable */
};

/* Whether all bytes can be read; breaks the reader if not. */
bool script_memory_probe(struct script_memory *memory, uintptr_t address, size_t size_bytes);

static inline bool script_memory_holds(struct script_memory *memory, uintptr_t address, size_t size_bytes) {
	if (address != 0)
		return memory->is_proved || script_memory_probe(memory, address, size_bytes);
	memory->is_broken = memory->is_broken || !memory->is_proved;
	return false;
}

static inline uintptr_t script_memory_word(struct script_memory *memory, uintptr_t address) {
	uintptr_t word = 0;
	if (script_memory_holds(memory, address, sizeof word))
		/* NOLINTNEXTLINE(clang-analyzer-unix.cstring.NullArg): asked right before */
		__builtin_memcpy(&word, (const void *)address, sizeof word);
	return word;
}

static inline uint32_t script_memory_u32(struct script_memory *memory, uintptr_t address) {
	uint32_t word = 0;
	if (script_memory_holds(memory, address, sizeof word))
		/* NOLINTNEXTLINE(clang-analyzer-unix.cstring.NullArg): asked right before */
		__builtin_memcpy(&word, (const void *)address, sizeof word);
	return word;
}

static inline uint8_t script_memory_u8(struct script_memory *memory, uintptr_t address) {
	uint8_t byte = 0;
	if (script_memory_holds(memory, address, sizeof byte))
		/* NOLINTNEXTLINE(clang-analyzer-unix.cstring.NullArg): asked right before */
		__builtin_memcpy(&byte, (const void *)address, sizeof byte);
	return byte;
}

/* Bytes of the interpreter's own, borrowed. "" and 0: unknown. */
struct script_bytes {
	const char *bytes;
	size_t length_bytes;
};

/* `length_bytes` beyond what a name may have breaks a reader that has not proved its layout, and is cut otherwise. */
struct script_bytes script_memory_bytes(struct script_memory *memory, uintptr_t address, size_t length_bytes);

/* Up to the terminating zero. */
struct script_bytes script_memory_text(struct script_memory *memory, uintptr_t address);

/* Appends to a text of `size_bytes`, cut where it does not fit. */
void script_memory_append(char *text, size_t size_bytes, struct script_bytes more);

#endif
