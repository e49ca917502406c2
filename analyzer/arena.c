#include "analyzer/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/commands/options.h"

struct arena_block {
	struct arena_block *older;
	size_t size_bytes;
	size_t used_bytes;
	_Alignas(max_align_t) unsigned char bytes[];
};

enum { BLOCK_BYTES = 64 << 10, ALIGNMENT = _Alignof(max_align_t) };

static _Noreturn void out_of_memory(void) {
	options_error("memory", "exhausted");
	exit(OPTIONS_EXIT_CANNOT);
}

static void add_block(struct arena *arena, size_t size_bytes) {
	size_t payload_bytes = size_bytes > BLOCK_BYTES ? size_bytes : BLOCK_BYTES;
	struct arena_block *block = calloc(1, sizeof *block + payload_bytes);
	if (block == NULL)
		out_of_memory();
	block->size_bytes = payload_bytes;
	block->older = arena->newest;
	arena->newest = block;
}

void *arena_array(struct arena *arena, size_t count, size_t element_bytes) {
	size_t size_bytes;
	if (__builtin_mul_overflow(count, element_bytes, &size_bytes) || size_bytes > SIZE_MAX / 2)
		out_of_memory();
	size_bytes = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (size_bytes == 0)
		size_bytes = ALIGNMENT;
	if (arena->newest == NULL || arena->newest->size_bytes - arena->newest->used_bytes < size_bytes)
		add_block(arena, size_bytes);
	void *memory = arena->newest->bytes + arena->newest->used_bytes;
	arena->newest->used_bytes += size_bytes;
	return memory;
}

char *arena_copy(struct arena *arena, const char *text, size_t length) {
	char *copy = arena_array(arena, length + 1, 1);
	memcpy(copy, text, length);
	return copy;
}

char *arena_text(struct arena *arena, const char *format, ...) {
	va_list arguments;
	va_list again;
	va_start(arguments, format);
	va_copy(again, arguments);
	int length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0)
		out_of_memory();
	char *text = arena_array(arena, (size_t)length + 1, 1);
	vsnprintf(text, (size_t)length + 1, format, again);
	va_end(again);
	return text;
}

void arena_release(struct arena *arena) {
	while (arena->newest != NULL) {
		struct arena_block *block = arena->newest;
		arena->newest = block->older;
		free(block);
	}
}
