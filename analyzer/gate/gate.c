#include "analyzer/gate/gate.h"

#include "analyzer/options.h"
#include "analyzer/report.h"

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

struct judging {
	struct report *report;
	struct gate_outcome *outcome;
	size_t failure_capacity;
};

static void add_failure(struct judging *judging, const struct gate_failure *failure) {
	struct gate_outcome *outcome = judging->outcome;
	if (outcome->failure_count == judging->failure_capacity)
		return;
	outcome->failures[outcome->failure_count++] = *failure;
	if (failure->is_untrusted)
		outcome->result = GATE_UNTRUSTED;
	else if (outcome->result == GATE_GREEN)
		outcome->result = GATE_RED;
}

static void add_distrust(struct judging *judging, const char *reason) {
	add_failure(judging,
		    &(struct gate_failure){.item = "trust",
					   .message = reason,
					   .source = "default",
					   .finding = REPORT_UNKNOWN,
					   .is_untrusted = true});
}

static void judge_trust(struct judging *judging) {
	const struct report_trust *trust = &judging->report->trust;
	if (!trust->ok && trust->reason_count == 0)
		add_distrust(judging, "the report says that it is not to be trusted");
	for (size_t i = 0; !trust->ok && i < trust->reason_count; i++)
		add_distrust(judging, trust->reasons[i]);
}

static void judge_finding(struct judging *judging, size_t index) {
	const struct report_finding *from = &judging->report->findings[index];
	const struct site_frame *frame =
		report_application_frame(report_find_site(judging->report, from->site));
	struct gate_finding *finding = &judging->outcome->findings[index];
	*finding = (struct gate_finding){.state = GATE_NEW, .allowed = REPORT_UNKNOWN};
	if (from->finding->level != FINDING_ERROR)
		return;
	finding->failed_item = "error";
	add_failure(judging,
		    &(struct gate_failure){.item = "error",
					   .message = from->finding->message,
					   .source = "default",
					   .finding = (int64_t)index,
					   .file = frame != NULL ? frame->file : NULL,
					   .line = frame != NULL ? frame->line : 0});
}

void gate_judge(struct report *report, const struct gate_policy *policy) {
	(void)policy;
	struct gate_outcome *outcome = arena_new(&report->arena, struct gate_outcome);
	struct judging judging = {report, outcome, report->trust.reason_count + report->finding_count + 1};
	outcome->findings = arena_array(&report->arena, report->finding_count, sizeof *outcome->findings);
	outcome->failures = arena_array(&report->arena, judging.failure_capacity, sizeof *outcome->failures);
	report->gate = outcome;
	judge_trust(&judging);
	for (size_t i = 0; i < report->finding_count; i++)
		judge_finding(&judging, i);
}
