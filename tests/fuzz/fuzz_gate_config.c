/* pqlease.yaml: any bytes are a configuration or an error with a place. */
#include <string.h>

#include "analyzer/gate/gate_config.h"
#include "tests/fuzz/fuzz.h"

static void check_budgets(const struct gate_policy *policy) {
	for (size_t i = 0; i < policy->budget_count; i++) {
		FUZZ_EXPECT(policy->budgets[i].limit >= 0);
		FUZZ_EXPECT(policy->budgets[i].free <= policy->budgets[i].total);
	}
	for (size_t i = 0; i < policy->suppression_count; i++)
		FUZZ_EXPECT(policy->suppressions[i].reason != NULL);
	FUZZ_EXPECT(policy->fail_on_count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct gate_policy policy;
	struct gate_config config;
	struct gate_input input;
	struct gate_error error = {NULL, NULL};
	struct report_settings settings = report_settings_standard();
	gate_policy_init(&policy);
	bool is_read =
		gate_input_of_bytes(&input, &policy.arena, "f", (const char *)bytes, length_bytes, &error) &&
		gate_config_read(&config, &policy, &settings, &input, &error);
	if (is_read)
		check_budgets(&policy);
	else
		FUZZ_EXPECT(error.place != NULL && *error.why != '\0');
	gate_policy_release(&policy);
	return 0;
}
