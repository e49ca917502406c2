/* The shape of the ledger, field by field. Whoever changes a line here changes the format: see its version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shim/ledger_file.h"

/* clang-format off */
static const struct shape {
	const char *name;
	size_t offset, expected_offset;
	size_t size_bytes, expected_size_bytes;
} shapes[] = {
#define SIZE(type, size) {#type, 0, 0, sizeof(struct type), size}
#define FIELD(type, field, offset, size) \
	{#type "." #field, offsetof(struct type, field), offset, sizeof(((struct type *)0)->field), size}
	SIZE(ledger_section, 32),
	FIELD(ledger_section, kind, 0, 4),
	FIELD(ledger_section, entry_size_bytes, 4, 4),
	FIELD(ledger_section, offset, 8, 8),
	FIELD(ledger_section, capacity, 16, 8),
	FIELD(ledger_section, used, 24, 8),
	SIZE(ledger_octave, 256),
	FIELD(ledger_octave, bucket, 0, 256),
	SIZE(ledger_histogram, 128),
	FIELD(ledger_histogram, count, 0, 8),
	FIELD(ledger_histogram, sum_ns, 8, 8),
	FIELD(ledger_histogram, inverted_min_ns, 16, 8),
	FIELD(ledger_histogram, max_ns, 24, 8),
	FIELD(ledger_histogram, octave, 32, 96),
	SIZE(ledger_totals, 1600),
	FIELD(ledger_totals, counter, 0, 320),
	FIELD(ledger_totals, unreleased, 320, 240),
	FIELD(ledger_totals, inverted_first_ns, 560, 8),
	FIELD(ledger_totals, last_ns, 568, 8),
	FIELD(ledger_totals, open, 576, 8),
	FIELD(ledger_totals, open_peak, 584, 8),
	FIELD(ledger_totals, in_use, 592, 8),
	FIELD(ledger_totals, in_use_peak, 600, 8),
	FIELD(ledger_totals, inverted_first_finding_ns, 608, 112),
	FIELD(ledger_totals, last_finding_ns, 720, 112),
	FIELD(ledger_totals, time, 832, 768),
	SIZE(ledger_header, 2088),
	FIELD(ledger_header, magic, 0, 8),
	FIELD(ledger_header, format_version, 8, 4),
	FIELD(ledger_header, byte_order, 12, 4),
	FIELD(ledger_header, header_bytes, 16, 4),
	FIELD(ledger_header, section_count, 20, 4),
	FIELD(ledger_header, mapped_bytes, 24, 8),
	FIELD(ledger_header, extent_bytes, 32, 8),
	FIELD(ledger_header, run_id, 40, 16),
	FIELD(ledger_header, boot_id, 56, 16),
	FIELD(ledger_header, created_realtime_ns, 72, 8),
	FIELD(ledger_header, created_monotonic_ns, 80, 8),
	FIELD(ledger_header, pid_namespace, 88, 8),
	FIELD(ledger_header, creator_pid, 96, 4),
	FIELD(ledger_header, creator_uid, 100, 4),
	FIELD(ledger_header, creator_start_ticks, 104, 8),
	FIELD(ledger_header, made_by_run, 112, 4),
	FIELD(ledger_header, host, 116, 4),
	FIELD(ledger_header, tool_version, 120, 4),
	FIELD(ledger_header, command_count, 124, 4),
	FIELD(ledger_header, command, 128, 128),
	FIELD(ledger_header, ended_ns, 256, 8),
	FIELD(ledger_header, exit_status, 264, 4),
	FIELD(ledger_header, exit_signal, 268, 4),
	FIELD(ledger_header, lost, 272, 128),
	FIELD(ledger_header, phase_time, 400, 384),
	FIELD(ledger_header, open, 784, 8),
	FIELD(ledger_header, open_peak, 792, 8),
	FIELD(ledger_header, in_use, 800, 8),
	FIELD(ledger_header, in_use_peak, 808, 8),
	FIELD(ledger_header, lease_hint, 816, 8),
	FIELD(ledger_header, process_hint, 824, 8),
	FIELD(ledger_header, extent_ready, 840, 512),
	FIELD(ledger_header, section, 1352, 736),
	FIELD(ledger_header, last_snapshot_ns, 832, 8),
	SIZE(ledger_process, 192),
	FIELD(ledger_process, word, 0, 8),
	FIELD(ledger_process, start_ticks, 8, 8),
	FIELD(ledger_process, stack_start, 16, 8),
	FIELD(ledger_process, pid_namespace, 24, 8),
	FIELD(ledger_process, parent_pid, 32, 4),
	FIELD(ledger_process, uid, 36, 4),
	FIELD(ledger_process, exe, 40, 4),
	FIELD(ledger_process, script, 44, 4),
	FIELD(ledger_process, role, 48, 4),
	FIELD(ledger_process, container, 52, 4),
	FIELD(ledger_process, setting_problem, 56, 4),
	FIELD(ledger_process, notes, 60, 4),
	FIELD(ledger_process, attached_ns, 64, 8),
	FIELD(ledger_process, started_ns, 72, 8),
	FIELD(ledger_process, ended_ns, 80, 8),
	FIELD(ledger_process, how_ended, 88, 4),
	FIELD(ledger_process, exit_signal, 92, 4),
	FIELD(ledger_process, reaper, 96, 8),
	FIELD(ledger_process, leases, 104, 8),
	FIELD(ledger_process, test, 112, 4),
	FIELD(ledger_process, slots, 116, 4),
	FIELD(ledger_process, runtime, 120, 40),
	FIELD(ledger_process, reserved, 160, 32),
	SIZE(ledger_string, 8),
	FIELD(ledger_string, length_bytes, 0, 4),
	FIELD(ledger_string, hash, 4, 4),
	SIZE(ledger_module, 64),
	FIELD(ledger_module, hash, 0, 8),
	FIELD(ledger_module, path, 8, 4),
	FIELD(ledger_module, build_id_length, 12, 1),
	FIELD(ledger_module, build_id, 13, 20),
	FIELD(ledger_module, reserved, 33, 7),
	FIELD(ledger_module, text_start, 40, 8),
	FIELD(ledger_module, text_end, 48, 8),
	FIELD(ledger_module, file_bytes, 56, 8),
	SIZE(ledger_endpoint, 24),
	FIELD(ledger_endpoint, hash, 0, 8),
	FIELD(ledger_endpoint, host, 8, 4),
	FIELD(ledger_endpoint, port, 12, 4),
	FIELD(ledger_endpoint, database, 16, 4),
	FIELD(ledger_endpoint, user, 20, 4),
	SIZE(ledger_pool, 1624),
	FIELD(ledger_pool, hash, 0, 8),
	FIELD(ledger_pool, role, 8, 4),
	FIELD(ledger_pool, endpoint, 12, 4),
	FIELD(ledger_pool, timeline, 16, 4),
	FIELD(ledger_pool, application_name, 20, 4),
	FIELD(ledger_pool, totals, 24, 1600),
	SIZE(ledger_frame, 16),
	FIELD(ledger_frame, language, 0, 4),
	FIELD(ledger_frame, where, 4, 4),
	FIELD(ledger_frame, address, 8, 8),
	SIZE(ledger_site, 1624),
	FIELD(ledger_site, hash, 0, 8),
	FIELD(ledger_site, first_frame, 8, 4),
	FIELD(ledger_site, frame_count, 12, 2),
	FIELD(ledger_site, flags, 14, 2),
	FIELD(ledger_site, example_count, 16, 4),
	FIELD(ledger_site, trend, 20, 4),
	FIELD(ledger_site, totals, 24, 1600),
	SIZE(ledger_lease, 384),
	FIELD(ledger_lease, word, 0, 8),
	FIELD(ledger_lease, conn, 8, 8),
	FIELD(ledger_lease, pid, 16, 4),
	FIELD(ledger_lease, thread, 20, 4),
	FIELD(ledger_lease, site, 24, 4),
	FIELD(ledger_lease, last_use_site, 28, 4),
	FIELD(ledger_lease, pool, 32, 4),
	FIELD(ledger_lease, role, 36, 4),
	FIELD(ledger_lease, flags, 40, 4),
	FIELD(ledger_lease, backend_pid, 44, 4),
	FIELD(ledger_lease, server_version, 48, 4),
	FIELD(ledger_lease, test, 52, 4),
	FIELD(ledger_lease, begun_ns, 56, 8),
	FIELD(ledger_lease, attempt_begun_ns, 64, 8),
	FIELD(ledger_lease, established_ns, 72, 8),
	FIELD(ledger_lease, last_event_ns, 80, 8),
	FIELD(ledger_lease, ending_ns, 88, 8),
	FIELD(ledger_lease, held_since_ns, 96, 8),
	FIELD(ledger_lease, connect_ns, 104, 8),
	FIELD(ledger_lease, phase_ns, 112, 24),
	FIELD(ledger_lease, phase_stamp_ns, 136, 8),
	FIELD(ledger_lease, failure, 144, 4),
	FIELD(ledger_lease, resets, 148, 4),
	FIELD(ledger_lease, polls, 152, 4),
	FIELD(ledger_lease, uses, 156, 4),
	FIELD(ledger_lease, use_begun_ns, 160, 8),
	FIELD(ledger_lease, command_begun_ns, 168, 8),
	FIELD(ledger_lease, in_query_ns, 176, 8),
	FIELD(ledger_lease, idle_in_transaction_ns, 184, 8),
	FIELD(ledger_lease, idle_ns, 192, 8),
	FIELD(ledger_lease, statement_kind, 200, 4),
	FIELD(ledger_lease, application_name, 204, 4),
	FIELD(ledger_lease, owner_gone_ns, 352, 8),
	FIELD(ledger_lease, use_flags, 360, 4),
	FIELD(ledger_lease, intruder_site, 364, 4),
	FIELD(ledger_lease, reserved, 368, 16),
	FIELD(ledger_lease, commands, 208, 4),
	FIELD(ledger_lease, thread_inside, 212, 4),
	FIELD(ledger_lease, use_commands, 216, 4),
	FIELD(ledger_lease, use_statement, 220, 4),
	FIELD(ledger_lease, use_in_query_ns, 224, 8),
	FIELD(ledger_lease, use_idle_in_transaction_ns, 232, 8),
	FIELD(ledger_lease, use_first_command_ns, 240, 8),
	FIELD(ledger_lease, first_command_ns, 248, 8),
	FIELD(ledger_lease, batch_begun_ns, 256, 8),
	FIELD(ledger_lease, batch_count, 264, 4),
	FIELD(ledger_lease, batch_assumed, 268, 4),
	FIELD(ledger_lease, batch_commands, 272, 4),
	FIELD(ledger_lease, batch_in_query_ns, 276, 4),
	FIELD(ledger_lease, batch_idle_in_transaction_ns, 280, 4),
	FIELD(ledger_lease, use_thread, 284, 4),
	FIELD(ledger_lease, batch_use_ns, 288, 64),
	SIZE(ledger_ended, 144),
	FIELD(ledger_ended, word, 0, 8),
	FIELD(ledger_ended, check, 8, 8),
	FIELD(ledger_ended, begun_ns, 16, 8),
	FIELD(ledger_ended, established_ns, 24, 8),
	FIELD(ledger_ended, ended_ns, 32, 8),
	FIELD(ledger_ended, connect_ns, 40, 8),
	FIELD(ledger_ended, pid, 48, 4),
	FIELD(ledger_ended, thread, 52, 4),
	FIELD(ledger_ended, backend_pid, 56, 4),
	FIELD(ledger_ended, site, 60, 4),
	FIELD(ledger_ended, release_site, 64, 4),
	FIELD(ledger_ended, pool, 68, 4),
	FIELD(ledger_ended, role, 72, 4),
	FIELD(ledger_ended, test, 76, 4),
	FIELD(ledger_ended, flags, 80, 4),
	FIELD(ledger_ended, release, 84, 1),
	FIELD(ledger_ended, left, 85, 1),
	FIELD(ledger_ended, how_ended, 86, 1),
	FIELD(ledger_ended, failure, 87, 1),
	FIELD(ledger_ended, uses, 88, 4),
	FIELD(ledger_ended, resets, 92, 4),
	FIELD(ledger_ended, in_query_ns, 96, 8),
	FIELD(ledger_ended, idle_in_transaction_ns, 104, 8),
	FIELD(ledger_ended, application_name, 112, 4),
	FIELD(ledger_ended, release_facts, 116, 4),
	FIELD(ledger_ended, owner_gone_ns, 120, 8),
	FIELD(ledger_ended, idle_ns, 128, 8),
	FIELD(ledger_ended, commands, 136, 4),
	FIELD(ledger_ended, last_use_site, 140, 4),
	SIZE(ledger_use, 104),
	FIELD(ledger_use, word, 0, 8),
	FIELD(ledger_use, check, 8, 8),
	FIELD(ledger_use, begun_ns, 16, 8),
	FIELD(ledger_use, ended_ns, 24, 8),
	FIELD(ledger_use, first_command_ns, 32, 8),
	FIELD(ledger_use, in_query_ns, 40, 8),
	FIELD(ledger_use, idle_in_transaction_ns, 48, 8),
	FIELD(ledger_use, site, 56, 4),
	FIELD(ledger_use, pool, 60, 4),
	FIELD(ledger_use, pid, 64, 4),
	FIELD(ledger_use, thread, 68, 4),
	FIELD(ledger_use, flags, 72, 4),
	FIELD(ledger_use, statement_kind, 76, 4),
	FIELD(ledger_use, lease, 80, 4),
	FIELD(ledger_use, lease_generation, 84, 4),
	FIELD(ledger_use, backend_pid, 88, 4),
	FIELD(ledger_use, commands, 92, 4),
	FIELD(ledger_use, weight, 96, 4),
	FIELD(ledger_use, reserved, 100, 4),
	SIZE(ledger_timeline, 65088),
	FIELD(ledger_timeline, second, 0, 14400),
	FIELD(ledger_timeline, minute, 14400, 34560),
	FIELD(ledger_timeline, hour, 48960, 16128),
	SIZE(ledger_holder, 56),
	FIELD(ledger_holder, since_ns, 0, 8),
	FIELD(ledger_holder, changed_ns, 8, 8),
	FIELD(ledger_holder, site, 16, 4),
	FIELD(ledger_holder, use_site, 20, 4),
	FIELD(ledger_holder, role, 24, 4),
	FIELD(ledger_holder, pool, 28, 4),
	FIELD(ledger_holder, pid, 32, 4),
	FIELD(ledger_holder, backend_pid, 36, 4),
	FIELD(ledger_holder, state, 40, 4),
	FIELD(ledger_holder, flags, 44, 4),
	FIELD(ledger_holder, statement_kind, 48, 4),
	SIZE(ledger_snapshot, 14384),
	FIELD(ledger_snapshot, word, 0, 8),
	FIELD(ledger_snapshot, at_ns, 8, 8),
	FIELD(ledger_snapshot, failure, 16, 4),
	FIELD(ledger_snapshot, holder_count, 20, 4),
	FIELD(ledger_snapshot, holders_missing, 24, 4),
	FIELD(ledger_snapshot, pid, 28, 4),
	FIELD(ledger_snapshot, role, 32, 4),
	FIELD(ledger_snapshot, pool, 36, 4),
	FIELD(ledger_snapshot, site, 40, 4),
	FIELD(ledger_snapshot, reserved, 44, 4),
	FIELD(ledger_snapshot, holder, 48, 14336),
	SIZE(ledger_failure, 32),
	FIELD(ledger_failure, count, 0, 8),
	FIELD(ledger_failure, inverted_first_ns, 8, 8),
	FIELD(ledger_failure, last_ns, 16, 8),
	FIELD(ledger_failure, reserved, 24, 8),
	SIZE(ledger_releaser, 48),
	FIELD(ledger_releaser, hash, 0, 8),
	FIELD(ledger_releaser, site, 8, 4),
	FIELD(ledger_releaser, release_site, 12, 4),
	FIELD(ledger_releaser, facts, 16, 4),
	FIELD(ledger_releaser, use_site, 20, 4),
	FIELD(ledger_releaser, count, 24, 8),
	FIELD(ledger_releaser, inverted_first_ns, 32, 8),
	FIELD(ledger_releaser, last_ns, 40, 8),
	SIZE(ledger_trend, 512),
	FIELD(ledger_trend, bank, 0, 512),
};
/* clang-format on */

static void test_every_field_is_where_it_was(void **state) {
	(void)state;
	assert_int_equal(1, LEDGER_FORMAT_VERSION);
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (shapes[i].offset != shapes[i].expected_offset ||
		    shapes[i].size_bytes != shapes[i].expected_size_bytes)
			fail_msg("%s lies at %zu, %zu bytes, and not at %zu, %zu bytes", shapes[i].name,
				 shapes[i].offset, shapes[i].size_bytes, shapes[i].expected_offset,
				 shapes[i].expected_size_bytes);
}

static void assert_sections_fit(const struct ledger_header *header, uint64_t size_bytes) {
	uint64_t free_from = LEDGER_HEADER_BYTES;
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		const struct ledger_section *section = &header->section[kind];
		assert_int_equal(kind, section->kind);
		assert_int_equal(0, section->offset % 64);
		assert_true(section->offset >= free_from);
		assert_true(section->capacity > 0 && section->capacity <= UINT32_MAX / 2);
		free_from = section->offset + section->capacity * section->entry_size_bytes;
	}
	assert_true(free_from <= header->mapped_bytes);
	assert_true(header->mapped_bytes >= size_bytes && header->mapped_bytes < size_bytes + 4096);
	assert_true((header->mapped_bytes - 1) / header->extent_bytes < LEDGER_EXTENT_COUNT_MAX);
}

static void test_every_size_has_a_layout(void **state) {
	(void)state;
	uint64_t step = 4096;
	for (uint64_t size = LEDGER_MIN_SIZE_BYTES; size <= LEDGER_MAX_SIZE_BYTES; size += step) {
		struct ledger_header header;
		memset(&header, 0, sizeof header);
		if (!ledger_file_layout(&header, size))
			fail_msg("no layout for %llu bytes", (unsigned long long)size);
		assert_sections_fit(&header, size);
		if (size >= 64u << 20)
			step = (1u << 20) + 4096 + 1;
	}
}

static void test_the_limits_of_sizes(void **state) {
	struct ledger_header header;
	(void)state;
	memset(&header, 0, sizeof header);
	assert_true(ledger_file_layout(&header, LEDGER_MAX_SIZE_BYTES));
	assert_sections_fit(&header, LEDGER_MAX_SIZE_BYTES);
	assert_false(ledger_file_layout(&header, LEDGER_MAX_SIZE_BYTES + 1));
	assert_false(ledger_file_layout(&header, LEDGER_MIN_SIZE_BYTES - 1));
	assert_false(ledger_file_layout(&header, 0));
}

/* The budget of the default ledger, section by section (KiB, rounded up). */
static void test_the_default_ledger_keeps_its_budget(void **state) {
	static const uint32_t budget_kib[LEDGER_SECTION_COUNT] = {
		[LEDGER_PROCESSES] = 768,     [LEDGER_MODULES] = 128,      [LEDGER_MODULE_INDEX] = 16,
		[LEDGER_ENDPOINTS] = 24,      [LEDGER_ENDPOINT_INDEX] = 8, [LEDGER_POOLS] = 812,
		[LEDGER_POOL_INDEX] = 4,      [LEDGER_STRINGS] = 1536,     [LEDGER_STRING_INDEX] = 128,
		[LEDGER_FRAMES] = 4096,       [LEDGER_SITES] = 8932,       [LEDGER_SITE_INDEX] = 64,
		[LEDGER_OCTAVES] = 5120,      [LEDGER_LEASES] = 4608,      [LEDGER_HISTORY] = 2304,
		[LEDGER_UNRELEASED] = 576,    [LEDGER_USES] = 1248,        [LEDGER_TIMELINES] = 1653,
		[LEDGER_SNAPSHOTS] = 113,     [LEDGER_FAILURES] = 2,       [LEDGER_RELEASERS] = 192,
		[LEDGER_RELEASER_INDEX] = 32, [LEDGER_TRENDS] = 256,
	};
	struct ledger_header header;
	uint64_t sum_kib = 0;
	(void)state;
	memset(&header, 0, sizeof header);
	assert_true(ledger_file_layout(&header, LEDGER_DEFAULT_SIZE_BYTES));
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		const struct ledger_section *section = &header.section[kind];
		assert_int_equal(budget_kib[kind],
				 (section->capacity * section->entry_size_bytes + 1023) / 1024);
		sum_kib += budget_kib[kind];
	}
	assert_true(sum_kib <= 32 * 1024);
}

static void test_a_check_sees_every_bit(void **state) {
	struct ledger_ended ended;
	(void)state;
	memset(&ended, 0, sizeof ended);
	uint64_t check = ledger_ended_check(&ended, 5);
	assert_int_not_equal(check, ledger_ended_check(&ended, 6));
	for (size_t bit = 16 * 8; bit < sizeof ended * 8; bit++) {
		((uint8_t *)&ended)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(check, ledger_ended_check(&ended, 5));
		((uint8_t *)&ended)[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_field_is_where_it_was),
		cmocka_unit_test(test_every_size_has_a_layout),
		cmocka_unit_test(test_the_limits_of_sizes),
		cmocka_unit_test(test_the_default_ledger_keeps_its_budget),
		cmocka_unit_test(test_a_check_sees_every_bit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
