#include "analyzer/judge/restarts.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_same(const char *a, const char *b) {
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool has_vanished(const struct report_process *process) {
	return strcmp(process->how_ended, "killed") == 0 || strcmp(process->how_ended, "unknown") == 0;
}

/* Workers of one program take each other's place: who started first after it was gone, and replaces nobody else. */
static const struct report_process *find_successor(const struct report *report, size_t gone, bool *is_taken) {
	const struct report_process *before = &report->processes[gone];
	for (size_t i = gone + 1; i < report->process_count; i++) {
		const struct report_process *process = &report->processes[i];
		if (is_taken[i] || !is_same(process->role, before->role) ||
		    !is_same(process->exe, before->exe) || !is_same(process->script, before->script))
			continue;
		if (before->ended != NULL && process->started != NULL &&
		    strcmp(process->started, before->ended) < 0)
			continue;
		is_taken[i] = true;
		return process;
	}
	return NULL;
}

static int compare_newest_first(const void *a, const void *b) {
	const struct restart *left = a;
	const struct restart *right = b;
	const char *left_at = left->successor->started != NULL ? left->successor->started : "";
	const char *right_at = right->successor->started != NULL ? right->successor->started : "";
	return strcmp(right_at, left_at);
}

/* The run's whole life, in hours: what is younger than a minute says nothing about an hour. */
static double rate_per_hour(const struct restarts *restarts, const struct report *report) {
	double hours = report->run.duration / 3600;
	if (isnan(hours) || report->run.duration < 60)
		return restarts->count == 0 ? 0 : NAN;
	return (double)restarts->count / fmax(hours, 1);
}

void restarts_find(struct restarts *restarts, struct arena *arena, const struct report *report) {
	bool *is_taken = arena_array(arena, report->process_count, sizeof *is_taken);
	*restarts =
		(struct restarts){.all = arena_array(arena, report->process_count, sizeof *restarts->all)};
	for (size_t i = 0; i < report->process_count; i++) {
		const struct report_process *successor =
			has_vanished(&report->processes[i]) ? find_successor(report, i, is_taken) : NULL;
		if (successor != NULL)
			restarts->all[restarts->count++] = (struct restart){&report->processes[i], successor};
	}
	if (restarts->count > 1)
		qsort(restarts->all, restarts->count, sizeof *restarts->all, compare_newest_first);
	restarts->per_hour = rate_per_hour(restarts, report);
}
