/*
 * Metrics of one or more runs in the text format of Prometheus. Names are those of OpenTelemetry for client connection
 * pools (db.client.connection.*, github.com/open-telemetry/semantic-conventions model/db/metrics.yaml) in Prometheus
 * spelling; what it has no name for begins with pqlease_. Units are seconds and counts. What is unknown is absent.
 *
 * Cardinality is bounded: the METRICS_TOP_SITES places with most connections have series of their own, the others are
 * summed as location "other".
 */
#ifndef PQLEASE_ANALYZER_RENDER_METRICS_H
#define PQLEASE_ANALYZER_RENDER_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "analyzer/report/report.h"

enum { METRICS_TOP_SITES = 20 };

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_options {
	bool with_aliases; /* db_pool_size and the like beside the standard names */
};

void metrics_write(const struct report *const *reports, size_t count, const struct metrics_options *options,
		   FILE *stream);

#endif
