/*
 * overflow: a pool has more connections open than its base size and a few. Needs a configured base size.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

bool rule_overflow(const struct rule_input *input, struct finding *finding) {
	int64_t base_size = input->pool->base_size;
	int64_t open = input->report->run.live ? input->pool->open : input->pool->peak_open;
	if (base_size == REPORT_UNKNOWN ||
	    (double)(open - base_size) <= input->settings->thresholds.overflow_active)
		return false;
	finding->count = (uint64_t)(open - base_size);
	finding->message = arena_text(
		input->arena,
		"Pool overflow active: %" PRIu64 " overflow connections above the base size of %" PRId64 "%s",
		finding->count, base_size, input->report->run.live ? "" : " at the peak");
	rule_add_count(finding, "open", (uint64_t)open);
	rule_add_count(finding, "base_size", (uint64_t)base_size);
	return true;
}
