#include "analyzer/model.h"

void model_release(struct model *model) {
	arena_release(&model->arena);
	*model = (struct model){0};
}

static void widen(uint64_t *first_ns, uint64_t *last_ns, uint64_t other_first_ns, uint64_t other_last_ns) {
	if (other_first_ns != 0 && (*first_ns == 0 || other_first_ns < *first_ns))
		*first_ns = other_first_ns;
	if (other_last_ns > *last_ns)
		*last_ns = other_last_ns;
}

void model_totals_add(struct model_totals *into, struct arena *arena, const struct model_totals *other) {
	for (int i = 0; i < MODEL_COUNTER_COUNT; i++)
		into->counter[i] += other->counter[i];
	for (int left = 0; left < MODEL_LEFT_COUNT; left++)
		for (int how = 0; how < MODEL_HOW_COUNT; how++)
			into->unreleased[left][how] += other->unreleased[left][how];
	widen(&into->first_ns, &into->last_ns, other->first_ns, other->last_ns);
	for (int i = 0; i < MODEL_FINDING_TIME_COUNT; i++)
		widen(&into->first_finding_ns[i], &into->last_finding_ns[i], other->first_finding_ns[i],
		      other->last_finding_ns[i]);
	if (other->open_peak > into->open_peak)
		into->open_peak = other->open_peak;
	if (other->in_use_peak > into->in_use_peak)
		into->in_use_peak = other->in_use_peak;
	for (int i = 0; i < MODEL_MEASURE_COUNT; i++)
		histogram_merge(&into->time[i], arena, &other->time[i]);
}

uint64_t model_realtime_ns(const struct model *model, uint64_t monotonic_ns) {
	return monotonic_ns == 0 ? 0
				 : model->run.created_realtime_ns + (monotonic_ns - model->run.created_ns);
}

const char *model_language_name(enum model_language language) {
	static const char *const names[MODEL_LANGUAGE_END] = {
		[MODEL_NATIVE] = "native", [MODEL_PYTHON] = "python", [MODEL_PHP] = "php",
		[MODEL_RUBY] = "ruby",     [MODEL_PERL] = "perl",     [MODEL_NODE] = "node",
	};
	return language >= MODEL_NATIVE && language < MODEL_LANGUAGE_END ? names[language] : "native";
}

const char *model_how_ended_name(enum model_how_ended how) {
	static const char *const names[MODEL_HOW_COUNT] = {"running", "exit", "exec", "killed", "unknown"};
	return how < MODEL_HOW_COUNT ? names[how] : "unknown";
}
