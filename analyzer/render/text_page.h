/*
 * Lines of text that never exceed a page of 100 columns: cut, wrapped, coloured. Everything given to it
 * may come from a ledger; it is made printable here.
 */
#ifndef PQLEASE_ANALYZER_RENDER_TEXT_PAGE_H
#define PQLEASE_ANALYZER_RENDER_TEXT_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "analyzer/arena.h"

enum { TEXT_PAGE_WIDTH = 100 };

enum text_page_style {
	TEXT_PAGE_PLAIN,
	TEXT_PAGE_HEADING,
	TEXT_PAGE_BAD,
	TEXT_PAGE_DOUBTFUL,
	TEXT_PAGE_GOOD,
	TEXT_PAGE_FAINT,
	TEXT_PAGE_STYLE_COUNT
};

struct text_page {
	FILE *stream;
	bool use_colors;
	struct arena arena; /* of what is being printed; released by text_page_end */
};

/* One line: `head` in a style, then the formatted rest. What does not fit is cut with "...". */
void text_page_line(struct text_page *page, enum text_page_style style, const char *head, const char *format,
		    ...) __attribute__((format(printf, 4, 5)));
void text_page_blank(struct text_page *page);

/* A text of any length, broken at spaces, every line behind `indent` columns; the first line begins with
 * `head` instead, which may be wider. */
void text_page_wrapped(struct text_page *page, enum text_page_style style, const char *head, size_t indent,
		       const char *text);

/* Printable, and at most `width` columns by leaving out its middle; "?" for NULL. */
const char *text_page_fit(struct text_page *page, const char *text, size_t width);
/* The same, filled up with spaces to `width`. */
const char *text_page_cell(struct text_page *page, const char *text, size_t width);

/* "1.23 ms"; "-" for NAN. */
const char *text_page_seconds(struct text_page *page, double seconds);
/* "42", "-" for REPORT_UNKNOWN. */
const char *text_page_count(struct text_page *page, int64_t count);

void text_page_end(struct text_page *page);

#endif
