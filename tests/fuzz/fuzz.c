#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int file = -1;

static void open_file(void) {
	if (file < 0)
		file = memfd_create("fuzz", MFD_CLOEXEC);
	FUZZ_EXPECT(file >= 0);
}

int fuzz_file(const uint8_t *bytes, size_t length_bytes) {
	open_file();
	FUZZ_EXPECT(ftruncate(file, (off_t)length_bytes) == 0);
	FUZZ_EXPECT(pwrite(file, bytes, length_bytes, 0) == (ssize_t)length_bytes);
	return file;
}

const char *fuzz_file_path(void) {
	static char path[64];
	open_file();
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	return path;
}

char *fuzz_text(const uint8_t *bytes, size_t length_bytes) {
	char *text = malloc(length_bytes + 1);
	FUZZ_EXPECT(text != NULL);
	if (length_bytes > 0)
		memcpy(text, bytes, length_bytes);
	text[length_bytes] = '\0';
	return text;
}

uint64_t fuzz_random(uint64_t *state) {
	uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ mixed >> 31;
}

uint64_t fuzz_below(uint64_t *state, uint64_t bound) {
	return bound > 0 ? fuzz_random(state) % bound : 0;
}

uint64_t fuzz_number(uint64_t *state) {
	uint64_t power = UINT64_C(1) << fuzz_below(state, 64);
	switch (fuzz_below(state, 6)) {
	case 0:
		return fuzz_below(state, 20);
	case 1:
		return power - 1 + fuzz_below(state, 3);
	case 2:
		return UINT64_MAX - fuzz_below(state, 3);
	case 3:
		return UINT32_MAX - fuzz_below(state, 3);
	case 4:
		return fuzz_below(state, 16) << 56 | fuzz_below(state, 3) << 32 | fuzz_below(state, 4);
	default:
		return fuzz_random(state);
	}
}
