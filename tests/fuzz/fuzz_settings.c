/* The environment of the shim: any entries, split at NUL bytes. */
#include <string.h>

#include "shim/ledger_format.h"
#include "shim/settings.h"
#include "shim/stack.h"
#include "tests/fuzz/fuzz.h"

#define ENTRIES_MAX 16

static void split(char *text, size_t length_bytes, char *entries[ENTRIES_MAX + 1]) {
	size_t count = 0;
	for (size_t at = 0; at < length_bytes && count < ENTRIES_MAX; at += strlen(text + at) + 1)
		entries[count++] = text + at;
	entries[count] = NULL;
}

static void check(struct settings *settings) {
	FUZZ_EXPECT(settings->ledger_size_bytes >= LEDGER_MIN_SIZE_BYTES);
	FUZZ_EXPECT(settings->ledger_size_bytes <= LEDGER_MAX_SIZE_BYTES);
	FUZZ_EXPECT(settings->stack_depth <= STACK_FRAMES_MAX && settings->script_frames <= 64);
	FUZZ_EXPECT(settings->uses <= 2 && settings->is_disabled <= 1 && settings->is_verbose <= 1);
	FUZZ_EXPECT(memchr(settings->ledger_path, 0, sizeof settings->ledger_path) != NULL);
	FUZZ_EXPECT(memchr(settings->role, 0, sizeof settings->role) != NULL);
	FUZZ_EXPECT(memchr(settings->test, 0, sizeof settings->test) != NULL);
	FUZZ_EXPECT(memchr(settings->problem, 0, sizeof settings->problem) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	static struct settings settings;
	char *entries[ENTRIES_MAX + 1];
	char *text = fuzz_text(bytes, length_bytes);
	split(text, length_bytes, entries);
	settings_read(&settings, entries);
	check(&settings);
	settings_name_ledger(&settings, (uint32_t)length_bytes, (int32_t)length_bytes, length_bytes);
	check(&settings);
	free(text);
	return 0;
}
