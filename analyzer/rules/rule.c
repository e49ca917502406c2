#include "analyzer/rules/rule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "analyzer/text.h"

enum { EXAMPLES_MAX = 8 };

static const struct rule {
	const char *kind;
	rule_function *function;
	enum finding_level level;
	enum finding_certainty certainty;
	enum finding_scope scope;
} rules[] = {
#define SCOPED(kind, function, level, certainty, scope) \
	{kind, function, FINDING_##level, FINDING_##certainty, scope},
#define RULE(kind, function, level, certainty) SCOPED(kind, function, level, certainty, FINDING_OF_SITE)
#define POOL_RULE(kind, function, level, certainty) SCOPED(kind, function, level, certainty, FINDING_OF_POOL)
#define RUN_RULE(kind, function, level, certainty) SCOPED(kind, function, level, certainty, FINDING_OF_RUN)
#include "analyzer/rules/rules.def"
#undef RULE
#undef SCOPED
};

enum { RULE_COUNT = sizeof rules / sizeof rules[0] };

bool rule_knows_kind(const char *kind) {
	for (size_t i = 0; i < RULE_COUNT; i++)
		if (strcmp(rules[i].kind, kind) == 0)
			return true;
	return false;
}

enum finding_scope rule_scope(const char *kind) {
	for (size_t i = 0; i < RULE_COUNT; i++)
		if (strcmp(rules[i].kind, kind) == 0)
			return rules[i].scope;
	return FINDING_OF_SITE;
}

static int compare_findings(const void *a, const void *b) {
	const struct finding *left = a;
	const struct finding *right = b;
	if (left->level != right->level)
		return left->level < right->level ? -1 : 1;
	if (left->rank != right->rank)
		return left->rank < right->rank ? -1 : 1;
	if (left->count != right->count)
		return left->count > right->count ? -1 : 1;
	return strcmp(left->fingerprint, right->fingerprint);
}

/* A pool has no stack: its role and where it leads are what stays the same. */
static void fingerprint_of_pool(char fingerprint[FINDING_FINGERPRINT_BYTES], const struct rule *rule,
				const struct report_pool *pool) {
	const char *const parts[] = {rule->kind, pool != NULL ? pool->role : NULL,
				     pool != NULL ? pool->database : NULL, pool != NULL ? pool->user : NULL};
	uint64_t hash = 0;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		hash = XXH64(parts[i] != NULL ? parts[i] : "", parts[i] != NULL ? strlen(parts[i]) : 0,
			     hash + i);
	snprintf(fingerprint, FINDING_FINGERPRINT_BYTES, "%016llx", (unsigned long long)hash);
}

static bool judge(const struct rule *rule, const struct rule_input *input, struct finding *finding) {
	*finding = (struct finding){.kind = rule->kind,
				    .scope = rule->scope,
				    .rank = (unsigned)(rule - rules),
				    .level = rule->level,
				    .certainty = rule->certainty,
				    .site = input->group != NULL ? input->group->site : MODEL_SITE_NONE,
				    .has_pool = input->pool != NULL};
	if (input->group != NULL)
		site_frames_finding_fingerprint(finding->fingerprint, input->group->frames, rule->kind);
	else
		fingerprint_of_pool(finding->fingerprint, rule, input->pool);
	if (input->pool != NULL)
		finding->pool = (size_t)(input->pool - input->report->pools);
	return rule->function(input, finding);
}

struct judging {
	struct rule_findings *found;
	size_t capacity;
};

static void keep(struct judging *judging, struct arena *arena, const struct finding *finding) {
	struct rule_findings *found = judging->found;
	if (found->count == judging->capacity) {
		judging->capacity = 2 * judging->capacity + RULE_COUNT;
		struct finding *grown = arena_array(arena, judging->capacity, sizeof *grown);
		if (found->count > 0)
			memcpy(grown, found->findings, found->count * sizeof *grown);
		found->findings = grown;
	}
	found->findings[found->count++] = *finding;
}

static void judge_scope(struct judging *judging, enum finding_scope scope, const struct rule_input *input) {
	for (size_t i = 0; i < RULE_COUNT; i++) {
		struct finding finding;
		if (rules[i].scope == scope && judge(&rules[i], input, &finding))
			keep(judging, input->arena, &finding);
	}
}

/* Others leave alone what grows, so this is known first. */
static const bool *find_growing(const struct rule_input *input, const struct site_groups *groups) {
	bool *growing = arena_array(input->arena, groups->count, sizeof *growing);
	struct rule_input scoped = *input;
	for (size_t i = 0; i < groups->count; i++) {
		struct finding finding = {0};
		scoped.group = &groups->groups[i];
		growing[i] = rule_growing(&scoped, &finding);
	}
	return growing;
}

void rule_judge_all(struct rule_findings *findings, const struct rule_input *input,
		    const struct site_groups *groups) {
	struct judging judging = {.found = findings};
	struct rule_input scoped = *input;
	scoped.groups = groups;
	scoped.growing = find_growing(&scoped, groups);
	*findings = (struct rule_findings){NULL, 0};
	judge_scope(&judging, FINDING_OF_RUN, &scoped);
	for (size_t i = 0; i < input->report->pool_count; i++) {
		scoped.pool = &input->report->pools[i];
		judge_scope(&judging, FINDING_OF_POOL, &scoped);
	}
	scoped.pool = NULL;
	for (size_t i = 0; i < groups->count; i++) {
		scoped.group = &groups->groups[i];
		judge_scope(&judging, FINDING_OF_SITE, &scoped);
	}
	if (findings->count > 1)
		qsort(findings->findings, findings->count, sizeof *findings->findings, compare_findings);
}

/* ---- For rules ---------------------------------------------------------------------------------- */

static bool is_among(enum model_how_ended how, unsigned hows) {
	return (hows & RULE_HOW(how)) != 0;
}

uint64_t rule_count_left(const struct rule_input *input, enum model_left left, unsigned hows) {
	uint64_t count = 0;
	for (unsigned how = 0; how < MODEL_HOW_COUNT; how++)
		if (is_among((enum model_how_ended)how, hows))
			count += input->group->left[left][how].count;
	return count;
}

static void take_times(const struct site_left *left, struct finding *finding) {
	if (left->first_ns != 0 && (finding->first_ns == 0 || left->first_ns < finding->first_ns))
		finding->first_ns = left->first_ns;
	if (left->last_ns > finding->last_ns)
		finding->last_ns = left->last_ns;
	if (left->oldest_age_ns > finding->oldest_age_ns)
		finding->oldest_age_ns = left->oldest_age_ns;
}

static void take_examples(const struct rule_input *input, bool is_borrowed, enum model_left left,
			  unsigned hows, struct finding *finding) {
	struct finding_example *examples = arena_array(input->arena, EXAMPLES_MAX, sizeof *examples);
	if (finding->example_count > 0)
		memcpy(examples, finding->examples, finding->example_count * sizeof *examples);
	for (size_t i = 0; i < input->group->example_count && finding->example_count < EXAMPLES_MAX; i++) {
		const struct site_example *example = &input->group->examples[i];
		bool is_left = example->left == left && is_among(example->how, hows);
		if (example->is_borrowed != is_borrowed || (!is_borrowed && !is_left))
			continue;
		examples[finding->example_count++] =
			(struct finding_example){example->pid,    example->backend_pid, example->taken_ns,
						 example->age_ns, example->test,        example->taken_site};
	}
	finding->examples = examples;
}

void rule_take_borrowed_examples(const struct rule_input *input, struct finding *finding) {
	take_examples(input, true, MODEL_LEFT_OPEN, 0, finding);
}

uint64_t rule_take_left(const struct rule_input *input, enum model_left left, unsigned hows,
			struct finding *finding) {
	uint64_t count = rule_count_left(input, left, hows);
	if (count == 0)
		return 0;
	for (unsigned how = 0; how < MODEL_HOW_COUNT; how++)
		if (is_among((enum model_how_ended)how, hows) && input->group->left[left][how].count > 0)
			take_times(&input->group->left[left][how], finding);
	take_examples(input, false, left, hows, finding);
	return count;
}

static bool is_example(const struct rule_input *input, const struct model_ended *ended,
		       enum release_kind kind, enum rule_orphans orphans) {
	bool is_orphan = (ended->release_facts & MODEL_FACT_ORPHAN) != 0;
	return ended->release == MODEL_RELEASE_FINISHED && is_orphan == (orphans == RULE_ORPHANS_ONLY) &&
		&input->groups->groups[input->groups->group_of[ended->site]] == input->group &&
		release_kind_of(&input->groups->frames[ended->release_site], ended->release_facts) == kind;
}

static void add_released_example(const struct rule_input *input, const struct model_ended *ended,
				 struct finding *finding) {
	struct finding_example *examples = (struct finding_example *)finding->examples;
	uint64_t taken_ns = ended->established_ns != 0 ? ended->established_ns : ended->begun_ns;
	uint64_t age_ns = ended->ended_ns > taken_ns ? ended->ended_ns - taken_ns : 0;
	if (age_ns > finding->oldest_age_ns)
		finding->oldest_age_ns = age_ns;
	if (examples == NULL)
		examples = arena_array(input->arena, EXAMPLES_MAX, sizeof *examples);
	finding->examples = examples;
	if (finding->example_count < EXAMPLES_MAX)
		examples[finding->example_count++] = (struct finding_example){
			ended->pid, ended->backend_pid, taken_ns, age_ns, ended->test, ended->site};
}

uint64_t rule_take_released(const struct rule_input *input, enum release_kind kind, enum rule_orphans orphans,
			    struct finding *finding) {
	const struct site_released *released = &input->group->released[kind];
	uint64_t count =
		orphans == RULE_ORPHANS_ONLY ? released->orphans : released->count - released->orphans;
	if (count == 0)
		return 0;
	if (finding->first_ns == 0 || released->first_ns < finding->first_ns)
		finding->first_ns = released->first_ns;
	if (released->last_ns > finding->last_ns)
		finding->last_ns = released->last_ns;
	for (size_t i = 0; i < input->model->history_count; i++)
		if (is_example(input, &input->model->history[i], kind, orphans))
			add_released_example(input, &input->model->history[i], finding);
	return count;
}

static void add_checkout_examples(const struct rule_input *input, enum site_checkout_end wanted,
				  const struct model_ended *ended, size_t count, struct finding *finding) {
	enum site_checkout_end end;
	for (size_t i = 0; i < count; i++)
		if (site_groups_is_checkout(input->groups, &ended[i], &end) && end == wanted &&
		    rule_is_here(input, ended[i].last_use_site))
			add_released_example(input, &ended[i], finding);
}

static void add_slot_examples(const struct rule_input *input, struct finding *finding) {
	for (size_t i = 0; i < input->model->lease_count; i++) {
		const struct model_lease *lease = &input->model->leases[i];
		if (site_groups_is_left_checkout(input->groups, lease) &&
		    rule_is_here(input, lease->last_use_site)) {
			rule_add_lease(input, finding, lease, lease->established_ns);
			finding->count--; /* counted already */
		}
	}
}

uint64_t rule_take_checkouts(const struct rule_input *input, enum site_checkout_end end,
			     struct finding *finding) {
	const struct site_checkouts *used = &input->group->used[end];
	const struct model *model = input->model;
	if (used->count == 0)
		return 0;
	const char *line =
		arena_text(input->arena,
			   "%" PRIu64 " connection%s %s checked out of a pool here and never given back: "
			   "still in use %s",
			   used->count, rule_plural(used->count), used->count == 1 ? "was" : "were",
			   end == SITE_CHECKOUT_LEFT  ? "when the process ended"
				   : used->count == 1 ? "when the end of the process closed it"
						      : "when the end of the process closed them");
	finding->message =
		finding->count == 0 ? line : arena_text(input->arena, "%s; %s", finding->message, line);
	finding->count += used->count;
	if (finding->first_ns == 0 || used->first_ns < finding->first_ns)
		finding->first_ns = used->first_ns;
	if (used->last_ns > finding->last_ns)
		finding->last_ns = used->last_ns;
	add_checkout_examples(input, end, model->history, model->history_count, finding);
	if (end == SITE_CHECKOUT_LEFT) {
		add_checkout_examples(input, end, model->examples, model->example_count, finding);
		add_slot_examples(input, finding);
	}
	return used->count;
}

uint64_t rule_count_taken(const struct rule_input *input) {
	const uint64_t *counter = input->group->totals.counter;
	return counter[MODEL_ESTABLISHED] + counter[MODEL_REVIVED];
}

static const char *say_place(const struct rule_input *input, uint32_t site) {
	const struct site_frames *frames = &input->groups->frames[site];
	if (frames->application == SITE_NO_FRAME || frames->is_fallback)
		return "";
	const struct site_frame *frame = &frames->frames[frames->application];
	const char *file = frame->file != NULL ? frame->file : frame->module;
	const char *line = frame->file != NULL && frame->line != 0
		? arena_text(input->arena, ":%" PRIu32, frame->line)
		: "";
	return arena_text(input->arena, " at %s%s in %s", file != NULL ? text_basename(file) : "?", line,
			  frame->function != NULL ? frame->function : "?");
}

const char *rule_say_other_site(const struct rule_input *input, enum model_release misuse,
				enum rule_misuse_side here) {
	for (size_t i = 0; i < input->model->misuse_count; i++) {
		const struct model_ended *example = &input->model->misuses[i];
		bool is_first = here == RULE_FIRST_SITE;
		if (example->release == misuse &&
		    rule_is_here(input, is_first ? example->site : example->release_site))
			return say_place(input, is_first ? example->release_site : example->site);
	}
	return "";
}

const char *rule_say_released(const struct rule_input *input) {
	const struct site_released *released = &input->group->released[RELEASE_EXPLICIT];
	uint64_t count = released->count - released->orphans;
	uint64_t taken = rule_count_taken(input);
	if (count == 0)
		return "";
	return arena_text(input->arena,
			  "; released %" PRIu64 " of %" PRIu64
			  " times%s%s: the path that leads around it leaks",
			  count, taken > count ? taken : count, released->place_count < count ? ", most" : "",
			  say_place(input, released->place));
}

void rule_add_count(struct finding *finding, const char *key, uint64_t value) {
	finding->evidence[finding->evidence_count++] = (struct finding_evidence){.key = key, .count = value};
}

void rule_add_oldest_age(struct finding *finding) {
	if (finding->oldest_age_ns != 0)
		finding->evidence[finding->evidence_count++] =
			(struct finding_evidence){.key = "oldest_age",
						  .is_seconds = true,
						  .seconds = (double)finding->oldest_age_ns / 1e9};
}

void rule_add_seconds(struct finding *finding, const char *key, double seconds) {
	finding->evidence[finding->evidence_count++] =
		(struct finding_evidence){.key = key, .is_seconds = true, .seconds = seconds};
}

const char *rule_duration(struct arena *arena, double seconds) {
	if (seconds < 1)
		return arena_text(arena, "%.0f ms", seconds * 1e3);
	return seconds < 120 ? arena_text(arena, "%.1f s", seconds)
			     : arena_text(arena, "%.0f min", seconds / 60);
}

static int compare_sites(const void *a, const void *b) {
	const uint32_t *left = a;
	const uint32_t *right = b;
	return (*left > *right) - (*left < *right);
}

bool rule_is_here(const struct rule_input *input, uint32_t site) {
	return bsearch(&site, input->group->sites, input->group->site_count, sizeof site, compare_sites) !=
		NULL;
}

bool rule_is_blamed_open(const struct rule_input *input, const struct model_lease *lease) {
	size_t group = input->groups->group_of[lease->site];
	return input->growing[group] || (lease->is_orphan && !input->groups->groups[group].is_pool);
}

bool rule_is_open(const struct model_lease *lease) {
	return !lease->is_owner_gone && lease->state == MODEL_LEASE_OPEN;
}

bool rule_is_waiting_in_use(const struct model_lease *lease) {
	return rule_is_open(lease) && lease->is_in_use && !lease->is_active;
}

uint64_t rule_count_longer(const struct rule_input *input, enum model_measure measure, double seconds) {
	uint64_t count = 0;
	for (size_t i = 0; i < input->group->site_count; i++) {
		const struct model_site *site = &input->model->sites[input->group->sites[i]];
		count += histogram_count_above(&site->totals.time[measure], (uint64_t)(seconds * 1e9));
	}
	return count;
}

void rule_add_lease(const struct rule_input *input, struct finding *finding, const struct model_lease *lease,
		    uint64_t since_ns) {
	struct finding_example *examples = (struct finding_example *)finding->examples;
	uint64_t age_ns = lease->until_ns > since_ns ? lease->until_ns - since_ns : 0;
	finding->count++;
	if (finding->first_ns == 0 || since_ns < finding->first_ns)
		finding->first_ns = since_ns;
	if (since_ns > finding->last_ns)
		finding->last_ns = since_ns;
	if (age_ns > finding->oldest_age_ns)
		finding->oldest_age_ns = age_ns;
	if (examples == NULL)
		examples = arena_array(input->arena, EXAMPLES_MAX, sizeof *examples);
	finding->examples = examples;
	if (finding->example_count < EXAMPLES_MAX)
		examples[finding->example_count++] = (struct finding_example){
			lease->pid, lease->backend_pid, since_ns, age_ns, lease->test, lease->site};
}

bool rule_take_counted(const struct rule_input *input, enum model_counter counter,
		       enum model_finding_time time, struct finding *finding) {
	const struct model_totals *totals = &input->group->totals;
	finding->count = totals->counter[counter];
	finding->first_ns = totals->first_finding_ns[time];
	finding->last_ns = totals->last_finding_ns[time];
	return finding->count > 0;
}

const char *rule_plural(uint64_t count) {
	return count == 1 ? "" : "s";
}
