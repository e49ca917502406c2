/*
 * The findings as workflow commands of GitHub Actions: an annotation at the line of each.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_GITHUB_H
#define PQLEASE_ANALYZER_RENDER_RENDER_GITHUB_H

#include "analyzer/render/render.h"

void render_github(const struct report *report, const struct render_options *options, FILE *stream);

#endif
