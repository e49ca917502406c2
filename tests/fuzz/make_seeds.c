/*
 * make_seeds DIRECTORY: writes golden inputs for the fuzz targets whose format changes with the ledger's, so that
 * none of them has to be kept: DIRECTORY/ledger_reader, ledger_join and symbol_store, which exist.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/symbols/symbol_store.h"
#include "shim/ledger_writer.h"
#include "tests/unit/support/ledger_builder.h"

static const char *seeds;

static void save(const char *target, const char *name, const void *bytes, size_t length_bytes) {
	char path[4096];
	snprintf(path, sizeof path, "%s/%s/%s", seeds, target, name);
	FILE *file = fopen(path, "wb");
	if (file == NULL || fwrite(bytes, 1, length_bytes, file) != length_bytes || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

/* ---- Ledgers --------------------------------------------------------------------------------------------------- */

static void fill_nothing(struct ledger_builder *builder) {
	(void)builder;
}

static struct ledger_builder_account add_account(struct ledger_builder *builder) {
	uint32_t module = ledger_builder_module(builder, "/opt/shop/bin/shop");
	struct ledger_frame frames[] = {
		ledger_builder_native(module, 0x1234),
		ledger_builder_script(builder, LEDGER_FRAME_PYTHON, "/srv/shop.py", "sell", 7)};
	return (struct ledger_builder_account){
		.site = ledger_builder_site(builder, frames, 2),
		.pool = ledger_builder_pool(builder, "web", "db.example", "shop", "till")};
}

/* Something in every section, slots in every state, processes in every state. */
static void fill_everything(struct ledger_builder *builder) {
	struct ledger_builder_account account = add_account(builder);
	for (int i = LEDGER_PROCESS_CLAIMED; i <= LEDGER_PROCESS_FOLDED; i++) {
		struct ledger_builder_process process = {
			4000 + i, (enum ledger_process_state)i, LEDGER_ENDED_KILLED, "web", "/bin/shop", 0.5,
			9};
		ledger_builder_process(builder, &process);
	}
	ledger_builder_count(builder, account, LEDGER_ESTABLISHED, 10, 2);
	ledger_builder_count(builder, account, LEDGER_FINISHED, 4, 3);
	for (double seconds = 1e-7; seconds < 100; seconds *= 9)
		ledger_builder_time(builder, account, LEDGER_CONNECT_TIME, seconds);
	ledger_builder_peak(builder, account, 9);
	for (uint32_t reason = 0; reason < 5; reason++)
		ledger_builder_failure(builder, reason, 3, 4);
	for (int left = 0; left < LEDGER_LEFT_COUNT; left++)
		ledger_builder_fold(builder, account, (enum ledger_left)left, LEDGER_ENDED_EXIT, 3);
	ledger_builder_example(builder, account, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 4001, 3, 9);
	for (int state = LEDGER_LEASE_FREE; state <= LEDGER_LEASE_FOLDING; state++)
		ledger_builder_lease(builder, 1, 4002, account, (enum ledger_lease_state)state, 5);
}

static void fill_history(struct ledger_builder *builder) {
	struct ledger_builder_account account = add_account(builder);
	for (uint32_t i = 0; i < 8; i++) {
		struct ledger_ended ended = {.begun_ns = ledger_builder_at(i),
					     .pid = 4001,
					     .pool = account.pool,
					     .site = account.site,
					     .release = (uint8_t)i};
		ledger_history_add(builder->ledger, &ended);
	}
	struct ledger_account booked = {builder->ledger, account.pool, account.site};
	for (uint32_t i = 0; i < 40; i++) {
		ledger_add_open(&booked, 1, ledger_builder_at(i / 4.0)); /* a trend of several stages */
		ledger_add_release(&booked, i % 3, 1u << i % 8, 0, ledger_builder_at(i));
	}
	ledger_builder_end_run(builder, 10, 3);
}

static void fill_to_the_brim(struct ledger_builder *builder) {
	struct ledger_header *ledger = builder->ledger;
	struct ledger_builder_account account = add_account(builder);
	struct ledger_totals *pool =
		&((struct ledger_pool *)ledger_unit(ledger, LEDGER_POOLS, account.pool))->totals;
	ledger->open = ledger->in_use = pool->open = INT64_MAX;
	ledger->lease_hint = ledger->process_hint = UINT64_MAX;
	ledger_builder_count(builder, account, LEDGER_ESTABLISHED, UINT64_MAX, 2);
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++)
		if (kind != LEDGER_PROCESSES && kind != LEDGER_LEASES)
			ledger->section[kind].used = UINT64_MAX;
}

static void *section_start(const struct ledger_header *ledger, uint32_t kind) {
	return (char *)ledger + ledger->section[kind].offset;
}

static uint64_t kept_units(const struct ledger_section *section, bool has_timeline) {
	uint64_t wanted = section->used < section->capacity ? section->used + 2 : 4;
	if (section->kind == LEDGER_TIMELINES || section->kind == LEDGER_SNAPSHOTS) /* large */
		wanted = section->kind == LEDGER_TIMELINES && has_timeline;
	return wanted < section->capacity ? wanted : section->capacity;
}

/* The same ledger without its empty space: a fuzzer should not spend its time on zeros. */
static void save_compact(const struct ledger_header *ledger, const char *name, bool has_timeline) {
	uint8_t *bytes = calloc(1, ledger->mapped_bytes);
	struct ledger_header *compact = (struct ledger_header *)bytes;
	uint64_t end = LEDGER_HEADER_BYTES;
	memcpy(compact, ledger, sizeof *compact);
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		struct ledger_section *section = &compact->section[kind];
		section->offset = end;
		section->capacity = kept_units(&ledger->section[kind], has_timeline);
		memcpy(bytes + end, section_start(ledger, kind),
		       section->capacity * section->entry_size_bytes);
		end = (end + section->capacity * section->entry_size_bytes + 63) / 64 * 64;
	}
	compact->mapped_bytes = end;
	save("ledger_reader", name, bytes, end);
	free(bytes);
}

/* The header, and what is written behind it in pieces. */
static void save_pieces(const struct ledger_header *ledger, const char *name) {
	const uint8_t *from = (const uint8_t *)ledger;
	static const uint8_t zeros[256];
	uint16_t length = sizeof zeros;
	uint8_t *bytes = malloc(2 * ledger->mapped_bytes);
	uint8_t *to = bytes + LEDGER_HEADER_BYTES;
	memcpy(bytes, from, LEDGER_HEADER_BYTES);
	for (uint32_t offset = LEDGER_HEADER_BYTES; offset < ledger->mapped_bytes; offset += length) {
		if (memcmp(from + offset, zeros, length) == 0)
			continue;
		memcpy(to, &offset, sizeof offset);
		memcpy(to + sizeof offset, &length, sizeof length);
		memcpy(to + 6, from + offset, length);
		to += 6 + length;
	}
	save("ledger_join", name, bytes, (size_t)(to - bytes));
	free(bytes);
}

static void save_ledgers(void) {
	static const struct {
		const char *name;
		void (*fill)(struct ledger_builder *);
		bool has_timeline;
	} ledgers[] = {{"nothing", fill_nothing, false},
		       {"everything", fill_everything, false},
		       {"history", fill_history, false},
		       {"timeline", fill_history, true},
		       {"brim", fill_to_the_brim, false}};
	static const char *const command[] = {"shop", "--open", NULL};
	for (size_t i = 0; i < sizeof ledgers / sizeof *ledgers; i++) {
		struct ledger_builder builder;
		ledger_builder_open(&builder, command);
		ledgers[i].fill(&builder);
		save_compact(builder.ledger, ledgers[i].name, ledgers[i].has_timeline);
		save_pieces(builder.ledger, ledgers[i].name);
		ledger_builder_close(&builder);
	}
}

/* ---- Symbols ----------------------------------------------------------------------------------------------------- */

static struct symbol_store *some_symbols(void) {
	static const uint8_t build_id[] = {0xab, 0xcd};
	static const struct symbol_module with_id = {"/bin/a", build_id, sizeof build_id, 0};
	static const struct symbol_module without_id = {"/bin/b", NULL, 0, 77};
	static const struct symbol_frame frames[] = {{"inner", "a.h", 3, true},
						     {"outer\xff", "a.c", 9, false}};
	struct symbol_store *store = symbol_store_new();
	for (uint64_t address = 1; address < 6; address++) {
		symbol_store_put(store, &with_id, address, SYMBOL_EXACT_ADDRESS, frames, 2);
		symbol_store_put(store, &without_id, address + 5, SYMBOL_EXACT_ADDRESS, &frames[1], 1);
	}
	symbol_store_put_script(store, "/srv/a.py", "a.py");
	return store;
}

/* Behind 64 bytes, as the target has it. */
static void save_symbols(void) {
	char path[4096];
	uint8_t ledger[64] = {0};
	snprintf(path, sizeof path, "%s/symbol_store/two_modules", seeds);
	save("symbol_store", "two_modules", ledger, sizeof ledger);
	struct symbol_store *store = some_symbols();
	if (symbol_store_save(store, path, sizeof ledger) != SYMBOL_STORE_OK)
		exit(1);
	symbol_store_free(store);
}

int main(int argc, char **argv) {
	if (argc != 2)
		return 64;
	seeds = argv[1];
	save_ledgers();
	save_symbols();
	return 0;
}
