#include "analyzer/live/history.h"

/* What a timeline held at the end of an epoch: empty epochs carry the one before. */
static uint32_t value_at(const struct model_series *series, uint64_t epoch) {
	uint32_t value = 0;
	for (size_t i = 0; i < series->cell_count && series->cells[i].epoch <= epoch; i++)
		value = series->cells[i].value;
	return value;
}

size_t history_take(struct history_sample *samples, size_t max, const struct report *report,
		    enum model_resolution resolution) {
	static const uint64_t lengths_ns[MODEL_RESOLUTION_COUNT] = {
		[MODEL_SECONDS] = 1000000000, [MODEL_MINUTES] = 60000000000, [MODEL_HOURS] = 3600000000000};
	size_t count = 0;
	if (report->timeline == NULL)
		return 0;
	const struct model_series *series = report->timeline->series[resolution];
	uint64_t length_ns = lengths_ns[resolution];
	uint64_t whole = (report->until_realtime_ns - report->created_realtime_ns) / length_ns;
	uint64_t shown = max < HISTORY_MAX ? max : HISTORY_MAX;
	for (uint64_t epoch = whole > shown ? whole - shown : 0; epoch < whole; epoch++)
		samples[count++] = (struct history_sample){
			.open = value_at(&series[MODEL_METRIC_OPEN], epoch),
			.in_use = report->totals.in_use != REPORT_UNKNOWN
				? (int64_t)value_at(&series[MODEL_METRIC_IN_USE], epoch)
				: REPORT_UNKNOWN,
			.end_realtime_ns = report->created_realtime_ns + (epoch + 1) * length_ns};
	return count;
}
