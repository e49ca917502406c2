/*
 * stampede: in its first seconds a program asked for at least twice the connections that it had open at any later time,
 * and that did harm: attempts failed. A pool that opens what it then keeps is no stampede.
 */
#include <inttypes.h>

#include "analyzer/judge/pool_load.h"
#include "analyzer/rules/rule.h"

bool rule_stampede(const struct rule_input *input, struct finding *finding) {
	const struct thresholds *thresholds = &input->settings->thresholds;
	struct pool_load_start start;
	/* Where later as many are open as at the start, the start was not the trouble: others had the slots. */
	if (!pool_load_measure_start(&start, input->model, thresholds->stampede_window) ||
	    start.failures == 0 || start.peak <= start.steady_peak ||
	    (double)start.attempts < thresholds->stampede_factor * (double)start.steady_peak)
		return false;
	finding->count = start.attempts;
	finding->first_ns = start.begun_ns;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " connections were asked for in the first %s, %" PRIu64
			   " of them in vain; later never more than %" PRIu64 " were open",
			   start.attempts, rule_duration(input->arena, thresholds->stampede_window),
			   start.failures, start.steady_peak);
	rule_add_count(finding, "attempts", start.attempts);
	rule_add_count(finding, "failed", start.failures);
	rule_add_count(finding, "steady_peak", start.steady_peak);
	return true;
}
