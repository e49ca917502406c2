#include "analyzer/doctor/diagnosis.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/doctor/drivers.h"
#include "analyzer/doctor/file_text.h"
#include "analyzer/doctor/shell_text.h"
#include "analyzer/doctor/tell_tale.h"
#include "analyzer/doctor/wrappers.h"
#include "analyzer/program/preload_probe.h"
#include "analyzer/program/target.h"
#include "analyzer/text.h"

enum { DEPTH_MAX = 5, COMMANDS_MAX = 100 };

static const char own_protocol_advice[] =
	"Only a driver that is built on libpq can be recorded; behind this one look at pg_stat_activity.";

bool diagnosis_is_promising(const struct diagnosis *diagnosis) {
	return diagnosis->answer >= DIAGNOSIS_LIKELY_SEEN;
}

static void conclude(struct diagnosis *diagnosis, enum diagnosis_answer answer, const char *reason,
		     const char *advice) {
	*diagnosis = (struct diagnosis){.answer = answer, .reason = reason, .advice = advice};
}

/* ---- Programs of interpreters ------------------------------------------------------------------------------------ */

/* " The connections of X, ... are not seen." for a program that has both kinds of drivers. */
static const char *say_unseen_too(struct arena *arena, const char *own) {
	return own ? arena_text(arena, "; connections of %s, which does not use libpq, are not", own) : "";
}

static void judge_named(struct diagnosis *diagnosis, struct arena *arena, const char *who,
			const char *const names[DRIVER_KIND_COUNT]) {
	if (names[DRIVER_LIBPQ])
		conclude(diagnosis, DIAGNOSIS_LIKELY_SEEN,
			 arena_text(arena, "%s names %s: connections through libpq are seen%s", who,
				    names[DRIVER_LIBPQ], say_unseen_too(arena, names[DRIVER_OWN_PROTOCOL])),
			 NULL);
	else
		conclude(diagnosis, DIAGNOSIS_UNSEEN,
			 arena_text(arena, "%s names %s, which speaks the protocol itself, without libpq",
				    who, names[DRIVER_OWN_PROTOCOL]),
			 own_protocol_advice);
}

static void judge_installed(struct diagnosis *diagnosis, struct arena *arena, const char *who,
			    const struct drivers_program *program) {
	const char *names[DRIVER_KIND_COUNT] = {NULL};
	drivers_installed(names, program, arena);
	if (names[DRIVER_LIBPQ])
		conclude(diagnosis, DIAGNOSIS_LIKELY_SEEN,
			 arena_text(arena,
				    "%s names no driver; %s is installed, whose connections are seen%s", who,
				    names[DRIVER_LIBPQ], say_unseen_too(arena, names[DRIVER_OWN_PROTOCOL])),
			 NULL);
	else if (names[DRIVER_OWN_PROTOCOL])
		conclude(diagnosis, DIAGNOSIS_UNSEEN,
			 arena_text(arena,
				    "of all drivers only %s is installed, which speaks the protocol itself, "
				    "without libpq",
				    names[DRIVER_OWN_PROTOCOL]),
			 own_protocol_advice);
	else
		conclude(diagnosis, DIAGNOSIS_NO_LIBPQ,
			 arena_text(arena, "%s names no driver for PostgreSQL, and none was found beside %s",
				    who, program->interpreter),
			 "It would be seen if it loads libpq, and so would be what it starts.");
}

static void diagnose_interpreted(struct diagnosis *diagnosis, const struct diagnosis_question *question,
				 const struct drivers_program *program) {
	const char *names[DRIVER_KIND_COUNT] = {NULL};
	const char *who = program->text ? "the code" : program->script ? program->script : "the command line";
	drivers_named(names, program, question->arena);
	if (names[DRIVER_LIBPQ] || names[DRIVER_OWN_PROTOCOL])
		judge_named(diagnosis, question->arena, who, names);
	else
		judge_installed(diagnosis, question->arena, who, program);
}

/* ---- Shells --------------------------------------------------------------------------------------------------------- */

struct shell_script {
	const char *name; /* of what is read, for people */
	struct shell_text text;
	const char *hidden_since; /* what hides all further commands, NULL if nothing */
};

static bool is_shell(const char *path) {
	static const char *const names[] = {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text_basename(path), names[i]) == 0)
			return true;
	return false;
}

/* `sh -c TEXT NAME ARGUMENT...` or `sh FILE ARGUMENT...`; false if the text comes from elsewhere. */
static bool read_shell_words(struct shell_script *script, struct arena *arena, const char *const *words) {
	bool is_text = false;
	for (; *words && **words == '-' && (*words)[1]; words++)
		is_text = is_text || ((*words)[1] != '-' && strchr(*words, 'c'));
	if (!*words)
		return false;
	script->name = is_text ? "the shell's text" : *words;
	script->text.at = is_text ? *words : file_text_read(arena, *words);
	script->text.arguments = is_text ? words + 1 : words;
	return true;
}

/* Commands of the shell itself that change what later commands get. */
static void note_environment(struct shell_script *script, const char *const *words) {
	bool is_export = strcmp(*words, "export") == 0;
	bool is_unset = strcmp(*words, "unset") == 0;
	if (!is_export && !is_unset && !wrappers_is_assignment(*words))
		return;
	for (words += is_export || is_unset; *words; words++) {
		if (is_unset && strcmp(*words, "LD_PRELOAD") == 0)
			script->hidden_since = "unsets LD_PRELOAD";
		else if (!is_unset && wrappers_is_assignment(*words) && wrappers_judge_assignment(*words))
			script->hidden_since = wrappers_judge_assignment(*words);
		else if (!is_unset && !is_export && !wrappers_is_assignment(*words))
			return;
	}
}

static bool are_all_assignments(const char *const *words) {
	while (*words && wrappers_is_assignment(*words))
		words++;
	return *words == NULL;
}

static void hide(struct diagnosis *diagnosis, const struct shell_script *script, struct arena *arena,
		 const char *command) {
	if (script->hidden_since && diagnosis_is_promising(diagnosis))
		conclude(diagnosis, DIAGNOSIS_UNSEEN,
			 arena_text(arena, "%s %s before it starts %s", script->name, script->hidden_since,
				    command),
			 "Leave LD_PRELOAD alone there, or put pqlease run -- in front of the command "
			 "itself.");
}

static void diagnose_shell(struct diagnosis *best, const struct diagnosis_question *question,
			   struct shell_script *script) {
	const char *const *words;
	struct diagnosis_question deeper = *question;
	deeper.depth++;
	conclude(best, DIAGNOSIS_NO_LIBPQ,
		 arena_text(question->arena, "%s starts nothing in which libpq was found", script->name),
		 "What it starts would be seen if it loads libpq.");
	for (int i = 0; i < COMMANDS_MAX && (words = shell_text_next(&script->text, question->arena)); i++) {
		struct diagnosis one;
		if (strcmp(*words, "export") == 0 || strcmp(*words, "unset") == 0 ||
		    are_all_assignments(words)) {
			note_environment(script, words);
			continue;
		}
		if (diagnosis_make(&one, &deeper, words) != 0)
			continue; /* a word of the shell, a function, a variable */
		hide(&one, script, question->arena, *words);
		if (one.answer > best->answer)
			*best = one;
	}
}

/* ---- Programs -------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *program;
	const char *driver;
} runtimes[] = {{"java", "JDBC"}, {"dotnet", "Npgsql"}, {"beam.smp", "Postgrex"}, {"erl", "epgsql"}};

static bool diagnose_runtime(struct diagnosis *diagnosis, struct arena *arena, const char *path) {
	for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0]; i++)
		if (strcmp(text_basename(path), runtimes[i].program) == 0) {
			conclude(diagnosis, DIAGNOSIS_UNSEEN,
				 arena_text(arena,
					    "its programs use %s, which speaks the protocol itself, "
					    "without libpq",
					    runtimes[i].driver),
				 own_protocol_advice);
			return true;
		}
	return false;
}

static void diagnose_contents(struct diagnosis *diagnosis, struct arena *arena, const char *image) {
	struct tell_tale found = tell_tale_find(image);
	switch (found.kind) {
	case TELL_TALE_STATIC_LIBPQ:
		conclude(diagnosis, DIAGNOSIS_UNSEEN,
			 arena_text(arena,
				    "%s has libpq linked into it statically: its calls go past the shim",
				    image),
			 "Link it with libpq as a shared library.");
		return;
	case TELL_TALE_OPENS_LIBPQ:
		conclude(diagnosis, DIAGNOSIS_LIKELY_SEEN,
			 arena_text(arena, "%s names libpq.so: it is seen if it opens that", image), NULL);
		return;
	case TELL_TALE_OWN_PROTOCOL:
		conclude(diagnosis, DIAGNOSIS_UNSEEN,
			 arena_text(arena,
				    "%s is built with %s, which speaks the protocol itself, without libpq",
				    image, found.driver),
			 own_protocol_advice);
		return;
	case TELL_TALE_NONE:
		break;
	}
	conclude(diagnosis, DIAGNOSIS_NO_LIBPQ,
		 arena_text(arena, "%s is not linked to libpq and names neither libpq nor a driver", image),
		 "It would be seen if it loads libpq, and so would be what it starts.");
}

/* The loader would not take the shim; the contents may say that it would not help. */
static void diagnose_obstacle(struct diagnosis *diagnosis, struct arena *arena, const struct target *target) {
	char text[3 * PATH_MAX];
	struct tell_tale found = tell_tale_find(target->image);
	target_explain(target, text, sizeof text);
	const char *more = found.kind == TELL_TALE_OWN_PROTOCOL
		? arena_text(arena, "; it is built with %s, which speaks the protocol itself, without libpq",
			     found.driver)
		: "";
	conclude(diagnosis, DIAGNOSIS_UNSEEN, arena_text(arena, "%s%s", text, more),
		 *more ? own_protocol_advice : target_advice(target));
}

/* Libraries that open a driver at run time, and where theirs for PostgreSQL is installed. */
static const struct {
	const char *library;
	const char *driver;
} bridges[] = {
	{"\nlibodbc.", "/usr/lib/*/odbc/psqlodbc*.so"},
	{"\nlibQt5Sql.", "/usr/lib/*/qt5/plugins/sqldrivers/libqsqlpsql.so"},
	{"\nlibQt6Sql.", "/usr/lib/*/qt6/plugins/sqldrivers/libqsqlpsql.so"},
	{"\nlibaprutil-1.", "/usr/lib/*/apr-util-1/apr_dbd_pgsql*.so"},
};

static bool diagnose_bridge(struct diagnosis *diagnosis, struct arena *arena, const struct target *target,
			    const struct preload_probe_list *list) {
	for (size_t i = 0; i < sizeof bridges / sizeof bridges[0]; i++) {
		glob_t found = {0};
		if (strstr(list->names, bridges[i].library) &&
		    glob(bridges[i].driver, 0, NULL, &found) == 0) {
			conclude(diagnosis, DIAGNOSIS_LIKELY_SEEN,
				 arena_text(arena, "%s is linked to %s*, which opens %s for PostgreSQL",
					    target->image, bridges[i].library + 1, found.gl_pathv[0]),
				 NULL);
			globfree(&found);
			return true;
		}
	}
	return false;
}

/* Returns false if the loader finds nothing wrong and nothing of libpq. */
static bool diagnose_loading(struct diagnosis *diagnosis, const struct diagnosis_question *question,
			     const struct target *target) {
	struct preload_probe_list list;
	struct arena *arena = question->arena;
	preload_probe_read(&list, target, question->shim_path);
	if (*list.failure)
		conclude(diagnosis, DIAGNOSIS_UNSEEN,
			 arena_text(arena, "%s cannot be started: %s", target->image, list.failure),
			 "Install what is missing, or name its directory in LD_LIBRARY_PATH.");
	else if (list.answer == PRELOAD_PROBE_REFUSED)
		conclude(diagnosis, DIAGNOSIS_UNSEEN,
			 arena_text(arena, "the dynamic loader of %s does not take %s", target->image,
				    question->shim_path),
			 "Use a build of pqlease for the same C library.");
	else if (*list.libpq)
		conclude(diagnosis, DIAGNOSIS_SEEN,
			 arena_text(arena, "%s is linked to %s", target->image, list.libpq), NULL);
	else
		return diagnose_bridge(diagnosis, arena, target, &list);
	return true;
}

/* `words` are those of COMMAND; an interpreter is COMMAND itself, or what its first line names. */
static void diagnose_program(struct diagnosis *diagnosis, const struct diagnosis_question *question,
			     const struct target *target, const char *const *words) {
	bool is_script = strcmp(target->path, target->image) != 0 &&
		drivers_language_of(target->path) == DRIVERS_LANGUAGE_COUNT;
	const char *interpreter = is_script ? target->image : target->path;
	struct drivers_program program = {.language = drivers_language_of(interpreter),
					  .interpreter = interpreter,
					  .script = is_script ? target->path : NULL};
	if (target->obstacle != TARGET_PRELOADABLE) {
		diagnose_obstacle(diagnosis, question->arena, target);
		return;
	}
	if (diagnose_loading(diagnosis, question, target))
		return;
	if (is_shell(interpreter)) {
		struct shell_script script = {.name = target->path, .text = {.arguments = words}};
		if (is_script)
			script.text.at = file_text_read(question->arena, target->path);
		else if (!read_shell_words(&script, question->arena, words + 1))
			script.text.at = "";
		diagnose_shell(diagnosis, question, &script);
		return;
	}
	if (program.language < DRIVERS_LANGUAGE_COUNT) {
		if (!is_script)
			drivers_read_words(&program, words + 1);
		diagnose_interpreted(diagnosis, question, &program);
		return;
	}
	if (!diagnose_runtime(diagnosis, question->arena, interpreter))
		diagnose_contents(diagnosis, question->arena, target->image);
}

/* Debian's psql and its like choose the newest version's program. */
static int find_target(struct target *target, const char *command, const char *search_path) {
	char real[PATH_MAX];
	char pattern[PATH_MAX];
	glob_t found;
	int error = target_find(target, command, search_path);
	if (error != 0 || !realpath(target->path, real) || strcmp(text_basename(real), "pg_wrapper") != 0)
		return error;
	snprintf(pattern, sizeof pattern, "/usr/lib/postgresql/*/bin/%.255s", text_basename(command));
	if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0)
		error = target_find(target, found.gl_pathv[found.gl_pathc - 1], NULL);
	globfree(&found);
	return error;
}

/* ---- Commands that start commands ------------------------------------------------------------------------------------ */

static void diagnose_barrier(struct diagnosis *diagnosis, struct arena *arena, const char *const *words,
			     const struct wrappers_step *step) {
	const char *name = text_basename(*words);
	if (wrappers_is_assignment(*words))
		name = arena_text(arena, "the assignment in front of %s",
				  step->command ? text_basename(*step->command) : "nothing");
	conclude(diagnosis, DIAGNOSIS_UNSEEN, arena_text(arena, "%s %s", name, step->barrier),
		 "Put `pqlease run --` in front of the program itself, behind what changes its environment.");
}

static int diagnose_wrapper(struct diagnosis *diagnosis, const struct diagnosis_question *question,
			    const char *const *words, const struct wrappers_step *step) {
	char path[PATH_MAX];
	struct diagnosis_question deeper = *question;
	bool is_of_shell = question->depth > 0 || wrappers_is_assignment(*words);
	int error = target_find_command(path, *words, question->search_path);
	if (error != 0 && !is_of_shell)
		return error;
	deeper.depth++;
	if (!step->command)
		conclude(diagnosis, DIAGNOSIS_NO_LIBPQ,
			 arena_text(question->arena, "%s starts no other command", text_basename(*words)),
			 NULL);
	else if (step->barrier)
		diagnose_barrier(diagnosis, question->arena, words, step);
	else
		return diagnosis_make(diagnosis, &deeper, step->command);
	return 0;
}

int diagnosis_make(struct diagnosis *diagnosis, const struct diagnosis_question *question,
		   const char *const *words) {
	struct target target;
	struct wrappers_step step;
	if (question->depth > DEPTH_MAX)
		return ELOOP;
	wrappers_follow(&step, words);
	if (step.is_wrapper)
		return diagnose_wrapper(diagnosis, question, words, &step);
	int error = find_target(&target, *words, question->search_path);
	if (error == 0)
		diagnose_program(diagnosis, question, &target, words);
	return error;
}
