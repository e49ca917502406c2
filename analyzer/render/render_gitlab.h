/*
 * The findings as a code quality report of GitLab.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_GITLAB_H
#define PQLEASE_ANALYZER_RENDER_RENDER_GITLAB_H

#include "analyzer/render/render.h"

void render_gitlab(const struct report *report, const struct render_options *options, FILE *stream);

#endif
