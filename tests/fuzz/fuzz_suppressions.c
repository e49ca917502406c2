/* Files of suppressions, in both forms, and what their patterns match. */
#include <string.h>

#include "analyzer/gate/gate_config.h"
#include "analyzer/report/report.h"
#include "tests/fuzz/fuzz.h"

static void match_all(const struct gate_policy *policy) {
	struct site_frame stack[] = {{.language = MODEL_NATIVE,
				      .function = "take",
				      .file = "/srv/shop/a.c",
				      .line = 7,
				      .module = "/lib/a.so"},
				     {.language = MODEL_PYTHON, .function = "main", .file = "b.py"},
				     {.language = MODEL_NATIVE, .module = "/bin/shop"}};
	struct site_frames frames = {.frames = stack, .count = 3};
	struct report_site site = {.id = 4, .frames = &frames};
	struct report_process process = {.pid = 1, .role = "web"};
	struct report_example example = {.pid = 1};
	struct finding finding = {.kind = "never-finished", .fingerprint = "0123456789abcdef", .count = 1};
	struct report_finding from = {.finding = &finding,
				      .site = 4,
				      .pool = REPORT_UNKNOWN,
				      .examples = &example,
				      .example_count = 1};
	struct report report = {.sites = &site,
				.site_count = 1,
				.processes = &process,
				.process_count = 1,
				.trust = {.processes = 1}};
	struct arena arena = {0};
	for (size_t i = 0; i < policy->suppression_count; i++) {
		suppression_matches(&policy->suppressions[i], &report, &from);
		FUZZ_EXPECT(*suppression_describe(&policy->suppressions[i], &arena) != '\0');
	}
	arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct gate_policy policy;
	struct gate_input input;
	struct gate_error error = {NULL, NULL};
	gate_policy_init(&policy);
	bool is_read =
		gate_input_of_bytes(&input, &policy.arena, "f", (const char *)bytes, length_bytes, &error) &&
		gate_config_read_suppressions(&policy, &input, &error);
	if (is_read)
		match_all(&policy);
	else
		FUZZ_EXPECT(error.place != NULL && *error.why != '\0');
	gate_policy_release(&policy);
	return 0;
}
