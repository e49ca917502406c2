/*
 * One screen of `pqlease top`, as lines of text: drawn here without a terminal, shown by top_terminal.
 *
 * Everything from a report is made printable; a line never exceeds the page's columns.
 */
#ifndef PQLEASE_ANALYZER_TOP_TOP_PAGE_H
#define PQLEASE_ANALYZER_TOP_TOP_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/arena.h"
#include "analyzer/report/report.h"

enum top_style {
	TOP_PLAIN,
	TOP_TITLE,
	TOP_HEADING, /* of a list */
	TOP_SELECTED,
	TOP_GOOD,
	TOP_DOUBTFUL,
	TOP_BAD,
	TOP_FAINT,
	TOP_STYLE_COUNT
};

struct top_line {
	const char *text;
	enum top_style style;
};

struct top_page {
	struct arena arena;
	size_t rows;
	size_t columns;
	bool is_ascii; /* bars and sparklines of plain characters */
	struct top_line *lines;
	size_t count; /* at most rows */
};

enum top_list { TOP_SITES, TOP_LEASES, TOP_LIST_COUNT };
enum top_sort { TOP_BY_OPEN, TOP_BY_USED, TOP_BY_AGE, TOP_BY_NAME };

enum { TOP_FILTER_BYTES = 64 };

struct top_state {
	enum top_list list; /* which one the arrows move in */
	enum top_sort sort;
	size_t selected[TOP_LIST_COUNT];
	char filter[TOP_FILTER_BYTES]; /* part of a place, a role or a state; "" everything */
	bool is_typing;                /* the filter */
	bool is_paused;
	bool shows_help;
};

/* What a key did. */
enum top_answer { TOP_IGNORED, TOP_REDRAW, TOP_QUIT };

enum top_key { /* besides characters */
	       TOP_KEY_UP = 0x1000,
	       TOP_KEY_DOWN,
	       TOP_KEY_PAGE_UP,
	       TOP_KEY_PAGE_DOWN,
	       TOP_KEY_ESCAPE,
	       TOP_KEY_ENTER,
	       TOP_KEY_BACKSPACE
};

enum top_answer top_take_key(struct top_state *state, int key);

/* Draws a page of the given size; `report` NULL shows `notice` alone. `notice` is what there is to say about the ledger
 * ("the run has ended"), NULL nothing. Clamps what is selected to what there is. */
void top_draw(struct top_page *page, struct top_state *state, const struct report *report,
	      const char *notice);
void top_page_release(struct top_page *page);

#endif
