/*
 * Renderers: from the report struct to bytes. A renderer is one file and one line in render.c; it sees
 * the report and nothing else. Text in a report is raw: each renderer makes it safe for its own format.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_H
#define PQLEASE_ANALYZER_RENDER_RENDER_H

#include <stdbool.h>
#include <stdio.h>

struct report;

enum render_format {
	RENDER_TEXT,
	RENDER_JSON,
	RENDER_MARKDOWN,
	RENDER_JUNIT,
	RENDER_SARIF,
	RENDER_GITHUB,
	RENDER_GITLAB,
	RENDER_FORMAT_COUNT
};

/* For messages and help. */
#define RENDER_FORMAT_NAMES "text, json, markdown, junit, sarif, github, gitlab"

struct render_options {
	bool is_full;            /* whole stacks */
	bool use_colors;         /* terminal colours, for formats that have any */
	const char *source_root; /* absolute; files below it are named relative to it. NULL: as they are */
};

/* False if the name is of no format that exists. */
bool render_find_format(const char *name, enum render_format *format);

/* Writes the whole report; errors of the stream stay in the stream. */
void render_report(enum render_format format, const struct report *report,
		   const struct render_options *options, FILE *stream);

#endif
