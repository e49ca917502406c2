/*
 * growing: more and more leases of one place are open, cycle after cycle, and the old ones stay. What the end of a process
 * shows to be a leak is not blamed a second time, nor is a lease whose thread has gone.
 */
#include "analyzer/judge/growth.h"

#include <inttypes.h>
#include <stdlib.h>

#include "analyzer/rules/rule.h"

static int compare_cells(const void *a, const void *b) {
	const struct growth_cell *left = a;
	const struct growth_cell *right = b;
	return (left->begin_ns > right->begin_ns) - (left->begin_ns < right->begin_ns);
}

/* The open leases of all stacks of the place. The least of a sum is at least the sum of the least. */
static size_t add_up(const struct rule_input *input, struct growth_cell **cells) {
	const struct site_group *group = input->group;
	size_t total = 0;
	for (size_t i = 0; i < group->site_count; i++)
		total += input->model->sites[group->sites[i]].trend_count;
	*cells = arena_array(input->arena, total, sizeof **cells);
	size_t count = 0;
	for (size_t i = 0; i < group->site_count; i++) {
		const struct model_site *site = &input->model->sites[group->sites[i]];
		for (size_t j = 0; j < site->trend_count; j++)
			(*cells)[count++] = (struct growth_cell){.begin_ns = site->trend[j].begin_ns};
	}
	if (count > 1)
		qsort(*cells, count, sizeof **cells, compare_cells);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || (*cells)[kept - 1].begin_ns != (*cells)[i].begin_ns)
			(*cells)[kept++] = (*cells)[i];
	for (size_t i = 0; i < group->site_count; i++) {
		const struct model_site *site = &input->model->sites[group->sites[i]];
		uint64_t before = 0;
		size_t at = 0;
		for (size_t j = 0; j < kept; j++) {
			bool is_here =
				at < site->trend_count && site->trend[at].begin_ns == (*cells)[j].begin_ns;
			(*cells)[j].least += is_here ? site->trend[at].least : before;
			before = is_here ? site->trend[at++].last : before;
			(*cells)[j].last += before;
		}
	}
	return kept;
}

/* Of a run that is over the growth is judged up to its height: what closes all at the end hides nothing. */
static uint64_t find_height(const struct growth_cell *cells, size_t *count, uint64_t end_ns) {
	size_t highest = 0;
	for (size_t i = 0; i < *count; i++)
		if (cells[i].last >= cells[highest].last)
			highest = i;
	if (*count == 0 || highest + 1 == *count)
		return end_ns;
	*count = highest + 1;
	return cells[highest + 1].begin_ns;
}

/* A place with more and more traffic has young leases, one that leaks has old ones: as many as it grew by were taken
 * before the last cycle. */
static uint64_t count_old(const struct rule_input *input, uint64_t before_ns) {
	uint64_t count = 0;
	for (size_t i = 0; i < input->group->taken_count; i++) {
		const struct model_lease *lease = input->group->taken[i];
		count += lease->state == MODEL_LEASE_OPEN && lease->established_ns != 0 &&
			lease->established_ns < before_ns && !lease->is_orphan;
	}
	return count;
}

/* Or they were closed together when all was over, where nothing was closed before. */
static uint64_t count_closed_at_end(const struct rule_input *input, uint64_t from_ns) {
	uint64_t count = 0;
	for (size_t i = 0; i < input->model->releaser_count; i++) {
		const struct model_releaser *releaser = &input->model->releasers[i];
		if (&input->groups->groups[input->groups->group_of[releaser->site]] == input->group &&
		    releaser->first_ns >= from_ns)
			count += releaser->count;
	}
	return count;
}

/* Left by processes that a signal ended: folded, so that their ages are not known one by one. */
static uint64_t count_killed(const struct rule_input *input) {
	const unsigned hows = RULE_HOW(MODEL_KILLED) | RULE_HOW(MODEL_UNKNOWN);
	return rule_count_left(input, MODEL_LEFT_OPEN, hows);
}

static bool is_blamed_already(const struct rule_input *input) {
	const unsigned hows = RULE_HOW(MODEL_EXIT) | RULE_HOW(MODEL_EXEC);
	const struct site_released *released = input->group->released;
	return rule_count_left(input, MODEL_LEFT_OPEN, hows) > 0 ||
		rule_count_left(input, MODEL_LEFT_ORPHANED, (1u << MODEL_HOW_COUNT) - 1) > 0 ||
		released[RELEASE_EXIT].count > 0 || released[RELEASE_COLLECTOR].count > 0;
}

static uint64_t count_orphans(const struct rule_input *input) {
	uint64_t count = 0;
	for (size_t i = 0; i < input->group->taken_count; i++)
		count += input->group->taken[i]->is_orphan;
	return count;
}

static void add_examples(const struct rule_input *input, struct finding *finding) {
	for (size_t i = 0; i < input->group->taken_count; i++)
		if (rule_is_open(input->group->taken[i]) && !input->group->taken[i]->is_orphan)
			rule_add_lease(input, finding, input->group->taken[i],
				       input->group->taken[i]->established_ns);
}

bool rule_growing(const struct rule_input *input, struct finding *finding) {
	const struct model_run *run = &input->model->run;
	struct growth_cell *cells;
	struct growth growth;
	if (input->group->is_pool || is_blamed_already(input))
		return false;
	size_t count = add_up(input, &cells);
	uint64_t until_ns = run->until_ns > run->created_ns ? run->until_ns - run->created_ns : 0;
	uint64_t end_ns = find_height(cells, &count, until_ns);
	unsigned cycles = (unsigned)input->settings->thresholds.growth_cycles;
	/* What is looked at is the last half of the run, or more. A start is no trend. */
	if (!growth_judge(&growth, cells, count, end_ns, cycles) ||
	    (double)(growth.end_ns - growth.begin_ns) / 1e9 < input->settings->thresholds.growth_span)
		return false;
	uint64_t cycle_ns = (growth.end_ns - growth.begin_ns) / 4;
	uint64_t grown = growth.to - growth.from;
	uint64_t old = count_old(input, run->created_ns + growth.end_ns - cycle_ns) + count_killed(input) +
		count_closed_at_end(input, run->created_ns + growth.end_ns - cycle_ns);
	uint64_t orphans = count_orphans(input);
	if (grown <= orphans || 2 * old < grown - orphans)
		return false;
	add_examples(input, finding);
	finding->count = grown - orphans;
	finding->first_ns = run->created_ns + growth.begin_ns;
	finding->last_ns = run->created_ns + growth.end_ns;
	finding->message = arena_text(
		input->arena,
		"more and more connections taken here are open: never less than %" PRIu64
		" at first, %" PRIu64 " in the end, and more in each of the last %u cycles of %s%s",
		growth.from, growth.to, cycles, rule_duration(input->arena, (double)cycle_ns / 1e9),
		rule_say_released(input));
	rule_add_count(finding, "least_open_at_first", growth.from);
	rule_add_count(finding, "least_open_in_the_end", growth.to);
	rule_add_count(finding, "released", input->group->released[RELEASE_EXPLICIT].count);
	rule_add_seconds(finding, "window", (double)(growth.end_ns - growth.begin_ns) / 1e9);
	rule_add_oldest_age(finding);
	return true;
}
