#include "analyzer/rules/rule.h"

#include <stdlib.h>
#include <string.h>

enum { EXAMPLES_MAX = 8 };

static const struct rule {
	const char *kind;
	rule_function *function;
	enum finding_level level;
	enum finding_certainty certainty;
} rules[] = {
#define RULE(kind, function, level, certainty) {kind, function, FINDING_##level, FINDING_##certainty},
#include "analyzer/rules/rules.def"
#undef RULE
};

enum { RULE_COUNT = sizeof rules / sizeof rules[0] };

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

static bool judge(const struct rule *rule, const struct rule_input *input, struct finding *finding) {
	*finding = (struct finding){.kind = rule->kind,
				    .rank = (unsigned)(rule - rules),
				    .level = rule->level,
				    .certainty = rule->certainty,
				    .site = input->group->site};
	site_frames_finding_fingerprint(finding->fingerprint, input->group->frames, rule->kind);
	return rule->function(input, finding);
}

void rule_judge_all(struct rule_findings *findings, struct arena *arena, const struct model *model,
		    const struct site_groups *groups) {
	struct finding finding;
	findings->count = 0;
	findings->findings = NULL;
	size_t capacity = 0;
	for (size_t i = 0; i < groups->count; i++)
		for (size_t rule = 0; rule < RULE_COUNT; rule++) {
			struct rule_input input = {model, &groups->groups[i], arena};
			if (!judge(&rules[rule], &input, &finding))
				continue;
			if (findings->count == capacity) {
				capacity = 2 * capacity + RULE_COUNT;
				struct finding *grown = arena_array(arena, capacity, sizeof *grown);
				if (findings->count > 0)
					memcpy(grown, findings->findings, findings->count * sizeof *grown);
				findings->findings = grown;
			}
			findings->findings[findings->count++] = finding;
		}
	if (findings->count > 1)
		qsort(findings->findings, findings->count, sizeof finding, compare_findings);
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

const char *rule_plural(uint64_t count) {
	return count == 1 ? "" : "s";
}
