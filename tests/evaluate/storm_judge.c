#include "tests/evaluate/storm_judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/ledger/ledger_reader.h"
#include "tests/evaluate/storm_writer.h"

/* Counters whose every change a writer announces. */
static const enum model_counter announced[] = {MODEL_ESTABLISHED,     MODEL_FAILED,    MODEL_ABANDONED,
					       MODEL_RESETS,          MODEL_RESETS_OK, MODEL_FINISHED,
					       MODEL_FAILED_FINISHED, MODEL_REVIVED};
#define ANNOUNCED (sizeof announced / sizeof *announced)

static bool hold(struct storm_judge *judge, bool holds, const char *claim) {
	if (!holds && judge->claim == NULL)
		judge->claim = claim;
	return holds;
}

static bool differ_by_at_most(uint64_t a, uint64_t b, uint64_t limit) {
	return (a > b ? a - b : b - a) <= limit;
}

/* ---- Sums ------------------------------------------------------------------------------------------------------- */

uint64_t storm_judge_counter(const struct model *model, enum model_counter counter) {
	uint64_t sum = 0;
	for (size_t i = 0; i < model->pool_count; i++)
		sum += model->pools[i].totals.counter[counter];
	return sum;
}

static uint64_t counter_of_sites(const struct model *model, enum model_counter counter) {
	uint64_t sum = 0;
	for (size_t i = 0; i < model->site_count; i++)
		sum += model->sites[i].totals.counter[counter];
	return sum;
}

uint64_t storm_judge_unreleased(const struct model *model, enum model_left left) {
	uint64_t sum = 0;
	for (size_t i = 0; i < model->pool_count; i++)
		for (int how = 0; how < MODEL_HOW_COUNT; how++)
			sum += model->pools[i].totals.unreleased[left][how];
	return sum;
}

static uint64_t leases_in(const struct model *model, enum model_lease_state state) {
	uint64_t count = 0;
	for (size_t i = 0; i < model->lease_count; i++)
		count += model->leases[i].state == state;
	return count;
}

/* ---- The balance -------------------------------------------------------------------------------------------------- */

/* What came out of an attempt was finished, or was left, or is still there. */
static bool balances(const struct model *model, uint64_t unsure) {
	uint64_t came =
		storm_judge_counter(model, MODEL_ESTABLISHED) + storm_judge_counter(model, MODEL_FAILED);
	uint64_t went = storm_judge_counter(model, MODEL_FINISHED) +
		storm_judge_counter(model, MODEL_FAILED_FINISHED) +
		storm_judge_counter(model, MODEL_FINISH_UNSEEN) +
		storm_judge_unreleased(model, MODEL_LEFT_OPEN) +
		storm_judge_unreleased(model, MODEL_LEFT_FAILED) +
		storm_judge_unreleased(model, MODEL_LEFT_RESETTING);
	uint64_t stay = leases_in(model, MODEL_LEASE_OPEN) + leases_in(model, MODEL_LEASE_FAILED) +
		leases_in(model, MODEL_LEASE_RESETTING);
	return differ_by_at_most(came, went + stay, unsure);
}

static bool pools_agree_with_sites(const struct model *model, uint64_t unsure) {
	for (int counter = 0; counter < MODEL_IN_QUERY_NS; counter++)
		if (!differ_by_at_most(storm_judge_counter(model, (enum model_counter)counter),
				       counter_of_sites(model, (enum model_counter)counter), unsure))
			return false;
	return true;
}

static bool times_agree(const struct model *model, uint64_t unsure) {
	static const struct {
		enum model_measure measure;
		enum model_counter counter;
	} pairs[] = {{MODEL_CONNECT_TIME, MODEL_ESTABLISHED},
		     {MODEL_FAILED_TIME, MODEL_FAILED},
		     {MODEL_HOLD_TIME, MODEL_FINISHED}};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		uint64_t count = 0;
		for (size_t pool = 0; pool < model->pool_count; pool++)
			count += model->pools[pool].totals.time[pairs[i].measure].count;
		if (!differ_by_at_most(count, storm_judge_counter(model, pairs[i].counter), unsure))
			return false;
	}
	return true;
}

/* ---- Records -------------------------------------------------------------------------------------------------------- */

/* Written by the writer that its backend's number names, whole and of one piece. */
static bool is_right(const struct model *model, const struct model_ended *ended) {
	uint32_t number = (uint32_t)ended->backend_pid & ((1u << STORM_LEASE_NUMBER_BITS) - 1);
	uint32_t tally = (uint32_t)ended->backend_pid >> STORM_LEASE_NUMBER_BITS;
	bool is_in_call = ended->left == MODEL_LEFT_IN_CALL || ended->left == MODEL_LEFT_CONNECTING;
	if (is_in_call && ended->backend_pid == 0)
		return true;
	return tally < storm_board->used && storm_board->tally[tally].pid == ended->pid &&
		number < storm_board->tally[tally].leases && ended->begun_ns > 0 &&
		(ended->established_ns == 0 || ended->begun_ns <= ended->established_ns) &&
		(ended->ended_ns == 0 || ended->begun_ns <= ended->ended_ns) &&
		strcmp(ended->role, "storm") == 0 &&
		(ended->left == MODEL_LEFT_CONNECTING ||
		 strcmp(model->pools[ended->pool].host, "db.example") == 0);
}

static bool are_right(const struct model *model, const struct model_ended *ended, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (!is_right(model, &ended[i]))
			return false;
	return true;
}

static int compare_backends(const void *a, const void *b) {
	int32_t left = *(const int32_t *)a;
	int32_t right = *(const int32_t *)b;
	return (left > right) - (left < right);
}

/* A lease ends once. */
static bool are_different(const struct model *model) {
	int32_t *backends = calloc(model->history_count + 1, sizeof *backends);
	bool is_different = true;
	for (size_t i = 0; i < model->history_count; i++)
		backends[i] = model->history[i].backend_pid;
	qsort(backends, model->history_count, sizeof *backends, compare_backends);
	for (size_t i = 1; i < model->history_count; i++)
		is_different = is_different && backends[i] != backends[i - 1];
	free(backends);
	return is_different;
}

/* What the writers did fits into the smallest ledger, so nothing may be lost but what torn records took along. */
static const char *what_is_lost(const struct storm_judge *judge, const struct model *model) {
	static const char *const losses[MODEL_LOSS_COUNT] = {
		[MODEL_LOST_LEASES] = "no lease is lost",      [MODEL_LOST_SITES] = "no site is lost",
		[MODEL_LOST_PROCESSES] = "no process is lost", [MODEL_LOST_STRINGS] = "no string is lost",
		[MODEL_LOST_MODULES] = "no module is lost",    [MODEL_LOST_POOLS] = "no pool is lost",
		[MODEL_LOST_OCTAVES] = "no octave is lost",    [MODEL_LOST_SPACE] = "no space is lost",
		[MODEL_LOST_POINTERS] = "no pointer is lost",  [MODEL_LOST_HISTORY] = "no history is lost",
	};
	for (int loss = 0; loss < MODEL_LOSS_COUNT; loss++)
		if (model->lost[loss] > 0 && losses[loss] != NULL &&
		    !(loss == MODEL_LOST_HISTORY && judge->is_lapped))
			return losses[loss];
	return NULL;
}

/* ---- Verdicts --------------------------------------------------------------------------------------------------------- */

static bool read_model(struct storm_judge *judge, struct model *model) {
	return hold(judge, ledger_reader_read(model, judge->path) == LEDGER_READER_OK, "the reader opens it");
}

static void judge_records(struct storm_judge *judge, const struct model *model) {
	hold(judge, are_right(model, model->history, model->history_count),
	     "every entry of the history is right");
	hold(judge, are_different(model), "no lease ends twice");
	hold(judge, are_right(model, model->examples, model->example_count), "every example is right");
	const char *loss = what_is_lost(judge, model);
	hold(judge, loss == NULL, loss);
}

bool storm_judge_before_reaping(struct storm_judge *judge) {
	struct model model;
	if (!read_model(judge, &model))
		return false;
	uint64_t unsure = model.lost[MODEL_TORN] + model.moving_count;
	hold(judge, balances(&model, unsure), "what came went or is there (before reaping)");
	hold(judge, pools_agree_with_sites(&model, unsure), "pools and sites agree (before reaping)");
	judge_records(judge, &model);
	model_release(&model);
	return judge->claim == NULL;
}

/* Since the last verdict. */
static void judge_counters(struct storm_judge *judge, const struct model *model) {
	uint64_t used = storm_board->used;
	for (size_t i = 0; i < ANNOUNCED; i++) {
		enum model_counter counter = announced[i];
		uint64_t done = 0;
		uint64_t begun = 0;
		for (uint64_t tally = judge->first_tally; tally < used; tally++) {
			done += storm_board->tally[tally].done[counter];
			begun += storm_board->tally[tally].begun[counter];
		}
		uint64_t now = storm_judge_counter(model, counter);
		uint64_t change = now - judge->before[counter];
		hold(judge, done <= change && change <= begun,
		     "counters lie between what was done and what was begun");
		judge->before[counter] = now;
	}
}

static void count_uncertain(struct storm_judge *judge, uint64_t more_uncertain) {
	judge->uncertain += more_uncertain;
	for (uint64_t tally = judge->first_tally; tally < storm_board->used; tally++)
		judge->uncertain +=
			storm_board->tally[tally].steps_begun != storm_board->tally[tally].steps_done;
}

bool storm_judge_after_reaping(struct storm_judge *judge, uint64_t more_uncertain) {
	struct model model;
	if (!read_model(judge, &model))
		return false;
	uint64_t torn = judge->torn = model.lost[MODEL_TORN];
	count_uncertain(judge, more_uncertain);
	judge_counters(judge, &model);
	hold(judge, model.lease_count == 0 && model.moving_count == 0, "no slot is taken");
	hold(judge, torn <= judge->uncertain, "no more is torn than was under way");
	hold(judge, balances(&model, torn), "what came went");
	hold(judge, pools_agree_with_sites(&model, torn), "pools and sites agree");
	hold(judge, times_agree(&model, torn), "times and counters agree");
	judge_records(judge, &model);
	model_release(&model);
	judge->first_tally = storm_board->used;
	judge->verdicts++;
	return judge->claim == NULL;
}
