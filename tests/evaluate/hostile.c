/*
 * hostile LEDGER COPY SEED: writes a copy of a ledger in which a few things are not what they were, as the fuzz
 * targets change them, and now and then something behind its end. SEED decides everything.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static uint64_t state;

/* What libFuzzer does better. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t length_bytes, size_t max_bytes) {
	(void)max_bytes;
	for (int i = 0; i < 4; i++)
		bytes[fuzz_below(&state, length_bytes)] = (uint8_t)fuzz_random(&state);
	return length_bytes;
}

static uint8_t *read_file(const char *path, size_t *length_bytes) {
	FILE *file = fopen(path, "rb");
	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		return NULL;
	*length_bytes = (size_t)ftell(file);
	uint8_t *bytes = malloc(*length_bytes);
	rewind(file);
	bool is_read = bytes != NULL && fread(bytes, 1, *length_bytes, file) == *length_bytes;
	fclose(file);
	return is_read ? bytes : NULL;
}

static bool write_file(const char *path, const uint8_t *bytes, size_t length_bytes) {
	FILE *file = fopen(path, "wb");
	bool is_written = file != NULL && fwrite(bytes, 1, length_bytes, file) == length_bytes;
	for (uint64_t rest = fuzz_below(&state, 4) == 0 ? fuzz_below(&state, 5000) : 0;
	     is_written && rest > 0; rest--)
		putc((int)fuzz_random(&state) & 0xff, file);
	return file != NULL && fclose(file) == 0 && is_written;
}

int main(int argc, char **argv) {
	size_t length_bytes = 0;
	if (argc != 4)
		return 64;
	uint8_t *bytes = read_file(argv[1], &length_bytes);
	if (bytes == NULL)
		return 1;
	state = strtoull(argv[3], NULL, 10);
	fuzz_change_ledger(bytes, length_bytes, &state);
	bool is_written = write_file(argv[2], bytes, length_bytes);
	free(bytes);
	return is_written ? 0 : 1;
}
