/* Ruby's frames, from functions and structures of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <stdio.h>

#include "tests/unit/support/fake_interpreter.h"
#include "tests/unit/support/sanitizers.h"

extern const struct script_runtime script_ruby;

typedef uintptr_t value;

/* ---- In place of Ruby 3.1 ----------------------------------------------------------------------------------------------- */

#define STRING 5
#define CODE 0x1a
#define NOT_EMBEDDED (1u << 13)
#define FRAME_BYTES 64
#define NIL 8

alignas(16) static struct ruby {
	char strings[4][40];
	char codes[3][40]; /* a method, a block inside it, the program */
	char thread_object[40];
	char thread[192];
	char context[64];
	char stack[1024];
	char environment[8];
	char c_environment[8];
} ruby;

static struct {
	value frames[4];
	int lines[4];
	int count;
	int is_thread, is_collecting, has_lock;
	int asked;
} said;

extern char ruby_version[16];
extern void *ruby_current_vm_ptr;
char ruby_version[16];
void *ruby_current_vm_ptr;

int ruby_native_thread_p(void);
int rb_profile_frames(int start, int limit, value *frames, int *lines);
value rb_profile_frame_path(value frame);
value rb_profile_frame_label(value frame);
value rb_thread_current(void);
char *rb_string_value_ptr(value *string);
int rb_during_gc(void);
int ruby_thread_has_gvl_p(void);

int ruby_native_thread_p(void) {
	return said.is_thread;
}

int rb_profile_frames(int start, int limit, value *frames, int *lines) {
	int count = said.count < limit ? said.count : limit;
	said.asked++;
	for (int i = start; i < count; i++) {
		frames[i] = said.frames[i];
		lines[i] = said.lines[i];
	}
	return count;
}

value rb_profile_frame_path(value frame) {
	return frame == (value)ruby.codes[1] ? (value)ruby.strings[3] : (value)ruby.strings[0];
}

value rb_profile_frame_label(value frame) {
	return frame == (value)ruby.codes[2] ? (value)ruby.strings[2] : (value)ruby.strings[1];
}

value rb_thread_current(void) {
	return (value)ruby.thread_object;
}

char *rb_string_value_ptr(value *string) {
	uint64_t flags;
	memcpy(&flags, (void *)*string, sizeof flags);
	assert_int_equal(flags & 0x1f, STRING);
	char *bytes = (char *)*string + 16;
	if (flags & NOT_EMBEDDED)
		memcpy(&bytes, (char *)*string + 24, sizeof bytes);
	return bytes;
}

int rb_during_gc(void) {
	return said.is_collecting;
}

int ruby_thread_has_gvl_p(void) {
	return said.has_lock;
}

static void make_string(uint32_t number, const char *text, bool is_embedded) {
	char *string = ruby.strings[number];
	fake_put(string, 0, STRING | (is_embedded ? (uint64_t)strlen(text) << 14 : NOT_EMBEDDED), 8);
	if (is_embedded) {
		strcpy(string + 16, text);
		return;
	}
	fake_put(string, 16, strlen(text), 8);
	fake_point(string, 24, text);
}

static void make_control_frame(uint32_t number, const void *code, const void *environment) {
	char *frame = ruby.stack + sizeof ruby.stack - (3 - number) * FRAME_BYTES;
	fake_point(frame, 0, ruby.codes);
	fake_point(frame, 16, code);
	fake_point(frame, 32, environment);
}

static int make_ruby(void **state) {
	(void)state;
	memset(&ruby, 0, sizeof ruby);
	memset(&said, 0, sizeof said);
	strcpy(ruby_version, "3.1.2");
	ruby_current_vm_ptr = &ruby;
	make_string(0, "/srv/shop.rb", false);
	make_string(1, "open", true);
	make_string(2, "<main>", true);
	make_string(3, "made-up.erb", true);
	for (uint32_t i = 0; i < 3; i++)
		fake_put(ruby.codes[i], 0, CODE, 8);
	fake_point(ruby.thread_object, 32, ruby.thread);
	fake_put(ruby.c_environment, 0, 0x80, 8);
	fake_point(ruby.thread, 40, ruby.context);
	fake_point(ruby.context, 0, ruby.stack);
	fake_put(ruby.context, 8, sizeof ruby.stack / 8, 8);
	fake_point(ruby.context, 16, ruby.stack + sizeof ruby.stack - 3 * FRAME_BYTES);
	make_control_frame(0, NULL, ruby.c_environment);
	make_control_frame(1, ruby.codes[1], ruby.environment);
	make_control_frame(2, ruby.codes[2], ruby.environment);
	said.is_thread = said.has_lock = 1;
	said.count = 3;
	said.frames[0] = (value)ruby.strings; /* a function in C: nothing is asked about it */
	said.frames[1] = (value)ruby.codes[0];
	said.frames[2] = (value)ruby.codes[2];
	said.lines[1] = 77;
	said.lines[2] = 20;
	assert_int_equal(fake_open(&script_ruby, ruby_version), LEDGER_SCRIPT_FUNCTIONS);
	return 0;
}

static struct fake_capture captured(void) {
	struct stack native = fake_native((uintptr_t)&rb_during_gc);
	return fake_capture(&script_ruby, &native);
}

static uint32_t state_now(void) {
	struct stack native = fake_native((uintptr_t)&rb_during_gc);
	return script_ruby.state(&native);
}

/* ---- Frames ------------------------------------------------------------------------------------------------------- */

static void check_frame(const struct script_frame *frame, const char *file, const char *function,
			uint32_t line) {
	struct script_text text = {.file = "", .function = "", .line = 0};
	script_ruby.describe(frame, &text);
	assert_string_equal(text.file, file);
	assert_string_equal(text.function, function);
	assert_int_equal(text.line, line);
}

/* The method's frame is the block's, whose file is another. */
static void test_frames_are_read(void **state) {
	(void)state;
	for (int i = 0; i < 2; i++) { /* probed, then proved */
		struct fake_capture capture = captured();
		assert_int_equal(capture.reading, LEDGER_SCRIPT_FUNCTIONS);
		assert_int_equal(capture.stack.count, 2);
		check_frame(&capture.stack.frames[0], "made-up.erb", "open", 77);
		check_frame(&capture.stack.frames[1], "/srv/shop.rb", "<main>", 20);
	}
}

static void test_control_frames_that_do_not_match_are_left(void **state) {
	(void)state;
	fake_point(ruby.context, 16, ruby.stack + sizeof ruby.stack - FRAME_BYTES);
	struct fake_capture capture = captured();
	assert_int_equal(capture.stack.count, 2);
	check_frame(&capture.stack.frames[0], "/srv/shop.rb", "open", 77);
}

static void test_contents_decide(void **state) {
	(void)state;
	uint64_t before = captured().stack.hash;
	assert_true(before == captured().stack.hash);
	make_string(1, "shut", true);
	uint64_t renamed = captured().stack.hash;
	assert_true(before != renamed);
	said.lines[2] = 21;
	assert_true(captured().stack.hash != renamed);
}

static void test_strings_of_another_layout_are_refused(void **state) {
	(void)state;
	strcpy(ruby_version, "3.2.0"); /* the length stands before the bytes */
	assert_int_equal(fake_open(&script_ruby, ruby_version), LEDGER_SCRIPT_FUNCTIONS);
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
}

static void test_no_string_is_refused(void **state) {
	(void)state;
	fake_put(ruby.strings[0], 0, 7, 8); /* an array */
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
}

static void test_nothing_faults(void **state) {
	struct stack native = fake_native((uintptr_t)&rb_during_gc);
	(void)state;
	if (IS_UNDER_ASAN)
		LEAVE_OUT("what is mapped may be read here, which is more than it allows");
	fake_spoil(&script_ruby, &native, &ruby, sizeof ruby);
}

static void test_nothing_is_asked_while_objects_move(void **state) {
	(void)state;
	said.is_collecting = 1;
	struct fake_capture capture = captured();
	assert_int_equal(capture.reading, LEDGER_SCRIPT_FUNCTIONS);
	assert_int_equal(capture.stack.count, 0);
	assert_int_equal(said.asked, 0);
}

static void test_other_threads_and_the_end(void **state) {
	(void)state;
	said.is_thread = 0;
	assert_int_equal(captured().stack.count, 0);
	assert_int_equal(state_now(), SCRIPT_WITHOUT_FRAMES);
	said.is_thread = 1;
	ruby_current_vm_ptr = NULL;
	assert_int_equal(captured().stack.count, 0);
	assert_int_equal(state_now(), SCRIPT_WITHOUT_FRAMES);
	assert_int_equal(said.asked, 0);
}

static void test_versions(void **state) {
	static const struct {
		const char *version;
		enum ledger_script_reading reading;
	} versions[] = {{"2.7.8", LEDGER_SCRIPT_UNKNOWN_VERSION},
			{"3.0.6", LEDGER_SCRIPT_FUNCTIONS},
			{"3.4.1", LEDGER_SCRIPT_FUNCTIONS},
			{"4.0.0", LEDGER_SCRIPT_UNKNOWN_VERSION}};
	(void)state;
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
		strcpy(ruby_version, versions[i].version);
		assert_int_equal(fake_open(&script_ruby, ruby_version), versions[i].reading);
	}
}

static void test_states(void **state) {
	(void)state;
	assert_int_equal(state_now(), 0);
	said.count = 1; /* no Ruby code */
	assert_int_equal(state_now(), SCRIPT_FINALIZING | SCRIPT_WITHOUT_FRAMES);
	said.is_collecting = 1;
	assert_true(state_now() & SCRIPT_IN_COLLECTOR);
	said.has_lock = 0; /* another thread's collector */
	assert_false(state_now() & SCRIPT_IN_COLLECTOR);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_frames_are_read, make_ruby),
		cmocka_unit_test_setup(test_control_frames_that_do_not_match_are_left, make_ruby),
		cmocka_unit_test_setup(test_contents_decide, make_ruby),
		cmocka_unit_test_setup(test_strings_of_another_layout_are_refused, make_ruby),
		cmocka_unit_test_setup(test_no_string_is_refused, make_ruby),
		cmocka_unit_test_setup(test_nothing_faults, make_ruby),
		cmocka_unit_test_setup(test_nothing_is_asked_while_objects_move, make_ruby),
		cmocka_unit_test_setup(test_other_threads_and_the_end, make_ruby),
		cmocka_unit_test_setup(test_versions, make_ruby),
		cmocka_unit_test_setup(test_states, make_ruby),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
