#include "shim/script.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "shim/id_cache.h"
#include "shim/ledger_writer.h"
#include "shim/loader.h"

#define RUNTIME(name) extern const struct script_runtime script_##name;
#include "shim/script_runtimes.def"
#undef RUNTIME

static const struct script_runtime *const runtimes[] = {
#define RUNTIME(name) &script_##name,
#include "shim/script_runtimes.def"
#undef RUNTIME
};

#define RUNTIME_COUNT (sizeof runtimes / sizeof *runtimes)
_Static_assert(RUNTIME_COUNT <= 31, "masks have 32 bits");

/* A stack of which nothing but "no runtime on it" is known, so that 0 is not stored. */
#define MASK_IS_KNOWN (UINT32_C(1) << 31)
#define STACK_PLACES 4096u
#define OBJECT_PLACES 256u

enum met_state { UNMET, OPENING, MET };

static struct met {
	_Atomic uint32_t state;   /* enum met_state */
	_Atomic uint32_t reading; /* enum ledger_script_reading */
	bool is_startup;          /* never unloaded */
	uintptr_t start;          /* of the object that is the runtime */
	uintptr_t end;
	char version[SCRIPT_VERSION_BYTES];
} met[RUNTIME_COUNT];

static uint32_t depth_to_keep;
static uint32_t startup_mask;
static _Atomic uint32_t news;

static struct id_cache_place stack_places[STACK_PLACES];
static struct id_cache stacks = {.places = stack_places, .count = STACK_PLACES};
static struct id_cache_place object_places[OBJECT_PLACES];
static struct id_cache objects = {.places = object_places, .count = OBJECT_PLACES};

/* ---- Hashes -------------------------------------------------------------------------------------------------------- */

/* Multiplication carries every bit upwards, the shift brings the upper ones back down. */
uint64_t script_mix(uint64_t hash, uint64_t word) {
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static uint64_t load_word(const char *at) {
	uint64_t word;
	memcpy(&word, at, sizeof word);
	return word;
}

/* In two lanes: a multiplication has to wait for the one before it in its lane only. */
uint64_t script_mix_bytes(uint64_t hash, const void *bytes, size_t length_bytes) {
	const char *at = bytes;
	uint64_t other = length_bytes;
	size_t left = length_bytes;
	for (; left >= 16; at += 16, left -= 16) {
		hash = script_mix(hash, load_word(at));
		other = script_mix(other, load_word(at + 8));
	}
	uint64_t rest[2] = {0, 0};
	if (left > 0) /* else there may be no bytes at all */
		memcpy(rest, at, left);
	return script_mix(script_mix(hash, rest[0]), script_mix(other, rest[1]));
}

/* ---- Meeting runtimes ------------------------------------------------------------------------------------------------ */

static void set_reading(size_t number, enum ledger_script_reading reading) {
	if (atomic_exchange(&met[number].reading, reading) != reading)
		atomic_fetch_add(&news, 1);
}

static bool is_read(size_t number) {
	uint32_t reading = atomic_load_explicit(&met[number].reading, memory_order_relaxed);
	return reading == LEDGER_SCRIPT_OFFSETS || reading == LEDGER_SCRIPT_FUNCTIONS;
}

static void open_runtime(size_t number, const struct dl_find_object *object) {
	struct met *runtime = &met[number];
	runtime->start = (uintptr_t)object->dlfo_map_start;
	runtime->end = (uintptr_t)object->dlfo_map_end;
	runtime->version[0] = '\0';
	enum ledger_script_reading reading = runtimes[number]->open(object->dlfo_link_map, runtime->version);
	if (depth_to_keep == 0)
		reading = LEDGER_SCRIPT_OFF;
	set_reading(number, reading);
	atomic_store_explicit(&runtime->state, MET, memory_order_release);
}

/* Of two copies of one runtime the first one met is read. */
static bool meet(size_t number, const struct dl_find_object *object) {
	uint32_t state = UNMET;
	if (atomic_compare_exchange_strong(&met[number].state, &state, OPENING))
		open_runtime(number, object);
	return atomic_load_explicit(&met[number].state, memory_order_acquire) == MET &&
		met[number].start == (uintptr_t)object->dlfo_map_start;
}

static uint32_t ask_object(const struct dl_find_object *object) {
	uint32_t mask = 0;
	for (size_t i = 0; i < RUNTIME_COUNT; i++)
		if (loader_symbol(object->dlfo_link_map, runtimes[i]->mark) && meet(i, object))
			mask |= UINT32_C(1) << i;
	return mask;
}

static uint32_t runtimes_of_object(const struct dl_find_object *object) {
	uint32_t generation = id_cache_generation(&objects);
	uint64_t key = script_mix(1, (uintptr_t)object->dlfo_map_start);
	uint32_t mask;
	if (id_cache_find(&objects, key, &mask))
		return mask & ~MASK_IS_KNOWN;
	mask = ask_object(object);
	id_cache_put(&objects, generation, key, mask | MASK_IS_KNOWN);
	return mask;
}

/* Not inlined: rare. */
__attribute__((noinline)) static uint32_t ask_stack(const struct stack *native) {
	uint32_t generation = id_cache_generation(&stacks);
	uint32_t mask = 0;
	struct dl_find_object object = {0};
	int saved_errno = errno;
	for (uint32_t i = 0; i < native->count; i++) {
		/* A call may be the last instruction of an object. */
		uintptr_t at = native->pc[i] - 1;
		if (at >= (uintptr_t)object.dlfo_map_start && at < (uintptr_t)object.dlfo_map_end)
			continue;
		if (loader_find((const void *)at, &object))
			mask |= runtimes_of_object(&object);
	}
	id_cache_put(&stacks, generation, native->hash, mask | MASK_IS_KNOWN);
	errno = saved_errno;
	return mask;
}

static uint32_t runtimes_on(const struct stack *native) {
	uint32_t mask;
	if (native->count == 0)
		return 0;
	return id_cache_find(&stacks, native->hash, &mask) ? mask & ~MASK_IS_KNOWN : ask_stack(native);
}

static void ask_startup_object(const struct link_map *loaded) {
	struct dl_find_object object;
	if (!loader_find((const void *)loaded->l_ld, &object))
		return;
	uint32_t mask = runtimes_of_object(&object);
	startup_mask |= mask;
	for (size_t i = 0; i < RUNTIME_COUNT; i++)
		met[i].is_startup = met[i].is_startup || mask >> i & 1;
}

void script_open(uint32_t depth) {
	depth_to_keep = depth < SCRIPT_FRAMES_MAX ? depth : SCRIPT_FRAMES_MAX;
	if (loader_program())
		ask_startup_object(loader_program());
	for (const struct link_map *object = NULL; (object = loader_next_startup_object(object));)
		ask_startup_object(object);
}

void script_forked(void) {
	for (size_t i = 0; i < RUNTIME_COUNT; i++) {
		uint32_t state = OPENING;
		if (atomic_compare_exchange_strong(&met[i].state, &state, UNMET))
			script_forget();
	}
}

/* What was opened from an object that can be unloaded is opened again at its next sight. */
void script_forget(void) {
	for (size_t i = 0; i < RUNTIME_COUNT; i++) {
		uint32_t state = MET;
		if (!met[i].is_startup)
			atomic_compare_exchange_strong(&met[i].state, &state, UNMET);
	}
	id_cache_forget(&objects);
	id_cache_forget(&stacks);
}

enum ledger_script_reading script_reading(enum ledger_frame_language language, const char **version) {
	*version = "";
	for (size_t i = 0; i < RUNTIME_COUNT; i++) {
		if (runtimes[i]->language != language ||
		    atomic_load_explicit(&met[i].state, memory_order_acquire) != MET)
			continue;
		*version = met[i].version;
		return (enum ledger_script_reading)atomic_load(&met[i].reading);
	}
	return LEDGER_SCRIPT_UNMET;
}

uint32_t script_news(void) {
	return atomic_load_explicit(&news, memory_order_acquire);
}

/* ---- Capture ------------------------------------------------------------------------------------------------------------ */

bool script_append(struct script_stack *stack, const struct script_frame *frame, uint64_t content) {
	if (stack->room == 0 || stack->count == SCRIPT_FRAMES_MAX) {
		stack->is_truncated = true;
		stack->hash = script_mix(stack->hash, 1);
		return false;
	}
	stack->room--;
	stack->frames[stack->count] = *frame;
	stack->frames[stack->count++].runtime = stack->runtime;
	stack->hash = script_mix(stack->hash, content);
	return true;
}

static uint32_t mask_of(const struct stack *native) {
	return startup_mask | runtimes_on(native);
}

static bool is_met(size_t number) {
	return atomic_load_explicit(&met[number].state, memory_order_acquire) == MET && is_read(number);
}

static void capture(struct script_stack *stack, uint32_t number, const struct stack *native) {
	uint32_t count = stack->count;
	uint64_t hash = stack->hash;
	bool is_truncated = stack->is_truncated;
	stack->room = depth_to_keep;
	stack->runtime = (uint8_t)number;
	enum ledger_script_reading reading = runtimes[number]->capture(stack, native);
	if (reading == LEDGER_SCRIPT_OFFSETS || reading == LEDGER_SCRIPT_FUNCTIONS)
		return;
	set_reading(number, reading);
	stack->count = count;
	stack->hash = hash;
	stack->is_truncated = is_truncated;
}

void script_capture(struct script_stack *stack, const struct stack *native) {
	stack->count = 0;
	stack->is_truncated = false;
	stack->hash = 0;
	uint32_t mask = mask_of(native);
	for (; mask; mask &= mask - 1) {
		uint32_t number = (uint32_t)__builtin_ctz(mask);
		if (is_met(number))
			capture(stack, number, native);
	}
	if (stack->count > 0 && stack->hash == 0)
		stack->hash = 1;
}

bool script_is_on(const struct stack *native) {
	return mask_of(native) != 0;
}

bool script_is_over(void) {
	for (uint32_t number = 0; number < RUNTIME_COUNT; number++)
		if (runtimes[number]->is_over && is_met(number) && runtimes[number]->is_over())
			return true;
	return false;
}

struct script_state script_state(const struct stack *native) {
	struct script_state state = {0};
	uint32_t mask = mask_of(native);
	for (; mask; mask &= mask - 1) {
		uint32_t number = (uint32_t)__builtin_ctz(mask);
		if (is_met(number) && runtimes[number]->state)
			state.flags |= runtimes[number]->state(native);
	}
	return state;
}

/* ---- Merging ------------------------------------------------------------------------------------------------------------ */

struct merge {
	struct ledger_header *ledger;
	const struct stack *native;
	const struct script_stack *script;
	struct ledger_frame *frames;
	uint32_t count;
	/* Of every native frame: what it is, and whose. */
	uint8_t code[STACK_FRAMES_MAX];
	uint8_t runtime[STACK_FRAMES_MAX];
	/* Of every runtime: its frames in `script`, and how native frames of its loop are matched with them. */
	struct merge_part {
		uint32_t next;
		uint32_t end;
		bool has_loops;
		uint32_t
			first_loop; /* among the native frames; the last one behind it that is the interpreter's */
		uint32_t last_native;
		bool is_matched; /* the loop's frames tell where each group of script frames belongs */
	} part[RUNTIME_COUNT];
};

static void classify(struct merge *merge, uint32_t number) {
	uintptr_t pc = merge->native->pc[number];
	merge->code[number] = SCRIPT_CODE_FOREIGN;
	for (size_t i = 0; i < RUNTIME_COUNT; i++) {
		bool is_there = merge->part[i].next < merge->part[i].end;
		if (!is_there || pc - 1 < met[i].start || pc - 1 >= met[i].end)
			continue;
		merge->runtime[number] = (uint8_t)i;
		merge->code[number] = (uint8_t)(runtimes[i]->classify ? runtimes[i]->classify(pc)
								      : SCRIPT_CODE_INTERPRETER);
	}
}

static void find_parts(struct merge *merge) {
	const struct script_stack *script = merge->script;
	for (uint32_t i = 0; i < script->count; i++) {
		struct merge_part *part = &merge->part[script->frames[i].runtime];
		if (part->end == 0)
			part->next = i;
		part->end = i + 1;
	}
}

/* A loop was entered once for every group of frames, unless one of the two stacks was cut or a compiler moved a part of
 * the loop elsewhere: then all frames stand together. */
static void match_loops(struct merge *merge) {
	const struct script_stack *script = merge->script;
	bool is_cut = merge->native->is_truncated || script->is_truncated;
	for (size_t i = 0; i < RUNTIME_COUNT; i++) {
		struct merge_part *part = &merge->part[i];
		uint32_t loops = 0, groups = 0;
		for (uint32_t j = 0; j < merge->native->count; j++) {
			if (merge->code[j] == SCRIPT_CODE_FOREIGN || merge->runtime[j] != i)
				continue;
			if (merge->code[j] == SCRIPT_CODE_LOOP && loops++ == 0)
				part->first_loop = j;
			part->last_native = j;
		}
		for (uint32_t j = part->next; j < part->end; j++)
			groups += script->frames[j].is_entry || j + 1 == part->end;
		part->has_loops = loops > 0;
		part->is_matched = loops > 0 && (is_cut || loops == groups);
	}
}

static void describe(struct merge *merge, const struct script_frame *frame, struct script_text *text) {
	const struct script_runtime *runtime = runtimes[frame->runtime];
	text->file[0] = '\0';
	text->function[0] = '\0';
	text->line = 0;
	runtime->describe(frame, text);
	uint64_t function = ledger_intern_string(merge->ledger, text->function);
	merge->frames[merge->count++] =
		(struct ledger_frame){.language = runtime->language,
				      .where = ledger_intern_string(merge->ledger, text->file),
				      .address = function << 32 | text->line};
}

/* Not inlined: the words take 4 KiB of the host's stack only while they are written. */
__attribute__((noinline)) static void put_group(struct merge *merge, struct merge_part *part) {
	struct script_text text;
	bool is_last = false;
	while (part->next < part->end && !is_last) {
		const struct script_frame *frame = &merge->script->frames[part->next++];
		describe(merge, frame, &text);
		is_last = part->is_matched && frame->is_entry;
	}
}

static void put_native(struct merge *merge, uint32_t number, script_locate_function *locate) {
	const struct ledger_frame *before = merge->count > 0 ? &merge->frames[merge->count - 1] : NULL;
	if (locate(merge->ledger, merge->native->pc[number], before, &merge->frames[merge->count]))
		merge->count++;
}

/* What an extension calls of the interpreter (to release a lock, to protect a call) stands before the innermost loop, and
 * for no script frame. */
static void put_interpreter(struct merge *merge, uint32_t number) {
	struct merge_part *part = &merge->part[merge->runtime[number]];
	if (merge->code[number] == SCRIPT_CODE_LOOP || !part->has_loops)
		put_group(merge, part);
}

/* What an extension does between two loops of an interpreter that cannot tell which of its frames belong to which: the
 * frame has no place among them, and is left out. */
static bool is_enclosed(const struct merge *merge, uint32_t number) {
	for (size_t i = 0; i < RUNTIME_COUNT; i++) {
		const struct merge_part *part = &merge->part[i];
		if (part->has_loops && !part->is_matched && number > part->first_loop &&
		    number < part->last_native)
			return true;
	}
	return false;
}

uint32_t script_merge(struct ledger_header *ledger, const struct stack *native,
		      const struct script_stack *script, script_locate_function *locate,
		      struct ledger_frame *frames) {
	struct merge merge = {.ledger = ledger, .native = native, .script = script, .frames = frames};
	int saved_errno = errno;
	find_parts(&merge);
	for (uint32_t i = 0; i < native->count; i++)
		classify(&merge, i);
	match_loops(&merge);
	for (uint32_t i = 0; i < native->count; i++)
		if (merge.code[i] != SCRIPT_CODE_FOREIGN)
			put_interpreter(&merge, i);
		else if (!is_enclosed(&merge, i))
			put_native(&merge, i, locate);
	/* The native stack ended before the scripts did, or the interpreter is not on it. */
	for (size_t i = 0; i < RUNTIME_COUNT; i++) {
		merge.part[i].is_matched = false;
		put_group(&merge, &merge.part[i]);
	}
	errno = saved_errno;
	return merge.count;
}
