/* Perl's frames, from structures of the test's own. */
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

extern const struct script_runtime script_perl;

/* ---- In place of Perl, 5.36 with threads ----------------------------------------------------------------------------- */

extern pthread_key_t PL_thr_key;
extern uint8_t PL_revision, PL_version, PL_subversion;
extern uint16_t PL_interp_size;
pthread_key_t PL_thr_key;
uint8_t PL_revision, PL_version, PL_subversion;
uint16_t PL_interp_size;

__attribute__((noinline)) void Perl_runops_standard(void);
void Perl_runops_standard(void) {
	__asm__ volatile("nop; nop; nop; nop");
}
__attribute__((noinline)) void perl_destruct(void);
void perl_destruct(void) {
	__asm__ volatile("nop; nop; nop; nop");
}

#define MAIN_TYPE 1
#define DESTROY_TYPE 6
#define CV_LEXICAL (0x8000 | 0x10000)

alignas(16) static struct perl {
	char interpreter[3768];
	char stackinfos[2][56];
	char contexts[2][4 * 104];
	char cops[3][88];
	char file[32];
	char subs[2][24];
	char sub_bodies[2][136];
	char globs[1][24];
	char glob_bodies[1][64];
	char stash[24];
	char stash_body[96];
	char names[3][64]; /* of the package, of two subs */
	char required[24];
} perl;

static void make_name(uint32_t number, const char *name) {
	fake_put(perl.names[number], 4, strlen(name), 4);
	strcpy(perl.names[number] + 8, name);
}

static void make_cop(uint32_t number, uint32_t line) {
	fake_put(perl.cops[number], 36, line, 4);
	fake_point(perl.cops[number], 48, perl.file);
}

static void make_sv(void *sv, const void *body, uint32_t flags) {
	fake_point(sv, 0, body);
	fake_put(sv, 12, flags, 4);
}

static void make_context(uint32_t stack, uint32_t number, uint8_t type, const void *sub,
			 const void *old_cop) {
	char *context = perl.contexts[stack] + number * 104;
	fake_put(context, 0, type, 1);
	fake_point(context, 16, old_cop);
	fake_point(context, 48, perl.cops);
	fake_point(context, 72, sub);
}

static void make_stackinfo(uint32_t number, uint32_t type, int32_t index, const void *previous) {
	fake_point(perl.stackinfos[number], 8, perl.contexts[number]);
	fake_point(perl.stackinfos[number], 16, previous);
	fake_put(perl.stackinfos[number], 32, (uint32_t)index, 4);
	fake_put(perl.stackinfos[number], 36, 4, 4);
	fake_put(perl.stackinfos[number], 44, type, 4);
}

/* Shop::open, called by the lexical sub order, called by the program. */
static int make_perl(void **state) {
	(void)state;
	memset(&perl, 0, sizeof perl);
	PL_revision = 5, PL_version = 36, PL_subversion = 0, PL_interp_size = sizeof perl.interpreter;
	strcpy(perl.file, "/srv/shop.pl");
	make_name(0, "Shop");
	make_name(1, "open");
	make_name(2, "order");
	make_sv(perl.stash, perl.stash_body, 12 | 0x02000000);
	fake_point(perl.stash_body, 32, perl.names[0]);
	make_sv(perl.globs[0], perl.glob_bodies[0], 9);
	fake_point(perl.glob_bodies[0], 32, perl.names[1]);
	fake_point(perl.glob_bodies[0], 40, perl.stash);
	make_sv(perl.subs[0], perl.sub_bodies[0], 13);
	fake_point(perl.sub_bodies[0], 56, perl.globs[0]);
	make_sv(perl.subs[1], perl.sub_bodies[1], 13);
	fake_point(perl.sub_bodies[1], 56, perl.names[2]);
	fake_put(perl.sub_bodies[1], 92, CV_LEXICAL, 4);
	for (uint32_t i = 0; i < 3; i++)
		make_cop(i, 10 * (i + 1));
	make_stackinfo(0, MAIN_TYPE, 3, NULL);
	make_context(0, 3, 9, perl.subs[0], perl.cops[1]);
	make_context(0, 2, 11 | 0x40, NULL, perl.cops[2]); /* eval {} */
	make_context(0, 1, 9, perl.subs[1], perl.cops[2]);
	make_context(0, 0, 2, NULL, perl.cops[2]);
	fake_point(perl.interpreter, 208, perl.cops[0]);
	fake_point(perl.interpreter, 224, perl.stackinfos[0]);
	fake_put(perl.interpreter, 2512, 4, 4);
	pthread_setspecific(PL_thr_key, perl.interpreter);
	assert_int_equal(fake_open(&script_perl, &PL_thr_key), LEDGER_SCRIPT_OFFSETS);
	return 0;
}

static struct stack here(void) {
	return fake_native((uintptr_t)&Perl_runops_standard);
}

static struct fake_capture captured(void) {
	struct stack native = here();
	return fake_capture(&script_perl, &native);
}

/* ---- Frames ------------------------------------------------------------------------------------------------------- */

static void check_frame(const struct script_frame *frame, const char *function, uint32_t line) {
	struct script_text text = {.file = "", .function = "", .line = 0};
	script_perl.describe(frame, &text);
	assert_string_equal(text.file, "/srv/shop.pl");
	assert_string_equal(text.function, function);
	assert_int_equal(text.line, line);
}

static void check_frames(const struct fake_capture *capture) {
	assert_int_equal(capture->reading, LEDGER_SCRIPT_OFFSETS);
	assert_int_equal(capture->stack.count, 3);
	check_frame(&capture->stack.frames[0], "Shop::open", 10);
	check_frame(&capture->stack.frames[1], "order", 20);
	check_frame(&capture->stack.frames[2], "main program", 30);
}

static void test_frames_are_read(void **state) {
	(void)state;
	for (int i = 0; i < 2; i++) { /* probed, then proved */
		struct fake_capture capture = captured();
		check_frames(&capture);
	}
}

static void test_unknown_native_stacks_are_probed(void **state) {
	struct stack native = {.count = 0};
	(void)state;
	struct fake_capture capture = fake_capture(&script_perl, &native);
	check_frames(&capture);
}

static void test_a_stack_upon_another(void **state) {
	(void)state;
	make_stackinfo(1, DESTROY_TYPE, 0, perl.stackinfos[0]);
	make_context(1, 0, 9, perl.subs[1], perl.cops[0]);
	fake_point(perl.interpreter, 224, perl.stackinfos[1]);
	fake_point(perl.interpreter, 208, perl.cops[2]);
	struct fake_capture capture = captured();
	assert_int_equal(capture.stack.count, 4);
	check_frame(&capture.stack.frames[0], "order", 30);
	check_frame(&capture.stack.frames[1], "Shop::open", 10);
}

static void test_evaluated_and_required_code(void **state) {
	(void)state;
	make_context(0, 3, 11, NULL, perl.cops[1]);
	struct fake_capture capture = captured();
	check_frame(&capture.stack.frames[0], "(eval)", 10);
	fake_point(perl.contexts[0] + 3 * 104, 64, perl.required);
	capture = captured();
	check_frame(&capture.stack.frames[0], "(require)", 10);
}

static void test_contents_decide(void **state) {
	(void)state;
	uint64_t before = captured().stack.hash;
	assert_true(before == captured().stack.hash);
	make_name(2, "odder");
	uint64_t renamed = captured().stack.hash;
	assert_true(before != renamed);
	strcpy(perl.file, "/srv/show.pl");
	assert_true(captured().stack.hash != renamed);
}

/* ---- Wrong ---------------------------------------------------------------------------------------------------------- */

static void test_wrong_structures_are_refused(void **state) {
	static const struct {
		size_t offset;
		uint64_t word;
		size_t size_bytes;
	} wrong[] = {
		{offsetof(struct perl, stackinfos) + 32, 1000, 4}, /* more contexts than there are */
		{offsetof(struct perl, stackinfos) + 44, 999, 4},  /* no kind of stack */
		{offsetof(struct perl, stackinfos) + 8, 0x10, 8},  /* contexts that cannot be read */
		{offsetof(struct perl, cops) + 36, UINT64_C(0xffffffff), 4}, /* no line */
		{offsetof(struct perl, cops) + 48, 0x7fffdeadb000, 8},       /* no file */
		{offsetof(struct perl, names) + 64 + 4, 0x7ffffff, 4},       /* no name */
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		make_perl(state);
		fake_put(&perl, wrong[i].offset, wrong[i].word, wrong[i].size_bytes);
		assert_int_equal(captured().reading, LEDGER_SCRIPT_UNSAFE);
	}
}

static void test_nothing_faults(void **state) {
	struct stack native = here();
	(void)state;
	if (IS_UNDER_ASAN)
		LEAVE_OUT("what is mapped may be read here, which is more than it allows");
	fake_spoil(&script_perl, &native, perl.interpreter, 256);
	fake_spoil(&script_perl, &native, perl.stackinfos, sizeof perl - offsetof(struct perl, stackinfos));
}

static void *capture_elsewhere(void *argument) {
	*(struct fake_capture *)argument = captured();
	return NULL;
}

static void test_a_thread_without_an_interpreter(void **state) {
	struct fake_capture capture;
	pthread_t thread;
	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, capture_elsewhere, &capture), 0);
	pthread_join(thread, NULL);
	assert_int_equal(capture.reading, LEDGER_SCRIPT_OFFSETS);
	assert_int_equal(capture.stack.count, 0);
}

static void test_an_interpreter_that_is_gone(void **state) {
	struct stack native = fake_native((uintptr_t)&test_an_interpreter_that_is_gone);
	(void)state;
	memset(&perl, 0x55, sizeof perl);
	struct fake_capture capture = fake_capture(&script_perl, &native);
	assert_int_equal(capture.reading, LEDGER_SCRIPT_OFFSETS);
	assert_int_equal(capture.stack.count, 0);
}

static void test_versions(void **state) {
	static const struct {
		uint8_t revision, version;
		enum ledger_script_reading reading;
	} versions[] = {{5, 26, LEDGER_SCRIPT_UNKNOWN_VERSION}, {5, 28, LEDGER_SCRIPT_OFFSETS},
			{5, 37, LEDGER_SCRIPT_UNKNOWN_VERSION}, {5, 40, LEDGER_SCRIPT_OFFSETS},
			{5, 42, LEDGER_SCRIPT_UNKNOWN_VERSION}, {7, 36, LEDGER_SCRIPT_UNKNOWN_VERSION}};
	char text[SCRIPT_VERSION_BYTES] = "";
	(void)state;
	script_perl.open(fake_object(&PL_thr_key), text);
	assert_string_equal(text, "5.36.0");
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
		PL_revision = versions[i].revision;
		PL_version = versions[i].version;
		assert_int_equal(fake_open(&script_perl, &PL_thr_key), versions[i].reading);
	}
}

/* ---- State ------------------------------------------------------------------------------------------------------------ */

static uint32_t state_now(void) {
	struct stack native = here();
	return script_perl.state(&native);
}

static void test_states(void **state) {
	(void)state;
	assert_int_equal(state_now(), 0);
	fake_put(perl.interpreter, 2512, 5, 4); /* END blocks are the program's own */
	assert_int_equal(state_now(), 0);
	fake_put(perl.interpreter, 2512, 6, 4);
	assert_int_equal(state_now(), SCRIPT_FINALIZING);
	make_stackinfo(1, DESTROY_TYPE, -1, perl.stackinfos[0]);
	fake_point(perl.interpreter, 224, perl.stackinfos[1]);
	assert_int_equal(state_now(), SCRIPT_FINALIZING | SCRIPT_IN_DEALLOCATION);
}

/* The phase lies behind what depends on how Perl was built: an interpreter of another size is asked for none. */
static void test_a_phase_that_is_unknown(void **state) {
	struct stack native = fake_native((uintptr_t)&perl_destruct);
	(void)state;
	PL_interp_size = 3000;
	fake_open(&script_perl, &PL_thr_key);
	fake_put(perl.interpreter, 2512, 6, 4);
	assert_int_equal(state_now(), 0);
	assert_int_equal(script_perl.state(&native), SCRIPT_FINALIZING);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_frames_are_read, make_perl),
		cmocka_unit_test_setup(test_unknown_native_stacks_are_probed, make_perl),
		cmocka_unit_test_setup(test_a_stack_upon_another, make_perl),
		cmocka_unit_test_setup(test_evaluated_and_required_code, make_perl),
		cmocka_unit_test_setup(test_contents_decide, make_perl),
		cmocka_unit_test_setup(test_wrong_structures_are_refused, make_perl),
		cmocka_unit_test_setup(test_nothing_faults, make_perl),
		cmocka_unit_test_setup(test_a_thread_without_an_interpreter, make_perl),
		cmocka_unit_test_setup(test_an_interpreter_that_is_gone, make_perl),
		cmocka_unit_test_setup(test_versions, make_perl),
		cmocka_unit_test_setup(test_states, make_perl),
		cmocka_unit_test_setup(test_a_phase_that_is_unknown, make_perl),
	};
	loader_remember_startup();
	pthread_key_create(&PL_thr_key, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
