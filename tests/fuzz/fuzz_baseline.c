/* Baselines: what was read is sorted, and what is written of it is read as the same. */
#include <stdio.h>
#include <string.h>

#include "analyzer/gate/baseline.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct baseline *baseline) {
	for (size_t i = 0; i < baseline->count; i++) {
		FUZZ_EXPECT(baseline->entries[i].count > 0);
		FUZZ_EXPECT(baseline_find(baseline, baseline->entries[i].fingerprint) ==
			    &baseline->entries[i]);
		FUZZ_EXPECT(i == 0 ||
			    strcmp(baseline->entries[i - 1].fingerprint, baseline->entries[i].fingerprint) <
				    0);
	}
}

static void check_written(const struct baseline *baseline, struct arena *arena) {
	char *text = NULL;
	size_t length = 0;
	struct gate_input input;
	struct gate_error error;
	struct baseline again;
	FILE *stream = open_memstream(&text, &length);
	baseline_write(baseline, stream);
	fclose(stream);
	FUZZ_EXPECT(gate_input_of_bytes(&input, arena, "g", text, length, &error));
	FUZZ_EXPECT(baseline_parse(&again, arena, &input, &error) && again.count == baseline->count);
	for (size_t i = 0; i < again.count; i++)
		FUZZ_EXPECT(again.entries[i].count == baseline->entries[i].count &&
			    strcmp(again.entries[i].kind, baseline->entries[i].kind) == 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct arena arena = {0};
	struct gate_input input;
	struct gate_error error = {NULL, NULL};
	struct baseline baseline;
	if (gate_input_of_bytes(&input, &arena, "f", (const char *)bytes, length_bytes, &error) &&
	    baseline_parse(&baseline, &arena, &input, &error)) {
		check(&baseline);
		check_written(&baseline, &arena);
	} else {
		FUZZ_EXPECT(error.place != NULL && *error.why != '\0');
	}
	arena_release(&arena);
	return 0;
}
