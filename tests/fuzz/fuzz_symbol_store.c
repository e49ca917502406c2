/* The symbols behind the mapped part of a ledger. What is loaded must survive being looked up. */
#include <string.h>

#include "analyzer/symbols/symbol_store.h"
#include "tests/fuzz/fuzz.h"

#define MAPPED_BYTES 64u /* as if the ledger in front were so small */
#define HEADER_BYTES 24u

static void look_up(const struct symbol_store *store) {
	const char *script = symbol_store_lookup_script(store, "/srv/a.py");
	FUZZ_EXPECT(script == NULL || strlen(script) < SIZE_MAX);
	static const uint8_t build_id[] = {0xab, 0xcd};
	static const struct symbol_module modules[] = {{"/bin/a", build_id, sizeof build_id, 0},
						       {"/bin/b", NULL, 0, 77}};
	struct symbol_frame frames[4];
	for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
		for (uint64_t address = 0; address < 20; address++) {
			size_t count = symbol_store_lookup(store, &modules[i], address, SYMBOL_EXACT_ADDRESS,
							   frames, 4);
			for (size_t frame = 0; frame < count; frame++)
				FUZZ_EXPECT(!frames[frame].function ||
					    strlen(frames[frame].function) < SIZE_MAX);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct symbol_store *store = symbol_store_new();
	int descriptor = fuzz_file(bytes, length_bytes);
	for (int i = 0; i < 2; i++) { /* the second time into a store that holds something */
		enum symbol_store_status status = symbol_store_load_from(store, descriptor, MAPPED_BYTES);
		FUZZ_EXPECT(symbol_store_status_text(status)[0] != '\0');
	}
	look_up(store);
	symbol_store_free(store);
	return 0;
}

static uint64_t fnv1a(const uint8_t *bytes, size_t count) {
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < count; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static void make_header_right(uint8_t *block, size_t payload_bytes) {
	uint64_t words[] = {payload_bytes, fnv1a(block + HEADER_BYTES, payload_bytes)};
	memcpy(block, SYMBOL_STORE_MAGIC, 8);
	memcpy(block + 8, words, sizeof words);
}

/* The document changes; length and checksum follow it most of the time. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length_bytes, size_t max_bytes, unsigned int seed) {
	uint64_t random = seed;
	size_t front = MAPPED_BYTES + HEADER_BYTES;
	if (length_bytes <= front || max_bytes <= front || fuzz_below(&random, 16) == 0)
		return LLVMFuzzerMutate(bytes, length_bytes, max_bytes);
	size_t payload_bytes = LLVMFuzzerMutate(bytes + front, length_bytes - front, max_bytes - front);
	make_header_right(bytes + MAPPED_BYTES, payload_bytes);
	return front + payload_bytes;
}
