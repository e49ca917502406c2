/*
 * CPython 3.6 to 3.13: which interpreter this is, and which thread state is this thread's.
 *
 * Not asked: PyGILState_Ensure() and PyFrame_*, which wait for the interpreter's lock (a deadlock when the caller holds
 * one that the lock's owner wants) and allocate, so that the collector runs the program's finalizers inside a hook; and
 * _Py_DumpTraceback(), which some versions export: it writes text to a descriptor that a host would see, at ten times
 * the price, and would serve versions only of which nothing is known.
 */
#include "shim/script.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/loader.h"
#include "shim/python_frames.h"
#include "shim/stack_memory.h"

typedef void *find_state_function(void);
typedef const char *get_version_function(void);
typedef int is_finalizing_function(void);

struct code_range {
	uintptr_t start;
	uintptr_t end;
};

/* Written by open_python() alone, before anybody reads it. */
static struct python python;

static struct {
	find_state_function
		*own_state; /* PyGILState_GetThisThreadState: the first one made for this thread */
	find_state_function
		*current_state; /* of who holds the lock, since 3.12 of this thread; may be NULL */
	find_state_function *first_interpreter;
	find_state_function *newest_interpreter;
	is_finalizing_function *is_finalizing;
	void *const *finalizing_thread; /* 3.6 has this instead */
	uintptr_t runtime;              /* _PyRuntime */
	uint64_t collecting;            /* offset in the interpreter or, up to 3.8, in the runtime */
	bool was_idle;                  /* the flag was seen to be 0 */
	struct code_range loop;
	struct code_range deallocation;
} interpreter;

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

/* A program that was linked for fixed addresses has a copy of the library's data, and that is the one in use. */
static uintptr_t find_type(const struct link_map *object, const char *name) {
	const struct link_map *program = loader_program();
	void *type = program ? loader_symbol(program, name) : NULL;
	return (uintptr_t)(type ? type : loader_symbol(object, name));
}

static struct code_range find_code(const struct link_map *object, const char *name) {
	size_t size_bytes;
	uintptr_t start = (uintptr_t)loader_symbol_extent(object, name, &size_bytes);
	return (struct code_range){start, start + size_bytes};
}

static void find_functions(const struct link_map *object) {
	interpreter.own_state = (find_state_function *)loader_symbol(object, "PyGILState_GetThisThreadState");
	interpreter.current_state =
		(find_state_function *)loader_symbol(object, "PyThreadState_GetUnchecked");
	if (!interpreter.current_state)
		interpreter.current_state =
			(find_state_function *)loader_symbol(object, "_PyThreadState_UncheckedGet");
	interpreter.first_interpreter =
		(find_state_function *)loader_symbol(object, "PyInterpreterState_Main");
	interpreter.newest_interpreter =
		(find_state_function *)loader_symbol(object, "PyInterpreterState_Head");
	interpreter.is_finalizing = (is_finalizing_function *)loader_symbol(object, "Py_IsFinalizing");
	if (!interpreter.is_finalizing)
		interpreter.is_finalizing =
			(is_finalizing_function *)loader_symbol(object, "_Py_IsFinalizing");
	interpreter.finalizing_thread = loader_symbol(object, "_Py_Finalizing");
	interpreter.runtime = (uintptr_t)loader_symbol(object, "_PyRuntime");
	interpreter.loop = find_code(object, "_PyEval_EvalFrameDefault");
	interpreter.deallocation = find_code(object, "_Py_Dealloc");
}

/* "3.11.2 (main, ...)": the first word. Returns the minor version, 0 if it is no 3.x. */
static uint32_t read_version(const struct link_map *object, char version[SCRIPT_VERSION_BYTES],
			     const char **text) {
	get_version_function *get_version = (get_version_function *)loader_symbol(object, "Py_GetVersion");
	*text = get_version ? get_version() : "";
	size_t length = strcspn(*text, " ");
	if (length >= SCRIPT_VERSION_BYTES)
		length = SCRIPT_VERSION_BYTES - 1;
	memcpy(version, *text, length);
	version[length] = '\0';
	unsigned long minor = strncmp(version, "3.", 2) == 0 ? strtoul(version + 2, NULL, 10) : 0;
	return minor < 100 ? (uint32_t)minor : 0;
}

/* Without the interpreter's lock objects have another head; debug builds may have one with more in it, and check what
 * others do not. */
static bool is_unusual_build(const struct link_map *object, const char *version) {
	return strstr(version, "free-threading") || loader_symbol(object, "_Py_NegativeRefcount") ||
		loader_symbol(object, "_Py_PrintReferences");
}

/* Since 3.13 the runtime begins with a table of offsets, for debuggers; the interpreter's size changes between releases.
 * Words: the place of the collector's state in the interpreter, and of the flag in that. */
static uint64_t find_collecting(void) {
	enum { OFFSET_OF_COLLECTOR = 10, OFFSET_OF_FLAG = 72, LIMIT = 1 << 20 };
	static const char cookie[] = "xdebugpy";
	const uint64_t *table = (const uint64_t *)interpreter.runtime;
	if (python.layout->minor < 13)
		return python.layout->collecting;
	if (!table || memcmp(table, cookie, strlen(cookie)) != 0 || table[1] >> 16 != 0x030d)
		return 0;
	uint64_t offset = table[OFFSET_OF_COLLECTOR] + table[OFFSET_OF_FLAG];
	return offset < LIMIT ? offset : 0;
}

static enum ledger_script_reading open_python(const struct link_map *object,
					      char version[SCRIPT_VERSION_BYTES]) {
	const char *text;
	uint32_t minor = read_version(object, version, &text);
	python = (struct python){.layout = python_layout_of(minor),
				 .frame_type = minor <= 10 ? find_type(object, "PyFrame_Type") : 0,
				 .code_type = find_type(object, "PyCode_Type"),
				 .text_type = find_type(object, "PyUnicode_Type"),
				 .bytes_type = find_type(object, "PyBytes_Type")};
	find_functions(object);
	if (!python.layout)
		return LEDGER_SCRIPT_UNKNOWN_VERSION;
	interpreter.collecting = find_collecting();
	interpreter.was_idle = false;
	if (is_unusual_build(object, text))
		return LEDGER_SCRIPT_UNKNOWN_BUILD;
	return python.code_type && python.text_type && python.bytes_type ? LEDGER_SCRIPT_OFFSETS
									 : LEDGER_SCRIPT_UNKNOWN_BUILD;
}

/* ---- This thread's state ------------------------------------------------------------------------------------------- */

static bool read_word(uintptr_t address, uintptr_t *word) {
	if (!python.is_trusted)
		return stack_memory_read(address, word);
	memcpy(word, (const void *)address, sizeof *word);
	return true;
}

static bool is_of_this_thread(uintptr_t state) {
	uintptr_t thread_id;
	return read_word(state + python.layout->thread_id, &thread_id) &&
		thread_id == (uintptr_t)pthread_self();
}

/* A thread that enters a sub-interpreter has a second state. Up to 3.11 the current one may be another thread's and may be
 * freed while we look: the kernel copies from it. Where that is not allowed, the first state serves. */
static bool is_known_to_be_of_this_thread(uintptr_t state) {
	uintptr_t thread_id = 0;
	struct iovec here = {&thread_id, sizeof thread_id};
	struct iovec there = {(void *)(state + python.layout->thread_id), sizeof thread_id};
	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)sizeof thread_id &&
		thread_id == (uintptr_t)pthread_self();
}

static bool has_sub_interpreters(void) {
	return interpreter.first_interpreter && interpreter.newest_interpreter &&
		interpreter.first_interpreter() != interpreter.newest_interpreter();
}

static bool is_finalizing(void) {
	if (interpreter.is_finalizing)
		return interpreter.is_finalizing() != 0;
	return interpreter.finalizing_thread && *interpreter.finalizing_thread;
}

/* The thread that shuts Python down frees the states of all others while they may be inside libpq. It is the main one,
 * or the program embeds Python in an unusual way. */
static bool is_state_gone(void) {
	return is_finalizing() && (pid_t)syscall(SYS_gettid) != getpid();
}

static uintptr_t find_thread_state(void) {
	if (is_state_gone())
		return 0;
	uintptr_t own = (uintptr_t)interpreter.own_state();
	bool is_per_thread = python.layout->minor >= 12;
	if (interpreter.current_state && (is_per_thread || has_sub_interpreters())) {
		uintptr_t current = (uintptr_t)interpreter.current_state();
		if (current != 0 && current != own &&
		    (is_per_thread || is_known_to_be_of_this_thread(current)))
			own = current;
	}
	return own != 0 && is_of_this_thread(own) ? own : 0;
}

/* ---- The collector ------------------------------------------------------------------------------------------------- */

static bool read_collecting(uintptr_t state, int32_t *collecting) {
	uintptr_t owner = interpreter.runtime;
	uintptr_t word;
	if (interpreter.collecting == 0 ||
	    (python.layout->minor >= 9 && !read_word(state + python.layout->thread_interpreter, &owner)) ||
	    owner == 0 || !read_word(owner + interpreter.collecting, &word))
		return false;
	*collecting = (int32_t)word;
	return true;
}

/* A release in which the flag lies elsewhere might have a 1 there for ever. */
static void prove_collecting(uintptr_t state) {
	int32_t collecting;
	if (!interpreter.was_idle && read_collecting(state, &collecting) && collecting == 0)
		interpreter.was_idle = true;
}

static bool is_collecting(uintptr_t state) {
	int32_t collecting;
	return interpreter.was_idle && state != 0 && read_collecting(state, &collecting) && collecting == 1;
}

/* ---- The runtime ------------------------------------------------------------------------------------------------------ */

static enum ledger_script_reading capture_python(struct script_stack *stack, const struct stack *native) {
	uintptr_t state = find_thread_state();
	(void)native; /* every thread knows its own state */
	if (state == 0)
		return LEDGER_SCRIPT_OFFSETS;
	prove_collecting(state);
	return python_frames_walk(&python, state, stack) ? LEDGER_SCRIPT_OFFSETS : LEDGER_SCRIPT_UNSAFE;
}

static void describe_python(const struct script_frame *frame, struct script_text *text) {
	python_frames_describe(&python, frame, text);
}

static bool is_within(uintptr_t pc, struct code_range range) {
	return pc - 1 >= range.start && pc - 1 < range.end;
}

static enum script_code classify_python(uintptr_t pc) {
	return is_within(pc, interpreter.loop) ? SCRIPT_CODE_LOOP : SCRIPT_CODE_INTERPRETER;
}

/* Whether an object is destroyed between the script and what its destruction called. */
static bool is_deallocating(const struct stack *native) {
	for (uint32_t i = 0; i < native->count && !is_within(native->pc[i], interpreter.loop); i++)
		if (is_within(native->pc[i], interpreter.deallocation))
			return true;
	return false;
}

static uint32_t state_of_python(const struct stack *native) {
	struct script_stack innermost = {.room = 1};
	uintptr_t state = find_thread_state();
	uint32_t flags = 0;
	if (is_finalizing())
		flags |= SCRIPT_FINALIZING;
	if (is_collecting(state))
		flags |= SCRIPT_IN_COLLECTOR;
	bool has_frame = state != 0 && python_frames_walk(&python, state, &innermost) && innermost.count > 0;
	if (!has_frame)
		flags |= SCRIPT_WITHOUT_FRAMES;
	/* Destructors are often called from the loop itself, without a frame of _Py_Dealloc. */
	if (is_deallocating(native) ||
	    (has_frame && python_frames_is_letting_go(&python, &innermost.frames[0])))
		flags |= SCRIPT_IN_DEALLOCATION;
	return flags;
}

const struct script_runtime script_python = {
	.name = "python",
	.language = LEDGER_FRAME_PYTHON,
	.mark = "PyGILState_GetThisThreadState",
	.open = open_python,
	.capture = capture_python,
	.describe = describe_python,
	.classify = classify_python,
	.state = state_of_python,
	.is_over = is_finalizing,
};
