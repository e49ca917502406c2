/*
 * What can be known about COMMAND before it starts: which file the kernel will execute, and whether
 * anything can be preloaded into it. Looks at files only; starts nothing, prints nothing.
 */
#ifndef PQLEASE_ANALYZER_PROGRAM_TARGET_H
#define PQLEASE_ANALYZER_PROGRAM_TARGET_H

#include <limits.h>
#include <stdbool.h>

/* Why the loader would not take the shim into the process. */
enum target_obstacle {
	TARGET_PRELOADABLE, /* nothing seen that prevents it */
	TARGET_STATIC,      /* no program interpreter: no dynamic loader runs */
	TARGET_SET_ID,      /* setuid or setgid to somebody else: the loader ignores LD_PRELOAD */
	TARGET_CAPABILITIES,
	TARGET_MUSL,          /* its loader refuses to start with a glibc library preloaded */
	TARGET_OTHER_MACHINE, /* its loader ignores the shim, with a complaint on COMMAND's stderr */
	TARGET_SANITIZER, /* its AddressSanitizer ends it at the start if anything is preloaded before it */
	TARGET_OBSTACLE_COUNT
};

struct target {
	char path[PATH_MAX];        /* what COMMAND names, found by PATH: a program or a script */
	char image[PATH_MAX];       /* the program that runs in the end: `path`, or its interpreter */
	char interpreter[PATH_MAX]; /* the dynamic loader that `image` asks for, "" if none */
	enum target_obstacle obstacle;
};

/* Finds `command` as execvp(3) does (`search_path` is PATH, NULL: the system's default) and follows
 * interpreters of scripts. Returns 0, or the errno of execvp: ENOENT and its like for nothing found,
 * EACCES for something that may not be executed. A file that cannot be read counts as preloadable. */
int target_find(struct target *target, const char *command, const char *search_path);

/* Whether COMMAND starts undisturbed with the shim in LD_PRELOAD. */
bool target_tolerates_preload(const struct target *target);

/* Whether the file looks like a shared library for our machine; the loader complains about anything else
 * on COMMAND's stderr. */
bool target_is_preloadable_library(const char *path);

/* A sentence that names the image: why nothing was recorded. Returns `text`; empty if preloadable. */
const char *target_explain(const struct target *target, char *text, unsigned size_bytes);

/* What its user can do about the obstacle; NULL if there is none. */
const char *target_advice(const struct target *target);

/* Finds `command` as execvp(3) does: the path and 0, or an errno. */
int target_find_command(char path[PATH_MAX], const char *command, const char *search_path);

#endif
