/*
 * exit-closed: nobody gave it back; PQfinish was called while the interpreter shut down, by a static destructor or by a
 * handler of exit(). One for the whole run is a habit, unless a test took it. Two of one process and place are forgotten
 * ones: an error. A pool's lease only if it was in use: it was checked out, and one is enough. It is blamed where it was
 * used.
 */
#include <inttypes.h>
#include <string.h>

#include "analyzer/rules/rule.h"

enum { FORGOTTEN_FROM = 2 };

static bool is_one(const struct rule_input *input, const struct model_ended *ended) {
	return ended->release == MODEL_RELEASE_FINISHED &&
		&input->groups->groups[input->groups->group_of[ended->site]] == input->group &&
		release_kind_of(&input->groups->frames[ended->release_site], ended->release_facts) ==
		RELEASE_EXIT;
}

/* The most that one process had, as far as the history reaches. Released together at the end of a process, they
 * lie side by side there. */
static uint64_t most_of_one_process(const struct rule_input *input) {
	const struct model *model = input->model;
	uint64_t most = 0;
	for (size_t i = 0; i < model->history_count; i++) {
		uint64_t count = 0;
		if (!is_one(input, &model->history[i]))
			continue;
		for (size_t j = i; j < model->history_count && count < FORGOTTEN_FROM; j++)
			count += model->history[j].pid == model->history[i].pid &&
				is_one(input, &model->history[j]);
		most = count > most ? count : most;
		if (most >= FORGOTTEN_FROM)
			break;
	}
	return most;
}

/* What pytest sets up before a test may be for the whole session. */
static bool is_fixture(const char *test) {
	static const char phase[] = " (setup)";
	size_t length = strlen(test);
	return length >= sizeof phase - 1 && strcmp(test + length - (sizeof phase - 1), phase) == 0;
}

/* A test that leaves one to the end of its process has left it to all tests behind it. */
static bool is_of_test(const struct rule_input *input) {
	for (size_t i = 0; i < input->model->history_count; i++) {
		const struct model_ended *ended = &input->model->history[i];
		if (ended->test[0] != '\0' && !is_fixture(ended->test) && is_one(input, ended))
			return true;
	}
	return false;
}

static uint64_t take_own(const struct rule_input *input, struct finding *finding) {
	if (input->group->is_pool)
		return 0; /* pool-retained */
	finding->count = rule_take_released(input, RELEASE_EXIT, RULE_WITHOUT_ORPHANS, finding);
	if (finding->count == 0)
		return 0;
	finding->message =
		arena_text(input->arena,
			   "%" PRIu64 " of %" PRIu64
			   " connection%s taken here %s closed only because the process ended: "
			   "by the shutdown of the interpreter, a static destructor or a handler of exit()%s",
			   finding->count, rule_count_taken(input), rule_plural(rule_count_taken(input)),
			   finding->count == 1 ? "was" : "were", rule_say_released(input));
	rule_add_count(finding, "taken", rule_count_taken(input));
	rule_add_count(finding, "released", input->group->released[RELEASE_EXPLICIT].count);
	return finding->count;
}

bool rule_exit_closed(const struct rule_input *input, struct finding *finding) {
	uint64_t own = take_own(input, finding);
	/* More than there were processes: one of them had two. */
	bool is_forgotten = own > input->model->process_total ||
		(own > 0 && (most_of_one_process(input) >= FORGOTTEN_FROM || is_of_test(input)));
	uint64_t of_pools = rule_take_checkouts(input, SITE_CHECKOUT_CLOSED_AT_EXIT, finding);
	if (own + of_pools == 0)
		return false;
	finding->level = is_forgotten || of_pools > 0 ? FINDING_ERROR : FINDING_WARNING;
	if (of_pools > 0)
		rule_add_count(finding, "checked_out", of_pools);
	rule_add_oldest_age(finding);
	return true;
}
