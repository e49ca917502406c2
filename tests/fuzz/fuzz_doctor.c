/* The text of a shell script, and of a program in a script language, as `pqlease doctor` reads them. */
#include <string.h>

#include "analyzer/doctor/drivers.h"
#include "analyzer/doctor/shell_text.h"
#include "analyzer/doctor/wrappers.h"
#include "tests/fuzz/fuzz.h"

static void read_commands(const char *text, struct arena *arena) {
	static const char *const arguments[] = {"name", "first", NULL};
	struct shell_text shell = {.at = text, .arguments = arguments};
	const char *const *words;
	while ((words = shell_text_next(&shell, arena)) != NULL) {
		struct wrappers_step step;
		FUZZ_EXPECT(*words != NULL);
		wrappers_follow(&step, words);
		FUZZ_EXPECT(step.command == NULL || *step.command != NULL);
		for (unsigned i = 0; i < DRIVERS_LANGUAGE_COUNT; i++) {
			struct drivers_program program = {.language = (enum drivers_language)i,
							  .interpreter = "x"};
			drivers_read_words(&program, words);
		}
	}
	FUZZ_EXPECT(*shell.at == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct arena arena = {NULL};
	char *text = fuzz_text(bytes, length_bytes);
	read_commands(text, &arena);
	for (unsigned i = 0; i < DRIVERS_LANGUAGE_COUNT; i++) {
		const char *names[DRIVER_KIND_COUNT] = {NULL};
		struct drivers_program program = {.language = (enum drivers_language)i, .text = text};
		drivers_named(names, &program, &arena);
	}
	arena_release(&arena);
	free(text);
	return 0;
}
