/*
 * The reader of CPython's frames, in front of an interpreter that is made up of bytes: as its version says, and as no
 * version says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/python_frames.h"
#include "shim/stack_memory.h"

#define PAGE_BYTES 4096u
#define MEMORY_BYTES (256u * PAGE_BYTES)

/* Objects are as far apart as the largest is long, between them lies what no pointer should be. */
#define OBJECT_BYTES 1024u
#define HOLE UINT64_C(0x10) /* an address that is never mapped */

static uint8_t *memory;
static size_t used_bytes;
static struct python_layout layout;
static struct python python;

enum { FRAME_TYPE = 0x1000, CODE_TYPE = 0x2000, TEXT_TYPE = 0x3000, BYTES_TYPE = 0x4000 };

/* ---- An interpreter ---------------------------------------------------------------------------------------------- */

static int map_memory(void **state) {
	(void)state;
	memory = mmap(NULL, MEMORY_BYTES + PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	return memory == MAP_FAILED || mprotect(memory + MEMORY_BYTES, PAGE_BYTES, PROT_NONE) != 0;
}

static void begin(uint32_t minor) {
	uint64_t hole = HOLE;
	layout = *python_layout_of(minor);
	python = (struct python){&layout, minor <= 10 ? FRAME_TYPE : 0, CODE_TYPE, TEXT_TYPE, BYTES_TYPE,
				 false};
	for (size_t i = 0; i < MEMORY_BYTES; i += sizeof hole)
		memcpy(memory + i, &hole, sizeof hole);
	used_bytes = 0;
}

static uintptr_t make_object(void) {
	used_bytes += OBJECT_BYTES;
	assert_true(used_bytes <= MEMORY_BYTES);
	return (uintptr_t)memory + used_bytes - OBJECT_BYTES;
}

static void set_word(uintptr_t object, size_t offset, uint64_t value) {
	memcpy((char *)object + offset, &value, sizeof value);
}

static void set_int(uintptr_t object, size_t offset, int32_t value) {
	memcpy((char *)object + offset, &value, sizeof value);
}

static uintptr_t make_bytes(const void *bytes, size_t length_bytes) {
	uintptr_t object = make_object();
	set_word(object, 8, BYTES_TYPE);
	set_word(object, 16, length_bytes);
	memcpy((char *)object + 32, bytes, length_bytes);
	return object;
}

enum shape { ASCII, COMPACT, ELSEWHERE };

static uintptr_t make_string(const void *characters, size_t count, uint32_t kind, enum shape shape) {
	static const uint32_t bits[] = {[ASCII] = 0x60, [COMPACT] = 0x20, [ELSEWHERE] = 0};
	uintptr_t object = make_object();
	uintptr_t at = object + (shape == ASCII ? layout.text_ascii : layout.text_compact);
	set_word(object, 8, TEXT_TYPE);
	set_word(object, 16, count);
	set_int(object, 32, (int32_t)(bits[shape] | kind << 2 | 3));
	if (shape == ELSEWHERE) {
		at = make_object();
		set_word(object, layout.text_elsewhere, at);
	}
	memcpy((void *)at, characters, count * kind);
	return object;
}

static uintptr_t make_text(const char *text) {
	return make_string(text, strlen(text), 1, ASCII);
}

static uintptr_t make_code(uintptr_t file, uintptr_t function, int32_t first_line) {
	static const uint8_t tables[][6] = {
		[PYTHON_LINES_PAIRS] = {4, 1, 4, 1, 100, 1},
		[PYTHON_LINES_RANGES] = {4, 0, 4, 1, 100, 1},
		[PYTHON_LINES_LOCATIONS] = {0x80 | 1, 0x80 | 11 << 3 | 1, 0, 0, 0x80 | 11 << 3 | 7, 0}};
	uintptr_t object = make_object();
	set_word(object, 8, CODE_TYPE);
	set_word(object, 16, 50);
	set_word(object, layout.code_file, file);
	set_word(object, layout.code_function, function);
	set_int(object, layout.code_first_line, first_line);
	set_word(object, layout.code_lines, make_bytes(tables[layout.lines], sizeof *tables));
	if (layout.position != PYTHON_POSITION_POINTER)
		set_word(object, layout.code_instructions, make_bytes("1234567890123456", 16));
	return object;
}

static uintptr_t make_frame(uintptr_t code, uintptr_t caller, int32_t offset_bytes) {
	uintptr_t object = make_object();
	if (python.frame_type)
		set_word(object, 8, FRAME_TYPE);
	set_word(object, layout.frame_caller, caller);
	set_word(object, layout.frame_code, code);
	if (layout.position == PYTHON_POSITION_POINTER)
		set_word(object, layout.frame_position,
			 code + layout.code_instructions + (uint64_t)offset_bytes);
	else
		set_int(object, layout.frame_position,
			layout.position == PYTHON_POSITION_UNITS ? offset_bytes / 2 : offset_bytes);
	if (layout.entry != PYTHON_ENTRY_ALWAYS)
		((uint8_t *)object)[layout.frame_entry] = 0;
	return object;
}

static uintptr_t make_border(uintptr_t caller) {
	uintptr_t object = make_frame(HOLE, caller, 0);
	((uint8_t *)object)[layout.frame_entry] = 3;
	return object;
}

static uintptr_t make_thread(uintptr_t frame) {
	uintptr_t object = make_object();
	uintptr_t top = frame;
	if (layout.top_frame >= 0) {
		top = make_object();
		set_word(top, (size_t)layout.top_frame, frame);
	}
	set_word(object, layout.thread_top, top);
	return object;
}

/* outer, called by nobody, calls inner, which is at its second line. */
static uintptr_t make_two_calls(void) {
	uintptr_t file = make_text("/srv/app.py");
	uintptr_t outer = make_frame(make_code(file, make_text("outer"), 10), 0, 0);
	return make_thread(make_frame(make_code(file, make_text("inner"), 20), outer, 4));
}

static bool walk(uintptr_t thread, struct script_stack *stack) {
	*stack = (struct script_stack){.room = SCRIPT_FRAMES_MAX};
	return python_frames_walk(&python, thread, stack);
}

static struct script_text describe(const struct script_stack *stack, uint32_t number) {
	struct script_text text = {.line = 0};
	python_frames_describe(&python, &stack->frames[number], &text);
	return text;
}

/* ---- As the version says -------------------------------------------------------------------------------------------- */

static void test_every_version(void **state) {
	struct script_stack stack, again;
	(void)state;
	for (uint32_t minor = 6; minor <= 13; minor++) {
		begin(minor);
		uintptr_t thread = make_two_calls();
		assert_true(walk(thread, &stack));
		assert_int_equal(2, stack.count);
		assert_true(python.is_trusted);
		struct script_text inner = describe(&stack, 0), outer = describe(&stack, 1);
		assert_string_equal("/srv/app.py", inner.file);
		assert_string_equal("inner", inner.function);
		assert_int_equal(21, inner.line);
		assert_string_equal("outer", outer.function);
		assert_int_equal(10, outer.line);
		assert_true(walk(thread, &again));
		assert_int_equal(stack.hash, again.hash);
	}
}

static void test_versions_that_are_not_known(void **state) {
	(void)state;
	assert_null(python_layout_of(5));
	assert_null(python_layout_of(14));
	assert_null(python_layout_of(0));
}

static void test_a_single_frame_proves_too_little(void **state) {
	struct script_stack stack;
	(void)state;
	begin(11);
	uintptr_t thread =
		make_thread(make_frame(make_code(make_text("a.py"), make_text("<module>"), 1), 0, 0));
	assert_true(walk(thread, &stack));
	assert_int_equal(1, stack.count);
	assert_false(python.is_trusted);
}

static void test_where_the_loop_was_entered(void **state) {
	struct script_stack stack;
	(void)state;
	begin(12);
	uintptr_t code = make_code(make_text("a.py"), make_text("f"), 1);
	uintptr_t outer = make_frame(code, make_border(0), 0);
	uintptr_t middle = make_frame(code, make_border(outer), 0);
	assert_true(walk(make_thread(make_border(make_frame(code, middle, 0))), &stack));
	assert_int_equal(3, stack.count);
	assert_false(stack.frames[0].is_entry);
	assert_true(stack.frames[1].is_entry);
	assert_true(stack.frames[2].is_entry);
}

static void test_equal_contents_have_equal_hashes(void **state) {
	static const struct {
		const char *file, *function;
		int32_t first_line, offset_bytes;
	} calls[] = {{"a.py", "f", 1, 4}, {"b.py", "f", 1, 4}, {"a.py", "g", 1, 4},
		     {"a.py", "f", 2, 4}, {"a.py", "f", 1, 6}, {"a.p", "yf", 1, 4}};
	struct script_stack stacks[6], again;
	(void)state;
	begin(9);
	for (size_t i = 0; i < 6; i++) {
		uintptr_t code = make_code(make_text(calls[i].file), make_text(calls[i].function),
					   calls[i].first_line);
		assert_true(walk(make_thread(make_frame(code, 0, calls[i].offset_bytes)), &stacks[i]));
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(stacks[i].hash, stacks[j].hash);
	}
	/* Another code object that says the same. */
	uintptr_t code = make_code(make_text("a.py"), make_text("f"), 1);
	assert_true(walk(make_thread(make_frame(code, 0, 4)), &again));
	assert_int_equal(stacks[0].hash, again.hash);
}

static void test_the_room_ends_the_stack(void **state) {
	struct script_stack stack = {.room = 3};
	(void)state;
	begin(13);
	uintptr_t code = make_code(make_text("a.py"), make_text("f"), 1);
	uintptr_t frame = make_frame(code, 0, 0);
	for (int i = 0; i < 5; i++)
		frame = make_frame(code, frame, 0);
	assert_true(python_frames_walk(&python, make_thread(frame), &stack));
	assert_int_equal(3, stack.count);
	assert_true(stack.is_truncated);
	/* Its own caller, for ever. */
	set_word(frame, layout.frame_caller, frame);
	assert_true(walk(make_thread(frame), &stack));
	assert_int_equal(SCRIPT_FRAMES_MAX, stack.count);
	assert_true(stack.is_truncated);
	uintptr_t border = make_border(0);
	set_word(border, layout.frame_caller, border);
	assert_true(walk(make_thread(border), &stack));
	assert_int_equal(0, stack.count);
}

/* ---- Words ---------------------------------------------------------------------------------------------------------- */

static void check_text(uintptr_t string, const char *expected) {
	struct script_stack stack;
	assert_true(walk(make_thread(make_frame(make_code(string, string, 1), 0, 0)), &stack));
	assert_string_equal(expected, describe(&stack, 0).file);
	assert_string_equal(expected, describe(&stack, 0).function);
}

static void test_strings_of_every_kind(void **state) {
	static const uint8_t latin[] = {'S', 't', 'r', 'a', 0xdf, 'e'};
	static const uint16_t two[] = {0x65e5, 0xdce4, 0xd800, 0x7ff, 'x'};
	static const uint32_t four[] = {0x1f418, 0x110000, 0xffff, 'y'};
	(void)state;
	for (uint32_t minor = 6; minor <= 13; minor++) {
		begin(minor);
		check_text(make_string("plain", 5, 1, ASCII), "plain");
		check_text(make_string(latin, 6, 1, COMPACT),
			   "Stra\xc3\x9f"
			   "e");
		check_text(make_string(two, 5, 2, COMPACT), "\xe6\x97\xa5\xe4\xef\xbf\xbd\xdf\xbfx");
		check_text(make_string(four, 4, 4, COMPACT), "\xf0\x9f\x90\x98\xef\xbf\xbd\xef\xbf\xbfy");
		check_text(make_string(two, 1, 2, ELSEWHERE), "\xe6\x97\xa5");
		check_text(make_string("never made ready", 16, 0, ELSEWHERE), "");
		check_text(make_text(""), "");
	}
}

static void test_long_words_are_cut_between_characters(void **state) {
	uint16_t characters[400];
	struct script_stack stack;
	(void)state;
	begin(11);
	for (size_t i = 0; i < 400; i++)
		characters[i] = 0x65e5;
	uintptr_t string = make_string(characters, 400, 2, COMPACT);
	assert_true(walk(make_thread(make_frame(make_code(string, string, 1), 0, 0)), &stack));
	struct script_text text = describe(&stack, 0);
	assert_int_equal(1200, strlen(text.file));
	assert_int_equal((SCRIPT_FUNCTION_BYTES - 1) / 3 * 3, strlen(text.function));
}

/* Reading never goes one word too far. */
static void test_at_the_end_of_memory(void **state) {
	struct script_stack stack;
	uintptr_t end = (uintptr_t)memory + MEMORY_BYTES;
	(void)state;
	begin(11);
	for (size_t length_bytes = 1; length_bytes < 40; length_bytes++) {
		uintptr_t string = end - layout.text_ascii - length_bytes;
		set_word(string, 8, TEXT_TYPE);
		set_word(string, 16, length_bytes);
		set_int(string, 32, 0x67);
		memset((void *)(end - length_bytes), 'x', length_bytes);
		uintptr_t thread = make_thread(make_frame(make_code(string, string, 1), 0, 0));
		bool is_read = walk(thread, &stack);
		if (length_bytes >= 8)
			assert_true(is_read);
		if (is_read)
			assert_int_equal(length_bytes, strlen(describe(&stack, 0).file));
	}
}

/* ---- As no version says ------------------------------------------------------------------------------------------------ */

#define FIELD(name, is_decisive) \
	{ #name, offsetof(struct python_layout, name), is_decisive }

/* A wrong offset is found out, or what it was needed for does not show: no fault, and no trust in anything wrong. */
static void test_wrong_offsets(void **state) {
	static const struct {
		const char *name;
		size_t offset;
		bool is_decisive;
	} fields[] = {FIELD(thread_top, true),      FIELD(frame_caller, true),     FIELD(frame_code, true),
		      FIELD(frame_position, false), FIELD(code_file, true),        FIELD(code_function, true),
		      FIELD(code_lines, true),      FIELD(code_first_line, false), FIELD(text_ascii, false),
		      FIELD(text_compact, false),   FIELD(text_elsewhere, false)};
	static const int32_t changes[] = {-8, 8, 16, -16, 4, 24, 512, 4096, 60000};
	struct script_stack stack;
	(void)state;
	for (uint32_t minor = 6; minor <= 13; minor++)
		for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
			for (size_t j = 0; j < sizeof changes / sizeof *changes; j++) {
				begin(minor);
				uintptr_t thread = make_two_calls();
				uint16_t right, wrong;
				memcpy(&right, (char *)&layout + fields[i].offset, sizeof right);
				wrong = (uint16_t)(right + changes[j]);
				memcpy((char *)&layout + fields[i].offset, &wrong, sizeof wrong);
				bool is_right = walk(thread, &stack);
				/* One name in place of the other; both move together when a version moves them. */
				if (layout.code_file == layout.code_function)
					continue;
				/* A number may be plausible elsewhere, a pointer into the code is not. */
				bool is_pointer =
					fields[i].offset == offsetof(struct python_layout, frame_position) &&
					layout.position == PYTHON_POSITION_POINTER;
				if (!fields[i].is_decisive && !is_pointer)
					continue;
				if (is_right || python.is_trusted)
					print_message("3.%u: %s %d instead of %d\n", minor, fields[i].name,
						      wrong, right);
				assert_false(python.is_trusted);
				assert_false(is_right);
			}
}

/* Every word of the interpreter, one after the other, leads nowhere or elsewhere. */
static void test_wrong_words(void **state) {
	static const uint64_t wrong[] = {0,
					 1,
					 HOLE,
					 UINT64_MAX,
					 UINT64_C(0x800000000000),
					 UINT64_C(0x7ffffffff000),
					 UINT64_C(0xffffffffff600000)};
	struct script_stack stack;
	uint32_t seen = 0;
	(void)state;
	for (uint32_t minor = 6; minor <= 13; minor++)
		for (size_t at = 0; at < 14 * OBJECT_BYTES; at += 8)
			for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
				begin(minor);
				uintptr_t thread = make_two_calls();
				if (at >= used_bytes || (i > 1 && at % OBJECT_BYTES > 256))
					break;
				set_word((uintptr_t)memory + at, 0, wrong[i]);
				seen += !walk(thread, &stack);
				for (uint32_t j = 0; j < stack.count && !python.is_trusted; j++)
					describe(&stack, j);
			}
	assert_in_range(seen, 100, 1000000);
}

static void test_another_build(void **state) {
	struct script_stack stack;
	(void)state;
	/* Two words in front of every object, as builds that trace references have them. */
	for (uint32_t minor = 6; minor <= 13; minor++) {
		begin(minor);
		uintptr_t thread = make_two_calls();
		memmove(memory + 16, memory, used_bytes);
		assert_false(walk(thread, &stack));
		assert_false(python.is_trusted);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_version),
		cmocka_unit_test(test_versions_that_are_not_known),
		cmocka_unit_test(test_a_single_frame_proves_too_little),
		cmocka_unit_test(test_where_the_loop_was_entered),
		cmocka_unit_test(test_equal_contents_have_equal_hashes),
		cmocka_unit_test(test_the_room_ends_the_stack),
		cmocka_unit_test(test_strings_of_every_kind),
		cmocka_unit_test(test_long_words_are_cut_between_characters),
		cmocka_unit_test(test_at_the_end_of_memory),
		cmocka_unit_test(test_wrong_offsets),
		cmocka_unit_test(test_wrong_words),
		cmocka_unit_test(test_another_build),
	};
	return cmocka_run_group_tests(tests, map_memory, NULL);
}
