/*
 * Ruby 3: frames by functions of its own that are made for profilers.
 *
 * rb_profile_frames copies what this thread's control frames point to. It takes no lock, allocates nothing and works
 * without the GVL (measured; a thread's frames do not change while it is inside libpq). Of a frame's functions only
 * those are called that return a string which the code already holds: names of C functions would be looked up in a
 * table under a lock, so their frames are left out; their native frames stand for them.
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

/* A Ruby thread without Ruby code: what is left when the program is over is being freed. The collector is asked about by
 * the thread that holds the GVL only; of another's it knows nothing. */
static uint32_t state_of_ruby(const struct stack *native) {
	value frame;
	int line;
	if (!*ruby.machine || !ruby.is_ruby_thread())
		return SCRIPT_WITHOUT_FRAMES;
	bool is_collecting = ruby.is_collecting();
	bool is_ending = is_collecting
		? script_functions_on(&loop, native) == native->count && !native->is_truncated
		: ruby.frames(0, 1, &frame, &line) == 0;
	uint32_t flags = is_ending ? SCRIPT_FINALIZING | SCRIPT_WITHOUT_FRAMES : 0;
	if (is_collecting && ruby.has_lock())
		flags |= SCRIPT_IN_COLLECTOR | SCRIPT_IN_DEALLOCATION;
	return flags;
}

/* ---- Opening ------------------------------------------------------------------------------------------------------------- */

static bool find_functions(const struct link_map *object) {
	const struct {
		const char *name;
		void *place;
	} wanted[] = {
		{"ruby_native_thread_p", &ruby.is_ruby_thread}, {"rb_profile_frames", &ruby.frames},
		{"rb_profile_frame_path", &ruby.path},          {"rb_profile_frame_label", &ruby.label},
		{"rb_string_value_ptr", &ruby.string_bytes},    {"rb_during_gc", &ruby.is_collecting},
		{"ruby_thread_has_gvl_p", &ruby.has_lock},      {"ruby_current_vm_ptr", &ruby.machine},
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
	if (!own || own[0] != '3' || own[1] != '.')
		return LEDGER_SCRIPT_UNKNOWN_VERSION;
	script_memory_append(version, SCRIPT_VERSION_BYTES, (struct script_bytes){own, strnlen(own, 16)});
	ruby.has_length_first = own[3] != '.' || own[2] >= '2';
	script_functions_find(&loop, object, loop_names);
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
