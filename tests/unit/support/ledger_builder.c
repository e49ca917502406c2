#include "tests/unit/support/ledger_builder.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t created_realtime_ns = UINT64_C(1709208000) * 1000000000u;
static const uint64_t created_monotonic_ns = UINT64_C(5000) * 1000000000u;

static void describe_a_past_machine(struct ledger_header *ledger) {
	memset(ledger->run_id, 0xab, sizeof ledger->run_id);
	memset(ledger->boot_id, 0x11, sizeof ledger->boot_id);
	ledger->created_realtime_ns = created_realtime_ns;
	ledger->created_monotonic_ns = created_monotonic_ns;
	ledger->pid_namespace = 4026531836;
	ledger->creator_pid = 4000;
	ledger->creator_start_ticks = 100;
}

void ledger_builder_open(struct ledger_builder *builder, const char *const *command) {
	struct ledger_run_facts facts = {.tool_version = "0.0.0", .made_by_run = true, .command = command};
	*builder = (struct ledger_builder){.directory = "/tmp/pqlease-builder-XXXXXX"};
	assert(mkdtemp(builder->directory) != NULL);
	snprintf(builder->path, sizeof builder->path, "%s/run.ledger", builder->directory);
	enum ledger_file_status status =
		ledger_file_create(&builder->map, builder->path, LEDGER_MIN_SIZE_BYTES, &facts);
	assert(status == LEDGER_FILE_OK);
	(void)status;
	builder->ledger = builder->map.header;
	describe_a_past_machine(builder->ledger);
	builder->ledger->host = ledger_builder_string(builder, "harbour");
}

void ledger_builder_close(struct ledger_builder *builder) {
	ledger_file_unmap(&builder->map);
	unlink(builder->path);
	rmdir(builder->directory);
}

uint64_t ledger_builder_at(double seconds) {
	return created_monotonic_ns + (uint64_t)llround(seconds * 1e9);
}

void ledger_builder_end_run(struct ledger_builder *builder, double at, int exit_status) {
	builder->ledger->exit_status = exit_status;
	builder->ledger->ended_ns = ledger_builder_at(at);
}

/* The next unit of a section that is filled in order. */
static void *append(struct ledger_builder *builder, enum ledger_section_kind kind, uint64_t units,
		    uint64_t *number) {
	struct ledger_section *section = &builder->ledger->section[kind];
	*number = section->used;
	assert(*number + units <= section->capacity);
	uint64_t offset = section->offset + *number * section->entry_size_bytes;
	bool has_space = ledger_file_populate(builder->ledger, offset, units * section->entry_size_bytes);
	assert(has_space);
	(void)has_space;
	section->used = *number + units;
	return (char *)builder->ledger + offset;
}

static void *unit(struct ledger_builder *builder, enum ledger_section_kind kind, uint64_t number) {
	struct ledger_section *section = &builder->ledger->section[kind];
	assert(number < section->capacity);
	return (char *)builder->ledger + section->offset + number * section->entry_size_bytes;
}

uint32_t ledger_builder_string(struct ledger_builder *builder, const char *text) {
	uint64_t number;
	size_t length = strlen(text);
	if (length == 0)
		return 0;
	struct ledger_string *string =
		append(builder, LEDGER_STRINGS, (sizeof *string + length + 1 + 7) / 8, &number);
	string->length_bytes = (uint32_t)length;
	memcpy(string + 1, text, length + 1);
	return (uint32_t)number;
}

/* ---- Sites -------------------------------------------------------------------------------------- */

uint32_t ledger_builder_module(struct ledger_builder *builder, const char *path) {
	uint64_t number;
	struct ledger_module *module = append(builder, LEDGER_MODULES, 1, &number);
	module->path = ledger_builder_string(builder, path);
	return (uint32_t)number + 1;
}

struct ledger_frame ledger_builder_native(uint32_t module, uint64_t address) {
	return (struct ledger_frame){LEDGER_FRAME_NATIVE, module, address};
}

struct ledger_frame ledger_builder_script(struct ledger_builder *builder, enum ledger_frame_language language,
					  const char *file, const char *function, uint32_t line) {
	uint64_t name = ledger_builder_string(builder, function);
	return (struct ledger_frame){language, ledger_builder_string(builder, file), name << 32 | line};
}

uint32_t ledger_builder_site(struct ledger_builder *builder, const struct ledger_frame *frames,
			     uint16_t count) {
	uint64_t first;
	uint64_t number;
	memcpy(append(builder, LEDGER_FRAMES, count, &first), frames, count * sizeof *frames);
	struct ledger_site *site = append(builder, LEDGER_SITES, 1, &number);
	site->first_frame = (uint32_t)first;
	site->frame_count = count;
	return (uint32_t)number;
}

/* ---- Processes and pools -------------------------------------------------------------------------- */

uint32_t ledger_builder_process(struct ledger_builder *builder,
				const struct ledger_builder_process *process) {
	uint64_t number;
	struct ledger_process *record = append(builder, LEDGER_PROCESSES, 1, &number);
	record->start_ticks = 200;
	record->pid_namespace = builder->ledger->pid_namespace;
	record->parent_pid = builder->ledger->creator_pid;
	record->exe = ledger_builder_string(builder, process->exe);
	record->role = ledger_builder_string(builder, process->role);
	record->notes = LEDGER_NOTE_USES_OFF; /* a test that makes uses takes it away */
	record->attached_ns = ledger_builder_at(process->attached);
	record->ended_ns = process->ended > 0 ? ledger_builder_at(process->ended) : 0;
	record->how_ended = process->how;
	record->notes = LEDGER_NOTE_USES_OFF; /* none are made here */
	record->word = (uint64_t)process->state << 56 | UINT64_C(1) << 32 | (uint32_t)process->pid;
	return (uint32_t)number;
}

uint32_t ledger_builder_pool(struct ledger_builder *builder, const char *role, const char *host,
			     const char *database, const char *application_name) {
	uint64_t endpoint_number;
	uint64_t number;
	struct ledger_endpoint *endpoint = append(builder, LEDGER_ENDPOINTS, 1, &endpoint_number);
	endpoint->host = ledger_builder_string(builder, host);
	endpoint->port = ledger_builder_string(builder, "5432");
	endpoint->database = ledger_builder_string(builder, database);
	endpoint->user = ledger_builder_string(builder, "clerk");
	struct ledger_pool *pool = append(builder, LEDGER_POOLS, 1, &number);
	pool->role = ledger_builder_string(builder, role);
	pool->endpoint = (uint32_t)endpoint_number + 1;
	pool->application_name = ledger_builder_string(builder, application_name);
	return (uint32_t)number;
}

/* ---- Bookings -------------------------------------------------------------------------------------- */

static struct ledger_totals *pool_totals(struct ledger_builder *builder,
					 struct ledger_builder_account account) {
	return &((struct ledger_pool *)unit(builder, LEDGER_POOLS, account.pool))->totals;
}

static struct ledger_totals *site_totals(struct ledger_builder *builder,
					 struct ledger_builder_account account) {
	return &((struct ledger_site *)unit(builder, LEDGER_SITES, account.site))->totals;
}

static void raise_to(_Atomic uint64_t *word, uint64_t value) {
	if (*word < value)
		*word = value;
}

static void count(struct ledger_totals *totals, enum ledger_counter counter, uint64_t amount,
		  uint64_t at_ns) {
	totals->counter[counter] += amount;
	raise_to(&totals->inverted_first_ns, ~at_ns);
	raise_to(&totals->last_ns, at_ns);
	if (counter != LEDGER_DOUBLE_FINISH)
		return;
	raise_to(&totals->inverted_first_finding_ns[LEDGER_FINDING_DOUBLE_FINISH], ~at_ns);
	raise_to(&totals->last_finding_ns[LEDGER_FINDING_DOUBLE_FINISH], at_ns);
}

void ledger_builder_count(struct ledger_builder *builder, struct ledger_builder_account account,
			  enum ledger_counter counter, uint64_t amount, double at) {
	count(pool_totals(builder, account), counter, amount, ledger_builder_at(at));
	count(site_totals(builder, account), counter, amount, ledger_builder_at(at));
}

void ledger_builder_histogram_add(struct ledger_builder *builder, struct ledger_histogram *histogram,
				  uint64_t value_ns) {
	double place = value_ns > 0
		? (log2((double)value_ns) - LEDGER_OCTAVE_FIRST_LOG2) * LEDGER_OCTAVE_BUCKETS
		: 0;
	int last = (int)(LEDGER_OCTAVE_COUNT * LEDGER_OCTAVE_BUCKETS) - 1;
	int bucket = place < 0 ? 0 : place > last ? last : (int)place;
	_Atomic uint16_t *octave = &histogram->octave[bucket / (int)LEDGER_OCTAVE_BUCKETS];
	if (*octave == 0) {
		uint64_t number;
		append(builder, LEDGER_OCTAVES, 1, &number);
		*octave = (uint16_t)(number + 1);
	}
	struct ledger_octave *buckets = unit(builder, LEDGER_OCTAVES, *octave - 1u);
	buckets->bucket[bucket % (int)LEDGER_OCTAVE_BUCKETS]++;
	histogram->count++;
	histogram->sum_ns += value_ns;
	raise_to(&histogram->inverted_min_ns, ~value_ns);
	raise_to(&histogram->max_ns, value_ns);
}

void ledger_builder_time(struct ledger_builder *builder, struct ledger_builder_account account,
			 enum ledger_measure measure, double seconds) {
	uint64_t value_ns = (uint64_t)llround(seconds * 1e9);
	ledger_builder_histogram_add(builder, &pool_totals(builder, account)->time[measure], value_ns);
	ledger_builder_histogram_add(builder, &site_totals(builder, account)->time[measure], value_ns);
}

void ledger_builder_peak(struct ledger_builder *builder, struct ledger_builder_account account,
			 int64_t open) {
	pool_totals(builder, account)->open_peak = open;
	site_totals(builder, account)->open_peak = open;
	if (builder->ledger->open_peak < open)
		builder->ledger->open_peak = open;
}

static void fold(struct ledger_totals *totals, enum ledger_left left, enum ledger_how_ended how,
		 uint64_t taken_ns) {
	totals->unreleased[left][how]++;
	raise_to(&totals->inverted_first_finding_ns[LEDGER_FINDING_LEFT + left], ~taken_ns);
	raise_to(&totals->last_finding_ns[LEDGER_FINDING_LEFT + left], taken_ns);
}

void ledger_builder_fold(struct ledger_builder *builder, struct ledger_builder_account account,
			 enum ledger_left left, enum ledger_how_ended how, double taken) {
	fold(pool_totals(builder, account), left, how, ledger_builder_at(taken));
	fold(site_totals(builder, account), left, how, ledger_builder_at(taken));
}

void ledger_builder_failure(struct ledger_builder *builder, uint32_t reason, uint64_t amount, double at) {
	struct ledger_failure *failure = unit(builder, LEDGER_FAILURES, reason);
	failure->count += amount;
	raise_to(&failure->inverted_first_ns, ~ledger_builder_at(at));
	raise_to(&failure->last_ns, ledger_builder_at(at));
}

void ledger_builder_example(struct ledger_builder *builder, struct ledger_builder_account account,
			    enum ledger_left left, enum ledger_how_ended how, int32_t pid, double taken,
			    double ended) {
	uint64_t number;
	struct ledger_ended *example = append(builder, LEDGER_UNRELEASED, 1, &number);
	example->begun_ns = ledger_builder_at(taken);
	example->established_ns = left == LEDGER_LEFT_OPEN ? ledger_builder_at(taken) : 0;
	example->ended_ns = ended > 0 ? ledger_builder_at(ended) : 0;
	example->pid = pid;
	example->backend_pid = 7000 + (int32_t)number;
	example->site = account.site;
	example->pool = account.pool;
	example->release = LEDGER_RELEASE_OWNER_GONE;
	example->left = (uint8_t)left;
	example->how_ended = (uint8_t)how;
	example->check = ledger_ended_check(example, number);
	example->word = number << 1 | 1;
}

struct ledger_lease *ledger_builder_lease(struct ledger_builder *builder, uint32_t process, int32_t pid,
					  struct ledger_builder_account account,
					  enum ledger_lease_state state, double taken) {
	uint64_t number;
	struct ledger_lease *lease = append(builder, LEDGER_LEASES, 1, &number);
	lease->pid = pid;
	lease->thread = pid;
	lease->site = account.site;
	lease->pool = account.pool;
	lease->role = ((struct ledger_pool *)unit(builder, LEDGER_POOLS, account.pool))->role;
	lease->begun_ns = ledger_builder_at(taken);
	lease->last_event_ns = lease->begun_ns;
	if (state == LEDGER_LEASE_OPEN) {
		lease->flags = LEDGER_LEASE_ESTABLISHED;
		lease->established_ns = lease->begun_ns;
		lease->held_since_ns = lease->begun_ns;
		lease->backend_pid = 7500 + (int32_t)number;
	}
	lease->word = (uint64_t)state << 56 | UINT64_C(1) << 32 | (process + 1);
	return lease;
}
