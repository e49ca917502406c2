/*
 * Ruby 3: frames by functions of its own that are made for profilers.
 *
 * rb_profile_frames copies what this thread's control frames point to. It takes no lock, allocates nothing and works
 * without the GVL (measured; a thread's frames do not change while it is inside libpq). Of a frame's functions only
 * those are called that return a string which the code already holds: names of C functions would be looked up in a
 * table under a lock, so their frames are left out; their native frames stand for them.
 *
 * A block or an eval inside a method is given back as the method, whose name and file are not the block's. So the same
 * control frames are walked beside it for the code they really run, where they are found to lie as expected.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "shim/loader.h"
#include "shim/script.h"
#include "shim/script_code.h"
#include "shim/script_memory.h"

typedef uintptr_t value; /* Ruby's VALUE */

/* Frames of C functions count among those asked for, and are left out. */
#define ASKED_MAX (2 * SCRIPT_FRAMES_MAX)

static struct {
	int (*is_ruby_thread)(void);
	int (*frames)(int start, int limit, value *frames, int *lines);
	value (*path)(value frame);
	value (*label)(value frame);
	value (*thread)(void);
	char *(*string_bytes)(value *string);
	int (*is_collecting)(void);
	int (*has_lock)(void); /* the GVL */
	void *const *machine;  /* NULL inside: the last Ruby code has run */
	bool has_length_first; /* struct RString, from 3.2 on */
} ruby;

static const char *const loop_names[] = {"rb_vm_exec", NULL};
static struct script_functions loop;

static _Atomic bool is_proved; /* strings lie as expected */

/* ---- Strings ---------------------------------------------------------------------------------------------------------- */

#define FLAGS_TYPE_MASK 0x1f
#define FLAGS_STRING 0x05
#define FLAGS_INTERNAL 0x1a
#define FLAGS_NOT_EMBEDDED (1u << 13)
#define FLAGS_EMBEDDED_LENGTH_SHIFT 14
#define FLAGS_EMBEDDED_LENGTH_MASK 0x1f
#define STRING_FIRST 16 /* the length; before 3.2 the bytes of an embedded string */
#define STRING_SECOND 24

/* nil, true, numbers and symbols are no addresses. */
static bool is_object(value object) {
	return object > 4096 && object % sizeof object == 0;
}

static struct script_bytes string_bytes(struct script_memory *memory, value string) {
	uintptr_t flags = is_object(string) ? script_memory_word(memory, string) : 0;
	if ((flags & FLAGS_TYPE_MASK) != FLAGS_STRING)
		return (struct script_bytes){"", 0};
	bool is_embedded = !(flags & FLAGS_NOT_EMBEDDED);
	uintptr_t bytes =
		is_embedded ? string + STRING_SECOND : script_memory_word(memory, string + STRING_SECOND);
	size_t length_bytes = script_memory_word(memory, string + STRING_FIRST);
	if (is_embedded && !ruby.has_length_first) {
		bytes = string + STRING_FIRST;
		length_bytes = flags >> FLAGS_EMBEDDED_LENGTH_SHIFT & FLAGS_EMBEDDED_LENGTH_MASK;
	}
	return script_memory_bytes(memory, bytes, length_bytes);
}

/* Ruby's own idea of where the bytes are; it is not asked of anything but a string. */
static bool is_string_as_expected(struct script_memory *memory, value string) {
	struct script_bytes text = string_bytes(memory, string);
	return text.length_bytes > 0 && !memory->is_broken && ruby.string_bytes(&string) == text.bytes &&
		memchr(text.bytes, '\0', text.length_bytes) == NULL;
}

/* ---- Frames ----------------------------------------------------------------------------------------------------------- */

/* While a collector runs, in this thread or (without the GVL) in another, it may be moving what frames point to: then
 * nothing is read. */
static bool has_frames(void) {
	return *ruby.machine && ruby.is_ruby_thread();
}

/* A frame of a C function has line 0. */
static bool is_script(value frame, int line) {
	return line > 0 && is_object(frame);
}

/* ---- Control frames --------------------------------------------------------------------------------------------------- */

#define OBJECT_BODY 32 /* of a thread's object */
#define THREAD_WORDS 24
#define CONTEXT_STACK 0
#define CONTEXT_STACK_WORDS 8
#define CONTEXT_FRAME 16
#define FRAME_PC 0
#define FRAME_CODE 16
#define FRAME_ENVIRONMENT 32
#define ENVIRONMENT_IS_C 0x80
#define STACK_WORDS_MAX (1u << 24)

/* Where a thread has its execution context, and how long a control frame is: found by trying; 0: not found yet. */
static _Atomic uint32_t context_place;
static _Atomic uint32_t frame_bytes;
static const uint32_t frame_sizes[] = {56, 64};

struct control_frames {
	uintptr_t at;
	uintptr_t end;
};

/* Values grow up from the start of a stack, control frames down from its end. */
static bool are_control_frames(struct script_memory *memory, uintptr_t context,
			       struct control_frames *found) {
	uintptr_t stack = script_memory_word(memory, context + CONTEXT_STACK);
	uintptr_t words = script_memory_word(memory, context + CONTEXT_STACK_WORDS);
	found->at = script_memory_word(memory, context + CONTEXT_FRAME);
	found->end = stack + words * sizeof(value);
	return stack != 0 && words > 0 && words <= STACK_WORDS_MAX && found->at > stack &&
		found->at < found->end && (found->end - found->at) % sizeof(value) == 0;
}

/* With a reader of its own: words that are no addresses are tried as such. */
static void find_context(uintptr_t thread) {
	for (uint32_t i = 1; i < THREAD_WORDS; i++) {
		struct script_memory memory = {0};
		struct control_frames found;
		uintptr_t context = script_memory_word(&memory, thread + i * sizeof(uintptr_t));
		if (is_object(context) && are_control_frames(&memory, context, &found) && !memory.is_broken) {
			atomic_store_explicit(&context_place, i * (uint32_t)sizeof(uintptr_t),
					      memory_order_relaxed);
			return;
		}
	}
}

static bool control_frames_here(struct script_memory *memory, struct control_frames *found) {
	uintptr_t thread = script_memory_word(memory, ruby.thread() + OBJECT_BODY);
	if (!memory->is_proved && thread)
		find_context(thread);
	uint32_t place = atomic_load_explicit(&context_place, memory_order_relaxed);
	return thread && place != 0 &&
		are_control_frames(memory, script_memory_word(memory, thread + place), found);
}

static bool is_code(struct script_memory *memory, value code) {
	return is_object(code) && (script_memory_word(memory, code) & FLAGS_TYPE_MASK) == FLAGS_INTERNAL;
}

/* What runs in these frames of Ruby code, innermost first. Returns how many there are, at most `room`; 0 also if they do not
 * look like frames. */
static int walk_codes(struct script_memory *memory, struct control_frames frames, uint32_t size_bytes,
		      value *codes, int room) {
	int count = 0;
	for (; frames.at < frames.end && count < room; frames.at += size_bytes) {
		value code = script_memory_word(memory, frames.at + FRAME_CODE);
		uintptr_t environment = script_memory_word(memory, frames.at + FRAME_ENVIRONMENT);
		if (code == 0 || script_memory_word(memory, frames.at + FRAME_PC) == 0 || environment == 0 ||
		    (script_memory_word(memory, environment) & ENVIRONMENT_IS_C))
			continue;
		if (!is_code(memory, code))
			return 0;
		codes[count++] = code;
	}
	return memory->is_broken ? 0 : count;
}

/* Puts the code that a frame really runs in place of its method. False, and nothing is changed, if the two ways see
 * different frames; the one that Ruby starts with has no line. */
static bool match_codes(value *frames, const int *lines, int count, const value *codes, int code_count) {
	value matched[ASKED_MAX];
	int next = 0;
	for (int i = 0; i < count; i++) {
		matched[i] = frames[i];
		if (!is_script(frames[i], lines[i])) {
			next += next < code_count && codes[next] == frames[i];
			continue;
		}
		if (next == code_count)
			return false;
		matched[i] = codes[next++];
	}
	if (next == 0 || (next < code_count && count < (int)ASKED_MAX))
		return false;
	memcpy(frames, matched, (size_t)count * sizeof *frames);
	return true;
}

static bool name_blocks_by(bool is_layout_proved, uint32_t size_bytes, value *frames, const int *lines,
			   int count) {
	struct script_memory memory = {.is_proved = is_layout_proved};
	struct control_frames found;
	value codes[ASKED_MAX];
	if (!control_frames_here(&memory, &found) || (found.end - found.at) % size_bytes != 0)
		return false;
	int code_count = walk_codes(&memory, found, size_bytes, codes, ASKED_MAX);
	return match_codes(frames, lines, count, codes, code_count);
}

static void name_blocks(bool is_layout_proved, value *frames, const int *lines, int count) {
	uint32_t size_bytes = atomic_load_explicit(&frame_bytes, memory_order_relaxed);
	if (size_bytes != 0) {
		name_blocks_by(is_layout_proved, size_bytes, frames, lines, count);
		return;
	}
	for (size_t i = 0; i < sizeof frame_sizes / sizeof *frame_sizes; i++)
		if (name_blocks_by(false, frame_sizes[i], frames, lines, count)) {
			atomic_store_explicit(&frame_bytes, frame_sizes[i], memory_order_relaxed);
			return;
		}
}

/* ---- Capture ---------------------------------------------------------------------------------------------------------- */

static uint64_t hash_frame(struct script_memory *memory, value frame, int line) {
	struct script_bytes file = string_bytes(memory, ruby.path(frame));
	struct script_bytes label = string_bytes(memory, ruby.label(frame));
	uint64_t hash = script_mix_bytes((uint64_t)line, file.bytes, file.length_bytes);
	return script_mix_bytes(hash, label.bytes, label.length_bytes);
}

static bool is_proof(struct script_memory *memory, value frame) {
	return is_string_as_expected(memory, ruby.path(frame)) &&
		is_string_as_expected(memory, ruby.label(frame));
}

static enum ledger_script_reading capture_ruby(struct script_stack *stack, const struct stack *native) {
	value frames[ASKED_MAX];
	int lines[ASKED_MAX];
	struct script_memory memory = {.is_proved = atomic_load_explicit(&is_proved, memory_order_relaxed)};
	(void)native;
	if (!has_frames() || ruby.is_collecting())
		return LEDGER_SCRIPT_FUNCTIONS;
	int count = ruby.frames(0, ASKED_MAX, frames, lines);
	name_blocks(memory.is_proved, frames, lines, count);
	bool was_proved = memory.is_proved;
	for (int i = 0; i < count; i++) {
		if (!is_script(frames[i], lines[i]))
			continue;
		if (!memory.is_proved && !is_proof(&memory, frames[i]))
			return LEDGER_SCRIPT_UNSAFE;
		struct script_frame frame = {.code = (const void *)frames[i], .position = (uint64_t)lines[i]};
		if (!script_append(stack, &frame, hash_frame(&memory, frames[i], lines[i])))
			break;
	}
	stack->is_truncated = stack->is_truncated || count == ASKED_MAX;
	if (!was_proved && stack->count > 0)
		atomic_store_explicit(&is_proved, true, memory_order_relaxed);
	return LEDGER_SCRIPT_FUNCTIONS;
}

static void describe_ruby(const struct script_frame *frame, struct script_text *text) {
	struct script_memory memory = {.is_proved = true};
	value code = (value)frame->code;
	script_memory_append(text->file, sizeof text->file, string_bytes(&memory, ruby.path(code)));
	script_memory_append(text->function, sizeof text->function, string_bytes(&memory, ruby.label(code)));
	text->line = (uint32_t)frame->position;
}

static enum script_code classify_ruby(uintptr_t pc) {
	return script_functions_hold(&loop, pc) ? SCRIPT_CODE_LOOP : SCRIPT_CODE_INTERPRETER;
}

/* ---- State ------------------------------------------------------------------------------------------------------------- */

/* The collector's own functions have no names outside, but one object file: what lies between those of it that do. */
static const char *const collector_names[] = {"rb_gc_start",
					      "rb_gc_mark",
					      "rb_gc_stat",
					      "rb_define_finalizer",
					      "rb_gc_register_address",
					      "rb_during_gc",
					      "rb_gc_adjust_memory_usage",
					      NULL};
#define COLLECTOR_BYTES_MAX (UINT32_C(512) << 10)

static struct {
	uintptr_t start;
	uintptr_t end;
	uintptr_t object_start;
	uintptr_t object_end;
} collector;

static void find_collector(const struct link_map *object) {
	struct script_functions named;
	struct dl_find_object found;
	memset(&collector, 0, sizeof collector);
	script_functions_find(&named, object, collector_names);
	if (named.count < 4 || !loader_find((const void *)object->l_ld, &found))
		return;
	uintptr_t start = UINTPTR_MAX, end = 0;
	for (uint32_t i = 0; i < named.count; i++) {
		start = named.function[i].start < start ? named.function[i].start : start;
		end = named.function[i].end > end ? named.function[i].end : end;
	}
	if (end - start > COLLECTOR_BYTES_MAX)
		return;
	collector.start = start;
	collector.end = end;
	collector.object_start = (uintptr_t)found.dlfo_map_start;
	collector.object_end = (uintptr_t)found.dlfo_map_end;
}

/* An object is freed when the collector calls the driver; a method of the driver is called by the loop. */
static bool is_freed_by_collector(const struct stack *native) {
	uint32_t i = 0;
	while (i < native->count &&
	       (native->pc[i] <= collector.object_start || native->pc[i] > collector.object_end))
		i++;
	return i < native->count && native->pc[i] > collector.start && native->pc[i] <= collector.end;
}

/* A Ruby thread without Ruby code: what is left when the program is over is being freed. */
static bool is_over(const struct stack *native) {
	value frames[ASKED_MAX];
	int lines[ASKED_MAX];
	if (ruby.is_collecting())
		return script_functions_on(&loop, native) == native->count && !native->is_truncated;
	int count = ruby.frames(0, ASKED_MAX, frames, lines);
	for (int i = 0; i < count; i++)
		if (is_script(frames[i], lines[i]))
			return false;
	return count < (int)ASKED_MAX;
}

/* The collector is asked about by the thread that holds the GVL only; of another's it knows nothing. */
static uint32_t state_of_ruby(const struct stack *native) {
	if (!*ruby.machine || !ruby.is_ruby_thread())
		return SCRIPT_WITHOUT_FRAMES;
	uint32_t flags = is_over(native) ? SCRIPT_FINALIZING | SCRIPT_WITHOUT_FRAMES : 0;
	if ((ruby.is_collecting() && ruby.has_lock()) || is_freed_by_collector(native))
		flags |= SCRIPT_IN_COLLECTOR | SCRIPT_IN_DEALLOCATION;
	return flags;
}

/* ---- Opening ------------------------------------------------------------------------------------------------------------- */

static bool find_functions(const struct link_map *object) {
	const struct {
		const char *name;
		void *place;
	} wanted[] = {
		{"ruby_native_thread_p", &ruby.is_ruby_thread},
		{"rb_profile_frames", &ruby.frames},
		{"rb_profile_frame_path", &ruby.path},
		{"rb_profile_frame_label", &ruby.label},
		{"rb_thread_current", &ruby.thread},
		{"rb_string_value_ptr", &ruby.string_bytes},
		{"rb_during_gc", &ruby.is_collecting},
		{"ruby_thread_has_gvl_p", &ruby.has_lock},
		{"ruby_current_vm_ptr", &ruby.machine},
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *address = loader_symbol(object, wanted[i].name);
		if (!address)
			return false;
		memcpy(wanted[i].place, &address, sizeof address);
	}
	return true;
}

static enum ledger_script_reading open_ruby(const struct link_map *object,
					    char version[SCRIPT_VERSION_BYTES]) {
	const char *own = loader_symbol(object, "ruby_version");
	atomic_store(&is_proved, false);
	atomic_store(&context_place, 0);
	atomic_store(&frame_bytes, 0);
	if (!own || own[0] != '3' || own[1] != '.')
		return LEDGER_SCRIPT_UNKNOWN_VERSION;
	script_memory_append(version, SCRIPT_VERSION_BYTES, (struct script_bytes){own, strnlen(own, 16)});
	ruby.has_length_first = own[3] != '.' || own[2] >= '2';
	script_functions_find(&loop, object, loop_names);
	find_collector(object);
	return find_functions(object) ? LEDGER_SCRIPT_FUNCTIONS : LEDGER_SCRIPT_UNKNOWN_BUILD;
}

const struct script_runtime script_ruby = {
	.name = "Ruby",
	.language = LEDGER_FRAME_RUBY,
	.mark = "rb_profile_frames",
	.open = open_ruby,
	.capture = capture_ruby,
	.describe = describe_ruby,
	.classify = classify_ruby,
	.state = state_of_ruby,
};
