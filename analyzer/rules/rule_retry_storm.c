/*
 * retry-storm: within one second a place asked for a connection again and again, and most attempts failed. Seen in the
 * history of ended attempts, as far as it reaches.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "analyzer/rules/rule.h"

struct attempt {
	uint64_t begun_ns;
	bool has_failed;
};

static int compare_attempts(const void *a, const void *b) {
	const struct attempt *left = a;
	const struct attempt *right = b;
	return (left->begun_ns > right->begun_ns) - (left->begun_ns < right->begun_ns);
}

static size_t gather(const struct rule_input *input, struct attempt *attempts) {
	size_t count = 0;
	for (size_t i = 0; i < input->model->history_count; i++) {
		const struct model_ended *ended = &input->model->history[i];
		if (rule_is_here(input, ended->site))
			attempts[count++] =
				(struct attempt){ended->begun_ns, ended->release == MODEL_RELEASE_FAILED};
	}
	for (size_t i = 0; i < input->group->taken_count; i++)
		attempts[count++] = (struct attempt){input->group->taken[i]->begun_ns,
						     input->group->taken[i]->state == MODEL_LEASE_FAILED};
	qsort(attempts, count, sizeof *attempts, compare_attempts);
	return count;
}

struct storm {
	uint64_t worst; /* attempts in the worst second */
	uint64_t worst_failed;
	uint64_t first_ns;
	uint64_t last_ns;
};

static struct storm find_storm(const struct attempt *attempts, size_t count,
			       const struct thresholds *thresholds) {
	struct storm storm = {0};
	size_t begin = 0;
	uint64_t failed = 0;
	for (size_t end = 0; end < count; end++) {
		failed += attempts[end].has_failed;
		while (attempts[end].begun_ns - attempts[begin].begun_ns >= UINT64_C(1000000000))
			failed -= attempts[begin++].has_failed;
		uint64_t inside = end - begin + 1;
		if ((double)inside < thresholds->retry_storm_rate ||
		    (double)failed < thresholds->retry_storm_failing * (double)inside)
			continue;
		if (storm.first_ns == 0)
			storm.first_ns = attempts[begin].begun_ns;
		storm.last_ns = attempts[end].begun_ns;
		if (inside > storm.worst) {
			storm.worst = inside;
			storm.worst_failed = failed;
		}
	}
	return storm;
}

bool rule_retry_storm(const struct rule_input *input, struct finding *finding) {
	if ((double)input->group->totals.counter[MODEL_FAILED] <
	    input->settings->thresholds.retry_storm_rate * input->settings->thresholds.retry_storm_failing)
		return false;
	struct attempt *attempts = arena_array(
		input->arena, input->model->history_count + input->group->taken_count, sizeof *attempts);
	size_t count = gather(input, attempts);
	struct storm storm = find_storm(attempts, count, &input->settings->thresholds);
	if (storm.worst == 0)
		return false;
	finding->count = storm.worst;
	finding->first_ns = storm.first_ns;
	finding->last_ns = storm.last_ns;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " attempts within one second, %" PRIu64 " of them failed: wait between "
			   "attempts, longer each time and never all at once",
			   storm.worst, storm.worst_failed);
	rule_add_count(finding, "attempts_per_second", storm.worst);
	rule_add_count(finding, "failed", storm.worst_failed);
	return true;
}
