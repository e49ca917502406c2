/*
 * Native and script frames put together. This program is the interpreter, libc is the native code of others, and a
 * runtime of the test stands in place of CPython's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/ledger_writer.h"
#include "shim/loader.h"
#include "shim/script.h"
#include "tests/unit/support/shim_support.h"

/* ---- A runtime ---------------------------------------------------------------------------------------------------- */

__attribute__((visibility("default"), used)) int fake_runtime_mark;

static struct {
	uint32_t count;   /* of frames this thread has */
	uint64_t entries; /* bit N: the loop was entered for frame N */
	enum ledger_script_reading opened, captured;
	uint32_t open_count, capture_count;
	uintptr_t loop;
} fake;

static enum ledger_script_reading open_fake(const struct link_map *object,
					    char version[SCRIPT_VERSION_BYTES]) {
	assert_ptr_equal(&fake_runtime_mark, loader_symbol(object, "fake_runtime_mark"));
	snprintf(version, SCRIPT_VERSION_BYTES, "1.%u", ++fake.open_count);
	errno = 77;
	return fake.opened;
}

static enum ledger_script_reading capture_fake(struct script_stack *stack, const struct stack *native) {
	(void)native;
	fake.capture_count++;
	for (uint32_t i = 0; i < fake.count; i++) {
		struct script_frame frame = {.position = i, .is_entry = fake.entries >> i & 1};
		if (!script_append(stack, &frame, 1000 + i))
			break;
	}
	return fake.captured;
}

static void describe_fake(const struct script_frame *frame, struct script_text *text) {
	snprintf(text->file, sizeof text->file, "file%u", (unsigned)frame->position);
	text->line = (uint32_t)frame->position + 1;
}

static enum script_code classify_fake(uintptr_t pc) {
	return pc == fake.loop ? SCRIPT_CODE_LOOP : SCRIPT_CODE_INTERPRETER;
}

static uint32_t state_of_fake(const struct stack *native) {
	return native->count > 2 ? SCRIPT_FINALIZING : 0;
}

const struct script_runtime script_python = {.name = "fake",
					     .language = LEDGER_FRAME_PYTHON,
					     .mark = "fake_runtime_mark",
					     .open = open_fake,
					     .capture = capture_fake,
					     .describe = describe_fake,
					     .classify = classify_fake,
					     .state = state_of_fake};

/* ---- Support -------------------------------------------------------------------------------------------------------- */

static struct ledger_header *ledger;

/* N: native code of others, L: the interpreter's loop, I: its other code. */
static struct stack make_native(const char *shape) {
	static uint64_t number;
	struct stack stack = {.hash = 0};
	for (; *shape; shape++) {
		uintptr_t pc = *shape == 'N' ? (uintptr_t)abort + 4
			: *shape == 'L'      ? fake.loop
					     : (uintptr_t)make_native + 8;
		stack.pc[stack.count++] = pc;
	}
	stack.hash = ++number * UINT64_C(0x9e3779b97f4a7c15);
	return stack;
}

static bool locate_fake(struct ledger_header *of, uintptr_t pc, const struct ledger_frame *before,
			struct ledger_frame *frame) {
	(void)before;
	assert_ptr_equal(ledger, of);
	*frame = (struct ledger_frame){.language = LEDGER_FRAME_NATIVE, .where = pc == fake.loop ? 'L' : 'N'};
	if (pc == (uintptr_t)make_native + 8)
		frame->where = 'I';
	return true;
}

/* The merged stack as a text: digits are script frames by number. */
static const char *merged(const struct stack *native, const struct script_stack *script) {
	static char text[STACK_FRAMES_MAX + SCRIPT_FRAMES_MAX + 1];
	struct ledger_frame frames[STACK_FRAMES_MAX + SCRIPT_FRAMES_MAX];
	uint32_t count = script_merge(ledger, native, script, locate_fake, frames);
	for (uint32_t i = 0; i < count; i++)
		text[i] = frames[i].language == LEDGER_FRAME_NATIVE
			? (char)frames[i].where
			: ledger_string_text(ledger, frames[i].where)[4];
	text[count] = '\0';
	return text;
}

static const char *merge(const char *shape, uint32_t count, uint64_t entries) {
	struct script_stack script;
	struct stack native = make_native(shape);
	fake.count = count;
	fake.entries = entries;
	script_capture(&script, &native);
	return merged(&native, &script);
}

static int open_all(void **state) {
	(void)state;
	fake.opened = fake.captured = LEDGER_SCRIPT_OFFSETS;
	fake.loop = (uintptr_t)merge + 8;
	shim_support_open();
	ledger = shim_support_ledger(LEDGER_MIN_SIZE_BYTES);
	return 0;
}

static int close_all(void **state) {
	(void)state;
	shim_support_release(ledger);
	shim_support_close();
	return 0;
}

/* As in another process image; nothing is known of what it was started with. */
static int begin(void **state) {
	(void)state;
	script_open(SCRIPT_FRAMES_MAX);
	script_forget();
	fake.opened = fake.captured = LEDGER_SCRIPT_OFFSETS;
	fake.open_count = fake.capture_count = 0;
	return 0;
}

/* ---- Merging -------------------------------------------------------------------------------------------------------- */

static void test_script_frames_take_the_interpreters_place(void **state) {
	(void)state;
	assert_string_equal("NN012NN", merge("NNILILILIINN", 3, 7));
	assert_string_equal("N0N", merge("NIILIIN", 1, 1));
}

static void test_native_code_between_scripts(void **state) {
	(void)state;
	assert_string_equal("N0NN12N", merge("NILINNILILIN", 3, 7));
	/* One entry of the loop for two calls, as since 3.11. */
	assert_string_equal("N01NN2N", merge("NILINNILIN", 3, 1 << 1 | 1 << 2));
	assert_string_equal("N01NN2N", merge("NILINNILIN", 3, 1 << 1));
}

static void test_loops_that_do_not_match(void **state) {
	(void)state;
	/* Where the extension's frames belong cannot be told. */
	assert_string_equal("N012N", merge("NILINNILIN", 3, 7));
	assert_string_equal("N012N", merge("NIIIN", 3, 7));
}

static void test_cut_stacks(void **state) {
	struct script_stack script;
	(void)state;
	struct stack native = make_native("NILINIL");
	native.is_truncated = true;
	fake.count = 4;
	fake.entries = 15;
	script_capture(&script, &native);
	assert_string_equal("N0N123", merged(&native, &script));
	assert_false(script.is_truncated);
	script_open(2);
	script_capture(&script, &native);
	assert_true(script.is_truncated);
	assert_int_equal(2, script.count);
	assert_string_equal("N0N1", merged(&native, &script));
}

static void test_without_a_script_nothing_changes(void **state) {
	(void)state;
	assert_string_equal("NIILIIN", merge("NIILIIN", 0, 0));
	assert_string_equal("NNN", merge("NNN", 0, 0));
	assert_string_equal("", merge("", 0, 0));
}

static void test_the_interpreter_is_not_on_the_stack(void **state) {
	(void)state;
	/* Met before, but this stack does not lead through it: not asked. */
	assert_string_equal("NIN", merge("NIN", 0, 0));
	assert_string_equal("NNN", merge("NNN", 2, 3));
}

/* ---- Meeting ---------------------------------------------------------------------------------------------------------- */

static void test_opened_once(void **state) {
	const char *version;
	(void)state;
	assert_int_equal(LEDGER_SCRIPT_UNMET, script_reading(LEDGER_FRAME_PYTHON, &version));
	uint32_t news = script_news();
	errno = 5;
	for (int i = 0; i < 5; i++)
		merge("NIN", 1, 1);
	assert_int_equal(5, errno);
	assert_int_equal(1, fake.open_count);
	assert_int_equal(5, fake.capture_count);
	assert_int_equal(LEDGER_SCRIPT_OFFSETS, script_reading(LEDGER_FRAME_PYTHON, &version));
	assert_string_equal("1.1", version);
	script_forget();
	merge("NIN", 1, 1);
	assert_int_equal(2, fake.open_count);
	script_reading(LEDGER_FRAME_PYTHON, &version);
	assert_string_equal("1.2", version);
	(void)news;
}

static void test_not_asked_where_it_cannot_be_read(void **state) {
	const char *version;
	(void)state;
	fake.opened = LEDGER_SCRIPT_UNKNOWN_VERSION;
	uint32_t news = script_news();
	assert_string_equal("NIN", merge("NIN", 1, 1));
	assert_int_equal(0, fake.capture_count);
	assert_int_not_equal(news, script_news());
	assert_int_equal(LEDGER_SCRIPT_UNKNOWN_VERSION, script_reading(LEDGER_FRAME_PYTHON, &version));
}

static void test_not_asked_again_once_distrusted(void **state) {
	const char *version;
	(void)state;
	merge("NIN", 1, 1);
	uint32_t news = script_news();
	fake.captured = LEDGER_SCRIPT_UNSAFE;
	merge("NIN", 0, 0);
	merge("NIN", 0, 0);
	assert_int_equal(2, fake.capture_count);
	assert_int_not_equal(news, script_news());
	assert_int_equal(LEDGER_SCRIPT_UNSAFE, script_reading(LEDGER_FRAME_PYTHON, &version));
}

static void test_depth_nought(void **state) {
	const char *version;
	(void)state;
	script_open(0);
	script_forget();
	assert_string_equal("NIN", merge("NIN", 1, 1));
	assert_int_equal(0, fake.capture_count);
	assert_int_equal(LEDGER_SCRIPT_OFF, script_reading(LEDGER_FRAME_PYTHON, &version));
}

static void test_hashes_tell_stacks_apart(void **state) {
	struct script_stack one, two;
	(void)state;
	struct stack native = make_native("NLN");
	fake.count = 2;
	script_capture(&one, &native);
	script_capture(&two, &native);
	assert_int_equal(one.hash, two.hash);
	fake.count = 3;
	script_capture(&two, &native);
	assert_int_not_equal(one.hash, two.hash);
	assert_int_not_equal(script_mix_bytes(1, "abc", 3), script_mix_bytes(1, "abc\0", 4));
	assert_int_not_equal(script_mix_bytes(1, "12345678901234567", 17),
			     script_mix_bytes(1, "12345678901234568", 17));
}

static void test_facts_of_the_moment(void **state) {
	struct stack shallow = make_native("NI"), deep = make_native("NII");
	(void)state;
	assert_int_equal(0, script_state(&shallow).flags);
	assert_int_equal(SCRIPT_FINALIZING, script_state(&deep).flags);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_script_frames_take_the_interpreters_place, begin),
		cmocka_unit_test_setup(test_native_code_between_scripts, begin),
		cmocka_unit_test_setup(test_loops_that_do_not_match, begin),
		cmocka_unit_test_setup(test_cut_stacks, begin),
		cmocka_unit_test_setup(test_without_a_script_nothing_changes, begin),
		cmocka_unit_test_setup(test_the_interpreter_is_not_on_the_stack, begin),
		cmocka_unit_test_setup(test_opened_once, begin),
		cmocka_unit_test_setup(test_not_asked_where_it_cannot_be_read, begin),
		cmocka_unit_test_setup(test_not_asked_again_once_distrusted, begin),
		cmocka_unit_test_setup(test_depth_nought, begin),
		cmocka_unit_test_setup(test_hashes_tell_stacks_apart, begin),
		cmocka_unit_test_setup(test_facts_of_the_moment, begin),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
