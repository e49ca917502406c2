/*
 * Metrics of one run, for the textfile collector of node_exporter and for batch jobs that push: what /metrics shows.
 */
#include "analyzer/export/export.h"
#include "analyzer/render/metrics.h"

void export_prometheus(const struct export_run *run, FILE *stream) {
	const struct metrics_options options = {.with_aliases = false};
	metrics_write(&run->report, 1, &options, stream);
}
