/* Lease slots, the history ring and the kept examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/support/shim_support.h"

static struct ledger_header *ledger;
static uint32_t process;

static int set_up(void **state) {
	(void)state;
	shim_support_open();
	ledger = shim_support_ledger(LEDGER_MIN_SIZE_BYTES);
	process = shim_support_join(ledger);
	return process == LEDGER_NO_PROCESS;
}

static int tear_down(void **state) {
	(void)state;
	shim_support_release(ledger);
	shim_support_close();
	return 0;
}

static uint32_t slots_held(void) {
	return ((struct ledger_process *)ledger_unit(ledger, LEDGER_PROCESSES, process))->slots;
}

/* ---- Slots ------------------------------------------------------------------------------------- */

static void test_a_claimed_slot_is_empty_and_ours(void **state) {
	(void)state;
	struct ledger_slot slot = ledger_slot_claim(ledger, process);
	assert_true(ledger_slot_is_valid(&slot));
	assert_int_equal(LEDGER_LEASE_CLAIMED, ledger_slot_state(&slot));
	assert_int_equal(process + 1, (uint32_t)slot.word);
	struct ledger_lease *lease = ledger_slot_lease(&slot);
	memset((char *)lease + 8, 0xff, sizeof *lease - 8);
	ledger_slot_free(&slot);
	slot = ledger_slot_claim(ledger, process);
	const unsigned char *bytes = (const unsigned char *)ledger_slot_lease(&slot);
	for (size_t i = 8; i < sizeof *lease; i++)
		assert_int_equal(0, bytes[i]);
	assert_int_equal(1, slots_held());
	ledger_slot_free(&slot);
	assert_int_equal(0, slots_held());
}

static void test_the_slot_freed_last_is_taken_first(void **state) {
	(void)state;
	struct ledger_slot slots[8];
	for (int i = 0; i < 8; i++)
		slots[i] = ledger_slot_claim(ledger, process);
	ledger_slot_free(&slots[5]);
	ledger_slot_free(&slots[2]);
	struct ledger_slot again = ledger_slot_claim(ledger, process);
	assert_int_equal(slots[2].number, again.number);
	assert_int_equal(8, ledger->section[LEDGER_LEASES].used);
}

static void test_a_stale_word_finds_nothing(void **state) {
	(void)state;
	struct ledger_slot found;
	struct ledger_slot slot = ledger_slot_claim(ledger, process);
	uint64_t before = slot.word;
	assert_true(ledger_slot_move(&slot, LEDGER_LEASE_CONNECTING));
	assert_true(ledger_slot_find(&found, ledger, slot.number, before)); /* the state may be stale */
	assert_int_equal(LEDGER_LEASE_CONNECTING, ledger_slot_state(&found));
	ledger_slot_free(&slot);
	assert_false(ledger_slot_find(&found, ledger, slot.number, before));
	struct ledger_slot next = ledger_slot_claim(ledger, process);
	assert_int_equal(slot.number, next.number);
	assert_false(ledger_slot_find(&found, ledger, slot.number, before));
	assert_false(ledger_slot_move(&slot, LEDGER_LEASE_OPEN));
	assert_false(ledger_slot_find(&found, ledger, UINT32_MAX, before));
}

/* Who closes or folds a slot is alone with it: a second one would count it twice. */
static void test_a_slot_being_closed_is_not_found(void **state) {
	static const enum ledger_lease_state closed_by_somebody[] = {LEDGER_LEASE_CLOSING,
								     LEDGER_LEASE_FOLDING};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct ledger_slot found;
		struct ledger_slot slot = ledger_slot_claim(ledger, process);
		assert_true(ledger_slot_move(&slot, closed_by_somebody[i]));
		assert_false(ledger_slot_find(&found, ledger, slot.number, slot.word));
		ledger_slot_free(&slot);
	}
}

static void test_a_move_from_a_state_that_passed_fails(void **state) {
	(void)state;
	struct ledger_slot slot = ledger_slot_claim(ledger, process);
	struct ledger_slot other = slot;
	assert_true(ledger_slot_move(&slot, LEDGER_LEASE_CLOSING));
	assert_false(ledger_slot_move(&other, LEDGER_LEASE_CLOSING));
	ledger_slot_free(&other); /* not its own any more */
	assert_int_equal(1, shim_support_slots_in_use(ledger));
	ledger_slot_free(&slot);
	ledger_slot_free(&slot);
	assert_int_equal(0, slots_held());
}

static void test_exhaustion_is_counted(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_LEASES].capacity;
	struct ledger_slot *slots = calloc(capacity, sizeof *slots);
	for (uint64_t i = 0; i < capacity; i++) {
		slots[i] = ledger_slot_claim(ledger, process);
		assert_true(ledger_slot_is_valid(&slots[i]));
	}
	for (int i = 0; i < 3; i++) {
		struct ledger_slot none = ledger_slot_claim(ledger, process);
		assert_false(ledger_slot_is_valid(&none));
	}
	assert_int_equal(3, shim_support_lost(ledger, LEDGER_LOST_LEASES));
	assert_int_equal(capacity, slots_held());
	ledger_slot_free(&slots[17]);
	assert_int_equal(17, ledger_slot_claim(ledger, process).number);
	free(slots);
}

static void test_no_record_no_slot(void **state) {
	(void)state;
	struct ledger_slot slot = ledger_slot_claim(ledger, LEDGER_NO_PROCESS);
	assert_false(ledger_slot_is_valid(&slot));
}

static void test_the_generation_wraps_at_24_bits(void **state) {
	(void)state;
	struct ledger_slot slot = ledger_slot_claim(ledger, process);
	struct ledger_lease *lease = ledger_slot_lease(&slot);
	ledger_slot_free(&slot);
	lease->word = UINT64_C(0x00fffffe) << 32;
	for (uint64_t generation = 0xffffff; generation != 3; generation = (generation + 1) & 0xffffff) {
		slot = ledger_slot_claim(ledger, process);
		assert_ptr_equal(lease, ledger_slot_lease(&slot));
		assert_int_equal(generation, slot.word >> 32 & 0xffffff);
		assert_int_equal(LEDGER_LEASE_CLAIMED, slot.word >> 56);
		assert_int_equal(process + 1, (uint32_t)slot.word);
		ledger_slot_free(&slot);
	}
}

#define TURNS 100000u

static _Atomic uint32_t failed_claims;
static _Atomic uint32_t shared_slots;

static void claim_and_free(void *argument, uint32_t number) {
	(void)argument;
	for (uint32_t i = 0; i < TURNS; i++) {
		struct ledger_slot slot = ledger_slot_claim(ledger, process);
		if (!ledger_slot_is_valid(&slot)) {
			failed_claims++;
			continue;
		}
		struct ledger_lease *lease = ledger_slot_lease(&slot);
		lease->thread = (int32_t)number + 1;
		ledger_slot_move(&slot, LEDGER_LEASE_OPEN);
		if (lease->thread != (int32_t)number + 1)
			shared_slots++;
		ledger_slot_move(&slot, LEDGER_LEASE_CLOSING);
		ledger_slot_free(&slot);
	}
}

static void test_threads_share_no_slot_and_leave_none(void **state) {
	(void)state;
	shim_support_threads(8, claim_and_free, NULL);
	assert_int_equal(0, failed_claims);
	assert_int_equal(0, shared_slots);
	assert_int_equal(0, shim_support_slots_in_use(ledger));
	assert_int_equal(0, slots_held());
	assert_true(ledger->section[LEDGER_LEASES].used <= 64);
}

static void claim_and_free_in_process(void *argument, uint32_t number) {
	(void)argument;
	process = shim_support_join(ledger);
	claim_and_free(NULL, number);
	_exit(failed_claims + shared_slots > 0);
}

static void test_processes_share_no_slot_and_leave_none(void **state) {
	(void)state;
	assert_true(shim_support_children(4, claim_and_free_in_process, NULL));
	assert_int_equal(0, shim_support_slots_in_use(ledger));
}

/* ---- History -------------------------------------------------------------------------------------- */

static struct ledger_ended *entry_at(uint64_t sequence) {
	return ledger_unit(ledger, LEDGER_HISTORY, sequence % ledger->section[LEDGER_HISTORY].capacity);
}

static uint64_t written_word(uint64_t sequence) {
	return (sequence + ledger->section[LEDGER_HISTORY].capacity) << 1 | 1;
}

/* As a reader does: is the entry whole, and which sequence is it? */
static bool is_whole(const struct ledger_ended *entry, uint64_t *sequence) {
	*sequence = (entry->word >> 1) - ledger->section[LEDGER_HISTORY].capacity;
	return entry->word & 1 && ledger_ended_check(entry, *sequence) == entry->check;
}

static void test_entries_carry_their_sequence_and_check(void **state) {
	(void)state;
	for (uint64_t i = 0; i < 10; i++) {
		struct ledger_ended ended = {.begun_ns = 100 + i, .pid = 7};
		ledger_history_add(ledger, &ended);
		assert_int_equal(written_word(i), entry_at(i)->word);
		assert_int_equal(ledger_ended_check(&ended, i), entry_at(i)->check);
		assert_int_equal(100 + i, entry_at(i)->begun_ns);
	}
	assert_int_equal(10, ledger->section[LEDGER_HISTORY].used);
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_HISTORY));
}

static void test_laps_keep_the_last(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_HISTORY].capacity;
	uint64_t count = 3 * capacity + 5;
	for (uint64_t i = 0; i < count; i++)
		ledger_history_add(ledger, &(struct ledger_ended){.begun_ns = i + 1});
	for (uint64_t i = count - capacity; i < count; i++) {
		uint64_t sequence;
		assert_true(is_whole(entry_at(i), &sequence));
		assert_int_equal(i, sequence);
		assert_int_equal(i + 1, entry_at(i)->begun_ns);
	}
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_HISTORY));
}

/* A writer that sleeps through a whole lap finds a younger entry in its place. */
static void test_a_lapped_writer_drops_its_own(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_HISTORY].capacity;
	entry_at(0)->word = written_word(capacity); /* the next lap was faster */
	entry_at(0)->begun_ns = 77;
	ledger_history_add(ledger, &(struct ledger_ended){.begun_ns = 1});
	assert_int_equal(77, entry_at(0)->begun_ns);
	assert_int_equal(1, shim_support_lost(ledger, LEDGER_LOST_HISTORY));
}

static void test_an_entry_of_a_dead_writer_is_taken_by_the_next_lap(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_HISTORY].capacity;
	entry_at(0)->word = capacity << 1; /* sequence 0, half written for ever */
	ledger->section[LEDGER_HISTORY].used = capacity;
	ledger_history_add(ledger, &(struct ledger_ended){.begun_ns = 5});
	assert_int_equal(written_word(capacity), entry_at(0)->word);
	assert_int_equal(5, entry_at(0)->begun_ns);
}

static void test_a_mixture_fails_the_check(void **state) {
	(void)state;
	uint64_t sequence;
	ledger_history_add(ledger, &(struct ledger_ended){.begun_ns = 5});
	assert_true(is_whole(entry_at(0), &sequence));
	for (size_t at = 16; at < sizeof(struct ledger_ended); at += 8) {
		uint64_t *word = (uint64_t *)((char *)entry_at(0) + at);
		*word ^= 1;
		assert_false(is_whole(entry_at(0), &sequence));
		*word ^= 1;
	}
	entry_at(0)->word = written_word(ledger->section[LEDGER_HISTORY].capacity);
	assert_false(is_whole(entry_at(0), &sequence));
}

#define WRITES 30000u

static void write_history(void *argument, uint32_t number) {
	(void)argument;
	for (uint32_t i = 0; i < WRITES; i++)
		ledger_history_add(ledger,
				   &(struct ledger_ended){
					   .begun_ns = i, .ended_ns = i ^ number, .pid = (int32_t)number});
}

static void test_processes_write_no_undetected_mixture(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_HISTORY].capacity;
	uint64_t whole = 0;
	assert_true(shim_support_children(4, write_history, NULL));
	assert_int_equal(4 * WRITES, ledger->section[LEDGER_HISTORY].used);
	for (uint64_t i = 0; i < capacity; i++) {
		uint64_t sequence;
		const struct ledger_ended *entry = entry_at(i);
		if (!is_whole(entry, &sequence))
			continue;
		whole++;
		assert_int_equal(i, sequence % capacity);
		assert_int_equal(entry->begun_ns ^ (uint64_t)entry->pid, entry->ended_ns);
	}
	assert_true(whole + shim_support_lost(ledger, LEDGER_LOST_HISTORY) >= capacity);
}

/* ---- Examples ----------------------------------------------------------------------------------------- */

static void test_eight_examples_of_a_site_are_kept(void **state) {
	(void)state;
	struct ledger_account account = {ledger, LEDGER_POOL_OTHER, LEDGER_SITE_NONE};
	for (uint64_t i = 0; i < 20; i++)
		ledger_example_add(&account, &(struct ledger_ended){.begun_ns = i});
	assert_int_equal(LEDGER_SITE_EXAMPLES, ledger->section[LEDGER_UNRELEASED].used);
	for (uint64_t i = 0; i < LEDGER_SITE_EXAMPLES; i++) {
		const struct ledger_ended *entry = ledger_unit(ledger, LEDGER_UNRELEASED, i);
		assert_int_equal(i << 1 | 1, entry->word);
		assert_int_equal(ledger_ended_check(entry, i), entry->check);
		assert_int_equal(i, entry->begun_ns);
	}
	assert_int_equal(0, shim_support_lost(ledger, LEDGER_LOST_EXAMPLES));
}

static void test_a_full_table_of_examples_is_counted(void **state) {
	(void)state;
	uint64_t capacity = ledger->section[LEDGER_UNRELEASED].capacity;
	uint64_t kept = 0;
	for (uint32_t site = LEDGER_SITE_FIRST; kept < capacity + 5; site++)
		for (uint32_t i = 0; i < LEDGER_SITE_EXAMPLES && kept < capacity + 5; i++, kept++)
			ledger_example_add(&(struct ledger_account){ledger, 0, site},
					   &(struct ledger_ended){0});
	assert_int_equal(5, shim_support_lost(ledger, LEDGER_LOST_EXAMPLES));
	assert_int_equal(capacity, ledger->section[LEDGER_UNRELEASED].used);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_a_claimed_slot_is_empty_and_ours),
		TEST(test_the_slot_freed_last_is_taken_first),
		TEST(test_a_stale_word_finds_nothing),
		TEST(test_a_slot_being_closed_is_not_found),
		TEST(test_a_move_from_a_state_that_passed_fails),
		TEST(test_exhaustion_is_counted),
		TEST(test_no_record_no_slot),
		TEST(test_the_generation_wraps_at_24_bits),
		TEST(test_threads_share_no_slot_and_leave_none),
		TEST(test_processes_share_no_slot_and_leave_none),
		TEST(test_entries_carry_their_sequence_and_check),
		TEST(test_laps_keep_the_last),
		TEST(test_a_lapped_writer_drops_its_own),
		TEST(test_an_entry_of_a_dead_writer_is_taken_by_the_next_lap),
		TEST(test_a_mixture_fails_the_check),
		TEST(test_processes_write_no_undetected_mixture),
		TEST(test_eight_examples_of_a_site_are_kept),
		TEST(test_a_full_table_of_examples_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
