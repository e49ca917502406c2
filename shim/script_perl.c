/*
 * Perl 5.28 to 5.40: what caller() sees, from the interpreter's context stacks.
 *
 * A threaded build keeps its variables in a structure of every thread, one without threads in variables of their own. The
 * offsets below are those of each version; before the first frames are believed, every page is probed and what must be
 * true of each is checked. An interpreter that was freed stays known to its thread: frames are only read without probes
 * while the functions that run Perl are on the native stack. Functions in C (XS) have no context and no frame.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "shim/loader.h"
#include "shim/script.h"
#include "shim/script_code.h"
#include "shim/script_memory.h"

static const struct layout {
	uint8_t version; /* 5.x */
	uint16_t curcop; /* of struct interpreter: where the variables lie */
	uint16_t curstackinfo;
	uint16_t
		phase; /* if the structure has this size; it lies behind what depends on how Perl was built */
	uint16_t interpreter_bytes;
	uint8_t stackinfo_type;
	uint8_t context_bytes;
	uint8_t context_code; /* the CV of a sub */
	uint8_t context_file; /* of an eval: the name of what is required */
	bool has_fixed_names; /* a hash that is a package keeps its name behind its body, not behind its array */
} layouts[] = {
	{28, 224, 240, 2508, 3296, 40, 96, 64, 56, false},
	{30, 224, 240, 2508, 3280, 40, 96, 64, 56, false},
	{32, 224, 240, 2532, 3792, 44, 104, 72, 64, false},
	{34, 208, 224, 2512, 3760, 44, 104, 72, 64, false},
	{36, 208, 224, 2512, 3768, 44, 104, 72, 64, true},
	{38, 208, 224, 2336, 3896, 44, 104, 72, 64, true},
	{40, 208, 224, 2216, 3768, 44, 104, 72, 64, true},
};

/* struct stackinfo */
#define STACKINFO_CONTEXTS 8
#define STACKINFO_PREVIOUS 16
#define STACKINFO_INDEX 32
#define STACKINFO_MAX 36
#define STACKINFO_TYPE_MAIN 1
#define STACKINFO_TYPE_DESTROY 6
#define STACKINFO_TYPE_MAX 32

/* struct context */
#define CONTEXT_TYPE 0
#define CONTEXT_OLD_COP 16
#define CONTEXT_RETURN 48 /* where a sub goes on; 0: back to the C code that called it */
#define CONTEXT_TYPE_MASK 0x0f
#define CONTEXT_SUB 9
#define CONTEXT_FORMAT 10
#define CONTEXT_EVAL 11
#define CONTEXT_IS_BLOCK 0xc0 /* eval {} and try {} */
#define CONTEXTS_MAX (1 << 20)

/* struct cop */
#define COP_LINE 36
#define COP_FILE 48 /* char *; without threads a GV */

/* SVs: head, body */
#define SV_BODY 0
#define SV_FLAGS 12
#define SV_ARRAY 16 /* of a hash */
#define SV_TYPE_MASK 0xff
#define SV_TYPE_GV 9
#define SV_TYPE_HASH 12
#define SV_TYPE_CV 13
#define HASH_HAS_NAME 0x02000000
#define HASH_MAX 24
#define HASH_BODY_BYTES 32
#define NAMES_COUNT 28
#define GV_NAME 32
#define GV_STASH 40
#define CV_STASH 32
#define CV_NAME 56 /* HEK, or GV */
#define CV_FLAGS 92
#define CV_IS_NAMED 0x8000    /* HEK */
#define CV_IS_LEXICAL 0x10000 /* my sub: of no package */
#define HEK_LENGTH 4
#define HEK_BYTES 8

#define PHASE_RUN 4
#define PHASE_DESTRUCT 6

#define STEPS_MAX 100000u
#define LINE_MAX_SANE 100000000u

static struct {
	const struct layout *layout;
	const pthread_key_t *key; /* NULL: without threads */
	uintptr_t curcop;         /* without threads: the variables themselves */
	uintptr_t curstackinfo;
	uintptr_t phase;
	bool has_phase;
} perl;

static const char *const loop_names[] = {"Perl_runops_standard", "Perl_runops_debug", NULL};
static const char *const running_names[] = {
	"perl_run",          "perl_parse", "perl_destruct", "Perl_call_sv", "Perl_runops_standard",
	"Perl_runops_debug", NULL};
static const char *const ending_names[] = {"Perl_my_exit", "Perl_my_failure_exit", NULL};
static const char *const destroying_names[] = {"perl_destruct", NULL};
static const char *const leaving_names[] = {"Perl_pp_leave", NULL};
static const char *const program_names[] = {"perl_run", NULL};
static struct script_functions loop, running, ending, destroying, leaving, program;

static _Atomic bool is_proved;

/* ---- The interpreter of this thread ------------------------------------------------------------------------------------- */

struct interpreter {
	uintptr_t cop;
	uintptr_t stackinfo;
	uint32_t phase; /* PHASE_RUN if unknown */
};

/* Whether the native stack was followed to where the thread began. */
static bool is_whole(const struct stack *native) {
	static const void *const libc = (const void *)&pthread_getspecific;
	struct dl_find_object last, own;
	if (native->count == 0 || native->is_truncated ||
	    !loader_find((const void *)(native->pc[native->count - 1] - 1), &last))
		return false;
	return last.dlfo_link_map == loader_program() ||
		(loader_find(libc, &own) && own.dlfo_link_map == last.dlfo_link_map);
}

static uint32_t phase_at(struct script_memory *memory, uintptr_t place) {
	uint32_t phase = perl.has_phase ? script_memory_u32(memory, place) : PHASE_RUN;
	return phase <= PHASE_DESTRUCT ? phase : PHASE_RUN;
}

/* False: Perl does not run in this thread. */
static bool find_interpreter(struct script_memory *memory, const struct stack *native,
			     struct interpreter *found) {
	bool is_seen = script_functions_on(&running, native) < native->count;
	uintptr_t own = perl.key ? (uintptr_t)pthread_getspecific(*perl.key) : 0;
	if ((perl.key && own == 0) || (!is_seen && is_whole(native)))
		return false;
	memory->is_proved = is_seen && atomic_load_explicit(&is_proved, memory_order_relaxed);
	found->cop = script_memory_word(memory, own + perl.curcop);
	found->stackinfo = script_memory_word(memory, own + perl.curstackinfo);
	found->phase = phase_at(memory, own + perl.phase);
	return !memory->is_broken && found->cop != 0 && found->stackinfo != 0;
}

/* ---- Names --------------------------------------------------------------------------------------------------------------- */

static struct script_bytes key_bytes(struct script_memory *memory, uintptr_t key) {
	int32_t length_bytes = key ? (int32_t)script_memory_u32(memory, key + HEK_LENGTH) : 0;
	return script_memory_bytes(memory, key + HEK_BYTES, length_bytes > 0 ? (size_t)length_bytes : 0);
}

static bool is_of_type(struct script_memory *memory, uintptr_t sv, uint32_t type) {
	return sv && (script_memory_u32(memory, sv + SV_FLAGS) & SV_TYPE_MASK) == type;
}

/* Of a package; a name that was changed is one of several. */
static struct script_bytes stash_name(struct script_memory *memory, uintptr_t stash) {
	if (!is_of_type(memory, stash, SV_TYPE_HASH) ||
	    !(script_memory_u32(memory, stash + SV_FLAGS) & HASH_HAS_NAME))
		return (struct script_bytes){"", 0};
	uintptr_t body = script_memory_word(memory, stash + SV_BODY);
	uintptr_t names = body + HASH_BODY_BYTES;
	if (!perl.layout->has_fixed_names)
		names = script_memory_word(memory, stash + SV_ARRAY) +
			(script_memory_word(memory, body + HASH_MAX) + 1) * sizeof(uintptr_t);
	uintptr_t name = script_memory_word(memory, names);
	if (name && script_memory_u32(memory, names + NAMES_COUNT) != 0)
		name = script_memory_word(memory, name);
	return key_bytes(memory, name);
}

struct sub_name {
	struct script_bytes package;
	struct script_bytes name;
};

static struct sub_name sub_name(struct script_memory *memory, uintptr_t code) {
	struct sub_name found = {{"", 0}, {"", 0}};
	if (!is_of_type(memory, code, SV_TYPE_CV))
		return found;
	uintptr_t body = script_memory_word(memory, code + SV_BODY);
	uintptr_t key = script_memory_word(memory, body + CV_NAME);
	uintptr_t stash = script_memory_word(memory, body + CV_STASH);
	uint32_t flags = script_memory_u32(memory, body + CV_FLAGS);
	if (!(flags & CV_IS_NAMED)) {
		if (!is_of_type(memory, key, SV_TYPE_GV))
			return found;
		body = script_memory_word(memory, key + SV_BODY);
		key = script_memory_word(memory, body + GV_NAME);
		stash = script_memory_word(memory, body + GV_STASH);
	}
	if (!(flags & CV_IS_LEXICAL))
		found.package = stash_name(memory, stash);
	found.name = key_bytes(memory, key);
	return found;
}

/* Without threads the file is the name of a GV, "_<" and the file. */
static struct script_bytes cop_file(struct script_memory *memory, uintptr_t cop) {
	uintptr_t file = script_memory_word(memory, cop + COP_FILE);
	if (perl.key)
		return file ? script_memory_text(memory, file) : (struct script_bytes){"", 0};
	if (!is_of_type(memory, file, SV_TYPE_GV))
		return (struct script_bytes){"", 0};
	uintptr_t body = script_memory_word(memory, file + SV_BODY);
	struct script_bytes name = key_bytes(memory, script_memory_word(memory, body + GV_NAME));
	return name.length_bytes > 2 ? (struct script_bytes){name.bytes + 2, name.length_bytes - 2} : name;
}

/* ---- Frames -------------------------------------------------------------------------------------------------------------- */

/* What a frame is inside of: a CV, or one of these. */
enum code { CODE_MAIN, CODE_EVAL, CODE_REQUIRE, CODE_COUNT };

static const char *const code_names[] = {
	[CODE_MAIN] = "main program", [CODE_EVAL] = "(eval)", [CODE_REQUIRE] = "(require)"};

static struct sub_name name_of(struct script_memory *memory, uintptr_t code) {
	if (code >= CODE_COUNT)
		return sub_name(memory, code);
	return (struct sub_name){{"", 0}, {code_names[code], strlen(code_names[code])}};
}

enum step { STEP_ON, STEP_FULL, STEP_WRONG };

static enum step append(struct script_stack *stack, struct script_memory *memory, uintptr_t cop,
			uintptr_t code, bool is_entry) {
	uint32_t line = script_memory_u32(memory, cop + COP_LINE);
	struct script_bytes file = cop_file(memory, cop);
	struct sub_name name = name_of(memory, code);
	bool is_sane = line <= LINE_MAX_SANE && name.name.length_bytes > 0;
	if (!memory->is_proved && (!is_sane || memory->is_broken))
		return STEP_WRONG;
	uint64_t hash = script_mix_bytes(line, file.bytes, file.length_bytes);
	hash = script_mix_bytes(hash, name.package.bytes, name.package.length_bytes);
	hash = script_mix_bytes(hash, name.name.bytes, name.name.length_bytes);
	struct script_frame frame = {.code = (const void *)cop, .position = code, .is_entry = is_entry};
	return script_append(stack, &frame, hash) ? STEP_ON : STEP_FULL;
}

/* A block of eval {} or try {} is a part of the sub around it. */
static bool find_code(struct script_memory *memory, uintptr_t context, uintptr_t *code) {
	uint8_t type = script_memory_u8(memory, context + CONTEXT_TYPE);
	switch (type & CONTEXT_TYPE_MASK) {
	case CONTEXT_SUB:
	case CONTEXT_FORMAT:
		*code = script_memory_word(memory, context + perl.layout->context_code);
		return true;
	case CONTEXT_EVAL:
		*code = script_memory_word(memory, context + perl.layout->context_file) ? CODE_REQUIRE
											: CODE_EVAL;
		return !(type & CONTEXT_IS_BLOCK);
	default:
		return false;
	}
}

struct walk {
	struct script_stack *stack;
	struct script_memory memory;
	uintptr_t cop;
	uint32_t steps;
};

static enum step append_contexts(struct walk *walk, uintptr_t stackinfo) {
	struct script_memory *memory = &walk->memory;
	uintptr_t contexts = script_memory_word(memory, stackinfo + STACKINFO_CONTEXTS);
	int32_t index = (int32_t)script_memory_u32(memory, stackinfo + STACKINFO_INDEX);
	int32_t max = (int32_t)script_memory_u32(memory, stackinfo + STACKINFO_MAX);
	if (!memory->is_proved && (index < -1 || index > max || max > CONTEXTS_MAX))
		return STEP_WRONG;
	for (; index >= 0 && walk->steps < STEPS_MAX; index--, walk->steps++) {
		uintptr_t context = contexts + (uintptr_t)index * perl.layout->context_bytes;
		uintptr_t code;
		if (!find_code(memory, context, &code))
			continue;
		bool is_entry =
			code >= CODE_COUNT && script_memory_word(memory, context + CONTEXT_RETURN) == 0;
		enum step step = append(walk->stack, memory, walk->cop, code, is_entry);
		if (step != STEP_ON)
			return step;
		walk->cop = script_memory_word(memory, context + CONTEXT_OLD_COP);
	}
	return STEP_ON;
}

/* Sorting, tied variables and destructors run on stacks of their own, each on top of another. */
static uintptr_t next_stackinfo(struct script_memory *memory, uintptr_t stackinfo) {
	uint32_t type = script_memory_u32(memory, stackinfo + perl.layout->stackinfo_type);
	return type == STACKINFO_TYPE_MAIN ? 0 : script_memory_word(memory, stackinfo + STACKINFO_PREVIOUS);
}

static bool looks_like_stackinfo(struct script_memory *memory, uintptr_t stackinfo) {
	int32_t type = (int32_t)script_memory_u32(memory, stackinfo + perl.layout->stackinfo_type);
	return memory->is_proved || (type >= -1 && type <= STACKINFO_TYPE_MAX);
}

static enum step walk_stacks(struct walk *walk, const struct interpreter *interpreter) {
	enum step step = STEP_ON;
	for (uintptr_t at = interpreter->stackinfo; at && step == STEP_ON && walk->steps < STEPS_MAX;
	     walk->steps++) {
		if (!looks_like_stackinfo(&walk->memory, at))
			return STEP_WRONG;
		step = append_contexts(walk, at);
		at = next_stackinfo(&walk->memory, at);
	}
	/* The program itself is over when Perl ends: its last line is nobody's place. */
	if (step == STEP_ON && interpreter->phase <= PHASE_RUN)
		step = append(walk->stack, &walk->memory, walk->cop, CODE_MAIN, false);
	return step;
}

static enum ledger_script_reading capture_perl(struct script_stack *stack, const struct stack *native) {
	struct walk walk = {.stack = stack};
	struct interpreter interpreter;
	uint32_t before = stack->count;
	if (!find_interpreter(&walk.memory, native, &interpreter))
		return LEDGER_SCRIPT_OFFSETS;
	walk.cop = interpreter.cop;
	if (walk_stacks(&walk, &interpreter) == STEP_WRONG || walk.memory.is_broken)
		return LEDGER_SCRIPT_UNSAFE;
	if (stack->count > before)
		atomic_store_explicit(&is_proved, true, memory_order_relaxed);
	return LEDGER_SCRIPT_OFFSETS;
}

static void describe_perl(const struct script_frame *frame, struct script_text *text) {
	struct script_memory memory = {.is_proved = true};
	uintptr_t cop = (uintptr_t)frame->code;
	struct sub_name name = name_of(&memory, (uintptr_t)frame->position);
	script_memory_append(text->file, sizeof text->file, cop_file(&memory, cop));
	text->line = script_memory_u32(&memory, cop + COP_LINE);
	if (name.package.length_bytes > 0) {
		script_memory_append(text->function, sizeof text->function, name.package);
		script_memory_append(text->function, sizeof text->function, (struct script_bytes){"::", 2});
	}
	script_memory_append(text->function, sizeof text->function, name.name);
}

static enum script_code classify_perl(uintptr_t pc) {
	return script_functions_hold(&loop, pc) ? SCRIPT_CODE_LOOP : SCRIPT_CODE_INTERPRETER;
}

/* ---- State --------------------------------------------------------------------------------------------------------------- */

static bool is_destroying(struct script_memory *memory, uintptr_t stackinfo) {
	for (uint32_t i = 0; stackinfo && i < STEPS_MAX; i++) {
		if (script_memory_u32(memory, stackinfo + perl.layout->stackinfo_type) ==
		    STACKINFO_TYPE_DESTROY)
			return true;
		stackinfo = next_stackinfo(memory, stackinfo);
	}
	return false;
}

static bool is_on(const struct script_functions *functions, const struct stack *native) {
	return script_functions_on(functions, native) < native->count;
}

/* The program has run off its end: the outermost loop leaves the outermost block, and what lives there falls. */
static bool is_leaving(struct script_memory *memory, uintptr_t stackinfo, const struct stack *native) {
	uint32_t run = script_functions_on(&program, native);
	if (run == native->count || run < 2 || !script_functions_hold(&loop, native->pc[run - 1]) ||
	    !script_functions_hold(&leaving, native->pc[run - 2]))
		return false;
	for (uintptr_t next; (next = next_stackinfo(memory, stackinfo)) != 0;)
		stackinfo = next;
	return script_memory_u32(memory, stackinfo + STACKINFO_INDEX) == 0;
}

/* What the program's own blocks of END do is its own doing; what falls out of scope when exit() leaves it is not. */
static bool is_ending(const struct interpreter *interpreter, const struct stack *native) {
	if (perl.has_phase && interpreter->phase != PHASE_RUN)
		return interpreter->phase == PHASE_DESTRUCT;
	return is_on(&ending, native) || is_on(&destroying, native);
}

static uint32_t state_of_perl(const struct stack *native) {
	struct script_memory memory = {0};
	struct interpreter interpreter;
	if (!find_interpreter(&memory, native, &interpreter))
		return SCRIPT_WITHOUT_FRAMES | (is_on(&destroying, native) ? SCRIPT_FINALIZING : 0);
	bool is_over = is_ending(&interpreter, native) || is_leaving(&memory, interpreter.stackinfo, native);
	uint32_t flags = is_over ? SCRIPT_FINALIZING : 0;
	if (is_destroying(&memory, interpreter.stackinfo))
		flags |= SCRIPT_IN_DEALLOCATION;
	return flags;
}

/* ---- Opening --------------------------------------------------------------------------------------------------------------- */

static uint32_t number_at(const struct link_map *object, const char *name) {
	const uint8_t *number = loader_symbol(object, name);
	return number ? *number : 0;
}

static void append_number(char version[SCRIPT_VERSION_BYTES], uint32_t number, const char *behind) {
	char digits[3] = {(char)('0' + number / 100), (char)('0' + number / 10 % 10),
			  (char)('0' + number % 10)};
	size_t first = number >= 100 ? 0 : number >= 10 ? 1 : 2;
	script_memory_append(version, SCRIPT_VERSION_BYTES,
			     (struct script_bytes){digits + first, sizeof digits - first});
	script_memory_append(version, SCRIPT_VERSION_BYTES, (struct script_bytes){behind, strlen(behind)});
}

static const struct layout *find_layout(const struct link_map *object, char version[SCRIPT_VERSION_BYTES]) {
	uint32_t revision = number_at(object, "PL_revision");
	uint32_t number = number_at(object, "PL_version");
	append_number(version, revision, ".");
	append_number(version, number, ".");
	append_number(version, number_at(object, "PL_subversion"), "");
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
		if (revision == 5 && layouts[i].version == number)
			return &layouts[i];
	return NULL;
}

static bool find_variables(const struct link_map *object) {
	const uint16_t *interpreter_bytes = loader_symbol(object, "PL_interp_size");
	perl.key = loader_symbol(object, "PL_thr_key");
	perl.curcop = perl.layout->curcop;
	perl.curstackinfo = perl.layout->curstackinfo;
	perl.phase = perl.layout->phase;
	perl.has_phase = interpreter_bytes && *interpreter_bytes == perl.layout->interpreter_bytes;
	if (perl.key)
		return true;
	perl.curcop = (uintptr_t)loader_symbol(object, "PL_curcop");
	perl.curstackinfo = (uintptr_t)loader_symbol(object, "PL_curstackinfo");
	perl.phase = (uintptr_t)loader_symbol(object, "PL_phase");
	perl.has_phase = perl.phase != 0;
	return perl.curcop && perl.curstackinfo;
}

static enum ledger_script_reading open_perl(const struct link_map *object,
					    char version[SCRIPT_VERSION_BYTES]) {
	atomic_store(&is_proved, false);
	perl.layout = find_layout(object, version);
	if (!perl.layout)
		return LEDGER_SCRIPT_UNKNOWN_VERSION;
	if (!find_variables(object))
		return LEDGER_SCRIPT_UNKNOWN_BUILD;
	script_functions_find(&loop, object, loop_names);
	script_functions_find(&running, object, running_names);
	script_functions_find(&ending, object, ending_names);
	script_functions_find(&destroying, object, destroying_names);
	script_functions_find(&leaving, object, leaving_names);
	script_functions_find(&program, object, program_names);
	return LEDGER_SCRIPT_OFFSETS;
}

const struct script_runtime script_perl = {
	.name = "Perl",
	.language = LEDGER_FRAME_PERL,
	.mark = "Perl_caller_cx",
	.open = open_perl,
	.capture = capture_perl,
	.describe = describe_perl,
	.classify = classify_perl,
	.state = state_of_perl,
};
