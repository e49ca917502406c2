/* Reading ledgers: what was written comes out, and whatever else a file holds gives a status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "analyzer/ledger/aftermath.h"
#include "analyzer/ledger/ledger_reader.h"
#include "analyzer/render/render.h"
#include "analyzer/report/report.h"
#include "tests/unit/support/ledger_builder.h"

static struct ledger_builder builder;
static struct ledger_builder_account account;
static struct model model;

/* A ledger with something in every section that is read. */
static int open_ledger(void **state) {
	(void)state;
	static const char *const command[] = {"shop", "--open", NULL};
	ledger_builder_open(&builder, command);
	uint32_t module = ledger_builder_module(&builder, "/opt/shop/bin/shop");
	struct ledger_frame frames[] = {
		ledger_builder_native(module, 0x1234), ledger_builder_native(module, 0x5678),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop.py", "sell", 7)};
	account.site = ledger_builder_site(&builder, frames, 3);
	account.pool = ledger_builder_pool(&builder, "web", "db.example", "shop", "till");
	struct ledger_builder_process process = {
		4001, LEDGER_PROCESS_ENDED, LEDGER_ENDED_EXIT, "web", "/opt/shop/bin/shop", 0.5, 9};
	uint32_t record = ledger_builder_process(&builder, &process);
	ledger_builder_count(&builder, account, LEDGER_ESTABLISHED, 10, 2);
	ledger_builder_time(&builder, account, LEDGER_CONNECT_TIME, 0.002);
	ledger_builder_failure(&builder, 0, 3, 4);
	ledger_builder_fold(&builder, account, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 3);
	ledger_builder_example(&builder, account, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 4001, 3, 9);
	ledger_builder_lease(&builder, record, 4001, account, LEDGER_LEASE_OPEN, 5);
	ledger_builder_end_run(&builder, 10, 0);
	return 0;
}

static int close_ledger(void **state) {
	(void)state;
	ledger_builder_close(&builder);
	return 0;
}

static void assert_status(enum ledger_reader_status expected, const char *path) {
	enum ledger_reader_status status = ledger_reader_read(&model, path);
	if (status == LEDGER_READER_OK)
		model_release(&model);
	assert_int_equal(expected, status);
	assert_true(strlen(ledger_reader_status_text(status)) > 0);
}

/* ---- What was written comes out ------------------------------------------------------------------ */

static void test_model_of_a_ledger(void **state) {
	(void)state;
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read(&model, builder.path));
	assert_string_equal("harbour", model.run.host);
	assert_int_equal(2, model.run.command_count);
	assert_string_equal("--open", model.run.command[1]);
	assert_int_equal(UINT64_C(1709208010) * 1000000000u, model_realtime_ns(&model, model.run.ended_ns));
	assert_int_equal(1, model.process_count);
	assert_int_equal(4001, model.processes[0].pid);
	assert_string_equal("web", model.processes[0].role);
	const struct model_site *site = &model.sites[account.site];
	assert_int_equal(3, site->frame_count);
	assert_int_equal(0x5678, site->frames[1].address);
	assert_string_equal("/opt/shop/bin/shop", model.modules[site->frames[0].module].path);
	assert_string_equal("/srv/shop.py", site->frames[2].file);
	assert_string_equal("sell", site->frames[2].function);
	assert_int_equal(7, site->frames[2].line);
	const struct model_pool *pool = &model.pools[account.pool];
	assert_string_equal("db.example", pool->host);
	assert_string_equal("till", pool->application_name);
	assert_int_equal(10, pool->totals.counter[MODEL_ESTABLISHED]);
	assert_int_equal(1, pool->totals.time[MODEL_CONNECT_TIME].count);
	assert_int_equal(2000000, pool->totals.time[MODEL_CONNECT_TIME].min_ns);
	assert_int_equal(1, site->totals.unreleased[MODEL_LEFT_OPEN][MODEL_EXIT]);
	assert_int_equal(1, model.lease_count);
	assert_int_equal(0, model.leases[0].process);
	assert_int_equal(1, model.example_count);
	assert_int_equal(4001, model.examples[0].pid);
	assert_int_equal(1, model.failure_count);
	assert_string_equal("too_many_clients", model.failures[0].class_name);
	assert_string_equal("53300", model.failures[0].sqlstate);
	model_release(&model);
}

/* Two processes may intern the same thing at the same moment. */
static void test_duplicates_are_merged(void **state) {
	(void)state;
	uint32_t module = ledger_builder_module(&builder, "/opt/shop/bin/shop");
	struct ledger_frame frames[] = {
		ledger_builder_native(module, 0x1234), ledger_builder_native(module, 0x5678),
		ledger_builder_script(&builder, LEDGER_FRAME_PYTHON, "/srv/shop.py", "sell", 7)};
	struct ledger_builder_account twin = {
		.site = ledger_builder_site(&builder, frames, 3),
		.pool = ledger_builder_pool(&builder, "web", "db.example", "shop", "till")};
	ledger_builder_count(&builder, twin, LEDGER_ESTABLISHED, 5, 1);
	ledger_builder_lease(&builder, 0, 4001, twin, LEDGER_LEASE_FAILED, 5);
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read(&model, builder.path));
	assert_int_equal(15, model.sites[account.site].totals.counter[MODEL_ESTABLISHED]);
	assert_int_equal(15, model.pools[account.pool].totals.counter[MODEL_ESTABLISHED]);
	assert_int_equal(0, model.sites[twin.site].totals.counter[MODEL_ESTABLISHED]);
	assert_int_equal(account.site, model.leases[1].site);
	assert_int_equal(account.pool, model.leases[1].pool);
	model_release(&model);
}

static void test_slots_in_every_state(void **state) {
	(void)state;
	for (int lease_state = LEDGER_LEASE_FREE; lease_state <= LEDGER_LEASE_FOLDING + 1; lease_state++)
		ledger_builder_lease(&builder, 0, 4001, account, (enum ledger_lease_state)lease_state, 6);
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read(&model, builder.path));
	assert_int_equal(1 + 4, model.lease_count);
	assert_int_equal(4, model.moving_count);
	model_release(&model);
}

static void test_history_ring_after_a_lap(void **state) {
	(void)state;
	struct ledger_section *section = &builder.ledger->section[LEDGER_HISTORY];
	struct ledger_ended *ring = (struct ledger_ended *)((char *)builder.ledger + section->offset);
	uint64_t capacity = section->capacity;
	assert_true(ledger_file_populate(builder.ledger, section->offset, capacity * sizeof *ring));
	for (uint64_t sequence = 0; sequence < capacity + 10; sequence++) {
		struct ledger_ended *ended = &ring[sequence % capacity];
		ended->pid = (int32_t)sequence;
		ended->check = ledger_ended_check(ended, sequence);
		ended->word = (sequence + capacity) << 1 | 1;
	}
	section->used = capacity + 10;
	ring[3].pid = 99; /* a lapped writer's store: the check fails */
	ring[4].word &= ~UINT64_C(1);
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read(&model, builder.path));
	assert_int_equal(10, model.history_overwritten);
	assert_int_equal(capacity - 2, model.history_count);
	assert_int_equal(10, model.history[0].pid);
	assert_int_equal(capacity + 9, model.history[model.history_count - 1].pid);
	model_release(&model);
}

/* Holes are zeros and cost nothing: the default ledger of 32 MiB is mostly holes. */
static void test_sparse_ledger(void **state) {
	(void)state;
	int descriptor = open(builder.path, O_RDONLY | O_CLOEXEC);
	struct stat file;
	assert_int_equal(0, fstat(descriptor, &file));
	assert_true((uint64_t)file.st_blocks * 512 < (uint64_t)file.st_size);
	assert_int_equal(LEDGER_READER_OK, ledger_reader_read_from(&model, descriptor));
	model_release(&model);
	close(descriptor);
}

/* ---- What is no ledger ------------------------------------------------------------------------------ */

static const char *beside(const char *name) {
	static char path[PATH_MAX + 32];
	snprintf(path, sizeof path, "%s/%s", builder.directory, name);
	return path;
}

static void test_what_is_no_file(void **state) {
	(void)state;
	assert_status(LEDGER_READER_ABSENT, beside("nothing"));
	assert_status(LEDGER_READER_ABSENT, beside("run.ledger/below"));
	assert_status(LEDGER_READER_NOT_REGULAR, builder.directory);
	assert_status(LEDGER_READER_NOT_REGULAR, "/dev/null");
	assert_int_equal(0, symlink(builder.path, beside("link")));
	assert_status(LEDGER_READER_NOT_REGULAR, beside("link"));
	unlink(beside("link"));
	assert_int_equal(0, mkfifo(beside("fifo"), 0600));
	assert_status(LEDGER_READER_NOT_REGULAR, beside("fifo"));
	unlink(beside("fifo"));
}

static void test_socket(void **state) {
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	assert_true(strlen(beside("socket")) < sizeof address.sun_path);
	strcpy(address.sun_path, beside("socket"));
	int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(0, bind(descriptor, (struct sockaddr *)&address, sizeof address));
	assert_status(LEDGER_READER_NOT_REGULAR, address.sun_path);
	close(descriptor);
	unlink(address.sun_path);
}

/* Only root can give files away; as root, everybody's ledger may be read. */
static void test_file_of_another_user(void **state) {
	(void)state;
	if (geteuid() != 0)
		return;
	assert_int_equal(0, chown(builder.path, 12345, 12345));
	assert_status(LEDGER_READER_OK, builder.path);
	assert_int_equal(0, chmod(builder.directory, 0755));
	assert_int_equal(0, chmod(builder.path, 0644));
	assert_int_equal(0, seteuid(23456));
	enum ledger_reader_status status = ledger_reader_read(&model, builder.path);
	assert_int_equal(0, seteuid(0));
	assert_int_equal(LEDGER_READER_FOREIGN, status);
	assert_int_equal(0, chmod(builder.path, 0000));
	assert_int_equal(0, seteuid(23456));
	status = ledger_reader_read(&model, builder.path);
	assert_int_equal(0, seteuid(0));
	assert_int_equal(LEDGER_READER_DENIED, status);
}

static void test_damaged_headers(void **state) {
	(void)state;
	struct ledger_header *ledger = builder.ledger;
	struct ledger_header saved = *ledger;
	const struct {
		void *field;
		size_t size_bytes;
		uint64_t value;
		enum ledger_reader_status status;
	} cases[] = {
		{&ledger->magic, 1, 'X', LEDGER_READER_NOT_A_LEDGER},
		{&ledger->byte_order, 4, 0x04030201, LEDGER_READER_OTHER_BYTE_ORDER},
		{&ledger->format_version, 4, LEDGER_FORMAT_VERSION + 1, LEDGER_READER_OTHER_VERSION},
		{&ledger->header_bytes, 4, 4096, LEDGER_READER_BAD_HEADER},
		{&ledger->section_count, 4, 3, LEDGER_READER_BAD_HEADER},
		{&ledger->mapped_bytes, 8, 0, LEDGER_READER_BAD_HEADER},
		{&ledger->mapped_bytes, 8, UINT64_MAX, LEDGER_READER_BAD_HEADER},
		{&ledger->mapped_bytes, 8, saved.mapped_bytes + 4096, LEDGER_READER_TRUNCATED},
		{&ledger->section[3].kind, 4, 4, LEDGER_READER_BAD_SECTION_KIND},
		{&ledger->section[3].entry_size_bytes, 4, 0, LEDGER_READER_BAD_ENTRY_SIZE},
		{&ledger->section[3].offset, 8, 8192 + 8, LEDGER_READER_MISALIGNED_SECTION},
		{&ledger->section[3].offset, 8, 4096, LEDGER_READER_SECTION_IN_HEADER},
		{&ledger->section[3].offset, 8, UINT64_MAX - 63, LEDGER_READER_SECTION_OUT_OF_RANGE},
		{&ledger->section[3].capacity, 8, UINT64_MAX, LEDGER_READER_SECTION_OUT_OF_RANGE},
		{&ledger->section[3].capacity, 8, UINT64_MAX / 48 + 2, LEDGER_READER_SECTION_OUT_OF_RANGE},
		{&ledger->section[3].offset, 8, saved.section[2].offset, LEDGER_READER_SECTIONS_OVERLAP},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		memcpy(cases[i].field, &cases[i].value, cases[i].size_bytes);
		assert_status(cases[i].status, builder.path);
		memcpy(ledger, &saved, sizeof saved);
	}
	assert_status(LEDGER_READER_OK, builder.path);
}

static void test_statuses_have_texts_of_their_own(void **state) {
	(void)state;
	for (int a = 0; a < LEDGER_READER_STATUS_COUNT; a++)
		for (int b = 0; b < a; b++)
			assert_string_not_equal(ledger_reader_status_text((enum ledger_reader_status)a),
						ledger_reader_status_text((enum ledger_reader_status)b));
}

/* ---- Damage: never a crash, always a status --------------------------------------------------------- */

static unsigned char *original;
static size_t original_bytes;
static unsigned random_seed = 1;

static int keep_original(void **state) {
	open_ledger(state);
	original_bytes = builder.ledger->mapped_bytes;
	original = malloc(original_bytes);
	assert_non_null(original);
	memcpy(original, builder.ledger, original_bytes);
	return 0;
}

static int drop_original(void **state) {
	free(original);
	return close_ledger(state);
}

/* The whole way that a report goes, in both formats. */
static void try_everything(void) {
	enum ledger_reader_status status = ledger_reader_read(&model, builder.path);
	assert_true(status < LEDGER_READER_STATUS_COUNT);
	if (status != LEDGER_READER_OK)
		return;
	struct liveness_observer observer = liveness_observer_here();
	struct report report;
	struct render_options options = {.is_full = true};
	FILE *sink = fopen("/dev/null", "w");
	assert_non_null(sink);
	aftermath_settle(&model, &observer);
	report_build(&report, &model, NULL, NULL);
	render_report(RENDER_TEXT, &report, &options, sink);
	render_report(RENDER_JSON, &report, &options, sink);
	fclose(sink);
	report_release(&report);
	model_release(&model);
}

/* From long to short: what was cut off does not come back. */
static void test_truncated_anywhere(void **state) {
	(void)state;
	size_t length = original_bytes;
	while (length > 0) {
		size_t step = length > 16384 ? (size_t)rand_r(&random_seed) % 8192 : 61;
		length = length > step + 1 ? length - step - 1 : 0;
		assert_int_equal(0, truncate(builder.path, (off_t)length));
		assert_status(length < LEDGER_HEADER_BYTES ? LEDGER_READER_TOO_SHORT
							   : LEDGER_READER_TRUNCATED,
			      builder.path);
	}
}

static void test_every_header_byte_flipped(void **state) {
	(void)state;
	unsigned char *bytes = (unsigned char *)builder.ledger;
	for (size_t i = 0; i < sizeof(struct ledger_header); i++) {
		unsigned char saved = bytes[i];
		bytes[i] ^= (unsigned char)(1u << (i % 8));
		try_everything();
		bytes[i] = 0xff;
		try_everything();
		bytes[i] = saved;
	}
	try_everything();
}

/* Flips bytes where something is written; holes would hardly ever be hit otherwise. */
static void test_random_bytes_flipped(void **state) {
	(void)state;
	unsigned char *bytes = (unsigned char *)builder.ledger;
	for (int round = 0; round < 1500; round++) {
		memcpy(bytes + LEDGER_HEADER_BYTES, original + LEDGER_HEADER_BYTES,
		       original_bytes - LEDGER_HEADER_BYTES);
		for (int flip = 0; flip < 40; flip++) {
			uint32_t kind = (uint32_t)rand_r(&random_seed) % LEDGER_SECTION_COUNT;
			const struct ledger_section *section = &builder.ledger->section[kind];
			uint64_t used = section->used < section->capacity ? section->used : section->capacity;
			uint64_t length = (used + 2) * section->entry_size_bytes;
			uint64_t at = section->offset + (uint64_t)rand_r(&random_seed) % length;
			if (at < original_bytes)
				bytes[at] = (unsigned char)(rand_r(&random_seed) >> 4);
		}
		try_everything();
	}
}

/* `used` may say anything; ids and frame numbers point anywhere. */
static void test_counts_beyond_all_bounds(void **state) {
	(void)state;
	static const uint64_t values[] = {0, 1, 1000, UINT32_MAX, UINT64_MAX, UINT64_MAX - 1};
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++)
		for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
			uint64_t saved = builder.ledger->section[kind].used;
			builder.ledger->section[kind].used = values[i];
			try_everything();
			builder.ledger->section[kind].used = saved;
		}
}

static void test_sections_without_room(void **state) {
	(void)state;
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		uint64_t saved = builder.ledger->section[kind].capacity;
		builder.ledger->section[kind].capacity = 0;
		try_everything();
		builder.ledger->section[kind].capacity = saved;
	}
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++)
		builder.ledger->section[kind].capacity = 0;
	try_everything();
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_model_of_a_ledger, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_duplicates_are_merged, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_slots_in_every_state, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_history_ring_after_a_lap, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_sparse_ledger, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_what_is_no_file, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_socket, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_file_of_another_user, open_ledger, close_ledger),
		cmocka_unit_test_setup_teardown(test_damaged_headers, open_ledger, close_ledger),
		cmocka_unit_test(test_statuses_have_texts_of_their_own),
		cmocka_unit_test_setup_teardown(test_truncated_anywhere, keep_original, drop_original),
		cmocka_unit_test_setup_teardown(test_every_header_byte_flipped, keep_original, drop_original),
		cmocka_unit_test_setup_teardown(test_random_bytes_flipped, keep_original, drop_original),
		cmocka_unit_test_setup_teardown(test_counts_beyond_all_bounds, keep_original, drop_original),
		cmocka_unit_test_setup_teardown(test_sections_without_room, keep_original, drop_original),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
