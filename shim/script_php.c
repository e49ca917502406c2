/*
 * PHP 8: frames from executor_globals and the execute_data that hang from it.
 *
 * The offsets are those of Zend Engine 4.0 to 4.5, the same in all of them; a thread-safe build keeps the same structure
 * at an offset from what its thread has. Before the first frames are believed, every page is probed and what must be true
 * of the globals and of each frame is checked. Frames of functions in C have neither file nor line: they are left out,
 * their native frames stand for them.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/loader.h"
#include "shim/script.h"
#include "shim/script_code.h"
#include "shim/script_memory.h"

/* struct _zend_executor_globals */
#define GLOBALS_UNINITIALIZED_TYPE 8 /* of a zval that is null for ever */
#define GLOBALS_ERROR_TYPE 24        /* of one that is an error for ever */
#define GLOBALS_TABLES_LIMIT 288     /* points to itself: the end of an array right before it */
#define GLOBALS_STACK_TOP 456
#define GLOBALS_STACK_END 464
#define GLOBALS_STACK 472
#define GLOBALS_CURRENT 488 /* struct _zend_execute_data * */
#define GLOBALS_BYTES 2048  /* no more than there are */
#define TYPE_NULL 1
#define TYPE_ERROR 15

/* struct _zend_execute_data */
#define EXECUTE_OPLINE 0
#define EXECUTE_FUNCTION 24
#define EXECUTE_CALL_INFO 40
#define EXECUTE_PREVIOUS 48
#define CALL_IS_TOP (1u << 17) /* C code called it: the loop was entered anew */

/* union _zend_function, struct _zend_op_array */
#define FUNCTION_TYPE 0
#define FUNCTION_NAME 8
#define FUNCTION_SCOPE 16
#define FUNCTION_OP_COUNT 80
#define FUNCTION_OPS 88
#define FUNCTION_FILE 152
#define FUNCTION_IS_INTERNAL 1
#define FUNCTION_IS_USER 2
#define FUNCTION_IS_EVAL 4

#define OP_BYTES 32
#define OP_LINE 24
#define CLASS_NAME 8
#define STRING_LENGTH 16
#define STRING_BYTES 24

/* A chain this long is not followed to its end. */
#define STEPS_MAX 4096u
#define LINE_MAX_SANE 10000000u

static struct {
	uintptr_t globals;            /* 0: every thread has its own */
	const size_t *globals_offset; /* in what the thread has */
	void *(*thread_cache)(void);
	uintptr_t start; /* of the object that is PHP */
	uintptr_t end;
} php;

static const char *const loop_names[] = {"execute_ex", NULL};
static const char *const collector_names[] = {"zend_gc_collect_cycles", NULL};
static const char *const free_names[] = {"zend_objects_store_del", "rc_dtor_func", "zend_list_free", NULL};
static struct script_functions loop, collector, freeing;

static _Atomic bool is_proved;

/* ---- Where ------------------------------------------------------------------------------------------------------------- */

/* A build without thread safety runs in one thread: the one whose stack leads through it, or, where generated code ends
 * the stack, the first. */
static bool is_php_thread(const struct stack *native) {
	for (uint32_t i = 0; i < native->count; i++)
		if (native->pc[i] > php.start && native->pc[i] <= php.end)
			return true;
	return syscall(SYS_gettid) == getpid();
}

/* 0: PHP does not run in this thread. */
static uintptr_t globals_here(const struct stack *native) {
	if (php.globals)
		return is_php_thread(native) ? php.globals : 0;
	uintptr_t cache = (uintptr_t)php.thread_cache();
	return cache ? cache + *php.globals_offset : 0;
}

static bool looks_like_globals(struct script_memory *memory, uintptr_t globals) {
	if (!script_memory_holds(memory, globals, GLOBALS_CURRENT + sizeof(uintptr_t)))
		return false;
	uintptr_t top = script_memory_word(memory, globals + GLOBALS_STACK_TOP);
	return script_memory_word(memory, globals + GLOBALS_TABLES_LIMIT) == globals + GLOBALS_TABLES_LIMIT &&
		script_memory_u8(memory, globals + GLOBALS_UNINITIALIZED_TYPE) == TYPE_NULL &&
		script_memory_u8(memory, globals + GLOBALS_ERROR_TYPE) == TYPE_ERROR &&
		top > script_memory_word(memory, globals + GLOBALS_STACK) &&
		top <= script_memory_word(memory, globals + GLOBALS_STACK_END);
}

/* ---- Frames ------------------------------------------------------------------------------------------------------------ */

enum kind { KIND_FUNCTION, KIND_MAIN, KIND_INCLUDE, KIND_EVAL };

#define KIND_SHIFT 32

static struct script_bytes string_at(struct script_memory *memory, uintptr_t place) {
	uintptr_t string = script_memory_word(memory, place);
	if (string == 0)
		return (struct script_bytes){"", 0};
	size_t length_bytes = script_memory_word(memory, string + STRING_LENGTH);
	return script_memory_bytes(memory, string + STRING_BYTES, length_bytes);
}

struct names {
	struct script_bytes file;
	struct script_bytes scope; /* class; empty for a plain function */
	struct script_bytes function;
};

static struct names names_of(struct script_memory *memory, uintptr_t function) {
	struct names names = {.file = string_at(memory, function + FUNCTION_FILE),
			      .function = string_at(memory, function + FUNCTION_NAME),
			      .scope = {"", 0}};
	uintptr_t class = script_memory_word(memory, function + FUNCTION_SCOPE);
	if (class && names.function.length_bytes > 0)
		names.scope = string_at(memory, class + CLASS_NAME);
	return names;
}

static bool is_op_of(struct script_memory *memory, uintptr_t function, uintptr_t op) {
	uintptr_t first = script_memory_word(memory, function + FUNCTION_OPS);
	uintptr_t count = script_memory_u32(memory, function + FUNCTION_OP_COUNT);
	return op >= first && op < first + count * OP_BYTES && (op - first) % OP_BYTES == 0;
}

/* An exception on its way puts an operation of the globals in place of the one that threw, which is kept right before. */
static uint32_t line_of(struct script_memory *memory, uintptr_t globals, uintptr_t execute,
			uintptr_t function) {
	uintptr_t op = script_memory_word(memory, execute + EXECUTE_OPLINE);
	if (op == 0)
		op = script_memory_word(memory, function + FUNCTION_OPS);
	if (op > globals && op < globals + GLOBALS_BYTES)
		op = script_memory_word(memory, op - sizeof op);
	return is_op_of(memory, function, op) ? script_memory_u32(memory, op + OP_LINE) : 0;
}

static bool is_script_type(uint8_t type) {
	return type == FUNCTION_IS_USER || type == FUNCTION_IS_EVAL;
}

static enum kind kind_of(struct script_memory *memory, uintptr_t execute, uintptr_t function) {
	if (script_memory_u8(memory, function + FUNCTION_TYPE) == FUNCTION_IS_EVAL)
		return KIND_EVAL;
	if (script_memory_word(memory, function + FUNCTION_NAME) != 0)
		return KIND_FUNCTION;
	return script_memory_word(memory, execute + EXECUTE_PREVIOUS) == 0 ? KIND_MAIN : KIND_INCLUDE;
}

static uint64_t hash_names(const struct names *names, uint64_t position) {
	uint64_t hash = script_mix_bytes(position, names->file.bytes, names->file.length_bytes);
	hash = script_mix_bytes(hash, names->scope.bytes, names->scope.length_bytes);
	return script_mix_bytes(hash, names->function.bytes, names->function.length_bytes);
}

/* The name of an anonymous class goes on behind a zero, with the place where it is written. */
static bool looks_like_name(struct script_bytes name) {
	static const char anonymous[] = "@anonymous";
	size_t shown = strnlen(name.bytes, name.length_bytes);
	size_t ending = sizeof anonymous - 1;
	return name.bytes[name.length_bytes] == '\0' &&
		(shown == name.length_bytes ||
		 (shown > ending && memcmp(name.bytes + shown - ending, anonymous, ending) == 0));
}

static bool looks_like_frame(struct script_memory *memory, const struct names *names, uint32_t line) {
	const struct script_bytes *texts[] = {&names->file, &names->scope, &names->function};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (!script_memory_holds(memory, (uintptr_t)texts[i]->bytes, texts[i]->length_bytes + 1) ||
		    (texts[i]->length_bytes > 0 && !looks_like_name(*texts[i])))
			return false;
	return names->file.length_bytes > 0 && line > 0 && line < LINE_MAX_SANE;
}

enum step { STEP_ON, STEP_FULL, STEP_WRONG };

static enum step append(struct script_stack *stack, struct script_memory *memory, uintptr_t globals,
			uintptr_t execute) {
	uintptr_t function = script_memory_word(memory, execute + EXECUTE_FUNCTION);
	uint8_t type = function ? script_memory_u8(memory, function + FUNCTION_TYPE) : FUNCTION_IS_INTERNAL;
	if (!is_script_type(type))
		return type == FUNCTION_IS_INTERNAL || memory->is_proved ? STEP_ON : STEP_WRONG;
	uint32_t line = line_of(memory, globals, execute, function);
	uint64_t position = (uint64_t)kind_of(memory, execute, function) << KIND_SHIFT | line;
	struct names names = names_of(memory, function);
	if (!memory->is_proved && !looks_like_frame(memory, &names, line))
		return STEP_WRONG;
	struct script_frame frame = {.code = (const void *)function,
				     .position = position,
				     .is_entry = script_memory_u32(memory, execute + EXECUTE_CALL_INFO) &
					     CALL_IS_TOP};
	return script_append(stack, &frame, hash_names(&names, position)) ? STEP_ON : STEP_FULL;
}

static enum ledger_script_reading capture_php(struct script_stack *stack, const struct stack *native) {
	struct script_memory memory = {.is_proved = atomic_load_explicit(&is_proved, memory_order_relaxed)};
	uintptr_t globals = globals_here(native);
	uint32_t before = stack->count;
	if (globals == 0)
		return LEDGER_SCRIPT_OFFSETS;
	if (!memory.is_proved && !looks_like_globals(&memory, globals))
		return LEDGER_SCRIPT_UNSAFE;
	uintptr_t execute = script_memory_word(&memory, globals + GLOBALS_CURRENT);
	enum step step = STEP_ON;
	for (uint32_t i = 0; execute && step == STEP_ON && i < STEPS_MAX; i++) {
		step = append(stack, &memory, globals, execute);
		execute = script_memory_word(&memory, execute + EXECUTE_PREVIOUS);
	}
	if (step == STEP_WRONG || memory.is_broken)
		return LEDGER_SCRIPT_UNSAFE;
	if (stack->count > before)
		atomic_store_explicit(&is_proved, true, memory_order_relaxed);
	return LEDGER_SCRIPT_OFFSETS;
}

static void describe_php(const struct script_frame *frame, struct script_text *text) {
	static const char *const code_names[] = {
		[KIND_MAIN] = "{main}", [KIND_INCLUDE] = "include", [KIND_EVAL] = "eval"};
	struct script_memory memory = {.is_proved = true};
	struct names names = names_of(&memory, (uintptr_t)frame->code);
	enum kind kind = (enum kind)(frame->position >> KIND_SHIFT);
	script_memory_append(text->file, sizeof text->file, names.file);
	text->line = (uint32_t)frame->position;
	if (kind != KIND_FUNCTION)
		names.function = (struct script_bytes){code_names[kind], strlen(code_names[kind])};
	else if (names.scope.length_bytes > 0) {
		script_memory_append(text->function, sizeof text->function, names.scope);
		script_memory_append(text->function, sizeof text->function, (struct script_bytes){"::", 2});
	}
	script_memory_append(text->function, sizeof text->function, names.function);
}

static enum script_code classify_php(uintptr_t pc) {
	return script_functions_hold(&loop, pc) ? SCRIPT_CODE_LOOP : SCRIPT_CODE_INTERPRETER;
}

/* ---- State -------------------------------------------------------------------------------------------------------------- */

static bool is_destructor(struct script_memory *memory, uintptr_t function) {
	static const char name[] = "__destruct";
	struct names names = names_of(memory, function);
	return names.scope.length_bytes > 0 && names.function.length_bytes == sizeof name - 1 &&
		strncasecmp(names.function.bytes, name, sizeof name - 1) == 0;
}

/* While a script runs, the outermost frame is the script itself. A request that is being shut down has lost it; what still
 * runs are the functions that the program registered for that, which are its own doing, and destructors. */
static uint32_t state_of_chain(struct script_memory *memory, uintptr_t globals) {
	uintptr_t execute = script_memory_word(memory, globals + GLOBALS_CURRENT);
	uintptr_t outermost = 0;
	for (uint32_t i = 0; execute && i < STEPS_MAX; i++) {
		uintptr_t function = script_memory_word(memory, execute + EXECUTE_FUNCTION);
		if (function && is_script_type(script_memory_u8(memory, function + FUNCTION_TYPE)))
			outermost = function;
		execute = script_memory_word(memory, execute + EXECUTE_PREVIOUS);
	}
	if (outermost == 0)
		return SCRIPT_FINALIZING | SCRIPT_WITHOUT_FRAMES;
	return execute == 0 && is_destructor(memory, outermost) ? SCRIPT_FINALIZING : 0;
}

static uint32_t state_of_php(const struct stack *native) {
	struct script_memory memory = {.is_proved = atomic_load_explicit(&is_proved, memory_order_relaxed)};
	uintptr_t globals = globals_here(native);
	if (globals == 0 || (!memory.is_proved && !looks_like_globals(&memory, globals)))
		return SCRIPT_WITHOUT_FRAMES;
	uint32_t flags = state_of_chain(&memory, globals);
	if (script_functions_on(&collector, native) < native->count)
		flags |= SCRIPT_IN_COLLECTOR;
	if (script_functions_on(&freeing, native) < script_functions_on(&loop, native))
		flags |= SCRIPT_IN_DEALLOCATION;
	return memory.is_broken ? 0 : flags;
}

/* ---- Opening -------------------------------------------------------------------------------------------------------------- */

/* "Zend Engine v4.2.3, ...": 4.x is PHP 8.x. */
static bool find_version(const struct link_map *object, char version[SCRIPT_VERSION_BYTES]) {
	static const char prefix[] = "Zend Engine v4.";
	const char *(*engine)(void);
	void *address = loader_symbol(object, "get_zend_version");
	if (!address)
		return false;
	memcpy(&engine, &address, sizeof engine);
	const char *said = engine();
	if (!said || strncmp(said, prefix, sizeof prefix - 1) != 0)
		return false;
	const char *rest = said + sizeof prefix - 1;
	script_memory_append(version, SCRIPT_VERSION_BYTES, (struct script_bytes){"8.", 2});
	script_memory_append(version, SCRIPT_VERSION_BYTES,
			     (struct script_bytes){rest, strcspn(rest, ", \n")});
	return rest[0] >= '0' && rest[0] <= '5' && rest[1] == '.';
}

static bool find_globals(const struct link_map *object) {
	void *thread_cache = loader_symbol(object, "tsrm_get_ls_cache");
	php.globals = (uintptr_t)loader_symbol(object, "executor_globals");
	php.globals_offset = loader_symbol(object, "executor_globals_offset");
	memcpy(&php.thread_cache, &thread_cache, sizeof thread_cache);
	return php.globals != 0 || (php.globals_offset && thread_cache);
}

static enum ledger_script_reading open_php(const struct link_map *object,
					   char version[SCRIPT_VERSION_BYTES]) {
	struct dl_find_object found;
	atomic_store(&is_proved, false);
	if (!find_version(object, version))
		return LEDGER_SCRIPT_UNKNOWN_VERSION;
	if (!find_globals(object) || !loader_find((const void *)object->l_ld, &found))
		return LEDGER_SCRIPT_UNKNOWN_BUILD;
	php.start = (uintptr_t)found.dlfo_map_start;
	php.end = (uintptr_t)found.dlfo_map_end;
	script_functions_find(&loop, object, loop_names);
	script_functions_find(&collector, object, collector_names);
	script_functions_find(&freeing, object, free_names);
	return LEDGER_SCRIPT_OFFSETS;
}

const struct script_runtime script_php = {
	.name = "PHP",
	.language = LEDGER_FRAME_PHP,
	.mark = "zend_get_executed_lineno",
	.open = open_php,
	.capture = capture_php,
	.describe = describe_php,
	.classify = classify_php,
	.state = state_of_php,
};
