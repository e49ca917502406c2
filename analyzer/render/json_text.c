#include "analyzer/render/json_text.h"

#include <stdio.h>
#include <string.h>

#include "analyzer/arena.h"
#include "analyzer/text.h"

/* jansson refuses what is not UTF-8; hardly anything is not. */
json_t *json_text_value(const char *text) {
	struct arena arena = {NULL};
	json_t *value = text != NULL ? json_string(text) : json_null();
	if (value == NULL)
		value = json_string(text_valid_utf8(&arena, text));
	arena_release(&arena);
	return value;
}

json_t *json_text_printable(const char *text) {
	struct arena arena = {NULL};
	json_t *value = text != NULL ? json_string(text_printable(&arena, text)) : json_null();
	arena_release(&arena);
	return value;
}

static bool is_unreserved(char byte) {
	static const char others[] = "-._~/";
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
		(byte != '\0' && strchr(others, byte) != NULL);
}

json_t *json_text_uri(const char *path) {
	static const char scheme[] = "file://";
	struct arena arena = {NULL};
	char *uri = arena_array(&arena, sizeof scheme + 3 * strlen(path), 1);
	char *to = *path == '/' ? stpcpy(uri, scheme) : uri;
	for (; *path != '\0'; path++)
		to += is_unreserved(*path) ? (*to = *path, 1) : sprintf(to, "%%%02X", (unsigned char)*path);
	json_t *value = json_string(uri);
	arena_release(&arena);
	return value;
}
