#include "analyzer/doctor/wrappers.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "analyzer/text.h"

static const struct {
	const char *name;
	const char *value_options;
	int operands;
} wrappers[] = {
#define WRAPPER(name, value_options, operands) {name, value_options, operands},
#include "analyzer/doctor/wrappers.def"
};

static const struct {
	const char *name;
	const char *why;
} barriers[] = {
#define BARRIER(name, why) {name, why},
#include "analyzer/doctor/wrappers.def"
};

/* ---- Assignments ---------------------------------------------------------------------------------------------- */

bool wrappers_is_assignment(const char *word) {
	const char *name = word;
	while (isalnum((unsigned char)*word) || *word == '_')
		word++;
	return *word == '=' && word > name && !isdigit((unsigned char)*name);
}

const char *wrappers_judge_assignment(const char *word) {
	static const char preload[] = "LD_PRELOAD=";
	if (strcmp(word, "PQLEASE_DISABLE=1") == 0)
		return "sets PQLEASE_DISABLE";
	if (strncmp(word, preload, sizeof preload - 1) != 0)
		return NULL;
	bool keeps_ours =
		strstr(word, "libpqlease.so") || strstr(word, "$LD_PRELOAD") || strstr(word, "${LD_PRELOAD");
	return keeps_ours ? NULL : "sets LD_PRELOAD anew";
}

/* ---- Words behind a wrapper --------------------------------------------------------------------------------------- */

static bool takes_next_word(const char *option, const char *value_options) {
	return option[1] != '-' && strchr(value_options, option[strlen(option) - 1]) != NULL;
}

static const char *const *skip_options(const char *const *words, const char *value_options) {
	while (*words && (*words)[0] == '-' && (*words)[1] != '\0') {
		bool is_end = strcmp(*words, "--") == 0;
		words += takes_next_word(*words, value_options) && words[1] ? 2 : 1;
		if (is_end)
			break;
	}
	return words;
}

static void follow_words(struct wrappers_step *step, const char *const *words, const char *value_options,
			 int operands) {
	words = skip_options(words, value_options);
	for (int i = 0; i < operands && *words; i++)
		words++;
	step->command = *words ? words : NULL;
}

/* env alone changes the environment. */
static void follow_env(struct wrappers_step *step, const char *const *words) {
	bool is_emptied = false;
	for (; *words && (**words == '-' || wrappers_is_assignment(*words)); words++) {
		const char *why = wrappers_judge_assignment(*words);
		if (strcmp(*words, "-i") == 0 || strcmp(*words, "-") == 0 ||
		    strcmp(*words, "--ignore-environment") == 0) {
			is_emptied = true;
		} else if (strcmp(*words, "-u") == 0 && words[1]) {
			words++;
			if (strcmp(*words, "LD_PRELOAD") == 0)
				is_emptied = true;
		} else if (strcmp(*words, "-C") == 0 && words[1]) {
			words++;
		} else if (strcmp(*words, "--unset=LD_PRELOAD") == 0 || strcmp(*words, "-uLD_PRELOAD") == 0) {
			is_emptied = true;
		} else if (why) {
			step->barrier = why;
		} else if (strncmp(*words, "LD_PRELOAD=", 11) == 0) {
			is_emptied = false;
		}
	}
	step->command = *words ? words : NULL;
	if (is_emptied && step->command)
		step->barrier = "starts it without LD_PRELOAD in the environment";
}

static void follow_assignments(struct wrappers_step *step, const char *const *words) {
	for (; *words && wrappers_is_assignment(*words); words++) {
		const char *why = wrappers_judge_assignment(*words);
		if (why)
			step->barrier = why;
	}
	step->command = *words ? words : NULL;
}

static bool follow_barrier(struct wrappers_step *step, const char *name, const char *const *words) {
	for (size_t i = 0; i < sizeof barriers / sizeof barriers[0]; i++)
		if (strcmp(barriers[i].name, name) == 0) {
			step->barrier = barriers[i].why;
			step->command = *words ? words : NULL;
			return true;
		}
	return false;
}

void wrappers_follow(struct wrappers_step *step, const char *const *words) {
	const char *name = text_basename(*words);
	*step = (struct wrappers_step){.is_wrapper = true};
	if (wrappers_is_assignment(*words)) {
		follow_assignments(step, words);
		return;
	}
	if (strcmp(name, "env") == 0) {
		follow_env(step, words + 1);
		return;
	}
	if (follow_barrier(step, name, words + 1))
		return;
	for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++)
		if (strcmp(wrappers[i].name, name) == 0) {
			follow_words(step, words + 1, wrappers[i].value_options, wrappers[i].operands);
			return;
		}
	step->is_wrapper = false;
}
