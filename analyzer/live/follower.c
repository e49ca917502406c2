#include "analyzer/live/follower.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "analyzer/ledger/ledger_load.h"
#include "analyzer/symbols/symbol_source.h"

/* What tells one state of an ended ledger's file from another. */
struct file_stamp {
	dev_t device;
	ino_t inode;
	off_t size_bytes;
	int64_t changed_ns;
};

struct follower {
	struct arena arena; /* of the follower itself */
	const char *path;
	const struct report_settings *settings;
	struct model model;
	struct report report;
	struct symbol_source *symbols;
	enum follower_state state;
	const char *problem;
	struct file_stamp stamp;
	uint64_t read_at_ns;
	uint64_t due_ns;
	bool has_report;
};

struct follower *follower_open(const char *path, const struct report_settings *settings) {
	struct arena arena = {0};
	struct follower *follower = arena_new(&arena, struct follower);
	follower->arena = arena;
	follower->settings = settings;
	follower->path = arena_copy(&follower->arena, path, strlen(path));
	return follower;
}

static void forget_report(struct follower *follower) {
	if (!follower->has_report)
		return;
	report_release(&follower->report);
	model_release(&follower->model);
	follower->has_report = false;
}

void follower_close(struct follower *follower) {
	forget_report(follower);
	if (follower->symbols != NULL)
		symbol_source_close(follower->symbols);
	struct arena arena = follower->arena;
	arena_release(&arena);
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static uint64_t clock_ns(clockid_t clock) {
	struct timespec now;
	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool stamp_of(const char *path, struct file_stamp *stamp) {
	struct stat file;
	if (lstat(path, &file) != 0)
		return false;
	*stamp = (struct file_stamp){file.st_dev, file.st_ino, file.st_size,
				     (int64_t)file.st_ctim.tv_sec * 1000000000 + file.st_ctim.tv_nsec};
	return true;
}

static bool is_same_file(const struct file_stamp *a, const struct file_stamp *b) {
	return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
		a->changed_ns == b->changed_ns;
}

static bool is_over(const struct model *model) {
	if (model->run.is_live)
		return false;
	for (size_t i = 0; i < model->process_count; i++)
		if (!model->processes[i].is_gone)
			return false;
	return true;
}

static bool is_same_run(const struct model *a, const struct model *b) {
	return memcmp(a->run.id, b->run.id, sizeof a->run.id) == 0;
}

/* Names stay known from one reading to the next, but not from one run to the next: there may be many. */
static void open_symbols(struct follower *follower, const struct model *model) {
	if (follower->symbols != NULL && follower->has_report && is_same_run(&follower->model, model))
		return;
	forget_report(follower);
	if (follower->symbols != NULL)
		symbol_source_close(follower->symbols);
	follower->symbols = symbol_source_open(follower->path, model->mapped_bytes, NULL);
}

static void take_model(struct follower *follower, const struct model *model) {
	open_symbols(follower, model);
	forget_report(follower);
	follower->model = *model;
	report_build(&follower->report, &follower->model, follower->symbols, follower->settings);
	follower->has_report = true;
	follower->state = is_over(&follower->model) ? FOLLOWER_ENDED : FOLLOWER_LIVE;
}

static void read_again(struct follower *follower) {
	struct model model;
	follower->problem = ledger_load(&model, follower->path);
	if (follower->problem == NULL)
		take_model(follower, &model);
	else
		follower->state = follower->has_report ? FOLLOWER_LOST : FOLLOWER_UNREAD;
}

/* An ended ledger is read again only when its file is another one. */
static bool is_worth_reading(struct follower *follower) {
	struct file_stamp stamp = {0};
	bool is_there = stamp_of(follower->path, &stamp);
	bool is_unchanged =
		follower->state == FOLLOWER_ENDED && is_there && is_same_file(&stamp, &follower->stamp);
	follower->stamp = stamp;
	return !is_unchanged;
}

static uint64_t pause_after(uint64_t cost_ns) {
	uint64_t pause_ns = cost_ns * FOLLOWER_PACE;
	if (pause_ns < FOLLOWER_SHORTEST_NS)
		return FOLLOWER_SHORTEST_NS;
	return pause_ns < FOLLOWER_LONGEST_NS ? pause_ns : FOLLOWER_LONGEST_NS;
}

enum follower_state follower_look(struct follower *follower, uint64_t now_ns) {
	if (now_ns < follower->due_ns)
		return follower->state;
	uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (is_worth_reading(follower))
		read_again(follower);
	follower->read_at_ns = now_ns;
	follower->due_ns = now_ns + pause_after(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns);
	return follower->state;
}

/* ---- What was read ---------------------------------------------------------------------------------------- */

const char *follower_path(const struct follower *follower) {
	return follower->path;
}

const struct report *follower_report(const struct follower *follower) {
	return follower->has_report ? &follower->report : NULL;
}

const char *follower_problem(const struct follower *follower) {
	return follower->problem;
}

uint64_t follower_read_at_ns(const struct follower *follower) {
	return follower->read_at_ns;
}
