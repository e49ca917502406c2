/* A JSON report as somebody else may have written it, compared with itself. */
#include "analyzer/render/render_diff.h"
#include "analyzer/judge/run_diff.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
	struct arena arena = {NULL};
	struct run_summary summary = {.path = "fuzz"};
	if (run_summary_parse(&summary, &arena, (const char *)bytes, length) == NULL) {
		struct run_diff_side side = {&summary, 1};
		struct run_diff diff;
		run_diff_compare(&diff, &arena, side, side);
		FILE *stream = fopen("/dev/null", "w");
		render_diff_text(&diff, true, stream);
		render_diff_json(&diff, stream);
		fclose(stream);
		FUZZ_EXPECT(!diff.is_worse);
	}
	arena_release(&arena);
	return 0;
}
