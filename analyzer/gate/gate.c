#include "analyzer/gate/gate.h"

#include <inttypes.h>
#include <string.h>

#include "analyzer/gate/gate_judging.h"
#include "analyzer/gate/quantity.h"
#include "analyzer/hash_table.h"
#include "analyzer/commands/options.h"

const char *gate_state_name(enum gate_state state) {
	static const char *const names[GATE_STATE_COUNT] = {"new",        "worse", "same",
							    "suppressed", "fixed", "stale"};
	return names[state];
}

int gate_exit_code(const struct gate_outcome *outcome) {
	static const int codes[] = {
		[GATE_GREEN] = OPTIONS_EXIT_OK,
		[GATE_RED] = OPTIONS_EXIT_GATE,
		[GATE_UNTRUSTED] = OPTIONS_EXIT_CANNOT,
	};
	return codes[outcome->result];
}

/* ---- Failures ----------------------------------------------------------------------------------- */

void gate_judging_fail(struct gate_judging *judging, const struct gate_failure *failure) {
	struct gate_outcome *outcome = judging->outcome;
	if (outcome->failure_count == judging->failure_capacity) {
		judging->failure_capacity = 2 * judging->failure_capacity + 16;
		struct gate_failure *grown =
			arena_array(judging->arena, judging->failure_capacity, sizeof *grown);
		if (outcome->failure_count > 0)
			memcpy(grown, outcome->failures, outcome->failure_count * sizeof *grown);
		outcome->failures = grown;
	}
	outcome->failures[outcome->failure_count++] = *failure;
	if (failure->is_untrusted)
		outcome->result = GATE_UNTRUSTED;
	else if (outcome->result == GATE_GREEN)
		outcome->result = GATE_RED;
}

void gate_judging_place(struct gate_failure *failure, const struct report_site *site) {
	const struct site_frame *frame = report_application_frame(site);
	if (frame == NULL || frame->file == NULL)
		return;
	failure->file = frame->file;
	failure->line = frame->line;
}

/* ---- Trust -------------------------------------------------------------------------------------- */

static void fail_trust(struct gate_judging *judging, const char *reason) {
	gate_judging_fail(judging,
			  &(struct gate_failure){.item = "trust",
						 .message = reason,
						 .source = "always",
						 .finding = REPORT_UNKNOWN,
						 .is_untrusted = true});
}

static void judge_trust(struct gate_judging *judging) {
	const struct report_trust *trust = &judging->report->trust;
	if (!trust->ok && trust->reason_count == 0)
		fail_trust(judging, "the report says that it is not to be trusted");
	for (size_t i = 0; !trust->ok && i < trust->reason_count; i++)
		fail_trust(judging, trust->reasons[i]);
}

/* ---- Suppressions ------------------------------------------------------------------------------- */

static const char *source_of(struct gate_judging *judging, const struct suppression *suppression) {
	return arena_text(judging->arena, "%s:%zu", suppression->name, suppression->line);
}

static bool is_expired(const struct suppression *suppression) {
	return suppression->expires < quantity_today();
}

/* The first live suppression of one of the two lists that matches; its number, or SIZE_MAX. */
static size_t find_suppression(const struct gate_judging *judging, const struct report_finding *from,
			       bool is_only) {
	const struct gate_policy *policy = judging->policy;
	for (size_t i = 0; i < policy->suppression_count; i++) {
		const struct suppression *suppression = &policy->suppressions[i];
		if (suppression->is_only == is_only && !is_expired(suppression) &&
		    suppression_matches(suppression, judging->report, from))
			return i;
	}
	return SIZE_MAX;
}

/* The first entry of the list of what alone is judged, NULL if there is no such list. */
static const struct suppression *only_list(const struct gate_policy *policy) {
	for (size_t i = 0; i < policy->suppression_count; i++)
		if (policy->suppressions[i].is_only)
			return &policy->suppressions[i];
	return NULL;
}

static void silence(struct gate_judging *judging, size_t finding, const struct suppression *by,
		    const char *reason) {
	struct gate_finding *silenced = &judging->outcome->findings[finding];
	silenced->state = GATE_SUPPRESSED;
	silenced->suppressed_by = source_of(judging, by);
	silenced->suppression = reason;
}

static void describe_suppressions(struct gate_judging *judging) {
	const struct gate_policy *policy = judging->policy;
	struct gate_outcome *outcome = judging->outcome;
	outcome->suppression_count = policy->suppression_count;
	outcome->suppressions =
		arena_array(judging->arena, policy->suppression_count, sizeof *outcome->suppressions);
	for (size_t i = 0; i < policy->suppression_count; i++) {
		const struct suppression *from = &policy->suppressions[i];
		outcome->suppressions[i] = (struct gate_suppression){
			.source = source_of(judging, from),
			.pattern = suppression_describe(from, judging->arena),
			.reason = from->reason,
			.allowed = from->max == SUPPRESSION_NO_MAX ? REPORT_UNKNOWN : (int64_t)from->max};
	}
}

static void judge_expired(struct gate_judging *judging) {
	char date[11];
	for (size_t i = 0; i < judging->policy->suppression_count; i++) {
		const struct suppression *suppression = &judging->policy->suppressions[i];
		if (!is_expired(suppression))
			continue;
		quantity_format_date(date, suppression->expires);
		gate_judging_fail(judging,
				  &(struct gate_failure){
					  .item = "expired",
					  .message = arena_text(
						  judging->arena, "the suppression of %s expired on %s: %s",
						  suppression_describe(suppression, judging->arena), date,
						  suppression->reason),
					  .source = "always",
					  .finding = REPORT_UNKNOWN,
					  .file = suppression->name,
					  .line = (uint32_t)suppression->line});
	}
}

/* A suppression that matched more than its maximum silences nothing: which of them would be the old ones? */
static void apply_suppressions(struct gate_judging *judging) {
	const struct gate_policy *policy = judging->policy;
	const struct report *report = judging->report;
	const struct suppression *only = only_list(policy);
	size_t *by = arena_array(judging->arena, report->finding_count, sizeof *by);
	judging->suppression_of = by;
	for (size_t i = 0; i < report->finding_count; i++) {
		size_t allowed =
			only != NULL ? find_suppression(judging, &report->findings[i], true) : SIZE_MAX;
		by[i] = find_suppression(judging, &report->findings[i], false);
		size_t used = by[i] != SIZE_MAX ? by[i] : allowed;
		if (used != SIZE_MAX)
			judging->outcome->suppressions[used].used += report->findings[i].finding->count;
		if (only != NULL && allowed == SIZE_MAX && by[i] == SIZE_MAX)
			silence(judging, i, only, "not in the list of what alone is judged");
	}
	for (size_t i = 0; i < report->finding_count; i++)
		if (by[i] != SIZE_MAX &&
		    judging->outcome->suppressions[by[i]].used <= policy->suppressions[by[i]].max)
			silence(judging, i, &policy->suppressions[by[i]], policy->suppressions[by[i]].reason);
}

/* What is said of a finding whose suppression was too small for it, "" if none was. */
static const char *exceeded_note(struct gate_judging *judging, size_t index) {
	size_t by = judging->suppression_of[index];
	if (by == SIZE_MAX)
		return "";
	const struct gate_suppression *suppression = &judging->outcome->suppressions[by];
	return arena_text(judging->arena,
			  "; the suppression at %s allows %" PRId64 ", it would match %" PRIu64,
			  suppression->source, suppression->allowed, suppression->used);
}

/* ---- Baseline ----------------------------------------------------------------------------------- */

static void compare_with_baseline(struct gate_judging *judging, size_t index) {
	struct gate_finding *judged = &judging->outcome->findings[index];
	const struct finding *finding = judging->report->findings[index].finding;
	const struct baseline_entry *entry = baseline_find(&judging->policy->baseline, finding->fingerprint);
	judged->allowed = entry != NULL ? (int64_t)entry->count : REPORT_UNKNOWN;
	if (judged->state == GATE_SUPPRESSED || entry == NULL)
		return;
	judged->state = finding->count > entry->count ? GATE_WORSE : GATE_SAME;
}

/* Fingerprints of a set. */
struct print_set {
	const char *fingerprint;
	UT_hash_handle hh;
};

static void add_print(struct print_set **set, struct arena *arena, const char *fingerprint) {
	struct print_set *entry;
	HASH_FIND_STR(*set, fingerprint, entry);
	if (entry != NULL)
		return;
	entry = arena_new(arena, struct print_set);
	entry->fingerprint = fingerprint;
	HASH_ADD_KEYPTR(hh, *set, fingerprint, strlen(fingerprint), entry);
}

static bool has_print(struct print_set *set, const char *fingerprint) {
	struct print_set *entry;
	HASH_FIND_STR(set, fingerprint, entry);
	return entry != NULL;
}

/* What the fingerprints of findings of `kind` at all sites of the run would be. */
static void add_reached(struct print_set **reached, struct arena *arena, const struct report *report,
			const char *kind) {
	for (size_t i = 0; i < report->site_count; i++) {
		struct site_frames frames = {0};
		char *fingerprint = arena_array(arena, SITE_FINGERPRINT_BYTES, 1);
		memcpy(frames.fingerprint, report->sites[i].fingerprint, SITE_FINGERPRINT_BYTES);
		site_frames_finding_fingerprint(fingerprint, &frames, kind);
		add_print(reached, arena, fingerprint);
	}
}

static void add_absent(struct gate_judging *judging, const struct baseline_entry *entry, bool is_reached) {
	struct gate_outcome *outcome = judging->outcome;
	const char *name = judging->policy->baseline.name;
	outcome->absents[outcome->absent_count++] =
		(struct gate_absent){.state = is_reached ? GATE_FIXED : GATE_STALE,
				     .kind = entry->kind,
				     .fingerprint = entry->fingerprint,
				     .allowed = (int64_t)entry->count,
				     .site = entry->site,
				     .source = arena_text(judging->arena, "%s:%zu", name, entry->line)};
}

static void find_absents(struct gate_judging *judging) {
	const struct baseline *baseline = &judging->policy->baseline;
	const struct report *report = judging->report;
	struct arena arena = {0};
	struct print_set *seen = NULL;
	struct print_set *kinds = NULL;
	struct print_set *reached = NULL;
	judging->outcome->absents =
		arena_array(judging->arena, baseline->count, sizeof *judging->outcome->absents);
	for (size_t i = 0; i < report->finding_count; i++)
		add_print(&seen, &arena, report->findings[i].finding->fingerprint);
	for (size_t i = 0; i < baseline->count; i++) {
		const struct baseline_entry *entry = &baseline->entries[i];
		if (has_print(seen, entry->fingerprint))
			continue;
		if (!has_print(kinds, entry->kind))
			add_reached(&reached, &arena, report, entry->kind);
		add_print(&kinds, &arena, entry->kind);
		add_absent(judging, entry, has_print(reached, entry->fingerprint));
	}
	HASH_CLEAR(hh, seen);
	HASH_CLEAR(hh, kinds);
	HASH_CLEAR(hh, reached);
	arena_release(&arena);
}

/* ---- Items -------------------------------------------------------------------------------------- */

static bool is_accepted(const struct gate_finding *judged) {
	return judged->state == GATE_SUPPRESSED || judged->state == GATE_SAME;
}

static uint64_t count_of_kind(const struct gate_judging *judging, const char *kind) {
	const struct report *report = judging->report;
	uint64_t count = 0;
	for (size_t i = 0; i < report->finding_count; i++)
		if (!is_accepted(&judging->outcome->findings[i]) &&
		    strcmp(report->findings[i].finding->kind, kind) == 0)
			count += report->findings[i].finding->count;
	return count;
}

static void count_items(struct gate_judging *judging) {
	const struct gate_policy *policy = judging->policy;
	judging->count_of_items =
		arena_array(judging->arena, policy->fail_on_count, sizeof *judging->count_of_items);
	for (size_t i = 0; i < policy->fail_on_count; i++)
		if (policy->fail_on[i].word == GATE_ON_KIND)
			judging->count_of_items[i] = count_of_kind(judging, policy->fail_on[i].name);
}

static bool fails(const struct gate_judging *judging, const struct gate_fail_on *item,
		  const struct finding *finding) {
	switch (item->word) {
	case GATE_ON_LEVEL:
		return finding->level <= item->level;
	case GATE_ON_NEW:
		return finding->level <= FINDING_WARNING;
	case GATE_ON_KIND:
		return strcmp(finding->kind, item->name) == 0 &&
			judging->count_of_items[item - judging->policy->fail_on] >= item->limit;
	default:
		return false;
	}
}

static const char *state_note(struct gate_judging *judging, const struct gate_finding *judged) {
	if (judged->state == GATE_WORSE)
		return arena_text(judging->arena, " (worse: the baseline allows %" PRId64 ")",
				  judged->allowed);
	return judging->policy->has_baseline ? " (new: not in the baseline)" : "";
}

static void fail_finding(struct gate_judging *judging, size_t index, const struct gate_fail_on *item) {
	const struct report_finding *from = &judging->report->findings[index];
	struct gate_finding *judged = &judging->outcome->findings[index];
	struct gate_failure failure = {.item = item->name, .source = item->source, .finding = (int64_t)index};
	judged->failed_item = item->name;
	failure.message = arena_text(judging->arena, "%s%s%s", from->finding->message,
				     state_note(judging, judged), exceeded_note(judging, index));
	gate_judging_place(&failure, report_find_site(judging->report, from->site));
	gate_judging_fail(judging, &failure);
}

static void judge_finding(struct gate_judging *judging, size_t index) {
	const struct gate_policy *policy = judging->policy;
	if (is_accepted(&judging->outcome->findings[index]))
		return;
	for (size_t i = 0; i < policy->fail_on_count; i++)
		if (fails(judging, &policy->fail_on[i], judging->report->findings[index].finding)) {
			fail_finding(judging, index, &policy->fail_on[i]);
			return;
		}
}

static void fail_stale(struct gate_judging *judging, const struct gate_fail_on *item) {
	for (size_t i = 0; i < judging->outcome->absent_count; i++) {
		const struct gate_absent *absent = &judging->outcome->absents[i];
		gate_judging_fail(
			judging,
			&(struct gate_failure){
				.item = item->name,
				.message = arena_text(
					judging->arena, "%s at %s is %s: take its line out of the baseline",
					absent->kind, absent->site,
					absent->state == GATE_FIXED ? "fixed"
								    : "stale (not reached in this run)"),
				.source = absent->source,
				.finding = REPORT_UNKNOWN});
	}
}

static void fail_unused(struct gate_judging *judging, const struct gate_fail_on *item) {
	for (size_t i = 0; i < judging->outcome->suppression_count; i++) {
		const struct gate_suppression *suppression = &judging->outcome->suppressions[i];
		if (suppression->used > 0)
			continue;
		gate_judging_fail(
			judging,
			&(struct gate_failure){.item = item->name,
					       .message = arena_text(judging->arena,
								     "the suppression of %s matched nothing",
								     suppression->pattern),
					       .source = suppression->source,
					       .finding = REPORT_UNKNOWN});
	}
}

static void judge_lists(struct gate_judging *judging) {
	for (size_t i = 0; i < judging->policy->fail_on_count; i++) {
		const struct gate_fail_on *item = &judging->policy->fail_on[i];
		if (item->word == GATE_ON_STALE)
			fail_stale(judging, item);
		else if (item->word == GATE_ON_UNUSED)
			fail_unused(judging, item);
	}
}

/* ---- The gate ------------------------------------------------------------------------------------- */

static void judge(struct gate_judging *judging) {
	struct report *report = judging->report;
	judge_trust(judging);
	describe_suppressions(judging);
	judge_expired(judging);
	apply_suppressions(judging);
	for (size_t i = 0; i < report->finding_count; i++)
		compare_with_baseline(judging, i);
	if (judging->policy->has_baseline)
		find_absents(judging);
	count_items(judging);
	for (size_t i = 0; i < report->finding_count; i++)
		judge_finding(judging, i);
	gate_budgets_judge(judging);
	judge_lists(judging);
}

void gate_judge(struct report *report, const struct gate_policy *policy) {
	struct gate_policy standard;
	struct gate_outcome *outcome = arena_new(&report->arena, struct gate_outcome);
	struct gate_judging judging = {
		.report = report, .arena = &report->arena, .policy = policy, .outcome = outcome};
	gate_policy_init(&standard);
	if (policy == NULL)
		judging.policy = &standard;
	outcome->has_baseline = judging.policy->has_baseline;
	outcome->findings = arena_array(&report->arena, report->finding_count, sizeof *outcome->findings);
	for (size_t i = 0; i < report->finding_count; i++)
		outcome->findings[i] = (struct gate_finding){.state = GATE_NEW, .allowed = REPORT_UNKNOWN};
	judge(&judging);
	report->gate = outcome;
	gate_policy_release(&standard);
}
