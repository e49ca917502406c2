/* Who released a lease, by stacks and raw facts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/judge/release_kind.h"

enum { FRAMES_MAX = 6 };

static const struct site_frame application = {
	.language = MODEL_NATIVE, .owner = SITE_FRAME_APPLICATION, .function = "close_it"};
static const struct site_frame script = {
	.language = MODEL_PYTHON, .owner = SITE_FRAME_APPLICATION, .function = "close"};
static const struct site_frame driver = {
	.language = MODEL_NATIVE, .owner = SITE_FRAME_DRIVER, .module = "/usr/lib/_psycopg.so"};
static const struct site_frame interpreter = {
	.language = MODEL_NATIVE, .owner = SITE_FRAME_INTERPRETER, .function = "Py_FinalizeEx"};
static const struct site_frame leave = {
	.language = MODEL_NATIVE, .owner = SITE_FRAME_SYSTEM, .function = "exit"};
static const struct site_frame own_exit = {
	.language = MODEL_NATIVE, .owner = SITE_FRAME_APPLICATION, .function = "exit"};
static const struct site_frame script_exit = {
	.language = MODEL_PYTHON, .owner = SITE_FRAME_APPLICATION, .function = "exit"};

static const struct release_case {
	enum release_kind expected;
	uint32_t facts;
	const struct site_frame *stack[FRAMES_MAX];
} cases[] = {
	{RELEASE_EXPLICIT, 0, {&application}},
	{RELEASE_EXPLICIT, 0, {&driver, &script}},
	{RELEASE_EXPLICIT, MODEL_FACT_UNUSED | MODEL_FACT_ORPHAN, {&application}},
	/* Handlers and static destructors are called by exit; a function of that name is not it. */
	{RELEASE_EXIT, 0, {&application, &leave, &application}},
	{RELEASE_EXPLICIT, 0, {&own_exit}},
	{RELEASE_EXPLICIT, 0, {&driver, &script_exit}},
	/* The interpreter shuts down, whatever still runs in it. */
	{RELEASE_EXIT, MODEL_FACT_FINALIZING, {&driver, &interpreter}},
	{RELEASE_EXIT, MODEL_FACT_FINALIZING | MODEL_FACT_COLLECTING, {&driver, &interpreter}},
	{RELEASE_EXIT, MODEL_FACT_FINALIZING | MODEL_FACT_DEALLOCATING, {&driver, &script}},
	{RELEASE_EXIT, MODEL_FACT_NO_SCRIPT, {&driver, &interpreter}},
	/* A collector destroys objects, too. */
	{RELEASE_COLLECTOR, MODEL_FACT_COLLECTING | MODEL_FACT_DEALLOCATING, {&driver, &script}},
	{RELEASE_DROPPED, MODEL_FACT_DEALLOCATING, {&driver, &script}},
	/* A program that embeds an interpreter closes with code of its own. */
	{RELEASE_EXPLICIT, MODEL_FACT_NO_SCRIPT, {&application}},
	{RELEASE_EXPLICIT, MODEL_FACT_NO_SCRIPT, {&application, &interpreter}},
	{RELEASE_OTHER_PROCESS, MODEL_FACT_OTHER_PROCESS | MODEL_FACT_FINALIZING, {&application}},
	/* What is not known is not guessed. */
	{RELEASE_UNKNOWN, 0, {NULL}},
	{RELEASE_UNKNOWN, 0, {&driver, &interpreter}},
};

static enum release_kind kind_of(const struct release_case *release) {
	struct site_frame frames[FRAMES_MAX];
	struct site_frames site = {.frames = frames, .application = SITE_NO_FRAME, .is_fallback = true};
	for (; site.count < FRAMES_MAX && release->stack[site.count] != NULL; site.count++)
		frames[site.count] = *release->stack[site.count];
	for (size_t i = site.count; i-- > 0;)
		if (frames[i].owner == SITE_FRAME_APPLICATION) {
			site.application = i;
			site.is_fallback = false;
		}
	return release_kind_of(&site, release->facts);
}

static void test_every_way_of_releasing(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (kind_of(&cases[i]) != cases[i].expected)
			fail_msg("case %zu is %s, not %s", i, release_kind_name(kind_of(&cases[i])),
				 release_kind_name(cases[i].expected));
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_way_of_releasing)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
