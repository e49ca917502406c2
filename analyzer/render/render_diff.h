/*
 * A comparison for people, and for programs (schema "pqlease/diff-1").
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_DIFF_H
#define PQLEASE_ANALYZER_RENDER_RENDER_DIFF_H

#include <stdbool.h>
#include <stdio.h>

struct run_diff;

void render_diff_text(const struct run_diff *diff, bool use_colors, FILE *stream);
void render_diff_json(const struct run_diff *diff, FILE *stream);

#endif
