/*
 * The findings as SARIF 2.1.0, for code scanning.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_SARIF_H
#define PQLEASE_ANALYZER_RENDER_RENDER_SARIF_H

#include "analyzer/render/render.h"

void render_sarif(const struct report *report, const struct render_options *options, FILE *stream);

#endif
