#include "analyzer/ledger/use_timeline.h"

/* One resolution of the timeline: epochs `first` to `last`, counted from the creation of the ledger. */
struct grid {
	uint64_t origin_ns;
	uint64_t length_ns;
	uint64_t until_ns;
	uint64_t first;
	uint64_t last;
	int64_t *change; /* by epoch: how many uses begin and end to be seen there */
};

static const struct {
	uint64_t length_ns;
	uint64_t kept; /* epochs, as many as the ledger has cells */
} resolutions[MODEL_RESOLUTION_COUNT] = {[MODEL_SECONDS] = {UINT64_C(1000000000), 300},
					 [MODEL_MINUTES] = {UINT64_C(60000000000), 720},
					 [MODEL_HOURS] = {UINT64_C(3600000000000), 336}};

static struct grid grid_of(struct model *model, enum model_resolution resolution) {
	struct grid grid = {.origin_ns = model->run.created_ns,
			    .length_ns = resolutions[resolution].length_ns,
			    .until_ns = model->run.until_ns};
	uint64_t age_ns = grid.until_ns > grid.origin_ns ? grid.until_ns - grid.origin_ns : 0;
	grid.last = age_ns / grid.length_ns;
	grid.first = grid.last + 1 > resolutions[resolution].kept
		? grid.last + 1 - resolutions[resolution].kept
		: 0;
	grid.change = arena_array(&model->arena, grid.last - grid.first + 2, sizeof *grid.change);
	return grid;
}

/* The first epoch, clamped into the grid, whose last instant is at or behind `instant_ns`. */
static uint64_t epoch_seeing(const struct grid *grid, uint64_t instant_ns) {
	uint64_t offset_ns = instant_ns > grid->origin_ns ? instant_ns - grid->origin_ns : 0;
	uint64_t epoch = offset_ns > 0 ? (offset_ns - 1) / grid->length_ns : 0;
	if (instant_ns > grid->until_ns || epoch > grid->last)
		return grid->last + 1; /* not yet */
	return epoch < grid->first ? grid->first : epoch;
}

/* A use is seen in the epochs in whose last instant it goes on; the last one ends now. */
static void add_use(struct grid *grid, uint64_t begun_ns, uint64_t ended_ns) {
	uint64_t begin = epoch_seeing(grid, begun_ns);
	uint64_t end = epoch_seeing(grid, ended_ns);
	if (begin >= end)
		return;
	grid->change[begin - grid->first]++;
	grid->change[end - grid->first]--;
}

#define ALL_POOLS UINT64_MAX

static bool is_of(uint32_t pool, uint64_t wanted) {
	return wanted == ALL_POOLS || pool == wanted;
}

static void add_uses(struct grid *grid, const struct model *model, uint64_t pool) {
	for (size_t i = 0; i < model->use_count; i++)
		if (is_of(model->uses[i].pool, pool))
			add_use(grid, model->uses[i].begun_ns, model->uses[i].ended_ns);
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		if (is_of(lease->pool, pool) && lease->use_begun_ns != 0 && !lease->is_owner_gone)
			add_use(grid, lease->use_begun_ns, grid->until_ns + 1);
	}
}

/* The higher of what was written, carried over empty epochs, and what the uses say. */
static void rewrite(struct model_series *series, struct arena *arena, const struct grid *grid) {
	size_t count = grid->last - grid->first + 1;
	struct model_cell *cells = arena_array(arena, count, sizeof *cells);
	size_t next = 0;
	uint32_t written = 0;
	int64_t in_use = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t epoch = grid->first + i;
		for (; next < series->cell_count && series->cells[next].epoch <= epoch; next++)
			written = series->cells[next].value;
		in_use += grid->change[i];
		uint32_t seen = in_use > 0 ? (uint32_t)in_use : 0;
		cells[i] = (struct model_cell){(uint32_t)epoch, seen > written ? seen : written};
	}
	*series = (struct model_series){cells, count};
}

static void fill(struct model *model, struct model_timeline *timeline, uint64_t pool) {
	for (int resolution = 0; resolution < MODEL_RESOLUTION_COUNT; resolution++) {
		struct grid grid = grid_of(model, (enum model_resolution)resolution);
		add_uses(&grid, model, pool);
		rewrite(&timeline->series[resolution][MODEL_METRIC_IN_USE], &model->arena, &grid);
	}
}

void use_timeline_fill(struct model *model) {
	if (!model->has_uses)
		return;
	fill(model, &model->timeline, ALL_POOLS);
	for (size_t i = 0; i < model->pool_count; i++)
		if (model->pools[i].timeline != NULL)
			fill(model, model->pools[i].timeline, i);
}
