/*
 * Text that came from a ledger, made safe for where it goes. Any bytes are accepted; nothing here knows
 * where they came from.
 */
#ifndef PQLEASE_ANALYZER_TEXT_H
#define PQLEASE_ANALYZER_TEXT_H

#include <stddef.h>

#include "analyzer/arena.h"

/* For a terminal: control characters, bytes that are not UTF-8, and characters that reorder or hide what
 * stands beside them become \xNN, byte by byte. */
const char *text_printable(struct arena *arena, const char *text);

/* For JSON: bytes that are not UTF-8 become U+FFFD. */
const char *text_valid_utf8(struct arena *arena, const char *text);

/* Columns that printable text takes on a terminal. */
size_t text_width(const char *text);

/* At most `width` columns (at least 4) of printable text, "..." in place of its middle or of its end. */
const char *text_shorten_middle(struct arena *arena, const char *text, size_t width);
const char *text_shorten_end(struct arena *arena, const char *text, size_t width);

/* The part of a path behind its last slash. */
const char *text_basename(const char *path);

#endif
