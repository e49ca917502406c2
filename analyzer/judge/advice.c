#include "analyzer/judge/advice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/hash_table.h"

enum { ENOUGH_PAUSES = 10, SAFETY_SHARE = 10, SAFETY_LEAST = 1 };

static const double MOMENT_S = 0.001;

static int compare_seconds(const void *a, const void *b) {
	double left = *(const double *)a;
	double right = *(const double *)b;
	return (left > right) - (left < right);
}

static double quantile(const double *sorted, size_t count, double share) {
	size_t rank = (size_t)ceil(share * (double)count);
	return count == 0 ? 0 : sorted[rank > 0 ? rank - 1 : 0];
}

static double mean_of(const double *values, size_t count) {
	double sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += values[i];
	return count > 0 ? sum / (double)count : 0;
}

/* ---- Uses of the pool --------------------------------------------------------------------------- */

struct span {
	int64_t thread;  /* pid << 32 | thread */
	uint32_t others; /* uses that were in progress a moment before it */
	double begun;
	double ended;
};

struct spans {
	struct span *spans;
	size_t count;
};

static int compare_begins(const void *a, const void *b) {
	const struct span *left = a;
	const struct span *right = b;
	if (left->begun != right->begun)
		return left->begun < right->begun ? -1 : 1;
	return (left->thread > right->thread) - (left->thread < right->thread);
}

/* An entry that stands for several: the same use again and again, one before the other. */
static void add_copies(struct spans *spans, const struct model_use *use, uint64_t base_ns) {
	double length = (double)(use->ended_ns - use->begun_ns) / 1e9;
	for (uint32_t copy = 0; copy < use->weight; copy++) {
		double ended = (double)(use->ended_ns - base_ns) / 1e9 - copy * length;
		spans->spans[spans->count++] =
			(struct span){(int64_t)((uint64_t)(uint32_t)use->pid << 32 | (uint32_t)use->thread),
				      0, ended - length, ended};
	}
}

static bool counts(const struct model_use *use, uint32_t pool) {
	return use->pool == pool && !use->is_dedicated && use->ended_ns >= use->begun_ns &&
		use->begun_ns != 0;
}

static struct spans gather(struct arena *arena, const struct model *model, uint32_t pool, bool *is_sampled) {
	struct spans spans = {NULL, 0};
	size_t most = 0;
	/* Near to zero, where a double has digits for every nanosecond. */
	uint64_t base_ns = model->run.created_ns;
	for (size_t i = 0; i < model->use_count; i++)
		most += counts(&model->uses[i], pool) ? model->uses[i].weight : 0;
	spans.spans = arena_array(arena, most, sizeof *spans.spans);
	for (size_t i = 0; i < model->use_count; i++)
		if (counts(&model->uses[i], pool)) {
			*is_sampled |= model->uses[i].weight > 1;
			add_copies(&spans, &model->uses[i], base_ns);
		}
	qsort(spans.spans, spans.count, sizeof *spans.spans, compare_begins);
	return spans;
}

/* ---- Concurrency -------------------------------------------------------------------------------- */

struct edge {
	double at;
	int change;
};

static int compare_edges(const void *a, const void *b) {
	const struct edge *left = a;
	const struct edge *right = b;
	if (left->at != right->at)
		return left->at < right->at ? -1 : 1;
	return left->change - right->change;
}

/* How many uses were in progress at an instant; both lists ascend. Instants must ascend from call to call. */
struct progress {
	const struct spans *spans;
	double *ends;
	size_t begun;
	size_t ended;
};

static uint32_t in_progress_at(struct progress *progress, double at) {
	const struct spans *spans = progress->spans;
	while (progress->begun < spans->count && spans->spans[progress->begun].begun <= at)
		progress->begun++;
	while (progress->ended < spans->count && progress->ends[progress->ended] <= at)
		progress->ended++;
	return (uint32_t)(progress->begun - progress->ended);
}

/* A little before each use: a connection that is handed from one caller to the next is free for a moment only. */
static void count_others(struct arena *arena, struct spans *spans, double moment) {
	struct progress progress = {spans, arena_array(arena, spans->count, sizeof(double)), 0, 0};
	for (size_t i = 0; i < spans->count; i++)
		progress.ends[i] = spans->spans[i].ended;
	qsort(progress.ends, spans->count, sizeof *progress.ends, compare_seconds);
	for (size_t i = 0; i < spans->count; i++)
		spans->spans[i].others = in_progress_at(&progress, spans->spans[i].begun - moment);
}

/* The level that was not exceeded for this share of the time. */
static uint32_t level_of(const double *time_at, uint32_t max, double share) {
	double all = 0;
	double sum = 0;
	for (uint32_t level = 0; level <= max; level++)
		all += time_at[level];
	for (uint32_t level = 0; level < max; level++) {
		sum += time_at[level];
		if (sum >= share * all)
			return level;
	}
	return max;
}

static void measure_concurrency(struct advice *advice, struct arena *arena, const struct spans *spans) {
	struct edge *edges = arena_array(arena, 2 * spans->count, sizeof *edges);
	double *time_at = arena_array(arena, spans->count + 1, sizeof *time_at);
	int now = 0;
	for (size_t i = 0; i < spans->count; i++) {
		edges[2 * i] = (struct edge){spans->spans[i].begun, 1};
		edges[2 * i + 1] = (struct edge){spans->spans[i].ended, -1};
	}
	qsort(edges, 2 * spans->count, sizeof *edges, compare_edges);
	for (size_t i = 0; i < 2 * spans->count; i++) {
		if (i > 0 && now >= 0)
			time_at[now] += edges[i].at - edges[i - 1].at;
		now += edges[i].change;
		if (now > (int)advice->concurrency_max)
			advice->concurrency_max = (uint32_t)now;
	}
	advice->concurrency_p50 = level_of(time_at, advice->concurrency_max, 0.50);
	advice->concurrency_p95 = level_of(time_at, advice->concurrency_max, 0.95);
	advice->concurrency_p99 = level_of(time_at, advice->concurrency_max, 0.99);
	advice->window = edges[2 * spans->count - 1].at - edges[0].at;
}

/* ---- Callers ------------------------------------------------------------------------------------ */

/* Uses of one caller, first to last, as numbers of spans. */
struct caller {
	size_t first;
	size_t last;
	double free_from;
	struct caller *next_of_thread;
};

struct thread {
	int64_t thread;
	struct caller *callers;
	UT_hash_handle hh;
};

struct lines {
	struct caller *callers;
	uint32_t count;
	size_t *next;    /* of a span: the caller's next one, SIZE_MAX none */
	double *pause;   /* of a span: before it */
	bool *has_pause; /* of a span: it is not the first of its caller */
};

static struct caller *find_free(struct thread *thread, double begun) {
	for (struct caller *caller = thread->callers; caller != NULL; caller = caller->next_of_thread)
		if (caller->free_from <= begun)
			return caller;
	return NULL;
}

static struct thread *thread_of(struct thread **threads, struct arena *arena, int64_t number) {
	struct thread *thread;
	HASH_FIND(hh, *threads, &number, sizeof number, thread);
	if (thread != NULL)
		return thread;
	thread = arena_new(arena, struct thread);
	thread->thread = number;
	HASH_ADD(hh, *threads, thread, sizeof thread->thread, thread);
	return thread;
}

/* A thread with several uses at once (coroutines) is several callers. */
static struct lines split_into_lines(struct arena *arena, struct spans *spans) {
	struct thread *threads = NULL;
	struct lines lines = {arena_array(arena, spans->count, sizeof *lines.callers), 0,
			      arena_array(arena, spans->count, sizeof *lines.next),
			      arena_array(arena, spans->count, sizeof *lines.pause),
			      arena_array(arena, spans->count, sizeof *lines.has_pause)};
	for (size_t i = 0; i < spans->count; i++) {
		struct span *span = &spans->spans[i];
		struct thread *thread = thread_of(&threads, arena, span->thread);
		struct caller *caller = find_free(thread, span->begun);
		lines.next[i] = SIZE_MAX;
		if (caller == NULL) {
			caller = &lines.callers[lines.count++];
			*caller = (struct caller){i, i, 0, thread->callers};
			thread->callers = caller;
		} else {
			lines.next[caller->last] = i;
			lines.pause[i] = span->begun - caller->free_from;
			lines.has_pause[i] = true;
			caller->last = i;
		}
		caller->free_from = span->ended;
	}
	HASH_CLEAR(hh, threads);
	return lines;
}

/* How many callers there were at a time, each from its first use to its last. */
static uint32_t most_callers(struct arena *arena, const struct lines *lines, const struct spans *spans) {
	struct edge *edges = arena_array(arena, 2 * (size_t)lines->count, sizeof *edges);
	int now = 0;
	int most = 0;
	for (uint32_t i = 0; i < lines->count; i++) {
		edges[2 * i] = (struct edge){spans->spans[lines->callers[i].first].begun, 1};
		edges[2 * i + 1] = (struct edge){lines->callers[i].free_from, -1};
	}
	qsort(edges, 2 * (size_t)lines->count, sizeof *edges, compare_edges);
	for (size_t i = 0; i < 2 * (size_t)lines->count; i++) {
		now += edges[i].change;
		most = now > most ? now : most;
	}
	return most > 0 ? (uint32_t)most : 1;
}

/* Where a connection had been free for a moment, nobody had waited for it. */
static bool is_known_pause(const struct span *span, uint32_t concurrency_max) {
	return span->others < concurrency_max;
}

static double usual_pause(struct arena *arena, const struct lines *lines, const struct spans *spans,
			  uint32_t concurrency_max) {
	double *known = arena_array(arena, spans->count, sizeof *known);
	size_t count = 0;
	for (size_t i = 0; i < spans->count; i++)
		if (lines->has_pause[i] && is_known_pause(&spans->spans[i], concurrency_max))
			known[count++] = lines->pause[i];
	qsort(known, count, sizeof *known, compare_seconds);
	return count >= ENOUGH_PAUSES ? quantile(known, count, 0.5) : 0;
}

/* Only when there were more callers than connections in use: then pauses hold waits that we do not see. */
static void shorten_pauses(struct arena *arena, const struct lines *lines, const struct spans *spans,
			   uint32_t concurrency_max) {
	double usual = usual_pause(arena, lines, spans, concurrency_max);
	for (size_t i = 0; i < spans->count; i++)
		if (!is_known_pause(&spans->spans[i], concurrency_max) && lines->pause[i] > usual)
			lines->pause[i] = usual;
}

/* ---- Replay ------------------------------------------------------------------------------------- */

/* A caller that will ask for a connection, by the time it does; a binary heap, earliest first. */
struct request {
	double at;
	size_t span;
};

struct requests {
	struct request *heap;
	size_t count;
};

static bool is_earlier(const struct request *a, const struct request *b) {
	return a->at != b->at ? a->at < b->at : a->span < b->span;
}

static void push(struct requests *requests, struct request request) {
	size_t at = requests->count++;
	while (at > 0 && is_earlier(&request, &requests->heap[(at - 1) / 2])) {
		requests->heap[at] = requests->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	requests->heap[at] = request;
}

static struct request pop(struct requests *requests) {
	struct request first = requests->heap[0];
	struct request last = requests->heap[--requests->count];
	size_t at = 0;
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= requests->count)
			break;
		if (child + 1 < requests->count &&
		    is_earlier(&requests->heap[child + 1], &requests->heap[child]))
			child++;
		if (!is_earlier(&requests->heap[child], &last))
			break;
		requests->heap[at] = requests->heap[child];
		at = child;
	}
	requests->heap[at] = last;
	return first;
}

/* Where the connection that is free first is. */
static uint32_t first_free(const double *free_from, uint32_t size) {
	uint32_t best = 0;
	for (uint32_t i = 1; i < size; i++)
		if (free_from[i] < free_from[best])
			best = i;
	return best;
}

struct replay {
	const struct spans *spans;
	const struct lines *lines;
	struct requests requests;
	double *waits;
	double free_from[ADVICE_SIZES_MAX];
};

/* First come, first served: requests are taken in the order in which they are made. */
static struct advice_size play(struct replay *replay, uint32_t size) {
	size_t served = 0;
	memset(replay->free_from, 0, sizeof replay->free_from);
	replay->requests.count = 0;
	for (uint32_t i = 0; i < replay->lines->count; i++) {
		size_t first = replay->lines->callers[i].first;
		push(&replay->requests, (struct request){replay->spans->spans[first].begun, first});
	}
	while (replay->requests.count > 0) {
		struct request request = pop(&replay->requests);
		const struct span *span = &replay->spans->spans[request.span];
		uint32_t slot = first_free(replay->free_from, size);
		double begun = fmax(request.at, replay->free_from[slot]);
		double ended = begun + (span->ended - span->begun);
		size_t next = replay->lines->next[request.span];
		replay->waits[served++] = begun - request.at;
		replay->free_from[slot] = ended;
		if (next != SIZE_MAX)
			push(&replay->requests, (struct request){ended + replay->lines->pause[next], next});
	}
	qsort(replay->waits, served, sizeof *replay->waits, compare_seconds);
	return (struct advice_size){.size = size,
				    .wait_mean = mean_of(replay->waits, served),
				    .wait_p50 = quantile(replay->waits, served, 0.50),
				    .wait_p99 = quantile(replay->waits, served, 0.99),
				    .wait_max = replay->waits[served - 1]};
}

static void replay_sizes(struct advice *advice, struct arena *arena, const struct spans *spans,
			 const struct lines *lines, double target) {
	struct replay replay = {.spans = spans,
				.lines = lines,
				.requests = {arena_array(arena, lines->count + 1, sizeof(struct request)), 0},
				.waits = arena_array(arena, spans->count, sizeof(double))};
	for (uint32_t size = 1; size <= lines->count && size <= ADVICE_SIZES_MAX; size++) {
		struct advice_size result = play(&replay, size);
		advice->sizes[advice->size_count++] = result;
		if (advice->smallest == 0 && result.wait_p99 <= target)
			advice->smallest = size;
		if (result.wait_max <= 0)
			break;
	}
}

/* ---- All together ------------------------------------------------------------------------------- */

static void measure_uses(struct advice *advice, struct arena *arena, const struct spans *spans) {
	double *lengths = arena_array(arena, spans->count, sizeof *lengths);
	for (size_t i = 0; i < spans->count; i++)
		lengths[i] = spans->spans[i].ended - spans->spans[i].begun;
	qsort(lengths, spans->count, sizeof *lengths, compare_seconds);
	advice->use_p50 = quantile(lengths, spans->count, 0.50);
	advice->use_p99 = quantile(lengths, spans->count, 0.99);
}

/* The usual formulas: (workers x 2) + burst + safety margin, and workers x 2. */
static void fill_formulas(struct advice *advice) {
	advice->workers_times_two = 2 * advice->callers;
	advice->burst = advice->concurrency_max - advice->concurrency_p50;
	advice->safety = advice->workers_times_two / SAFETY_SHARE + SAFETY_LEAST;
	advice->with_burst = advice->workers_times_two + advice->burst + advice->safety;
}

bool advice_give(struct advice *advice, struct arena *arena, const struct model *model, uint32_t pool,
		 double target) {
	*advice = (struct advice){.overwritten = model->uses_overwritten};
	struct spans spans = gather(arena, model, pool, &advice->is_sampled);
	if (spans.count == 0)
		return false;
	struct lines lines = split_into_lines(arena, &spans);
	advice->uses = spans.count;
	advice->callers = most_callers(arena, &lines, &spans);
	measure_uses(advice, arena, &spans);
	count_others(arena, &spans, fmax(MOMENT_S, advice->use_p50 / 4));
	measure_concurrency(advice, arena, &spans);
	if (advice->callers > advice->concurrency_max)
		shorten_pauses(arena, &lines, &spans, advice->concurrency_max);
	replay_sizes(advice, arena, &spans, &lines, target);
	fill_formulas(advice);
	return true;
}
