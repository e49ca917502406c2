#include "analyzer/doctor/drivers.h"

#include <ctype.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/doctor/file_text.h"
#include "analyzer/text.h"

static const struct {
	const char *program;
	const char *comment;
	const char *code_options;
	const char *value_options;
} languages[DRIVERS_LANGUAGE_COUNT] = {
#define LANGUAGE(id, program, comment, code_options, value_options) \
	{program, comment, code_options, value_options},
#include "analyzer/doctor/drivers.def"
};

struct driver {
	enum drivers_language language;
	const char *name;
	enum drivers_kind kind;
	const char *word;
	const char *installed;
};

static const struct driver drivers[] = {
#define DRIVER(language, name, kind, word, installed) {DRIVERS_##language, name, kind, word, installed},
#include "analyzer/doctor/drivers.def"
};

enum { DRIVER_COUNT = sizeof drivers / sizeof drivers[0] };

/* ---- The interpreter and its words ---------------------------------------------------------------------------- */

/* "3.11", "-fpm8.2", "": nothing that makes the name another one. */
static bool is_version(const char *rest) {
	static const char *const builds[] = {"-fpm", "-cgi", "-dbg"};
	for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++)
		if (strncmp(rest, builds[i], strlen(builds[i])) == 0)
			rest += strlen(builds[i]);
	return rest[strspn(rest, "0123456789.")] == '\0';
}

enum drivers_language drivers_language_of(const char *path) {
	const char *base = text_basename(path);
	for (unsigned i = 0; i < DRIVERS_LANGUAGE_COUNT; i++) {
		size_t length = strlen(languages[i].program);
		if (strncmp(base, languages[i].program, length) == 0 && is_version(base + length))
			return (enum drivers_language)i;
	}
	return DRIVERS_LANGUAGE_COUNT;
}

/* One word of short options in a row, as in `perl -we CODE`. Returns how many words it takes. */
static int take_letters(struct drivers_program *program, const char *word, const char *next) {
	for (const char *letter = word + 1; *letter; letter++) {
		bool is_code = strchr(languages[program->language].code_options, *letter) != NULL;
		if (!is_code && !strchr(languages[program->language].value_options, *letter))
			continue;
		const char *value = letter[1] ? letter + 1 : next;
		if (is_code || *letter == 'm') /* python -m MODULE names what it runs */
			program->text = value;
		return letter[1] || !next ? 1 : 2;
	}
	return 1;
}

void drivers_read_words(struct drivers_program *program, const char *const *words) {
	while (*words && !program->text) {
		if (strcmp(*words, "--eval") == 0 || strcmp(*words, "--print") == 0)
			program->text = words[1];
		if ((*words)[0] != '-' || (*words)[1] == '\0') {
			program->script = (*words)[0] == '-' ? NULL : *words;
			return;
		}
		words += (*words)[1] == '-' ? 1 : take_letters(program, *words, words[1]);
	}
}

/* ---- What a program names -------------------------------------------------------------------------------------- */

static bool is_word_character(char c) {
	return isalnum((unsigned char)c) || c == '_';
}

static bool stands_alone(const char *line, const char *found, size_t length) {
	bool joins_before = is_word_character(*found) && found > line && is_word_character(found[-1]);
	bool joins_behind = is_word_character(found[length - 1]) && is_word_character(found[length]);
	return !joins_before && !joins_behind;
}

static bool names_in_line(const char *line, size_t line_length, const char *word) {
	size_t length = strlen(word);
	const char *end = line + line_length;
	const char *found = line;
	while ((found = memmem(found, (size_t)(end - found), word, length)) != NULL) {
		if (stands_alone(line, found, length))
			return true;
		found += length;
	}
	return false;
}

static bool names_in_text(const char *text, const char *comment, const char *word) {
	while (*text) {
		text += strspn(text, " \t\r\n");
		size_t length = strcspn(text, "\n");
		bool is_comment = strncmp(text, comment, strlen(comment)) == 0;
		if (!is_comment && names_in_line(text, length, word))
			return true;
		text += length;
	}
	return false;
}

static void add_name(const char **names, const char *name, struct arena *arena) {
	if (!*names)
		*names = name;
	else if (!strstr(*names, name))
		*names = arena_text(arena, "%s and %s", *names, name);
}

/* Any language can open the library itself (ctypes, Fiddle, koffi). */
static const char *const own_ways[] = {"libpq", "PQconnectdb", "PQconnectdbParams", "PQconnectStart",
				       "PQsetdbLogin"};

void drivers_named(const char *names[DRIVER_KIND_COUNT], const struct drivers_program *program,
		   struct arena *arena) {
	const char *comment = languages[program->language].comment;
	const char *text = program->text ? program->text : "";
	if (!program->text && program->script)
		text = file_text_read(arena, program->script);
	for (int i = 0; i < DRIVER_COUNT; i++)
		if (drivers[i].language == program->language && names_in_text(text, comment, drivers[i].word))
			add_name(&names[drivers[i].kind], drivers[i].name, arena);
	for (size_t i = 0; i < sizeof own_ways / sizeof own_ways[0] && !names[DRIVER_LIBPQ]; i++)
		if (names_in_text(text, comment, own_ways[i]))
			names[DRIVER_LIBPQ] = "libpq itself";
}

/* ---- What is installed ------------------------------------------------------------------------------------------- */

static bool is_there(const char *prefix, const char *below, const char *pattern) {
	char path[2 * PATH_MAX];
	glob_t found;
	if (!prefix || !*prefix)
		return false;
	snprintf(path, sizeof path, "%s%s/%s", prefix, below, pattern);
	bool is_found = glob(path, GLOB_NOSORT, NULL, &found) == 0 && found.gl_pathc > 0;
	globfree(&found);
	return is_found;
}

static const char *directory_of(struct arena *arena, const char *path) {
	const char *slash = strrchr(path, '/');
	return slash ? arena_copy(arena, path, slash == path ? 1 : (size_t)(slash - path)) : ".";
}

static bool is_installed(const struct driver *driver, const struct drivers_program *program,
			 struct arena *arena) {
	char real[PATH_MAX];
	const char *script = program->script ? directory_of(arena, program->script) : ".";
	const char *interpreter = directory_of(arena, program->interpreter);
	const char *real_interpreter =
		realpath(program->interpreter, real) ? directory_of(arena, real) : interpreter;
	const struct {
		const char *prefix;
		const char *below;
	} places[] = {
		{interpreter, "/.."},
		{real_interpreter, "/.."},
		{getenv("VIRTUAL_ENV"), ""},
		{getenv("GEM_HOME"), ""},
		{getenv("HOME"), "/.local"},
		{interpreter, "/../local"},
		{interpreter, "/../versions/*"},
	};
	if (!driver->installed)
		return false;
	if (*driver->installed == '/')
		return is_there("/", "", driver->installed);
	if (program->language == DRIVERS_NODE)
		return is_there(script, "", driver->installed) || is_there(".", "", driver->installed) ||
			is_there(getenv("NODE_PATH"), "/..", driver->installed);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (is_there(places[i].prefix, places[i].below, driver->installed))
			return true;
	return false;
}

void drivers_installed(const char *names[DRIVER_KIND_COUNT], const struct drivers_program *program,
		       struct arena *arena) {
	for (int i = 0; i < DRIVER_COUNT; i++)
		if (drivers[i].language == program->language && is_installed(&drivers[i], program, arena))
			add_name(&names[drivers[i].kind], drivers[i].name, arena);
}
