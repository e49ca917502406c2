/* PHP's frames, from structures of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>

#include "tests/unit/support/fake_interpreter.h"
#include "tests/unit/support/sanitizers.h"

extern const struct script_runtime script_php;

/* ---- In place of PHP ---------------------------------------------------------------------------------------------- */

alignas(16) char executor_globals[2048];
static const char *engine = "Zend Engine v4.2.3, Copyright";
const char *get_zend_version(void);
const char *get_zend_version(void) {
	return engine;
}
__attribute__((noinline)) void execute_ex(void);
void execute_ex(void) {
	__asm__ volatile("nop; nop; nop; nop");
}

struct string {
	char head[24];
	char bytes[64];
};

static struct php {
	struct string file, class_name, names[3];
	char class[64];
	char ops[3][4 * 32];
	char functions[3][256];
	char frames[3][80];
	char internal_function[64];
	char internal_frame[80];
	char values[256];
} php;

static void make_string(struct string *string, const char *text) {
	memset(string, 0, sizeof *string);
	fake_put(string, 16, strlen(text), 8);
	memcpy(string->bytes, text, strlen(text));
}

static void make_function(uint32_t number, uint32_t type, const struct string *name, const void *class) {
	char *function = php.functions[number];
	fake_put(function, 0, type, 1);
	fake_point(function, 8, name);
	fake_point(function, 16, class);
	fake_put(function, 80, 4, 4);
	fake_point(function, 88, php.ops[number]);
	fake_point(function, 152, &php.file);
	for (uint32_t i = 0; i < 4; i++)
		fake_put(php.ops[number], i * 32 + 24, 10 * (number + 1) + i, 4);
}

static void make_frame(uint32_t number, const void *previous) {
	fake_point(php.frames[number], 0, php.ops[number] + 2 * 32);
	fake_point(php.frames[number], 24, php.functions[number]);
	fake_point(php.frames[number], 48, previous);
}

static int make_php(void **state) {
	(void)state;
	memset(&php, 0, sizeof php);
	memset(executor_globals, 0, sizeof executor_globals);
	engine = "Zend Engine v4.2.3, Copyright";
	make_string(&php.file, "/srv/shop.php");
	make_string(&php.class_name, "Shop");
	make_string(&php.names[0], "open");
	make_string(&php.names[1], "order");
	fake_point(php.class, 8, &php.class_name);
	make_function(0, 2, &php.names[0], php.class);
	make_function(1, 2, &php.names[1], NULL);
	make_function(2, 2, NULL, NULL);
	make_frame(2, NULL);
	make_frame(1, php.frames[2]);
	make_frame(0, php.frames[1]);
	fake_put(php.internal_function, 0, 1, 1);
	fake_point(php.internal_frame, 24, php.internal_function);
	fake_point(php.internal_frame, 48, php.frames[0]);
	fake_put(executor_globals, 8, 1, 1);
	fake_put(executor_globals, 24, 15, 1);
	fake_point(executor_globals, 288, executor_globals + 288);
	fake_point(executor_globals, 456, php.values + 64);
	fake_point(executor_globals, 464, php.values + 256);
	fake_point(executor_globals, 472, php.values);
	fake_point(executor_globals, 488, php.internal_frame);
	assert_int_equal(fake_open(&script_php, executor_globals), LEDGER_SCRIPT_OFFSETS);
	return 0;
}

static struct stack here(void) {
	return fake_native((uintptr_t)&execute_ex);
}

static struct fake_capture captured(void) {
	struct stack native = here();
	return fake_capture(&script_php, &native);
}

/* ---- Frames ------------------------------------------------------------------------------------------------------- */

static void check_frame(const struct script_frame *frame, const char *function, uint32_t line) {
	struct script_text text = {.file = "", .function = "", .line = 0};
	script_php.describe(frame, &text);
	assert_string_equal(text.file, "/srv/shop.php");
	assert_string_equal(text.function, function);
	assert_int_equal(text.line, line);
}

static void test_frames_are_read(void **state) {
	(void)state;
	for (int i = 0; i < 2; i++) { /* probed, then proved */
		struct fake_capture capture = captured();
		assert_int_equal(capture.reading, LEDGER_SCRIPT_OFFSETS);
		assert_int_equal(capture.stack.count, 3);
		check_frame(&capture.stack.frames[0], "Shop::open", 12);
		check_frame(&capture.stack.frames[1], "order", 22);
		check_frame(&capture.stack.frames[2], "{main}", 32);
	}
}

static void test_an_exception_keeps_the_line(void **state) {
	(void)state;
	fake_point(executor_globals, 880, php.ops[0] + 32);
	fake_point(php.frames[0], 0, executor_globals + 888);
	struct fake_capture capture = captured();
	assert_int_equal(capture.stack.count, 3);
	check_frame(&capture.stack.frames[0], "Shop::open", 11);
}

static void test_included_and_evaluated_code(void **state) {
	(void)state;
	make_function(1, 2, NULL, NULL);
	struct fake_capture capture = captured();
	check_frame(&capture.stack.frames[1], "include", 22);
	make_function(1, 4, NULL, NULL);
	capture = captured();
	check_frame(&capture.stack.frames[1], "eval", 22);
}

static void test_contents_decide(void **state) {
	(void)state;
	uint64_t before = captured().stack.hash;
	assert_true(before == captured().stack.hash);
	make_string(&php.names[1], "odder");
	uint64_t renamed = captured().stack.hash;
	assert_true(before != renamed);
	fake_put(php.ops[1], 2 * 32 + 24, 23, 4);
	assert_true(captured().stack.hash != renamed);
}

static void test_no_more_than_there_is_room_for(void **state) {
	struct stack native = here();
	struct script_stack stack = {.room = 2};
	(void)state;
	assert_int_equal(script_php.capture(&stack, &native), LEDGER_SCRIPT_OFFSETS);
	assert_int_equal(stack.count, 2);
	assert_true(stack.is_truncated);
}

/* ---- Wrong ---------------------------------------------------------------------------------------------------------- */

static void test_other_globals_are_refused(void **state) {
	(void)state;
	fake_point(executor_globals, 288, executor_globals + 280);
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
}

static void test_an_unreadable_frame_is_refused(void **state) {
	(void)state;
	fake_put(executor_globals, 488, UINT64_C(0x10), 8);
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
	make_php(state);
	fake_put(php.frames[1], 48, UINT64_C(0x7fffdeadb000), 8);
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
}

static void test_an_operation_of_another_function_is_refused(void **state) {
	(void)state;
	fake_point(php.frames[1], 0, php.ops[0]);
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
}

static void test_a_name_that_is_none_is_refused(void **state) {
	(void)state;
	fake_put(&php.names[1], 16, 3, 8); /* not where it ends */
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
	make_php(state);
	fake_put(&php.names[1], 16, UINT64_C(1) << 40, 8);
	assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
}

/* PHP puts a zero and the place of the class behind the part of its name that is shown. */
static void test_an_anonymous_class(void **state) {
	(void)state;
	static const char name[] = "Shop@anonymous\0/srv/shop.php:3$0";
	memcpy(php.class_name.bytes, name, sizeof name);
	fake_put(&php.class_name, 16, sizeof name - 1, 8);
	for (int i = 0; i < 2; i++) { /* probed, then proved */
		struct fake_capture capture = captured();
		assert_int_equal(capture.reading, LEDGER_SCRIPT_OFFSETS);
		assert_int_equal(capture.stack.count, 3);
		check_frame(&capture.stack.frames[0], "Shop@anonymous::open", 12);
	}
}

static void test_a_chain_in_circles_ends(void **state) {
	(void)state;
	fake_point(php.frames[2], 48, php.internal_frame);
	assert_int_equal(captured().stack.count, SCRIPT_FRAMES_MAX);
	fake_point(php.internal_frame, 48, php.internal_frame);
	assert_int_equal(captured().stack.count, 0);
}

static void test_nothing_faults(void **state) {
	struct stack native = here();
	(void)state;
	if (IS_UNDER_ASAN)
		LEAVE_OUT("what is mapped may be read here, which is more than it allows");
	fake_spoil(&script_php, &native, &php, sizeof php);
	fake_spoil(&script_php, &native, executor_globals, 896);
}

static void *capture_elsewhere(void *argument) {
	struct stack native = {.count = 0};
	*(struct fake_capture *)argument = fake_capture(&script_php, &native);
	return NULL;
}

static void test_another_thread_runs_no_php(void **state) {
	struct fake_capture capture;
	pthread_t thread;
	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, capture_elsewhere, &capture), 0);
	pthread_join(thread, NULL);
	assert_int_equal(capture.reading, LEDGER_SCRIPT_OFFSETS);
	assert_int_equal(capture.stack.count, 0);
}

static void test_unknown_versions(void **state) {
	static const char *const unknown[] = {"Zend Engine v3.4.0, x", "Zend Engine v4.6.0, x",
					      "Zend Engine v4.10.0", "", NULL};
	(void)state;
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		engine = unknown[i];
		assert_int_equal(fake_open(&script_php, executor_globals), LEDGER_SCRIPT_UNKNOWN_VERSION);
	}
}

/* ---- State ------------------------------------------------------------------------------------------------------------ */

static uint32_t state_now(void) {
	struct stack native = here();
	return script_php.state(&native);
}

static void test_states(void **state) {
	(void)state;
	assert_int_equal(state_now(), 0);
	fake_point(executor_globals, 488, NULL);
	assert_int_equal(state_now(), SCRIPT_FINALIZING | SCRIPT_WITHOUT_FRAMES);
	make_php(state);
	fake_point(php.frames[0], 48, NULL); /* a method is the outermost frame */
	assert_int_equal(state_now(), 0);
	make_string(&php.names[0], "__destruct");
	assert_int_equal(state_now(), SCRIPT_FINALIZING);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_frames_are_read, make_php),
		cmocka_unit_test_setup(test_an_exception_keeps_the_line, make_php),
		cmocka_unit_test_setup(test_included_and_evaluated_code, make_php),
		cmocka_unit_test_setup(test_contents_decide, make_php),
		cmocka_unit_test_setup(test_no_more_than_there_is_room_for, make_php),
		cmocka_unit_test_setup(test_other_globals_are_refused, make_php),
		cmocka_unit_test_setup(test_an_unreadable_frame_is_refused, make_php),
		cmocka_unit_test_setup(test_an_operation_of_another_function_is_refused, make_php),
		cmocka_unit_test_setup(test_a_name_that_is_none_is_refused, make_php),
		cmocka_unit_test_setup(test_a_chain_in_circles_ends, make_php),
		cmocka_unit_test_setup(test_nothing_faults, make_php),
		cmocka_unit_test_setup(test_an_anonymous_class, make_php),
		cmocka_unit_test_setup(test_another_thread_runs_no_php, make_php),
		cmocka_unit_test_setup(test_unknown_versions, make_php),
		cmocka_unit_test_setup(test_states, make_php),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
