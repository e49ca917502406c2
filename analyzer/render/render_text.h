/*
 * The report for people: what a tired engineer needs first comes first, in at most 100 columns.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_TEXT_H
#define PQLEASE_ANALYZER_RENDER_RENDER_TEXT_H

#include "analyzer/render/render.h"

void render_text(const struct report *report, const struct render_options *options, FILE *stream);

#endif
