/*
 * The report as JSON, schema "pqlease/report-1": one object, keys in the order of the contract, a
 * line per member and per element of its lists.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_JSON_H
#define PQLEASE_ANALYZER_RENDER_RENDER_JSON_H

#include "analyzer/render/render.h"

void render_json(const struct report *report, const struct render_options *options, FILE *stream);

#endif
