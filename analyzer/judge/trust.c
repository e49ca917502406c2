#include "analyzer/judge/trust.h"

#include <inttypes.h>
#include <string.h>

enum { REASONS_MAX = 64 };

struct reasons {
	struct arena *arena;
	const char **texts;
	size_t count;
};

static void add_reason(struct reasons *reasons, const char *text) {
	if (reasons->count < REASONS_MAX)
		reasons->texts[reasons->count++] = text;
}

/* ---- Losses ----------------------------------------------------------------------------------- */

/* What each loss means for the reader, and whether the report is then no longer to be trusted. */
static const struct loss_rule {
	enum model_loss loss;
	bool is_serious;
	const char *text; /* the number is printed behind it */
} loss_rules[] = {
	{MODEL_LOST_LEASES, true, "connections that found no room in the ledger and are counted nowhere"},
	{MODEL_LOST_POINTERS, true,
	 "connections that could not be followed to their end, so that they may look open"},
	{MODEL_LOST_SITES, true,
	 "connections counted without the place that took them, the site table being full"},
	{MODEL_LOST_PROCESSES, true,
	 "processes that found no room in the ledger: nothing of theirs is recorded"},
	{MODEL_TORN, false,
	 "connections on the move when their process died (all counts are exact up to these)"},
	{MODEL_LOST_POOLS, false, "connections counted in no pool of their own, the pool table being full"},
	{MODEL_LOST_STRINGS, false, "names that found no room in the ledger"},
	{MODEL_LOST_MODULES, false,
	 "program files that found no room in the ledger: their frames have no name"},
	{MODEL_LOST_OCTAVES, false,
	 "durations in no distribution (quantiles are of the others, mean and extremes of all)"},
	{MODEL_LOST_RELEASERS, false, "finished connections of which nobody knows who finished them"},
	{MODEL_LOST_TRENDS, false, "places without a record of how many of their connections were open when"},
	{MODEL_LOST_EXAMPLES, false, "examples of unreleased connections that were not kept"},
	{MODEL_LOST_HISTORY, false, "closed connections missing from the history"},
	{MODEL_LOST_SPACE, false, "times that the file system had no room for more of the ledger"},
};

static void judge_losses(struct report_trust *trust, struct reasons *reasons, const struct model *model) {
	for (size_t i = 0; i < sizeof loss_rules / sizeof loss_rules[0]; i++) {
		uint64_t lost = model->lost[loss_rules[i].loss];
		if (lost == 0)
			continue;
		trust->ok &= !loss_rules[i].is_serious;
		add_reason(reasons, arena_text(reasons->arena, "%s: %" PRIu64, loss_rules[i].text, lost));
	}
}

static void fill_lost(struct report_lost *lost, const struct model *model) {
	uint64_t other = 0;
	for (int i = 0; i < MODEL_LOSS_COUNT; i++)
		other += model->lost[i];
	lost->leases = (int64_t)(model->lost[MODEL_LOST_LEASES] + model->lost[MODEL_LOST_POINTERS]);
	lost->sites = (int64_t)model->lost[MODEL_LOST_SITES];
	lost->processes = (int64_t)model->lost[MODEL_LOST_PROCESSES];
	lost->torn = (int64_t)model->lost[MODEL_TORN];
	lost->other =
		(int64_t)(other - (uint64_t)(lost->leases + lost->sites + lost->processes + lost->torn));
}

/* ---- Processes -------------------------------------------------------------------------------- */

static const struct note_rule {
	enum model_note note;
	bool is_serious;
	const char *text; /* printed behind "N processes: " */
} note_rules[] = {
	{MODEL_NOTE_RECORDING_OFF, true, "recording was switched off after it had begun"},
	{MODEL_NOTE_NO_LIBUNWIND, false, "no stacks, because libunwind could not be loaded"},
	{MODEL_NOTE_UNWINDER_UNSAFE, false, "no stacks, because libunwind could not be used safely there"},
	{MODEL_NOTE_STACK_UNAVAILABLE, false, "at least one stack could not be captured"},
	{MODEL_NOTE_STACKS_OFF, false, "no stacks, because PQLEASE_STACK_DEPTH is 0"},
	{MODEL_NOTE_UNBOUND_CALLER, false, "a call could not be resolved to its libpq and was not forwarded"},
};

static const char *process_word(uint64_t count) {
	return count == 1 ? "process" : "processes";
}

static void judge_notes(struct report_trust *trust, struct reasons *reasons, const struct model *model) {
	for (size_t i = 0; i < sizeof note_rules / sizeof note_rules[0]; i++) {
		uint64_t count = 0;
		for (size_t process = 0; process < model->process_count; process++)
			count += (model->processes[process].notes & note_rules[i].note) != 0;
		if (count == 0)
			continue;
		trust->ok &= !note_rules[i].is_serious;
		add_reason(reasons,
			   arena_text(reasons->arena, "%" PRIu64 " %s: %s", count, process_word(count),
				      note_rules[i].text));
	}
}

/* Why only native frames of a runtime's processes are there; printed behind "python 3.14.0: ". */
static const char *const script_reasons[MODEL_SCRIPT_READING_COUNT] = {
	[MODEL_SCRIPT_UNKNOWN_VERSION] = "frames of this version cannot be read",
	[MODEL_SCRIPT_UNKNOWN_BUILD] =
		"it is built in a way (debugging, free threading) that changes its frames",
	[MODEL_SCRIPT_UNSAFE] = "its frames do not look like those of its version",
	[MODEL_SCRIPT_OFF] = "PQLEASE_SCRIPT_FRAMES is 0",
	[MODEL_SCRIPT_NEVER] = "frames of this language are not read",
};

static bool is_same_runtime(const struct model_runtime *one, const struct model_runtime *other) {
	return one->reading == other->reading && strcmp(one->version, other->version) == 0;
}

/* Said at the first of the processes that it is true of. */
static void report_runtime(struct reasons *reasons, const struct model *model, size_t process, int language) {
	const struct model_runtime *runtime = &model->processes[process].runtimes[language];
	uint64_t count = 0;
	for (size_t i = 0; i < model->process_count; i++) {
		bool is_same = is_same_runtime(runtime, &model->processes[i].runtimes[language]);
		if (is_same && i < process)
			return;
		count += is_same;
	}
	add_reason(reasons,
		   arena_text(reasons->arena,
			      "%" PRIu64 " %s: only native frames, no lines of scripts, of %s%s%s: %s", count,
			      process_word(count), model_language_name((enum model_language)language),
			      *runtime->version != '\0' ? " " : "", runtime->version,
			      script_reasons[runtime->reading]));
}

static void report_runtimes(struct reasons *reasons, const struct model *model) {
	for (size_t i = 0; i < model->process_count; i++)
		for (int language = MODEL_PYTHON; language < MODEL_LANGUAGE_END; language++)
			if (script_reasons[model->processes[i].runtimes[language].reading] != NULL)
				report_runtime(reasons, model, i, language);
}

static void report_bad_settings(struct reasons *reasons, const struct model *model) {
	const char *last = "";
	for (size_t i = 0; i < model->process_count; i++) {
		const struct model_process *process = &model->processes[i];
		if ((process->notes & MODEL_NOTE_BAD_SETTING) == 0 || process->setting_problem == last)
			continue;
		last = process->setting_problem;
		add_reason(reasons,
			   arena_text(reasons->arena, "a setting was not understood and its default used: %s",
				      *last != '\0' ? last : "which one is not known"));
	}
}

static void report_unknown_processes(struct reasons *reasons, const struct model *model) {
	uint64_t count = 0;
	for (size_t i = 0; i < model->process_count; i++)
		count += !model->processes[i].is_gone && model->processes[i].how_ended == MODEL_UNKNOWN;
	if (count > 0)
		add_reason(reasons,
			   arena_text(reasons->arena,
				      "%" PRIu64
				      " %s of another pid namespace: whether they still run cannot "
				      "be seen from here, so their connections count as open",
				      count, process_word(count)));
}

static void report_stragglers(struct reasons *reasons, const struct model *model) {
	for (size_t i = 0; i < model->process_count && !model->run.is_live; i++) {
		const struct model_process *process = &model->processes[i];
		if (process->is_gone || process->how_ended != MODEL_RUNNING)
			continue;
		add_reason(reasons,
			   arena_text(reasons->arena,
				      "process %" PRId32
				      " (%s) still runs; connections it holds, open and not leaked: %" PRIu64,
				      process->pid, process->role, process->open_count));
	}
}

/* ---- Counts ----------------------------------------------------------------------------------- */

static void report_counts(struct reasons *reasons, const struct model *model) {
	uint64_t unseen = 0;
	uint64_t vanished = 0;
	for (size_t i = 0; i < model->pool_count; i++) {
		const struct model_totals *totals = &model->pools[i].totals;
		unseen += totals->counter[MODEL_FINISH_UNSEEN];
		vanished += totals->unreleased[MODEL_LEFT_OPEN][MODEL_KILLED] +
			totals->unreleased[MODEL_LEFT_OPEN][MODEL_UNKNOWN] +
			totals->unreleased[MODEL_LEFT_ORPHANED][MODEL_KILLED] +
			totals->unreleased[MODEL_LEFT_ORPHANED][MODEL_UNKNOWN];
	}
	if (unseen > 0)
		add_reason(reasons,
			   arena_text(reasons->arena,
				      "connections finished in a way that was not recorded: %" PRIu64,
				      unseen));
	if (vanished > 0)
		add_reason(
			reasons,
			"peaks are upper bounds: processes ended without a mark while they held connections");
}

static void report_off(struct report_trust *trust, struct reasons *reasons, const struct model *model) {
	if (model->run.off_reason == NULL || *model->run.off_reason == '\0')
		return;
	trust->ok = false;
	trust->off_reason = model->run.off_reason;
	add_reason(reasons,
		   arena_text(reasons->arena, "recording was off in at least one process: %s",
			      model->run.off_reason));
}

static void report_nothing(struct report_trust *trust, struct reasons *reasons, const struct model *model,
			   const char *unrecorded_reason) {
	if (model->process_total > 0)
		return;
	trust->ok = false;
	if (trust->off_reason != NULL)
		return;
	add_reason(reasons,
		   model->run.is_live ? "nothing is recorded yet: no process has called libpq so far"
				      : "nothing was recorded: no process called libpq with the shim loaded");
	if (unrecorded_reason != NULL)
		add_reason(reasons, unrecorded_reason);
}

void trust_judge(struct report_trust *trust, struct arena *arena, const struct model *model,
		 const char *unrecorded_reason) {
	struct reasons reasons = {arena, arena_array(arena, REASONS_MAX, sizeof(char *)), 0};
	*trust = (struct report_trust){.ok = true,
				       .processes = (int64_t)model->process_total,
				       .history_overwritten = (int64_t)model->history_overwritten};
	fill_lost(&trust->lost, model);
	report_off(trust, &reasons, model);
	report_nothing(trust, &reasons, model, unrecorded_reason);
	judge_losses(trust, &reasons, model);
	judge_notes(trust, &reasons, model);
	report_runtimes(&reasons, model);
	report_bad_settings(&reasons, model);
	report_unknown_processes(&reasons, model);
	report_stragglers(&reasons, model);
	report_counts(&reasons, model);
	trust->reasons = reasons.texts;
	trust->reason_count = reasons.count;
}
