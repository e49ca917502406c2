/*
 * The report as GitHub flavoured Markdown, short enough for a job summary.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_MARKDOWN_H
#define PQLEASE_ANALYZER_RENDER_RENDER_MARKDOWN_H

#include "analyzer/render/render.h"

void render_markdown(const struct report *report, const struct render_options *options, FILE *stream);

#endif
