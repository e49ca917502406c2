/*
 * Memory that lives and dies together: a model or a report allocates from one arena and is freed at
 * once. Allocation never fails towards the caller: without memory the program says so and exits 2.
 */
#ifndef PQLEASE_ANALYZER_ARENA_H
#define PQLEASE_ANALYZER_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *newest;
};

/* Zeroed memory for `count` elements, aligned for any type. */
void *arena_array(struct arena *arena, size_t count, size_t element_bytes);
char *arena_text(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A copy of the first `length` bytes, zero-terminated. */
char *arena_copy(struct arena *arena, const char *text, size_t length);
void arena_release(struct arena *arena);

#define arena_new(arena, type) ((type *)arena_array((arena), 1, sizeof(type)))

#endif
