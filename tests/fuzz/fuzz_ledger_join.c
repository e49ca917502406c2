/*
 * A foreign file at the ledger's path, joined and written to as the shim would: nothing in it may lead a writer out
 * of the mapping, into a fault or into an endless loop.
 *
 * Input: the first LEDGER_HEADER_BYTES of a ledger, then pieces of what follows in the file: offset (4 bytes),
 * length (2 bytes), bytes. The file has the smallest size of a ledger.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/ledger_file.h"
#include "shim/ledger_writer.h"
#include "tests/fuzz/fuzz.h"

#define PIECE_HEAD_BYTES 6u

static char directory[] = "/dev/shm/pqlease-fuzz-XXXXXX";
static char path[64];
static int file = -1;

static void remove_file(void) {
	unlink(path);
	rmdir(directory);
}

static void make_file(void) {
	FUZZ_EXPECT(mkdtemp(directory) != NULL);
	snprintf(path, sizeof path, "%s/run.ledger", directory);
	file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FUZZ_EXPECT(file >= 0);
	atexit(remove_file);
}

static void write_pieces(const uint8_t *at, size_t rest) {
	while (rest > PIECE_HEAD_BYTES) {
		uint32_t offset;
		uint16_t length;
		memcpy(&offset, at, sizeof offset);
		memcpy(&length, at + sizeof offset, sizeof length);
		at += PIECE_HEAD_BYTES;
		rest -= PIECE_HEAD_BYTES;
		size_t count = length < rest ? length : rest;
		offset %= LEDGER_MIN_SIZE_BYTES;
		if (count > LEDGER_MIN_SIZE_BYTES - offset)
			count = LEDGER_MIN_SIZE_BYTES - offset;
		FUZZ_EXPECT(pwrite(file, at, count, offset) == (ssize_t)count);
		at += count;
		rest -= count;
	}
}

static void write_file(const uint8_t *bytes, size_t length_bytes) {
	size_t head = length_bytes < LEDGER_HEADER_BYTES ? length_bytes : LEDGER_HEADER_BYTES;
	FUZZ_EXPECT(ftruncate(file, 0) == 0 && ftruncate(file, LEDGER_MIN_SIZE_BYTES) == 0);
	FUZZ_EXPECT(pwrite(file, bytes, head, 0) == (ssize_t)head);
	write_pieces(bytes + head, length_bytes - head);
}

/* ---- What a process does with a ledger ------------------------------------------------------------------------ */

static struct ledger_account open_account(struct ledger_header *ledger) {
	static const struct ledger_endpoint_facts endpoint = {"db.example", "5432", "shop", "till"};
	static const uint8_t build_id[20] = {1, 2, 3};
	struct ledger_module_facts facts = {"/bin/shop", build_id, sizeof build_id, 0, 4096, 9999};
	uint32_t module = ledger_intern_module(ledger, &facts);
	struct ledger_frame frames[] = {{LEDGER_FRAME_NATIVE, module, 0x1234},
					{LEDGER_FRAME_NATIVE, module, 0x5678}};
	uint32_t role = ledger_intern_string(ledger, "web");
	ledger_string_text(ledger, role);
	uint32_t pool = ledger_intern_pool(ledger, role, &endpoint);
	ledger_pool_application_name(ledger, pool, ledger_intern_string(ledger, "till"));
	return (struct ledger_account){ledger, pool, ledger_intern_site(ledger, frames, 2, 0)};
}

static void book_lease(const struct ledger_account *account, uint32_t process) {
	struct ledger_slot slot = ledger_slot_claim(account->ledger, process);
	struct ledger_ended ended = {.begun_ns = 1, .site = account->site, .pool = account->pool};
	if (!ledger_slot_is_valid(&slot))
		return;
	ledger_slot_move(&slot, LEDGER_LEASE_ESTABLISHING);
	ledger_add(account, LEDGER_ESTABLISHED, 1, ledger_now_ns());
	ledger_add_time(account, LEDGER_CONNECT_TIME, 12345);
	ledger_add_phase_time(account->ledger, LEDGER_PHASE_TCP, 777);
	ledger_add_attempt(account, true, ledger_now_ns());
	ledger_add_failure(account->ledger, 3, ledger_now_ns());
	ledger_add_open(account, 1, ledger_now_ns());
	ledger_slot_move(&slot, LEDGER_LEASE_OPEN);
	ledger_slot_find(&slot, account->ledger, slot.number, slot.word);
	ledger_add_open(account, -1, ledger_now_ns());
	ledger_history_add(account->ledger, &ended);
	ledger_example_add(account, &ended);
	ledger_add_unreleased(account, LEDGER_LEFT_OPEN, LEDGER_ENDED_EXIT, 5);
	ledger_add_misuse(account, LEDGER_DOUBLE_FINISH, LEDGER_FINDING_DOUBLE_FINISH, ledger_now_ns());
	ledger_slot_free(&slot);
}

static void take_part(struct ledger_header *ledger) {
	struct ledger_process_identity identity = {(int32_t)getpid(), 5, 6, 7};
	uint32_t process = ledger_process_claim(ledger, &identity);
	if (process == LEDGER_NO_PROCESS)
		return;
	ledger_process_publish(ledger, process);
	struct ledger_account account = open_account(ledger);
	for (int i = 0; i < 3; i++)
		book_lease(&account, process);
	ledger_slot_claim(ledger, process);
	ledger_reap(ledger, identity.pid_namespace);
	ledger_process_end(ledger, process, identity.pid, LEDGER_ENDED_EXIT, ledger_now_ns());
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct ledger_map map;
	if (file < 0)
		make_file();
	write_file(bytes, length_bytes);
	enum ledger_file_status status = ledger_file_join(&map, path);
	FUZZ_EXPECT(ledger_file_status_text(status)[0] != '\0');
	FUZZ_EXPECT((status == LEDGER_FILE_OK) == (map.header != NULL));
	if (status == LEDGER_FILE_OK) {
		take_part(map.header);
		ledger_file_unmap(&map);
	}
	return 0;
}

/* Pieces may grow and shrink, the header changes by its own structure. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length_bytes, size_t max_bytes, unsigned int seed) {
	uint64_t random = seed;
	uint64_t choice = fuzz_below(&random, 16);
	if (length_bytes < LEDGER_HEADER_BYTES || max_bytes <= LEDGER_HEADER_BYTES || choice == 0)
		return LLVMFuzzerMutate(bytes, length_bytes, max_bytes);
	if (choice < 8) {
		fuzz_change_ledger(bytes, LEDGER_HEADER_BYTES, &random);
		return length_bytes;
	}
	return LEDGER_HEADER_BYTES +
		LLVMFuzzerMutate(bytes + LEDGER_HEADER_BYTES, length_bytes - LEDGER_HEADER_BYTES,
				 max_bytes - LEDGER_HEADER_BYTES);
}
