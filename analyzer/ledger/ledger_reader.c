#include "analyzer/ledger/ledger_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/hash_table.h"
#include "analyzer/ledger/ledger_reader_image.h"

/* The model keeps the ledger's order where both count the same things. */
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours " is not " #theirs)
SAME(MODEL_IDLE_NS, LEDGER_IDLE_NS);
SAME(MODEL_LEFT_HELD_NS, LEDGER_LEFT_HELD_NS);
SAME(MODEL_FINISHED_UNUSED, LEDGER_FINISHED_UNUSED);
SAME(MODEL_SERVER_CLOSED, LEDGER_SERVER_CLOSED);
SAME(MODEL_VERY_LONG_IDLE_SPANS, LEDGER_VERY_LONG_IDLE_SPANS);
SAME(MODEL_FINDING_TIME_COUNT, LEDGER_FINDING_TIME_COUNT);
SAME(MODEL_NOTE_USES_ASSUMED, LEDGER_NOTE_USES_ASSUMED);
SAME(MODEL_CUT_SHORT, LEDGER_CUT_SHORT);
SAME(MODEL_DOUBLE_FINISH, LEDGER_DOUBLE_FINISH);
SAME(MODEL_LEFT_IN_CALL, LEDGER_LEFT_IN_CALL);
SAME(MODEL_LEFT_ORPHANED, LEDGER_LEFT_ORPHANED);
SAME(MODEL_LEFT_COUNT, LEDGER_LEFT_COUNT);
SAME(MODEL_EXEC, LEDGER_ENDED_EXEC);
SAME(MODEL_HOW_COUNT, LEDGER_HOW_ENDED_COUNT);
SAME(MODEL_MEASURE_COUNT, LEDGER_MEASURE_COUNT);
SAME(MODEL_PHASE_COUNT, LEDGER_PHASE_COUNT);
SAME(MODEL_LOST_SPACE, LEDGER_LOST_SPACE);
SAME(MODEL_LOST_POINTERS, LEDGER_LOST_POINTERS);
SAME(MODEL_LOST_TRENDS, LEDGER_LOST_TRENDS);
SAME(MODEL_FACT_OTHER_PROCESS, LEDGER_FACT_OTHER_PROCESS);
SAME(MODEL_FACT_ANY, LEDGER_FACT_ANY);
SAME(MODEL_NODE, LEDGER_FRAME_NODE);
SAME(MODEL_LANGUAGE_END, LEDGER_FRAME_LANGUAGE_END);
SAME(MODEL_SCRIPT_UNKNOWN_VERSION, LEDGER_SCRIPT_UNKNOWN_VERSION);
SAME(MODEL_SCRIPT_NEVER, LEDGER_SCRIPT_NEVER);
SAME(MODEL_RELEASE_BY_OTHER_PROCESS, LEDGER_RELEASE_BY_OTHER_PROCESS);
SAME(MODEL_RELEASE_NESTED_LEASE, LEDGER_RELEASE_NESTED_LEASE);
SAME(MODEL_SITE_FIRST, LEDGER_SITE_FIRST);
SAME(MODEL_POOL_OTHER, LEDGER_POOL_OTHER);
SAME(MODEL_DOUBLE_FINISH_SEEN, LEDGER_FINDING_DOUBLE_FINISH);
SAME(MODEL_METRIC_COUNT, LEDGER_METRIC_COUNT);
SAME(MODEL_RESOLUTION_COUNT, LEDGER_RESOLUTION_COUNT);
SAME(MODEL_NOTE_UNBOUND_CALLER, LEDGER_NOTE_UNBOUND_CALLER);
SAME(MODEL_NOTE_RECORDING_OFF, LEDGER_NOTE_RECORDING_OFF);
SAME(HISTOGRAM_OCTAVES, LEDGER_OCTAVE_COUNT);
SAME(HISTOGRAM_OCTAVE_BUCKETS, LEDGER_OCTAVE_BUCKETS);
SAME(HISTOGRAM_FIRST_LOG2, LEDGER_OCTAVE_FIRST_LOG2);

static const struct {
	const char *class_name;
	const char *sqlstate;
	const char *text;
} failure_reasons[] = {
#define FAILURE(reason, class, sqlstate, pattern, text, contacted) {#class, sqlstate, text},
#include "shim/failure.def"
#undef FAILURE
};

/* "" for what has no word of its own. */
static const char *const statement_words[] = {
#define STATEMENT(kind, word) word,
#include "shim/statement.def"
#undef STATEMENT
};

enum {
	FAILURE_REASONS = sizeof failure_reasons / sizeof failure_reasons[0],
	FRAMES_MAX = 256 /* per site; a shim keeps 64 native and 64 script frames */
};

#define COUNT_MAX (UINT64_C(1) << 44)

const char *ledger_reader_status_text(enum ledger_reader_status status) {
	static const char *const texts[LEDGER_READER_STATUS_COUNT] = {
		[LEDGER_READER_OK] = "fine",
		[LEDGER_READER_ABSENT] = "there is no such file",
		[LEDGER_READER_DENIED] = "permission denied",
		[LEDGER_READER_NOT_REGULAR] = "not a regular file",
		[LEDGER_READER_FOREIGN] = "belongs to another user",
		[LEDGER_READER_TOO_SHORT] = "too short to be a ledger",
		[LEDGER_READER_NOT_A_LEDGER] = "not a ledger: it does not begin as one",
		[LEDGER_READER_OTHER_BYTE_ORDER] = "written on a machine of the other byte order",
		[LEDGER_READER_OTHER_VERSION] = "written in another version of the ledger format",
		[LEDGER_READER_BAD_HEADER] = "damaged: the sizes in its header are impossible",
		[LEDGER_READER_TRUNCATED] = "truncated: shorter than its header says",
		[LEDGER_READER_BAD_SECTION_KIND] = "damaged: a section is not where it belongs in the table",
		[LEDGER_READER_BAD_ENTRY_SIZE] = "damaged: a section has entries of an unknown size",
		[LEDGER_READER_MISALIGNED_SECTION] = "damaged: a section begins at a misaligned offset",
		[LEDGER_READER_SECTION_IN_HEADER] = "damaged: a section begins inside the header",
		[LEDGER_READER_SECTION_OUT_OF_RANGE] = "damaged: a section reaches beyond the end",
		[LEDGER_READER_SECTIONS_OVERLAP] = "damaged: two sections overlap",
		[LEDGER_READER_SYSTEM_ERROR] = "cannot be read",
	};
	return status < LEDGER_READER_STATUS_COUNT ? texts[status] : "cannot be read";
}

/* ---- State of one reading --------------------------------------------------------------------- */

/* Entries that two processes interned at the same moment: the first one stands for all. */
struct seen_entry {
	uint64_t key;
	uint32_t number;
	UT_hash_handle hh;
};

struct reading {
	struct model *model;
	struct ledger_image image;
	const char *strings;       /* the model's own copy of the string arena */
	size_t *process_of_record; /* MODEL_NO_PROCESS: unused record */
	uint64_t record_count;
	uint32_t *same_module; /* number -> number of the first equal entry */
	uint32_t *same_site;
	uint32_t *same_pool;
	bool *octave_is_taken;
};

static const char *string_of(const struct reading *reading, uint32_t id) {
	uint64_t offset = 0;
	return ledger_image_string(&reading->image, id, &offset) ? reading->strings + offset : "";
}

/* Sums of counts must not overflow, not even those of a damaged ledger. */
static uint64_t plausible(uint64_t count) {
	return count < COUNT_MAX ? count : COUNT_MAX;
}

static int64_t plausible_gauge(int64_t gauge) {
	return gauge < 0 ? 0 : (int64_t)plausible((uint64_t)gauge);
}

static const char *statement_of(uint32_t kind) {
	return kind < sizeof statement_words / sizeof statement_words[0] ? statement_words[kind] : "";
}

static bool is_time(int counter) {
	return counter == MODEL_IN_QUERY_NS || counter == MODEL_IDLE_IN_TRANSACTION_NS ||
		counter == MODEL_IDLE_NS || counter == MODEL_LEFT_HELD_NS;
}

static uint64_t from_inverted(uint64_t inverted) {
	return inverted == 0 ? 0 : ~inverted;
}

static uint32_t first_equal(struct seen_entry **seen, struct arena *arena, uint64_t key, uint32_t number) {
	struct seen_entry *entry = NULL;
	HASH_FIND(hh, *seen, &key, sizeof key, entry);
	if (entry != NULL)
		return entry->number;
	entry = arena_new(arena, struct seen_entry);
	entry->key = key;
	entry->number = number;
	HASH_ADD(hh, *seen, key, sizeof entry->key, entry);
	return number;
}

/* ---- Totals ------------------------------------------------------------------------------------ */

/* An octave belongs to one histogram; a file in which two share one is damaged, the second gets none. */
static const struct ledger_octave *take_octave(const struct reading *reading, uint32_t number_plus_1) {
	if (number_plus_1 == 0 || number_plus_1 > ledger_image_capacity(&reading->image, LEDGER_OCTAVES) ||
	    reading->octave_is_taken[number_plus_1 - 1])
		return NULL;
	reading->octave_is_taken[number_plus_1 - 1] = true;
	return ledger_image_unit(&reading->image, LEDGER_OCTAVES, number_plus_1 - 1);
}

static void read_histogram(const struct reading *reading, const struct ledger_histogram *from,
			   struct histogram *to) {
	to->count = plausible(from->count);
	to->sum_ns = from->sum_ns;
	to->min_ns = from_inverted(from->inverted_min_ns);
	to->max_ns = from->max_ns;
	if (to->count == 0)
		return;
	for (unsigned i = 0; i < LEDGER_OCTAVE_COUNT; i++) {
		const struct ledger_octave *octave = take_octave(reading, from->octave[i]);
		for (unsigned bucket = 0; octave != NULL && bucket < LEDGER_OCTAVE_BUCKETS; bucket++)
			if (octave->bucket[bucket] != 0)
				histogram_add_bucket(to, &reading->model->arena, i, bucket,
						     plausible(octave->bucket[bucket]));
	}
}

static void read_totals(const struct reading *reading, const struct ledger_totals *from,
			struct model_totals *to) {
	for (int i = 0; i < MODEL_COUNTER_COUNT; i++)
		to->counter[i] = is_time(i) ? from->counter[i] : plausible(from->counter[i]);
	for (int left = 0; left < MODEL_LEFT_COUNT; left++)
		for (int how = 0; how < MODEL_HOW_COUNT; how++)
			to->unreleased[left][how] = plausible(from->unreleased[left][how]);
	to->first_ns = from_inverted(from->inverted_first_ns);
	to->last_ns = from->last_ns;
	to->open_peak = plausible_gauge(from->open_peak);
	to->in_use_peak = plausible_gauge(from->in_use_peak);
	for (int i = 0; i < MODEL_FINDING_TIME_COUNT; i++) {
		to->first_finding_ns[i] = from_inverted(from->inverted_first_finding_ns[i]);
		to->last_finding_ns[i] = from->last_finding_ns[i];
	}
	for (int i = 0; i < MODEL_MEASURE_COUNT; i++)
		read_histogram(reading, &from->time[i], &to->time[i]);
}

/* ---- Run and processes -------------------------------------------------------------------------- */

static void read_command(const struct reading *reading) {
	const struct ledger_header *header = ledger_image_header(&reading->image);
	struct model_run *run = &reading->model->run;
	run->command_count =
		header->command_count < LEDGER_COMMAND_WORDS ? header->command_count : LEDGER_COMMAND_WORDS;
	const char **command = arena_array(&reading->model->arena, run->command_count, sizeof *command);
	for (size_t i = 0; i < run->command_count; i++)
		command[i] = string_of(reading, header->command[i]);
	run->command = command;
}

static void read_run(const struct reading *reading) {
	const struct ledger_header *header = ledger_image_header(&reading->image);
	struct model *model = reading->model;
	struct model_run *run = &model->run;
	memcpy(run->id, header->run_id, sizeof run->id);
	memcpy(run->boot_id, header->boot_id, sizeof run->boot_id);
	run->pid_namespace = header->pid_namespace;
	run->created_realtime_ns = header->created_realtime_ns;
	run->created_ns = header->created_monotonic_ns;
	run->creator_pid = header->creator_pid;
	run->creator_start_ticks = header->creator_start_ticks;
	run->is_made_by_run = header->made_by_run != 0;
	run->host = string_of(reading, header->host);
	run->tool_version = string_of(reading, header->tool_version);
	run->ended_ns = header->ended_ns;
	run->exit_status = header->exit_status;
	run->exit_signal = header->exit_signal;
	run->open_peak = plausible_gauge(header->open_peak);
	run->in_use_peak = plausible_gauge(header->in_use_peak);
	read_command(reading);
	for (int i = 0; i < MODEL_LOSS_COUNT; i++)
		model->lost[i] = plausible(header->lost[i]);
	for (int i = 0; i < MODEL_PHASE_COUNT; i++)
		read_histogram(reading, &header->phase_time[i], &model->phase_time[i]);
	model->has_uses = header->in_use_peak > 0 || ledger_image_count(&reading->image, LEDGER_USES) > 0;
	model->mapped_bytes = reading->image.mapped_bytes;
}

static void read_runtimes(const struct reading *reading, const struct ledger_process *from,
			  struct model_process *to) {
	for (int i = 0; i < LEDGER_RUNTIMES; i++) {
		uint64_t word = from->runtime[i];
		uint32_t how = (uint32_t)word;
		to->runtimes[MODEL_PYTHON + i] = (struct model_runtime){
			.reading = how < MODEL_SCRIPT_READING_COUNT ? (enum model_script_reading)how
								    : MODEL_SCRIPT_UNMET,
			.version = string_of(reading, (uint32_t)(word >> 32))};
	}
}

static void read_process(const struct reading *reading, const struct ledger_process *from,
			 struct model_process *to) {
	uint64_t word = from->word;
	uint32_t state = (uint32_t)(word >> 56);
	uint32_t how = from->how_ended;
	to->pid = (int32_t)(uint32_t)word;
	to->parent_pid = from->parent_pid;
	to->uid = from->uid;
	to->start_ticks = from->start_ticks;
	to->stack_start = from->stack_start;
	to->pid_namespace = from->pid_namespace;
	to->exe = string_of(reading, from->exe);
	to->script = string_of(reading, from->script);
	to->role = string_of(reading, from->role);
	to->container = string_of(reading, from->container);
	to->setting_problem = string_of(reading, from->setting_problem);
	to->notes = from->notes;
	read_runtimes(reading, from, to);
	to->attached_ns = from->attached_ns;
	to->started_ns = from->started_ns;
	to->ended_ns = from->ended_ns;
	to->exit_signal = from->exit_signal;
	to->has_marked_end = state != LEDGER_PROCESS_RUNNING;
	to->how_ended = how < MODEL_HOW_COUNT ? (enum model_how_ended)how : MODEL_UNKNOWN;
	if (to->has_marked_end && to->how_ended == MODEL_RUNNING)
		to->how_ended = MODEL_UNKNOWN;
}

static bool process_is_written(const struct ledger_process *process) {
	uint32_t state = (uint32_t)(process->word >> 56);
	return state >= LEDGER_PROCESS_RUNNING && state <= LEDGER_PROCESS_FOLDED;
}

static void read_processes(struct reading *reading) {
	struct model *model = reading->model;
	reading->record_count = ledger_image_count(&reading->image, LEDGER_PROCESSES);
	reading->process_of_record = arena_array(&model->arena, reading->record_count, sizeof(size_t));
	model->processes = arena_array(&model->arena, reading->record_count, sizeof *model->processes);
	for (uint64_t i = 0; i < reading->record_count; i++) {
		const struct ledger_process *process =
			ledger_image_unit(&reading->image, LEDGER_PROCESSES, i);
		uint32_t tenants = (uint32_t)(process->word >> 32) & 0xffffffu;
		model->process_total += tenants;
		reading->process_of_record[i] = MODEL_NO_PROCESS;
		if (!process_is_written(process))
			continue;
		reading->process_of_record[i] = model->process_count;
		model->processes[model->process_count].tenants = tenants;
		model->has_uses |= !(process->notes & LEDGER_NOTE_USES_OFF);
		read_process(reading, process, &model->processes[model->process_count++]);
	}
}

/* ---- Modules, sites, pools ------------------------------------------------------------------------ */

static uint64_t module_key(const struct model_module *module) {
	return XXH64(module->path, strlen(module->path), XXH64(module->build_id, module->build_id_length, 0));
}

static void read_module(const struct reading *reading, uint64_t number, struct model_module *to) {
	const struct ledger_module *from = ledger_image_unit(&reading->image, LEDGER_MODULES, number);
	to->path = string_of(reading, from->path);
	to->build_id_length = from->build_id_length <= sizeof to->build_id ? from->build_id_length : 0;
	memcpy(to->build_id, from->build_id, to->build_id_length);
	to->text_start = from->text_start;
	to->text_end = from->text_end;
	to->file_bytes = from->file_bytes;
}

static void read_modules(struct reading *reading) {
	struct model *model = reading->model;
	struct seen_entry *seen = NULL;
	model->module_count = ledger_image_count(&reading->image, LEDGER_MODULES);
	model->modules = arena_array(&model->arena, model->module_count, sizeof *model->modules);
	reading->same_module = arena_array(&model->arena, model->module_count, sizeof *reading->same_module);
	for (size_t i = 0; i < model->module_count; i++) {
		read_module(reading, i, &model->modules[i]);
		reading->same_module[i] =
			first_equal(&seen, &model->arena, module_key(&model->modules[i]), (uint32_t)i);
	}
	HASH_CLEAR(hh, seen);
}

static void read_frame(const struct reading *reading, const struct ledger_frame *from,
		       struct model_frame *to) {
	bool is_known = from->language > MODEL_NATIVE && from->language < MODEL_LANGUAGE_END;
	to->language = is_known ? (enum model_language)from->language : MODEL_NATIVE;
	to->module = MODEL_NO_MODULE;
	to->file = "";
	to->function = "";
	if (to->language == MODEL_NATIVE) {
		to->address = from->address;
		if (from->where > 0 && from->where <= reading->model->module_count)
			to->module = reading->same_module[from->where - 1];
		return;
	}
	to->file = string_of(reading, from->where);
	to->function = string_of(reading, (uint32_t)(from->address >> 32));
	to->line = (uint32_t)from->address;
}

static void read_site(const struct reading *reading, uint64_t number, struct model_site *to) {
	const struct ledger_site *from = ledger_image_unit(&reading->image, LEDGER_SITES, number);
	size_t count = from->frame_count < FRAMES_MAX ? from->frame_count : FRAMES_MAX;
	struct model_frame *frames = arena_array(&reading->model->arena, count, sizeof *frames);
	for (size_t i = 0; i < count; i++) {
		const struct ledger_frame *frame =
			ledger_image_unit(&reading->image, LEDGER_FRAMES, (uint64_t)from->first_frame + i);
		if (frame == NULL)
			break;
		read_frame(reading, frame, &frames[to->frame_count++]);
	}
	to->frames = frames;
	to->is_truncated = (from->flags & LEDGER_SITE_TRUNCATED) != 0;
	read_totals(reading, &from->totals, &to->totals);
}

static int compare_trend_cells(const void *a, const void *b) {
	const struct model_trend_cell *left = a;
	const struct model_trend_cell *right = b;
	return (left->begin_ns > right->begin_ns) - (left->begin_ns < right->begin_ns);
}

/* The two banks are of neighbouring stages; a word of any other stage is what an older stage left. */
static uint32_t newest_stage(const struct ledger_trend *trend) {
	uint64_t newest = 0;
	for (uint32_t i = 0; i < 2 * LEDGER_TREND_CELLS; i++) {
		uint64_t stage_plus_1 = trend->bank[i / LEDGER_TREND_CELLS][i % LEDGER_TREND_CELLS] >> 56;
		if (stage_plus_1 % 2 != i / LEDGER_TREND_CELLS && stage_plus_1 > newest &&
		    stage_plus_1 <= 64 - LEDGER_TREND_STAGE_LOG2)
			newest = stage_plus_1;
	}
	return (uint32_t)newest;
}

static void read_trend(const struct reading *reading, const struct ledger_site *from, struct model_site *to) {
	const struct ledger_trend *trend =
		from->trend > 0 ? ledger_image_unit(&reading->image, LEDGER_TRENDS, from->trend - 1) : NULL;
	uint32_t newest = trend != NULL ? newest_stage(trend) : 0;
	if (newest == 0)
		return;
	struct model_trend_cell *cells =
		arena_array(&reading->model->arena, 2 * LEDGER_TREND_CELLS, sizeof *cells);
	for (uint32_t i = 0; i < 2 * LEDGER_TREND_CELLS; i++) {
		uint64_t word = trend->bank[i / LEDGER_TREND_CELLS][i % LEDGER_TREND_CELLS];
		uint32_t stage_plus_1 = (uint32_t)(word >> 56);
		bool is_here = stage_plus_1 % 2 != i / LEDGER_TREND_CELLS;
		if (stage_plus_1 == 0 || !is_here || stage_plus_1 + 1 < newest || stage_plus_1 > newest)
			continue;
		cells[to->trend_count++] = (struct model_trend_cell){
			.begin_ns = ledger_trend_begin_ns(stage_plus_1 - 1, i % LEDGER_TREND_CELLS),
			.least = word >> 28 & 0xfffffffu,
			.last = word & 0xfffffffu};
	}
	qsort(cells, to->trend_count, sizeof *cells, compare_trend_cells);
	to->trend = cells;
}

static uint64_t site_key(const struct model_site *site) {
	uint64_t key = site->frame_count;
	for (size_t i = 0; i < site->frame_count; i++) {
		const struct model_frame *frame = &site->frames[i];
		uint64_t parts[] = {(uint64_t)frame->language, frame->module, frame->address, frame->line};
		key = XXH64(parts, sizeof parts, key);
		key = XXH64(frame->file, strlen(frame->file), key);
		key = XXH64(frame->function, strlen(frame->function), key);
	}
	return key;
}

static void read_sites(struct reading *reading) {
	struct model *model = reading->model;
	struct seen_entry *seen = NULL;
	model->site_count = ledger_image_count(&reading->image, LEDGER_SITES);
	model->sites = arena_array(&model->arena, model->site_count, sizeof *model->sites);
	reading->same_site = arena_array(&model->arena, model->site_count, sizeof *reading->same_site);
	for (size_t i = 0; i < model->site_count; i++) {
		struct model_site *site = &model->sites[i];
		read_site(reading, i, site);
		read_trend(reading, ledger_image_unit(&reading->image, LEDGER_SITES, i), site);
		/* The reserved entries have no frames and stand for themselves; so does a damaged one. */
		uint64_t key = site->frame_count > 0 ? site_key(site) : i;
		uint32_t first = first_equal(&seen, &model->arena, key, (uint32_t)i);
		reading->same_site[i] = first;
		if (first == i)
			continue;
		model_totals_add(&model->sites[first].totals, &model->arena, &site->totals);
		if (model->sites[first].trend_count == 0) {
			model->sites[first].trend = site->trend;
			model->sites[first].trend_count = site->trend_count;
		}
		site->totals = (struct model_totals){0};
	}
	HASH_CLEAR(hh, seen);
}

static struct model_timeline *read_timeline(const struct reading *reading, uint64_t number);

static void read_pool(const struct reading *reading, uint64_t number, struct model_pool *to) {
	const struct ledger_pool *from = ledger_image_unit(&reading->image, LEDGER_POOLS, number);
	static const struct ledger_endpoint unknown;
	const struct ledger_endpoint *endpoint = from->endpoint > 0
		? ledger_image_unit(&reading->image, LEDGER_ENDPOINTS, from->endpoint - 1)
		: NULL;
	if (endpoint == NULL)
		endpoint = &unknown;
	to->role = string_of(reading, from->role);
	to->host = string_of(reading, endpoint->host);
	to->port = string_of(reading, endpoint->port);
	to->database = string_of(reading, endpoint->database);
	to->user = string_of(reading, endpoint->user);
	to->application_name = from->application_name == LEDGER_APPLICATION_NAMES_DIFFER
		? ""
		: string_of(reading, from->application_name);
	read_totals(reading, &from->totals, &to->totals);
	to->timeline = from->timeline != 0 ? read_timeline(reading, from->timeline) : NULL;
}

static uint64_t pool_key(const struct model_pool *pool) {
	const char *const parts[] = {pool->role, pool->host, pool->port, pool->database, pool->user};
	uint64_t key = 0;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		key = XXH64(parts[i], strlen(parts[i]), key + 1);
	return key;
}

static void read_pools(struct reading *reading) {
	struct model *model = reading->model;
	struct seen_entry *seen = NULL;
	model->pool_count = ledger_image_count(&reading->image, LEDGER_POOLS);
	model->pools = arena_array(&model->arena, model->pool_count, sizeof *model->pools);
	reading->same_pool = arena_array(&model->arena, model->pool_count, sizeof *reading->same_pool);
	for (size_t i = 0; i < model->pool_count; i++) {
		struct model_pool *pool = &model->pools[i];
		read_pool(reading, i, pool);
		model->has_uses |= pool->totals.counter[MODEL_USES_ENDED] > 0;
		if (pool->totals.in_use_peak > model->run.in_use_peak)
			model->run.in_use_peak = pool->totals.in_use_peak;
		uint32_t first = first_equal(&seen, &model->arena, i == MODEL_POOL_OTHER ? 0 : pool_key(pool),
					     (uint32_t)i);
		reading->same_pool[i] = first;
		if (first == i)
			continue;
		if (strcmp(model->pools[first].application_name, pool->application_name) != 0)
			model->pools[first].application_name = "";
		model_totals_add(&model->pools[first].totals, &model->arena, &pool->totals);
		pool->totals = (struct model_totals){0};
		if (model->pools[first].timeline == NULL)
			model->pools[first].timeline = pool->timeline;
		pool->timeline = NULL;
	}
	HASH_CLEAR(hh, seen);
}

static uint32_t site_of(const struct reading *reading, uint32_t number) {
	return number < reading->model->site_count ? reading->same_site[number] : MODEL_SITE_NONE;
}

static uint32_t pool_of(const struct reading *reading, uint32_t number) {
	return number < reading->model->pool_count ? reading->same_pool[number] : MODEL_POOL_OTHER;
}

/* ---- Leases ------------------------------------------------------------------------------------------ */

static size_t owner_of(const struct reading *reading, uint64_t word, int32_t pid) {
	uint64_t record_plus_1 = (uint32_t)word;
	if (record_plus_1 == 0 || record_plus_1 > reading->record_count)
		return MODEL_NO_PROCESS;
	size_t process = reading->process_of_record[record_plus_1 - 1];
	if (process != MODEL_NO_PROCESS && reading->model->processes[process].pid != pid)
		return MODEL_NO_PROCESS;
	return process;
}

static void read_lease_flags(uint32_t flags, struct model_lease *to) {
	to->is_async = flags & LEDGER_LEASE_ASYNC;
	to->was_established = flags & LEDGER_LEASE_ESTABLISHED;
	to->is_dedicated = flags & LEDGER_LEASE_DEDICATED;
	to->is_active = flags & LEDGER_LEASE_ACTIVE;
	to->is_in_transaction = flags & LEDGER_LEASE_IN_TRANSACTION;
	to->is_transaction_failed = flags & LEDGER_LEASE_TRANSACTION_FAILED;
	to->is_broken = flags & LEDGER_LEASE_BROKEN;
	to->is_begun_empty = flags & LEDGER_USE_BEGAN_EMPTY;
}

static void read_lease_uses(const struct ledger_lease *from, struct model_lease *to) {
	to->uses = from->uses;
	to->commands = from->commands;
	to->use_commands = from->use_commands;
	to->use_first_command_ns = from->use_first_command_ns;
	to->use_begun_ns = from->use_begun_ns;
	to->is_in_use = from->use_begun_ns != 0;
	to->is_used_to_the_end = from->use_flags & LEDGER_LEASE_USED_TO_THE_END;
	to->use_thread = from->use_thread;
	to->command_begun_ns = from->command_begun_ns;
	to->in_query_ns = from->in_query_ns;
	to->idle_in_transaction_ns = from->idle_in_transaction_ns;
	to->idle_ns = from->idle_ns;
	to->use_in_query_ns = from->use_in_query_ns;
	to->use_idle_in_transaction_ns = from->use_idle_in_transaction_ns;
	to->first_command_ns = from->first_command_ns;
	to->statement = statement_of(from->statement_kind);
}

/* Short uses wait in the slot before they are added to the totals. While they are being added, they are counted
 * already or will be at once: at most LEDGER_BATCH_USES of a lease. */
static void add_batch(const struct reading *reading, const struct ledger_lease *from,
		      struct model_totals *totals) {
	uint32_t count = from->batch_count;
	if (count == 0 || count > LEDGER_BATCH_USES)
		return;
	totals->counter[MODEL_USES_ENDED] += count;
	totals->counter[MODEL_USES_ASSUMED] += from->batch_assumed < count ? from->batch_assumed : count;
	totals->counter[MODEL_COMMANDS] += from->batch_commands;
	totals->counter[MODEL_IN_QUERY_NS] += from->batch_in_query_ns;
	totals->counter[MODEL_IDLE_IN_TRANSACTION_NS] += from->batch_idle_in_transaction_ns;
	for (uint32_t i = 0; i < count; i++)
		histogram_add_value(&totals->time[MODEL_USE_TIME], &reading->model->arena,
				    from->batch_use_ns[i]);
}

static void read_batch(const struct reading *reading, const struct ledger_lease *from,
		       const struct model_lease *lease) {
	struct model *model = reading->model;
	model->has_uses |= from->uses > 0;
	if (lease->pool < model->pool_count)
		add_batch(reading, from, &model->pools[lease->pool].totals);
	if (lease->last_use_site < model->site_count)
		add_batch(reading, from, &model->sites[lease->last_use_site].totals);
}

static void read_lease(const struct reading *reading, const struct ledger_lease *from,
		       struct model_lease *to) {
	to->process = owner_of(reading, from->word, from->pid);
	to->pid = from->pid;
	to->thread = from->thread;
	to->backend_pid = from->backend_pid;
	to->site = site_of(reading, from->site);
	to->last_use_site = site_of(reading, from->last_use_site);
	to->pool = pool_of(reading, from->pool);
	to->role = string_of(reading, from->role);
	to->test = string_of(reading, from->test);
	to->begun_ns = from->begun_ns;
	to->established_ns = from->held_since_ns != 0 ? from->held_since_ns : from->established_ns;
	to->last_event_ns = from->last_event_ns;
	to->thread_gone_ns = from->owner_gone_ns;
	read_lease_flags(from->flags | (from->use_flags & (LEDGER_LEASE_USE_FLAGS | LEDGER_USE_BEGAN_EMPTY)),
			 to);
	read_lease_uses(from, to);
}

static void read_slot(const struct reading *reading, const struct ledger_lease *slot) {
	static const enum model_lease_state states[] = {
		[LEDGER_LEASE_CONNECTING] = MODEL_LEASE_CONNECTING,
		[LEDGER_LEASE_OPEN] = MODEL_LEASE_OPEN,
		[LEDGER_LEASE_FAILED] = MODEL_LEASE_FAILED,
		[LEDGER_LEASE_RESETTING] = MODEL_LEASE_RESETTING,
	};
	struct model *model = reading->model;
	switch (slot->word >> 56) {
	case LEDGER_LEASE_CONNECTING:
	case LEDGER_LEASE_OPEN:
	case LEDGER_LEASE_FAILED:
	case LEDGER_LEASE_RESETTING:
		read_lease(reading, slot, &model->leases[model->lease_count]);
		read_batch(reading, slot, &model->leases[model->lease_count]);
		model->leases[model->lease_count++].state = states[slot->word >> 56];
		break;
	case LEDGER_LEASE_ESTABLISHING:
	case LEDGER_LEASE_FAILING:
	case LEDGER_LEASE_CLOSING:
	case LEDGER_LEASE_FOLDING:
		model->moving_owners[model->moving_count++] = owner_of(reading, slot->word, slot->pid);
		break;
	default:
		break;
	}
}

static void read_leases(const struct reading *reading) {
	struct model *model = reading->model;
	uint64_t count = ledger_image_count(&reading->image, LEDGER_LEASES);
	model->leases = arena_array(&model->arena, count, sizeof *model->leases);
	model->moving_owners = arena_array(&model->arena, count, sizeof *model->moving_owners);
	for (uint64_t i = 0; i < count; i++)
		read_slot(reading, ledger_image_unit(&reading->image, LEDGER_LEASES, i));
}

static void read_ended(const struct reading *reading, const struct ledger_ended *from,
		       struct model_ended *to) {
	to->release =
		from->release < MODEL_RELEASE_COUNT ? (enum model_release)from->release : MODEL_RELEASE_NONE;
	to->left = from->left < MODEL_LEFT_COUNT ? (enum model_left)from->left : MODEL_LEFT_OPEN;
	to->how = from->how_ended < MODEL_HOW_COUNT ? (enum model_how_ended)from->how_ended : MODEL_UNKNOWN;
	to->pid = from->pid;
	to->thread = from->thread;
	to->backend_pid = from->backend_pid;
	to->site = site_of(reading, from->site);
	to->release_site = site_of(reading, from->release_site);
	to->release_facts = from->release_facts & MODEL_FACT_ANY;
	to->last_use_site = site_of(reading, from->last_use_site);
	to->pool = pool_of(reading, from->pool);
	to->role = string_of(reading, from->role);
	to->test = string_of(reading, from->test);
	to->begun_ns = from->begun_ns;
	to->established_ns = from->established_ns;
	to->ended_ns = from->ended_ns;
	to->connect_ns = from->connect_ns;
	to->uses = from->uses;
	to->commands = from->commands;
	to->is_dedicated = from->flags & LEDGER_LEASE_DEDICATED;
	to->is_broken = from->flags & LEDGER_LEASE_BROKEN;
	to->in_query_ns = from->in_query_ns;
	to->idle_in_transaction_ns = from->idle_in_transaction_ns;
	to->idle_ns = from->idle_ns;
}

/* Words of a ring are one lap ahead of the sequence number, so that 0 stays "unwritten". */
static bool ended_is_whole(const struct ledger_ended *ended, uint64_t lap) {
	return (ended->word & 1) != 0 && ended->check == ledger_ended_check(ended, (ended->word >> 1) - lap);
}

/* Entries come in the order of their sequence numbers: the ring is read from its oldest entry on. */
static size_t read_ended_section(const struct reading *reading, enum ledger_section_kind kind, uint64_t first,
				 uint64_t lap, struct model_ended **to) {
	uint64_t count = ledger_image_count(&reading->image, kind);
	size_t whole_count = 0;
	*to = arena_array(&reading->model->arena, count, sizeof **to);
	for (uint64_t i = 0; i < count; i++) {
		const struct ledger_ended *ended = ledger_image_unit(
			&reading->image, kind, (first + i) % ledger_image_capacity(&reading->image, kind));
		if (ended_is_whole(ended, lap))
			read_ended(reading, ended, &(*to)[whole_count++]);
	}
	return whole_count;
}

static bool is_misuse(const struct model_ended *ended) {
	return ended->release == MODEL_RELEASE_CONCURRENT_USE || ended->release == MODEL_RELEASE_NESTED_LEASE;
}

static void take_out_misuses(struct model *model) {
	size_t count = model->example_count;
	model->misuses = arena_array(&model->arena, count, sizeof *model->misuses);
	model->example_count = 0;
	for (size_t i = 0; i < count; i++)
		if (is_misuse(&model->examples[i]))
			model->misuses[model->misuse_count++] = model->examples[i];
		else
			model->examples[model->example_count++] = model->examples[i];
}

static void read_history(const struct reading *reading) {
	struct model *model = reading->model;
	uint64_t used = ledger_image_header(&reading->image)->section[LEDGER_HISTORY].used;
	uint64_t capacity = ledger_image_capacity(&reading->image, LEDGER_HISTORY);
	uint64_t oldest = used > capacity && capacity > 0 ? used % capacity : 0;
	model->history_overwritten = used > capacity ? plausible(used - capacity) : 0;
	model->history_count = read_ended_section(reading, LEDGER_HISTORY, oldest, capacity, &model->history);
	model->example_count = read_ended_section(reading, LEDGER_UNRELEASED, 0, 0, &model->examples);
	take_out_misuses(model);
}

/* ---- Who released what ------------------------------------------------------------------------------------ */

static void read_releasers(const struct reading *reading) {
	struct model *model = reading->model;
	uint64_t count = ledger_image_count(&reading->image, LEDGER_RELEASERS);
	model->releasers = arena_array(&model->arena, count, sizeof *model->releasers);
	model->left_in_use = arena_array(&model->arena, count, sizeof *model->left_in_use);
	for (uint64_t i = 0; i < count && model->site_count > 0; i++) {
		const struct ledger_releaser *from = ledger_image_unit(&reading->image, LEDGER_RELEASERS, i);
		bool is_left = from->facts & LEDGER_FACT_LEFT;
		if (from->count == 0)
			continue;
		*(is_left ? &model->left_in_use[model->left_in_use_count++]
			  : &model->releasers[model->releaser_count++]) =
			(struct model_releaser){.site = site_of(reading, from->site),
						.release_site = site_of(reading, from->release_site),
						.facts = from->facts & MODEL_FACT_ANY,
						.use_site = site_of(reading, from->use_site),
						.count = plausible(from->count),
						.first_ns = from_inverted(from->inverted_first_ns),
						.last_ns = from->last_ns};
	}
}

/* ---- Uses ------------------------------------------------------------------------------------------------ */

static void read_use(const struct reading *reading, const struct ledger_use *from, struct model_use *to) {
	to->lease = (uint64_t)from->lease << 32 | from->lease_generation;
	to->weight = from->weight > 0 && from->weight <= LEDGER_BATCH_USES ? from->weight : 1;
	to->begun_ns = from->begun_ns;
	to->ended_ns = from->ended_ns;
	to->first_command_ns = from->first_command_ns;
	to->in_query_ns = from->in_query_ns;
	to->idle_in_transaction_ns = from->idle_in_transaction_ns;
	to->site = site_of(reading, from->site);
	to->pool = pool_of(reading, from->pool);
	to->pid = from->pid;
	to->thread = from->thread;
	to->backend_pid = from->backend_pid;
	to->commands = from->commands;
	to->statement = statement_of(from->statement_kind);
	to->is_dedicated = from->flags & LEDGER_LEASE_DEDICATED;
	to->is_transaction_failed = from->flags & LEDGER_LEASE_TRANSACTION_FAILED;
	to->is_site_assumed = from->flags & LEDGER_USE_ASSUMED;
	to->is_left = from->flags & LEDGER_USE_LEFT;
	to->is_begun_empty = from->flags & LEDGER_USE_BEGAN_EMPTY;
	to->is_broken = from->flags & LEDGER_LEASE_BROKEN;
}

static void read_uses(const struct reading *reading) {
	struct model *model = reading->model;
	uint64_t used = ledger_image_header(&reading->image)->section[LEDGER_USES].used;
	uint64_t capacity = ledger_image_capacity(&reading->image, LEDGER_USES);
	uint64_t count = ledger_image_count(&reading->image, LEDGER_USES);
	uint64_t oldest = used > capacity && capacity > 0 ? used % capacity : 0;
	model->uses_overwritten = used > capacity ? plausible(used - capacity) : 0;
	model->uses = arena_array(&model->arena, count, sizeof *model->uses);
	for (uint64_t i = 0; i < count && capacity > 0; i++) {
		const struct ledger_use *use =
			ledger_image_unit(&reading->image, LEDGER_USES, (oldest + i) % capacity);
		if ((use->word & 1) != 0 && use->check == ledger_use_check(use, (use->word >> 1) - capacity))
			read_use(reading, use, &model->uses[model->use_count++]);
	}
}

/* ---- Snapshots ------------------------------------------------------------------------------------------- */

static enum model_lease_state holder_state(uint32_t state) {
	switch (state) {
	case LEDGER_LEASE_CLAIMED:
	case LEDGER_LEASE_CONNECTING:
	case LEDGER_LEASE_ESTABLISHING:
		return MODEL_LEASE_CONNECTING;
	case LEDGER_LEASE_FAILING:
	case LEDGER_LEASE_FAILED:
		return MODEL_LEASE_FAILED;
	case LEDGER_LEASE_RESETTING:
		return MODEL_LEASE_RESETTING;
	default:
		return MODEL_LEASE_OPEN;
	}
}

static void read_holder(const struct reading *reading, const struct ledger_holder *from,
			struct model_holder *to) {
	to->state = holder_state(from->state);
	to->is_active = from->flags & LEDGER_LEASE_ACTIVE;
	to->is_in_transaction = from->flags & LEDGER_LEASE_IN_TRANSACTION;
	to->is_transaction_failed = from->flags & LEDGER_LEASE_TRANSACTION_FAILED;
	to->is_dedicated = from->flags & LEDGER_LEASE_DEDICATED;
	to->is_in_use = from->flags & LEDGER_LEASE_IN_USE;
	to->since_ns = from->since_ns;
	to->changed_ns = from->changed_ns;
	to->site = site_of(reading, from->site);
	to->use_site = site_of(reading, from->use_site);
	to->pool = pool_of(reading, from->pool);
	to->role = string_of(reading, from->role);
	to->statement = statement_of(from->statement_kind);
	to->pid = from->pid;
	to->backend_pid = from->backend_pid;
}

static int compare_holders(const void *a, const void *b) {
	const struct model_holder *left = a;
	const struct model_holder *right = b;
	if (left->since_ns != right->since_ns)
		return left->since_ns < right->since_ns ? -1 : 1;
	return (left->pid > right->pid) - (left->pid < right->pid);
}

static void read_snapshot(const struct reading *reading, const struct ledger_snapshot *from,
			  struct model_snapshot *to) {
	bool is_known = from->failure < FAILURE_REASONS;
	uint32_t count =
		from->holder_count < LEDGER_SNAPSHOT_HOLDERS ? from->holder_count : LEDGER_SNAPSHOT_HOLDERS;
	struct model_holder *holders = arena_array(&reading->model->arena, count, sizeof *holders);
	for (uint32_t i = 0; i < count; i++)
		read_holder(reading, &from->holder[i], &holders[i]);
	qsort(holders, count, sizeof *holders, compare_holders);
	*to = (struct model_snapshot){
		.at_ns = from->at_ns,
		.class_name = is_known ? failure_reasons[from->failure].class_name : "other",
		.sqlstate = is_known ? failure_reasons[from->failure].sqlstate : "",
		.text = is_known ? failure_reasons[from->failure].text : "",
		.pid = from->pid,
		.role = string_of(reading, from->role),
		.pool = pool_of(reading, from->pool),
		.site = site_of(reading, from->site),
		.holders = holders,
		.holder_count = count,
		.missing_count = from->holders_missing,
	};
}

static int compare_snapshots(const void *a, const void *b) {
	const struct model_snapshot *left = a;
	const struct model_snapshot *right = b;
	return (left->at_ns > right->at_ns) - (left->at_ns < right->at_ns);
}

static void read_snapshots(const struct reading *reading) {
	struct model *model = reading->model;
	uint64_t count = ledger_image_count(&reading->image, LEDGER_SNAPSHOTS);
	model->snapshots = arena_array(&model->arena, count, sizeof *model->snapshots);
	for (uint64_t i = 0; i < count; i++) {
		const struct ledger_snapshot *from = ledger_image_unit(&reading->image, LEDGER_SNAPSHOTS, i);
		if ((from->word & 1) != 0)
			read_snapshot(reading, from, &model->snapshots[model->snapshot_count++]);
	}
	qsort(model->snapshots, model->snapshot_count, sizeof *model->snapshots, compare_snapshots);
}

/* ---- Failures and timelines ---------------------------------------------------------------------------- */

static void read_failures(const struct reading *reading) {
	struct model *model = reading->model;
	uint64_t count = ledger_image_capacity(&reading->image, LEDGER_FAILURES);
	model->failures = arena_array(&model->arena, count, sizeof *model->failures);
	for (uint64_t i = 0; i < count; i++) {
		const struct ledger_failure *from = ledger_image_unit(&reading->image, LEDGER_FAILURES, i);
		if (from->count == 0)
			continue;
		struct model_failure *to = &model->failures[model->failure_count++];
		bool is_known = i < FAILURE_REASONS;
		to->class_name = is_known ? failure_reasons[i].class_name : "other";
		to->sqlstate = is_known ? failure_reasons[i].sqlstate : "";
		to->text = is_known ? failure_reasons[i].text : "a reason that this version does not know";
		to->count = plausible(from->count);
		to->first_ns = from_inverted(from->inverted_first_ns);
		to->last_ns = from->last_ns;
	}
}

static int compare_epochs(const void *a, const void *b) {
	const struct model_cell *left = a;
	const struct model_cell *right = b;
	return (left->epoch > right->epoch) - (left->epoch < right->epoch);
}

static struct model_series read_series(struct arena *arena, const _Atomic uint64_t *cells, size_t count) {
	struct model_cell *written = arena_array(arena, count, sizeof *written);
	struct model_series series = {written, 0};
	for (size_t i = 0; i < count; i++) {
		uint64_t cell = cells[i];
		uint32_t epoch_plus_1 = (uint32_t)(cell >> 32);
		if (epoch_plus_1 != 0 && (epoch_plus_1 - 1) % count == i)
			written[series.cell_count++] = (struct model_cell){epoch_plus_1 - 1, (uint32_t)cell};
	}
	qsort(written, series.cell_count, sizeof *written, compare_epochs);
	return series;
}

/* NULL if there is none of this number. */
static struct model_timeline *read_timeline(const struct reading *reading, uint64_t number) {
	const struct ledger_timeline *from = ledger_image_unit(&reading->image, LEDGER_TIMELINES, number);
	struct arena *arena = &reading->model->arena;
	if (from == NULL)
		return NULL;
	struct model_timeline *to = arena_new(arena, struct model_timeline);
	for (int metric = 0; metric < MODEL_METRIC_COUNT; metric++) {
		to->series[MODEL_SECONDS][metric] =
			read_series(arena, from->second[metric], LEDGER_SECOND_CELLS);
		to->series[MODEL_MINUTES][metric] =
			read_series(arena, from->minute[metric], LEDGER_MINUTE_CELLS);
		to->series[MODEL_HOURS][metric] = read_series(arena, from->hour[metric], LEDGER_HOUR_CELLS);
	}
	return to;
}

static void read_run_timeline(const struct reading *reading) {
	const struct model_timeline *timeline = read_timeline(reading, 0);
	if (timeline != NULL)
		reading->model->timeline = *timeline;
}

/* ---- Reading --------------------------------------------------------------------------------------------- */

static enum ledger_reader_status open_ledger(const char *path, int *descriptor) {
	/* O_NONBLOCK: a FIFO at the path must not hang us before it is refused. */
	*descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*descriptor >= 0)
		return LEDGER_READER_OK;
	switch (errno) {
	case ENOENT:
	case ENOTDIR:
		return LEDGER_READER_ABSENT;
	case EACCES:
	case EPERM:
		return LEDGER_READER_DENIED;
	case ELOOP:
	case ENXIO: /* a socket */
		return LEDGER_READER_NOT_REGULAR;
	default:
		return LEDGER_READER_SYSTEM_ERROR;
	}
}

static enum ledger_reader_status check_owner(int descriptor) {
	struct stat file;
	if (fstat(descriptor, &file) != 0)
		return LEDGER_READER_SYSTEM_ERROR;
	if (!S_ISREG(file.st_mode))
		return LEDGER_READER_NOT_REGULAR;
	uid_t user = geteuid();
	return file.st_uid == user || file.st_uid == 0 || user == 0 ? LEDGER_READER_OK
								    : LEDGER_READER_FOREIGN;
}

static void read_off_reason(struct model *model, const char *path) {
	char reason[256];
	char *link = arena_text(&model->arena, "%s%s", path, LEDGER_OFF_SUFFIX);
	ssize_t length = readlink(link, reason, sizeof reason);
	model->run.off_reason = arena_copy(&model->arena, reason, length > 0 ? (size_t)length : 0);
}

bool ledger_reader_is_beginning(int descriptor) {
	char magic[sizeof(LEDGER_MAGIC) - 1];
	return pread(descriptor, magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
		memcmp(magic, LEDGER_MAGIC, sizeof magic) == 0;
}

enum ledger_reader_status ledger_reader_read(struct model *model, const char *path) {
	int descriptor = -1;
	enum ledger_reader_status status = open_ledger(path, &descriptor);
	if (status != LEDGER_READER_OK)
		return status;
	status = check_owner(descriptor);
	if (status == LEDGER_READER_OK)
		status = ledger_reader_read_from(model, descriptor);
	if (status == LEDGER_READER_OK)
		read_off_reason(model, path);
	int saved_errno = errno;
	close(descriptor);
	errno = saved_errno;
	return status;
}

enum ledger_reader_status ledger_reader_read_from(struct model *model, int descriptor) {
	struct reading reading = {.model = model};
	enum ledger_reader_status status = ledger_image_open(&reading.image, descriptor);
	if (status != LEDGER_READER_OK)
		return status;
	*model = (struct model){.run.off_reason = ""};
	reading.octave_is_taken = arena_array(
		&model->arena, ledger_image_capacity(&reading.image, LEDGER_OCTAVES), sizeof(bool));
	reading.strings = ledger_image_copy_strings(&reading.image, &model->arena);
	read_run(&reading);
	read_processes(&reading);
	read_modules(&reading);
	read_sites(&reading);
	read_pools(&reading);
	read_leases(&reading);
	read_history(&reading);
	read_releasers(&reading);
	read_uses(&reading);
	read_snapshots(&reading);
	read_failures(&reading);
	read_run_timeline(&reading);
	ledger_image_close(&reading.image);
	return LEDGER_READER_OK;
}
