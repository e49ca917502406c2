#include "analyzer/judge/pool_window.h"

#include <math.h>

enum { STRETCHES = 5 };

static const struct {
	double length_s;
	double kept; /* epochs, as many as the ledger has cells */
} resolutions[MODEL_RESOLUTION_COUNT] = {
	[MODEL_SECONDS] = {1, 300}, [MODEL_MINUTES] = {60, 720}, [MODEL_HOURS] = {3600, 336}};

static enum model_resolution finest(double window_s) {
	int resolution = MODEL_SECONDS;
	while (resolution < MODEL_HOURS &&
	       window_s > resolutions[resolution].kept * resolutions[resolution].length_s)
		resolution++;
	return (enum model_resolution)resolution;
}

/* Epochs `begin` up to `end`, which is not one of them. */
struct stretch {
	int64_t begin;
	int64_t end;
};

/* What was not written did not change. */
static double mean_in(const struct model_series *series, const struct stretch *stretch) {
	double sum = 0;
	double value = 0;
	size_t next = 0;
	for (int64_t epoch = stretch->begin; epoch < stretch->end; epoch++) {
		for (; next < series->cell_count && series->cells[next].epoch <= epoch; next++)
			value = series->cells[next].value;
		sum += value;
	}
	return sum / (double)(stretch->end - stretch->begin);
}

static int64_t first_use(const struct model_series *series) {
	for (size_t i = 0; i < series->cell_count; i++)
		if (series->cells[i].value > 0)
			return series->cells[i].epoch;
	return -1;
}

static double window_level(const struct model_series *series, int64_t end, double window_epochs) {
	int64_t from = first_use(series);
	int64_t length = (int64_t)fmax(1, round(fmin(window_epochs, 1e6) / STRETCHES));
	if (from < 0 || from >= end)
		return 0;
	double lowest = INFINITY;
	for (int64_t i = 0; i < STRETCHES; i++) {
		struct stretch stretch = {end - (i + 1) * length, end - i * length};
		/* A pool that is filling up is not judged by the part of a stretch in which it began. */
		if (stretch.begin < from && i > 0)
			break;
		if (stretch.begin < from)
			stretch.begin = from;
		lowest = fmin(lowest, mean_in(series, &stretch));
	}
	return lowest;
}

double pool_window_level(const struct model *model, uint32_t pool, double window_s) {
	const struct model_timeline *timeline = model->pools[pool].timeline;
	if (timeline == NULL || !model->has_uses)
		return NAN;
	enum model_resolution resolution = finest(window_s);
	double length_s = resolutions[resolution].length_s;
	double age_s = model->run.until_ns > model->run.created_ns
		? (double)(model->run.until_ns - model->run.created_ns) / 1e9
		: 0;
	int64_t end = (int64_t)(age_s / length_s) + 1;
	return window_level(&timeline->series[resolution][MODEL_METRIC_IN_USE], end, window_s / length_s);
}
