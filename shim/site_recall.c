#include "shim/site_recall.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/script.h"
#include "shim/site.h"
#include "shim/stack.h"
#include "shim/stack_memory.h"
#include "shim/stack_table.h"

#define PLACES 8u
#define MEMORIES 64u /* threads that remember at once; others capture every time */
#define FRAMES_MAX 40u
#define WORDS_MAX 8192u /* searched above the mark: 64 KiB of stack */
#define CAPTURE_PAUSE_NS UINT64_C(1000000)

struct place {
	uintptr_t caller; /* 0: unused */
	uintptr_t mark;
	uint64_t hash;
	uint32_t site;
	uint32_t generation;  /* forget count and process generation */
	uint64_t captured_ns; /* when last in full */
	uint32_t count;
	bool is_refuted;
	uint16_t word[FRAMES_MAX]; /* where the frame's return address lies, in words above the mark */
	uintptr_t pc[FRAMES_MAX];
};

/* What a thread has learned. Not thread-local itself: the loader has little static room for that, and none to give
 * when an auditor is loaded first (rtld-audit); then the program would not start. */
struct memory {
	_Atomic int32_t owner; /* thread id, 0: free */
	struct place places[PLACES];
};

static struct memory memories[MEMORIES];
static __thread struct memory *own;      /* NULL: none was free, and this thread asks no more */
static __thread uint32_t own_generation; /* of the process: a forked child asks for its own */
static _Atomic uint32_t forgotten;

static uint32_t generation_of(const struct recording *now) {
	return atomic_load_explicit(&forgotten, memory_order_acquire) * 0x10001u + now->generation;
}

/* A thread has ended, or belonged to the parent of a fork, if its number is none of this process. */
static bool is_thread_gone(int32_t id) {
	int saved_errno = errno;
	bool is_gone = syscall(SYS_tgkill, getpid(), id, 0) != 0 && errno == ESRCH;
	errno = saved_errno;
	return is_gone;
}

static bool take_memory(struct memory *memory, int32_t id) {
	int32_t owner = atomic_load_explicit(&memory->owner, memory_order_relaxed);
	return (owner == 0 || owner == id || is_thread_gone(owner)) &&
		atomic_compare_exchange_strong(&memory->owner, &owner, id);
}

/* Once in a thread's life and after each fork; NULL if all are taken. */
static struct memory *find_memory(int32_t id) {
	for (uint32_t i = 0; i < MEMORIES; i++)
		if (take_memory(&memories[i], id)) {
			for (uint32_t place = 0; place < PLACES; place++)
				memories[i].places[place].caller = 0;
			return &memories[i];
		}
	return NULL;
}

static struct memory *own_memory(const struct recording *now) {
	if (own_generation != now->generation) {
		own = find_memory(process_thread_id());
		own_generation = now->generation;
	}
	return own;
}

static struct place *place_of(struct memory *memory, uintptr_t caller, uintptr_t mark) {
	return &memory->places[((caller ^ mark >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % PLACES];
}

static bool is_here(const struct place *place, const struct recording *now, uintptr_t caller,
		    uintptr_t mark) {
	return place->caller == caller && place->mark == mark && place->generation == generation_of(now);
}

/* A frame's words are read on purpose, wherever the sanitizer drew its borders. */
__attribute__((no_sanitize("address", "thread"))) static bool holds_all(const struct place *place) {
	const uintptr_t *words = (const uintptr_t *)place->mark;
	uint16_t last = place->word[place->count - 1];
	if (!stack_memory_holds(place->mark, place->mark + last * sizeof *words + 7))
		return false;
	for (uint32_t i = 0; i < place->count; i++)
		if (words[place->word[i]] != place->pc[i])
			return false;
	return true;
}

__attribute__((no_sanitize("address", "thread"))) static bool learn(struct place *place,
								    const struct stack *stack) {
	const uintptr_t *words = (const uintptr_t *)place->mark;
	uint32_t at = 0;
	if (stack->count == 0 || stack->count > FRAMES_MAX)
		return false;
	for (uint32_t i = 0; i < stack->count; i++, at++) {
		while (at < WORDS_MAX && stack_memory_holds(place->mark, (uintptr_t)&words[at] + 7) &&
		       words[at] != stack->pc[i])
			at++;
		if (at == WORDS_MAX || !stack_memory_holds(place->mark, (uintptr_t)&words[at] + 7))
			return false;
		place->word[i] = (uint16_t)at;
		place->pc[i] = stack->pc[i];
	}
	place->count = stack->count;
	return true;
}

static void remember(struct place *place, const struct recording *now, uintptr_t caller, uintptr_t mark,
		     const struct stack *stack, uint32_t site) {
	if (is_here(place, now, caller, mark)) {
		if (place->is_refuted || place->hash == stack->hash)
			return;
		/* Another stack with the same look, or only another one. */
		place->is_refuted = place->count > 0 && holds_all(place);
		if (place->is_refuted)
			return;
	}
	place->caller = 0; /* a signal handler must not find it half written */
	atomic_signal_fence(memory_order_seq_cst);
	place->mark = mark;
	place->hash = stack->hash;
	place->site = site;
	place->generation = generation_of(now);
	place->is_refuted = !learn(place, stack);
	atomic_signal_fence(memory_order_seq_cst);
	place->caller = caller;
}

/* Where the hook was called from, and what this thread has learned of that. */
struct request {
	const struct recording *now;
	const void *caller;
	uintptr_t mark;
	uint64_t now_ns;
	struct place *place; /* NULL: nothing can be learned */
};

static struct request request_of(const struct recording *now, const void *caller, const void *mark,
				 uint64_t now_ns) {
	uintptr_t at = (uintptr_t)mark & ~(uintptr_t)7;
	struct memory *memory = caller && !now->captures_every_use ? own_memory(now) : NULL;
	struct place *place = memory ? place_of(memory, (uintptr_t)caller, at) : NULL;
	return (struct request){now, caller, at, now_ns, place};
}

static bool is_recognised(const struct request *request) {
	const struct place *place = request->place;
	return place && is_here(place, request->now, (uintptr_t)request->caller, request->mark) &&
		request->now_ns - place->captured_ns < CAPTURE_PAUSE_NS && !place->is_refuted &&
		holds_all(place);
}

static void captured(const struct request *request, const struct stack *stack, uint32_t site) {
	if (!request->place || site < LEDGER_SITE_FIRST)
		return;
	remember(request->place, request->now, (uintptr_t)request->caller, request->mark, stack, site);
	request->place->captured_ns = request->now_ns;
}

static uint32_t capture_use(const struct request *request) {
	struct stack stack;
	struct script_stack script;
	uint32_t site = site_capture(request->now, request->caller, &stack, &script);
	if (script.count == 0)
		captured(request, &stack, site);
	return site;
}

uint32_t site_recall(const struct recording *now, const void *caller, const void *mark, uint64_t now_ns,
		     bool *is_assumed) {
	struct request request = request_of(now, caller, mark, now_ns);
	*is_assumed = is_recognised(&request);
	return *is_assumed ? request.place->site : capture_use(&request);
}

/* With an interpreter on the stack there is more to be known than its frames: that it ends, or collects garbage. */
static uint32_t capture_release(const struct request *request, struct script_state *state) {
	struct stack stack;
	struct script_stack script;
	uint32_t site = site_capture_release(request->now, request->caller, &stack, &script);
	*state = script_state(&stack);
	if (!script_is_on(&stack))
		captured(request, &stack, site);
	return site;
}

uint32_t site_recall_release(const struct recording *now, const void *caller, const void *mark,
			     uint64_t now_ns, struct script_state *state) {
	struct request request = request_of(now, caller, mark, now_ns);
	*state = (struct script_state){0};
	return is_recognised(&request) ? request.place->site : capture_release(&request, state);
}

void site_recall_forget(void) {
	atomic_fetch_add_explicit(&forgotten, 1, memory_order_release);
}
