#include "shim/python_frames.h"

#include <stddef.h>
#include <string.h>

#include "shim/stack_memory.h"

#define PAGE_BYTES STACK_MEMORY_PAGE_BYTES
#define UNIT_BYTES 2
#define TEXT_MAX_CHARACTERS (1u << 20)
#define TABLE_MAX_BYTES (1u << 26)
#define BORDERS_MAX 256u /* frames of no code in a row of a stack */
#define OWNED_BY_NATIVE_STACK 3u

/* Of every object, every variable-sized object and every string: the same in all versions. */
#define OBJECT_TYPE 8u
#define OBJECT_SIZE 16u
#define BYTES_DATA 32u
#define TEXT_LENGTH 16u
#define TEXT_STATE 32u
#define TEXT_STATE_COMPACT 0x20u
#define TEXT_STATE_ASCII 0x40u

/* From the headers of each version, x86-64 and aarch64. */
static const struct python_layout layouts[] = {
#define CLASSIC(last_instruction, first_line, instructions, file)                                     \
	.entry = PYTHON_ENTRY_ALWAYS, .thread_interpreter = 16, .thread_top = 24, .top_frame = -1,    \
	.frame_caller = 24, .frame_code = 32, .frame_position = (last_instruction),                   \
	.code_first_line = (first_line), .code_instructions = (instructions), .code_file = (file),    \
	.code_function = (file) + 8, .code_lines = (file) + 16, .text_ascii = 48, .text_compact = 72, \
	.text_elsewhere = 72
	{.minor = 6, .thread_id = 152, CLASSIC(120, 36, 40, 96)},
	{.minor = 7, .thread_id = 176, CLASSIC(104, 36, 40, 96), .collecting = 632},
	{.minor = 8, .thread_id = 176, CLASSIC(104, 40, 48, 104), .collecting = 544},
	{.minor = 9, .thread_id = 176, CLASSIC(104, 40, 48, 104), .collecting = 816},
	{.minor = 10,
	 .thread_id = 176,
	 CLASSIC(96, 40, 48, 104),
	 .position = PYTHON_POSITION_UNITS,
	 .lines = PYTHON_LINES_RANGES,
	 .collecting = 816},
#undef CLASSIC
#define MODERN                                                                                          \
	.position = PYTHON_POSITION_POINTER, .lines = PYTHON_LINES_LOCATIONS, .thread_interpreter = 16, \
	.frame_position = 56, .code_file = 112, .code_function = 120, .code_lines = 136
	{.minor = 11,
	 MODERN,
	 .entry = PYTHON_ENTRY_FLAG,
	 .thread_id = 152,
	 .thread_top = 56,
	 .top_frame = 8,
	 .frame_caller = 48,
	 .frame_code = 32,
	 .frame_entry = 68,
	 .code_first_line = 72,
	 .code_instructions = 184,
	 .text_ascii = 48,
	 .text_compact = 72,
	 .text_elsewhere = 72,
	 .collecting = 848},
	{.minor = 12,
	 MODERN,
	 .entry = PYTHON_ENTRY_BORDER,
	 .thread_id = 136,
	 .thread_top = 56,
	 .top_frame = 0,
	 .frame_caller = 8,
	 .frame_code = 0,
	 .frame_entry = 70,
	 .code_first_line = 68,
	 .code_instructions = 192,
	 .text_ascii = 40,
	 .text_compact = 56,
	 .text_elsewhere = 56,
	 .collecting = 312},
	{
		.minor = 13,
		MODERN,
		.entry = PYTHON_ENTRY_BORDER,
		.thread_id = 152,
		.thread_top = 72,
		.top_frame = -1,
		.frame_caller = 8,
		.frame_code = 0,
		.frame_entry = 70,
		.code_first_line = 68,
		.code_instructions = 200,
		.text_ascii = 40,
		.text_compact = 56,
		.text_elsewhere = 56,
	},
#undef MODERN
};

const struct python_layout *python_layout_of(uint32_t minor) {
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
		if (layouts[i].minor == minor)
			return &layouts[i];
	return NULL;
}

/* ---- Memory -------------------------------------------------------------------------------------------------------- */

/* An interpreter's memory is read on purpose, wherever a sanitizer drew its borders. */
__attribute__((no_sanitize_address)) static inline uintptr_t load_word(uintptr_t address) {
	uintptr_t word;
	__builtin_memcpy(&word, (const void *)address, sizeof word);
	return word;
}

static inline bool read_word(const struct python *python, uintptr_t address, uintptr_t *word) {
	if (!python->is_trusted)
		return stack_memory_read(address, word);
	*word = load_word(address);
	return true;
}

static inline bool read_int(const struct python *python, uintptr_t address, int32_t *value) {
	uintptr_t word;
	if (!read_word(python, address, &word))
		return false;
	*value = (int32_t)word;
	return true;
}

/* Memory is mapped in pages. */
static bool is_readable(const struct python *python, uintptr_t address, size_t length_bytes) {
	uintptr_t last = address + length_bytes - sizeof(uintptr_t);
	uintptr_t word;
	if (python->is_trusted || length_bytes == 0)
		return true;
	if (length_bytes < sizeof word)
		return stack_memory_read(address, &word);
	for (uintptr_t at = address; at < last; at = (at | (PAGE_BYTES - 1)) + 1)
		if (!stack_memory_read(at, &word))
			return false;
	return stack_memory_read(last, &word);
}

/* ---- Objects --------------------------------------------------------------------------------------------------------- */

static inline bool is_a(const struct python *python, uintptr_t object, uintptr_t wanted) {
	uintptr_t type;
	return object != 0 && read_word(python, object + OBJECT_TYPE, &type) && type == wanted;
}

struct piece {
	const uint8_t *bytes;
	size_t length_bytes;
	uint32_t character_bytes; /* 1, 2 or 4 */
};

/* Where a string's characters are. One that is kept in another way than all modern ones (wchar_t, never made ready) has
 * no characters for us. */
static bool find_text(const struct python *python, uintptr_t text, struct piece *piece) {
	const struct python_layout *layout = python->layout;
	uintptr_t length;
	int32_t state;
	*piece = (struct piece){.character_bytes = 1};
	if (!is_a(python, text, python->text_type) || !read_word(python, text + TEXT_LENGTH, &length) ||
	    !read_int(python, text + TEXT_STATE, &state) || length > TEXT_MAX_CHARACTERS)
		return false;
	uint32_t kind = (uint32_t)state >> 2 & 7;
	uintptr_t at = text + (state & TEXT_STATE_ASCII ? layout->text_ascii : layout->text_compact);
	if (kind == 0)
		return true;
	if (kind != 1 && kind != 2 && kind != 4)
		return false;
	if (!(state & TEXT_STATE_COMPACT) && !read_word(python, text + layout->text_elsewhere, &at))
		return false;
	*piece = (struct piece){(const uint8_t *)at, length * kind, kind};
	return is_readable(python, at, piece->length_bytes);
}

static bool find_bytes(const struct python *python, uintptr_t object, struct piece *piece) {
	uintptr_t length;
	if (!is_a(python, object, python->bytes_type) || !read_word(python, object + OBJECT_SIZE, &length) ||
	    length > TABLE_MAX_BYTES)
		return false;
	*piece = (struct piece){(const uint8_t *)object + BYTES_DATA, length, 1};
	return is_readable(python, object + BYTES_DATA, length);
}

/* What decides what is said of a frame. */
struct code {
	struct piece file;
	struct piece function;
	struct piece lines;
	int32_t first_line;
};

static bool find_field(const struct python *python, uintptr_t object, uint16_t offset, struct piece *piece,
		       bool (*find)(const struct python *, uintptr_t, struct piece *)) {
	uintptr_t field;
	return read_word(python, object + offset, &field) && find(python, field, piece);
}

static bool read_code(const struct python *python, uintptr_t object, struct code *code) {
	const struct python_layout *layout = python->layout;
	return find_field(python, object, layout->code_file, &code->file, find_text) &&
		find_field(python, object, layout->code_function, &code->function, find_text) &&
		find_field(python, object, layout->code_lines, &code->lines, find_bytes) &&
		read_int(python, object + layout->code_first_line, &code->first_line) &&
		code->first_line >= 0;
}

/* ---- Frames ------------------------------------------------------------------------------------------------------------ */

static bool top_frame(const struct python *python, uintptr_t thread_state, uintptr_t *frame) {
	const struct python_layout *layout = python->layout;
	if (!read_word(python, thread_state + layout->thread_top, frame))
		return false;
	return layout->top_frame < 0 || *frame == 0 ||
		read_word(python, *frame + (uintptr_t)layout->top_frame, frame);
}

static bool code_length(const struct python *python, uintptr_t code, uintptr_t *length_bytes) {
	const struct python_layout *layout = python->layout;
	uintptr_t instructions;
	if (layout->position == PYTHON_POSITION_POINTER) {
		bool is_read = read_word(python, code + OBJECT_SIZE, length_bytes);
		*length_bytes *= UNIT_BYTES;
		return is_read;
	}
	return read_word(python, code + layout->code_instructions, &instructions) &&
		is_a(python, instructions, python->bytes_type) &&
		read_word(python, instructions + OBJECT_SIZE, length_bytes);
}

/* Offset of the instruction in bytes; negative before the first one. */
static bool read_position(const struct python *python, uintptr_t frame, uintptr_t code,
			  int64_t *offset_bytes) {
	const struct python_layout *layout = python->layout;
	uintptr_t word, length_bytes;
	if (!read_word(python, frame + layout->frame_position, &word) ||
	    !code_length(python, code, &length_bytes))
		return false;
	if (layout->position == PYTHON_POSITION_POINTER)
		*offset_bytes = (int64_t)(word - (code + layout->code_instructions));
	else
		*offset_bytes =
			(int64_t)(int32_t)word * (layout->position == PYTHON_POSITION_UNITS ? UNIT_BYTES : 1);
	return *offset_bytes >= -UNIT_BYTES && *offset_bytes < (int64_t)length_bytes;
}

static bool read_entry_byte(const struct python *python, uintptr_t frame, uint8_t *byte) {
	uintptr_t word;
	if (!read_word(python, frame + python->layout->frame_entry, &word))
		return false;
	*byte = (uint8_t)word;
	return true;
}

/* Addresses of code objects are used again: what they say is their identity. */
static uint64_t content_of(const struct code *code, int64_t offset_bytes, bool is_entry) {
	uint64_t hash = script_mix(2 + is_entry, (uint64_t)offset_bytes);
	hash = script_mix(hash, (uint64_t)code->first_line);
	hash = script_mix_bytes(hash, code->file.bytes, code->file.length_bytes);
	hash = script_mix_bytes(hash, code->function.bytes, code->function.length_bytes);
	return script_mix_bytes(hash, code->lines.bytes, code->lines.length_bytes);
}

enum step { STEP_FRAME, STEP_BORDER, STEP_FULL, STEP_WRONG };

static enum step append_frame(const struct python *python, uintptr_t frame, struct script_stack *stack) {
	const struct python_layout *layout = python->layout;
	struct code code;
	uintptr_t object;
	int64_t offset_bytes;
	uint8_t entry = 0;
	if (layout->entry != PYTHON_ENTRY_ALWAYS && !read_entry_byte(python, frame, &entry))
		return STEP_WRONG;
	if (layout->entry == PYTHON_ENTRY_BORDER && entry == OWNED_BY_NATIVE_STACK)
		return STEP_BORDER;
	if ((python->frame_type != 0 && !is_a(python, frame, python->frame_type)) ||
	    !read_word(python, frame + layout->frame_code, &object) ||
	    !is_a(python, object, python->code_type) || !read_code(python, object, &code) ||
	    !read_position(python, frame, object, &offset_bytes))
		return STEP_WRONG;
	bool is_entry =
		layout->entry == PYTHON_ENTRY_ALWAYS || (layout->entry == PYTHON_ENTRY_FLAG && entry != 0);
	struct script_frame appended = {
		.code = (const void *)object, .position = (uint64_t)offset_bytes, .is_entry = is_entry};
	return script_append(stack, &appended, content_of(&code, offset_bytes, is_entry)) ? STEP_FRAME
											  : STEP_FULL;
}

/* POP_TOP, DELETE_SUBSCR, RETURN_VALUE, STORE and DELETE of NAME, ATTR, GLOBAL and FAST: numbers of 3.6 to 3.12. */
static bool lets_go(uint8_t instruction) {
	static const uint8_t numbers[] = {1, 61, 83, 90, 91, 95, 96, 97, 98, 125, 126};
	for (size_t i = 0; i < sizeof numbers; i++)
		if (numbers[i] == instruction)
			return true;
	return false;
}

bool python_frames_is_letting_go(const struct python *python, const struct script_frame *frame) {
	const uintptr_t bytes_head = 32; /* of a bytes object, in front of its content */
	const struct python_layout *layout = python->layout;
	uintptr_t instructions = (uintptr_t)frame->code + layout->code_instructions;
	uintptr_t word;
	if (layout->minor > 12 || (int64_t)frame->position < 0)
		return false;
	if (layout->position != PYTHON_POSITION_POINTER) {
		if (!read_word(python, instructions, &instructions))
			return false;
		instructions += bytes_head;
	}
	/* The word that the byte is in: one across its end may lie on no page. */
	uintptr_t at = instructions + frame->position;
	return read_word(python, at & ~(uintptr_t)7, &word) && lets_go((uint8_t)(word >> 8 * (at & 7)));
}

bool python_frames_walk(struct python *python, uintptr_t thread_state, struct script_stack *stack) {
	uintptr_t frame;
	uint32_t first = stack->count;
	uint32_t borders = 0;
	bool is_right = top_frame(python, thread_state, &frame);
	enum step step = STEP_FRAME;
	while (is_right && frame != 0 && step != STEP_FULL && borders < BORDERS_MAX) {
		step = append_frame(python, frame, stack);
		if (step == STEP_BORDER) {
			borders++;
			if (stack->count > first)
				stack->frames[stack->count - 1].is_entry = true;
		}
		is_right =
			step != STEP_WRONG && read_word(python, frame + python->layout->frame_caller, &frame);
	}
	if (is_right && stack->count - first > 1)
		python->is_trusted = true;
	return is_right;
}

/* ---- Words --------------------------------------------------------------------------------------------------------------- */

struct output {
	char *at;
	size_t left;
	bool is_full;
};

static void put(struct output *output, const uint8_t *bytes, size_t count) {
	if (output->left <= count || output->is_full) {
		output->is_full = true;
		return;
	}
	memcpy(output->at, bytes, count);
	output->at += count;
	output->left -= count;
}

static uint32_t character_at(const struct piece *piece, size_t number) {
	uint32_t character = 0;
	memcpy(&character, piece->bytes + number * piece->character_bytes, piece->character_bytes);
	return character;
}

/* UTF-8. A byte of a path that was no UTF-8 is kept by Python as U+DC80 to U+DCFF, and becomes itself again. */
static void put_character(struct output *output, uint32_t character) {
	bool is_surrogate = character >= 0xd800 && character < 0xe000;
	if (character >= 0xdc80 && character < 0xdd00) {
		put(output, (const uint8_t[]){(uint8_t)character}, 1);
		return;
	}
	if (is_surrogate || character > 0x10ffff)
		character = 0xfffd;
	uint8_t low = 0x80 | (character & 0x3f);
	uint8_t middle = 0x80 | (character >> 6 & 0x3f);
	if (character < 0x80)
		put(output, (const uint8_t[]){(uint8_t)character}, 1);
	else if (character < 0x800)
		put(output, (const uint8_t[]){(uint8_t)(0xc0 | character >> 6), low}, 2);
	else if (character < 0x10000)
		put(output, (const uint8_t[]){(uint8_t)(0xe0 | character >> 12), middle, low}, 3);
	else
		put(output,
		    (const uint8_t[]){(uint8_t)(0xf0 | character >> 18),
				      (uint8_t)(0x80 | (character >> 12 & 0x3f)), middle, low},
		    4);
}

static void put_text(const struct piece *piece, char *text, size_t size_bytes) {
	struct output output = {text, size_bytes, false};
	size_t count = piece->length_bytes / piece->character_bytes;
	for (size_t i = 0; i < count && !output.is_full; i++)
		put_character(&output, character_at(piece, i));
	*output.at = '\0';
}

void python_frames_describe(const struct python *python, const struct script_frame *frame,
			    struct script_text *text) {
	struct code code;
	if (!read_code(python, (uintptr_t)frame->code, &code))
		return;
	put_text(&code.file, text->file, sizeof text->file);
	put_text(&code.function, text->function, sizeof text->function);
	text->line = python_line(python->layout->lines, code.lines.bytes, code.lines.length_bytes,
				 code.first_line, (int64_t)frame->position);
}
