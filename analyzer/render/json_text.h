/*
 * Text as JSON values.
 */
#ifndef PQLEASE_ANALYZER_RENDER_JSON_TEXT_H
#define PQLEASE_ANALYZER_RENDER_JSON_TEXT_H

#include <stdbool.h>

#include <jansson.h>

/* A string whose bytes that are not UTF-8 became U+FFFD; null for NULL. */
json_t *json_text_value(const char *text);

/* A string that shows control characters and bytes that are not UTF-8 as \xNN. */
json_t *json_text_printable(const char *text);

/* A file as a URI reference: every byte that has a meaning there is escaped. Absolute paths become file:// URIs. */
json_t *json_text_uri(const char *path);

#endif
