#include "analyzer/gate/gate_policy.h"

#include <inttypes.h>
#include <string.h>

#include "analyzer/gate/quantity.h"
#include "analyzer/rules/rule.h"
#include "analyzer/text.h"

enum { WORD_BYTES = 64 };

void gate_policy_init(struct gate_policy *policy) {
	*policy = (struct gate_policy){0};
	gate_policy_fail_on(policy, "error", "default");
}

void gate_policy_release(struct gate_policy *policy) {
	arena_release(&policy->arena);
	*policy = (struct gate_policy){0};
}

/* A copy of `count` elements with room for `more` behind them. */
static void *extend(struct arena *arena, const void *elements, size_t count, size_t more,
		    size_t element_bytes) {
	char *copy = arena_array(arena, count + more, element_bytes);
	if (count > 0)
		memcpy(copy, elements, count * element_bytes);
	return copy;
}

/* ---- fail-on ------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	enum gate_word word;
	enum finding_level level;
} words[] = {
	{"error", GATE_ON_LEVEL, FINDING_ERROR}, {"warning", GATE_ON_LEVEL, FINDING_WARNING},
	{"note", GATE_ON_LEVEL, FINDING_NOTE},   {"new", GATE_ON_NEW, FINDING_NOTE},
	{"stale", GATE_ON_STALE, FINDING_NOTE},  {"unused", GATE_ON_UNUSED, FINDING_NOTE},
	{"none", GATE_ON_NOTHING, FINDING_NOTE},
};

static const char *parse_kind(struct gate_fail_on *item, struct arena *arena, char *word) {
	char *colon = strchr(word, ':');
	item->word = GATE_ON_KIND;
	item->limit = 1;
	if (colon != NULL) {
		*colon = '\0';
		if (!quantity_parse_count(colon + 1, &item->limit) || item->limit == 0)
			return arena_text(arena, "'%s' behind '%s:' is not a count above 0", colon + 1, word);
	}
	item->name = arena_copy(arena, word, strlen(word));
	if (!rule_knows_kind(word))
		return arena_text(arena,
				  "'%s' is no kind of finding, nor one of error, warning, note, new, stale, "
				  "unused, none",
				  word);
	return NULL;
}

static const char *parse_word(struct gate_fail_on *item, struct arena *arena, const char *text,
			      size_t length) {
	char word[WORD_BYTES];
	if (length == 0 || length >= sizeof word)
		return "an empty word, or a very long one";
	memcpy(word, text, length);
	word[length] = '\0';
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(word, words[i].name) == 0) {
			item->word = words[i].word;
			item->level = words[i].level;
			item->name = words[i].name;
			return NULL;
		}
	return parse_kind(item, arena, word);
}

const char *gate_policy_fail_on(struct gate_policy *policy, const char *list, const char *source) {
	struct gate_fail_on *items = NULL;
	size_t count = 0;
	for (const char *at = list;; at++) {
		size_t length = strcspn(at, ",");
		struct gate_fail_on item = {.source = source};
		const char *problem = parse_word(&item, &policy->arena, at, length);
		if (problem != NULL)
			return problem;
		items = extend(&policy->arena, items, count, 1, sizeof *items);
		items[count++] = item;
		at += length;
		if (*at == '\0')
			break;
	}
	policy->fail_on = items;
	policy->fail_on_count = count;
	return NULL;
}

/* ---- Budgets ------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	enum { LIMIT_COUNT, LIMIT_RATIO, LIMIT_SECONDS } unit;
} metrics[GATE_METRIC_COUNT] = {
	[GATE_MAX_OPEN] = {"max-open", LIMIT_COUNT},
	[GATE_MAX_UTILIZATION] = {"max-utilization", LIMIT_RATIO},
	[GATE_P95_ACQUIRE] = {"p95-acquire", LIMIT_SECONDS},
	[GATE_MAX_HOLD] = {"max-hold", LIMIT_SECONDS},
	[GATE_RESERVED] = {"reserved", LIMIT_COUNT},
	[GATE_EXPECTED] = {"connections", LIMIT_COUNT},
};

const char *gate_metric_name(enum gate_metric metric) {
	return metrics[metric].name;
}

bool gate_policy_parse_limit(enum gate_metric metric, const char *text, double *limit) {
	uint64_t count;
	switch (metrics[metric].unit) {
	case LIMIT_RATIO:
		return quantity_parse_percent(text, limit);
	case LIMIT_SECONDS:
		return quantity_parse_seconds(text, limit);
	default:
		if (!quantity_parse_count(text, &count))
			return false;
		*limit = (double)count;
		return true;
	}
}

const char *gate_policy_limit_text(struct arena *arena, enum gate_metric metric, double limit) {
	switch (metrics[metric].unit) {
	case LIMIT_RATIO:
		return arena_text(arena, "%.4g%%", limit * 100);
	case LIMIT_SECONDS:
		if (limit < 1)
			return arena_text(arena, "%.4g ms", limit * 1e3);
		return limit < 600 ? arena_text(arena, "%.4g s", limit)
				   : arena_text(arena, "%.4g min", limit / 60);
	default:
		return arena_text(arena, "%.0f", limit);
	}
}

static bool is_whole_run(const struct gate_selector *selector) {
	static const struct gate_selector none;
	return memcmp(selector, &none, sizeof none) == 0;
}

void gate_policy_add_budget(struct gate_policy *policy, const struct gate_budget *budget) {
	for (size_t i = 0; i < policy->budget_count && is_whole_run(&budget->selector); i++)
		if (policy->budgets[i].metric == budget->metric &&
		    is_whole_run(&policy->budgets[i].selector)) {
			policy->budgets[i] = *budget;
			return;
		}
	policy->budgets =
		extend(&policy->arena, policy->budgets, policy->budget_count, 1, sizeof *policy->budgets);
	policy->budgets[policy->budget_count++] = *budget;
}

void gate_policy_add_suppressions(struct gate_policy *policy, const struct suppression *suppressions,
				  size_t count) {
	if (count == 0)
		return;
	policy->suppressions = extend(&policy->arena, policy->suppressions, policy->suppression_count, count,
				      sizeof *policy->suppressions);
	memcpy(policy->suppressions + policy->suppression_count, suppressions, count * sizeof *suppressions);
	policy->suppression_count += count;
}

/* ---- Words -------------------------------------------------------------------------------------- */

const char *gate_policy_selector_text(struct arena *arena, const struct gate_selector *selector) {
	const struct {
		const char *name;
		const char *pattern;
	} parts[] = {{"role", selector->role},         {"endpoint", selector->endpoint},
		     {"database", selector->database}, {"user", selector->user},
		     {"function", selector->function}, {"file", selector->file}};
	const char *text = "";
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (parts[i].pattern != NULL)
			text = arena_text(arena, "%s%s%s %s", text, *text != '\0' ? ", " : "", parts[i].name,
					  parts[i].pattern);
	return *text != '\0' ? text : "run";
}

static void explain_line(FILE *stream, struct arena *arena, const char *what, const char *source) {
	fprintf(stream, "  %-60s %s\n", text_printable(arena, what), text_printable(arena, source));
}

static const char *describe_fail_on(struct arena *arena, const struct gate_fail_on *item) {
	return item->word == GATE_ON_KIND && item->limit > 1
		? arena_text(arena, "fail-on %s:%" PRIu64, item->name, item->limit)
		: arena_text(arena, "fail-on %s", item->name);
}

static const char *describe_budget(struct arena *arena, const struct gate_budget *budget) {
	const char *what = gate_policy_limit_text(arena, budget->metric, budget->limit);
	if (budget->metric == GATE_RESERVED)
		what = arena_text(arena, "at most %s of %" PRId64 ", %" PRId64 " always free", what,
				  budget->total, budget->free);
	return arena_text(arena, "%s %s: %s", gate_metric_name(budget->metric), what,
			  gate_policy_selector_text(arena, &budget->selector));
}

void gate_policy_explain(const struct gate_policy *policy, FILE *stream) {
	struct arena arena = {0};
	fputs("The gate\n", stream);
	explain_line(stream, &arena, "a run that cannot be trusted is never green", "always");
	for (size_t i = 0; i < policy->fail_on_count; i++)
		explain_line(stream, &arena, describe_fail_on(&arena, &policy->fail_on[i]),
			     policy->fail_on[i].source);
	for (size_t i = 0; i < policy->budget_count; i++)
		explain_line(stream, &arena, describe_budget(&arena, &policy->budgets[i]),
			     policy->budgets[i].source);
	if (policy->has_baseline)
		explain_line(stream, &arena,
			     arena_text(&arena, "baseline %s: %zu findings accepted", policy->baseline.name,
					policy->baseline.count),
			     policy->baseline_source);
	for (size_t i = 0; i < policy->suppression_count; i++) {
		const struct suppression *suppression = &policy->suppressions[i];
		explain_line(stream, &arena,
			     arena_text(&arena, "%s %s", suppression->is_only ? "only" : "suppress",
					suppression_describe(suppression, &arena)),
			     arena_text(&arena, "%s:%zu", suppression->name, suppression->line));
	}
	arena_release(&arena);
}
