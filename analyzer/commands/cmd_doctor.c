/*
 * pqlease doctor: would COMMAND be seen? An answer, the reason, and what to do about it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/commands/commands.h"
#include "analyzer/doctor/diagnosis.h"
#include "analyzer/commands/options.h"
#include "analyzer/program/shim_path.h"
#include "analyzer/text.h"

static const char help[] = "usage: pqlease doctor [--] COMMAND [ARG...]\n\n"
			   "Says whether the libpq connections of COMMAND would be recorded, and why not. "
			   "Starts nothing but the\n"
			   "dynamic loader, which lists the libraries of a program as ldd does. Exits 0 if "
			   "libpq was found and nothing\n"
			   "is in the way, 2 if not.\n\n"
			   "  --help     this text\n"
			   "  --version  the version\n";

static const struct option doctor_options[] = {OPTIONS_COMMON, {NULL, 0, NULL, 0}};

static void print_answer(struct arena *arena, const char *command, const struct diagnosis *diagnosis) {
	static const char *const answers[] = {
		[DIAGNOSIS_NO_LIBPQ] = "will not be seen, as far as can be told",
		[DIAGNOSIS_UNSEEN] = "will not be seen",
		[DIAGNOSIS_LIKELY_SEEN] = "will be seen, as far as can be told",
		[DIAGNOSIS_SEEN] = "will be seen",
	};
	printf("%s %s.\n", text_printable(arena, command), answers[diagnosis->answer]);
	printf("  %s.\n", text_printable(arena, diagnosis->reason));
	if (diagnosis->advice)
		printf("  %s\n", text_printable(arena, diagnosis->advice));
}

/* Where the shim stands matters before anything else. */
static int diagnose(struct diagnosis *diagnosis, struct arena *arena, const char *const *words) {
	struct shim_path shim;
	const char *disable = getenv("PQLEASE_DISABLE");
	const struct diagnosis_question question = {
		.arena = arena, .shim_path = shim.path, .search_path = getenv("PATH")};
	if (!shim_path_find(&shim))
		*diagnosis = (struct diagnosis){DIAGNOSIS_UNSEEN,
						arena_text(arena, "%s: %s", shim.path, shim.reason),
						"Install pqlease elsewhere: make install PREFIX=DIRECTORY."};
	else if (disable && strcmp(disable, "1") == 0)
		*diagnosis = (struct diagnosis){DIAGNOSIS_UNSEEN,
						"PQLEASE_DISABLE is set: the shim records nothing",
						"Unset PQLEASE_DISABLE."};
	else
		return diagnosis_make(diagnosis, &question, words);
	return 0;
}

static int doctor(const char *const *words) {
	struct arena arena = {NULL};
	struct diagnosis diagnosis;
	int error = diagnose(&diagnosis, &arena, words);
	if (error != 0)
		options_error(*words, "%s", strerror(error));
	else
		print_answer(&arena, *words, &diagnosis);
	bool is_promising = error == 0 && diagnosis_is_promising(&diagnosis);
	arena_release(&arena);
	return is_promising ? OPTIONS_EXIT_OK : OPTIONS_EXIT_CANNOT;
}

static const struct options_syntax syntax = {"+:hV", doctor_options, help, NULL};

int cmd_doctor(int argc, char **argv) {
	int code;
	if (!options_parse(&syntax, NULL, argc, argv, &code))
		return code;
	if (optind == argc) {
		options_error("doctor", "no COMMAND, see pqlease doctor --help");
		return OPTIONS_EXIT_USAGE;
	}
	return doctor((const char *const *)(argv + optind));
}
