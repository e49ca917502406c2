#include "analyzer/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
static const char ellipsis[] = "...";

enum { ESCAPED_BYTES = 4, ELLIPSIS_WIDTH = sizeof ellipsis - 1 };

/* ---- UTF-8 ------------------------------------------------------------------------------------ */

/* Length of the character at `at`, 0 if the byte there begins none. */
static size_t decode(const char *at, uint32_t *character) {
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *byte = (const unsigned char *)at;
	size_t length = byte[0] < 0x80 ? 1
		: byte[0] >> 5 == 6    ? 2
		: byte[0] >> 4 == 14   ? 3
		: byte[0] >> 3 == 30   ? 4
				       : 0;
	if (length <= 1) {
		*character = byte[0];
		return length;
	}
	*character = byte[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if (byte[i] >> 6 != 2)
			return 0;
		*character = *character << 6 | (byte[i] & 0x3f);
	}
	bool is_surrogate = *character >= 0xd800 && *character <= 0xdfff;
	return *character < least[length] || *character > 0x10ffff || is_surrogate ? 0 : length;
}

/* Characters that a terminal obeys instead of showing, or that make text look like other text. */
static bool is_treacherous(uint32_t character) {
	static const struct {
		uint32_t first;
		uint32_t last;
	} ranges[] = {
		{0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
		{0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},   {0xfeff, 0xfeff},
		{0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe007f},
	};
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (character >= ranges[i].first && character <= ranges[i].last)
			return true;
	return false;
}

static size_t character_width(uint32_t character) {
	bool is_wide = (character >= 0x1100 && character <= 0x115f) ||
		(character >= 0x2e80 && character <= 0xa4cf) ||
		(character >= 0xac00 && character <= 0xd7a3) ||
		(character >= 0xf900 && character <= 0xfaff) ||
		(character >= 0xfe30 && character <= 0xfe6f) ||
		(character >= 0xff00 && character <= 0xff60) ||
		(character >= 0x1f300 && character <= 0x1faff) ||
		(character >= 0x20000 && character <= 0x3fffd);
	return is_wide ? 2 : 1;
}

/* ---- Made safe -------------------------------------------------------------------------------- */

const char *text_printable(struct arena *arena, const char *text) {
	char *printable = arena_array(arena, strlen(text) * ESCAPED_BYTES + 1, 1);
	char *to = printable;
	while (*text != '\0') {
		uint32_t character;
		size_t length = decode(text, &character);
		bool is_shown = length > 0 && !is_treacherous(character);
		if (length == 0)
			length = 1;
		for (size_t i = 0; i < length; i++)
			to += is_shown ? (*to = text[i], 1) : sprintf(to, "\\x%02x", (unsigned char)text[i]);
		text += length;
	}
	*to = '\0';
	return printable;
}

const char *text_valid_utf8(struct arena *arena, const char *text) {
	char *valid = arena_array(arena, strlen(text) * (sizeof replacement - 1) + 1, 1);
	char *to = valid;
	while (*text != '\0') {
		uint32_t character;
		size_t length = decode(text, &character);
		memcpy(to, length > 0 ? text : replacement, length > 0 ? length : sizeof replacement - 1);
		to += length > 0 ? length : sizeof replacement - 1;
		text += length > 0 ? length : 1;
	}
	*to = '\0';
	return valid;
}

/* ---- Made to fit ------------------------------------------------------------------------------ */

/* Bytes of the longest beginning that takes at most `width` columns. */
static size_t head_bytes(const char *text, size_t width) {
	size_t bytes = 0;
	size_t columns = 0;
	while (text[bytes] != '\0') {
		uint32_t character;
		size_t length = decode(text + bytes, &character);
		columns += length > 0 ? character_width(character) : 1;
		if (columns > width)
			break;
		bytes += length > 0 ? length : 1;
	}
	return bytes;
}

size_t text_width(const char *text) {
	size_t columns = 0;
	while (*text != '\0') {
		uint32_t character;
		size_t length = decode(text, &character);
		columns += length > 0 ? character_width(character) : 1;
		text += length > 0 ? length : 1;
	}
	return columns;
}

const char *text_shorten_middle(struct arena *arena, const char *text, size_t width) {
	size_t columns = text_width(text);
	if (columns <= width || width <= ELLIPSIS_WIDTH)
		return text;
	size_t kept = width - ELLIPSIS_WIDTH;
	size_t head = kept / 3; /* the end of a path says more than its beginning */
	size_t tail_from = head_bytes(text, columns - (kept - head));
	while (text_width(text + tail_from) > kept - head)
		tail_from += head_bytes(text + tail_from, 2);
	return arena_text(arena, "%.*s%s%s", (int)head_bytes(text, head), text, ellipsis, text + tail_from);
}

const char *text_shorten_end(struct arena *arena, const char *text, size_t width) {
	if (text_width(text) <= width || width <= ELLIPSIS_WIDTH)
		return text;
	return arena_text(arena, "%.*s%s", (int)head_bytes(text, width - ELLIPSIS_WIDTH), text, ellipsis);
}

const char *text_basename(const char *path) {
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}
