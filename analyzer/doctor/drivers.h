/*
 * Programs of interpreters: which drivers for PostgreSQL they name, or have installed.
 */
#ifndef PQLEASE_ANALYZER_DOCTOR_DRIVERS_H
#define PQLEASE_ANALYZER_DOCTOR_DRIVERS_H

#include <stdbool.h>

#include "analyzer/arena.h"

enum drivers_language {
#define LANGUAGE(id, program, comment, code_options, value_options) DRIVERS_##id,
#include "analyzer/doctor/drivers.def"
	DRIVERS_LANGUAGE_COUNT
};

enum drivers_kind { DRIVER_LIBPQ, DRIVER_OWN_PROTOCOL, DRIVER_KIND_COUNT };

struct drivers_program {
	enum drivers_language language;
	const char *interpreter; /* its path, links not followed: a virtual environment is found by it */
	const char *script;      /* path of the program, NULL if it is not in a file */
	const char *text;        /* code from the command line, or NULL */
};

/* The language of an interpreter, by the name of its file; DRIVERS_LANGUAGE_COUNT if it is none. */
enum drivers_language drivers_language_of(const char *path);

/* Fills in script and text from the words behind the interpreter. */
void drivers_read_words(struct drivers_program *program, const char *const *words);

/* The names of the drivers of each kind, in a sentence ("psycopg2 and psycopg"), NULL where there is none: named by the
 * program itself, or installed where it would find them. */
void drivers_named(const char *names[DRIVER_KIND_COUNT], const struct drivers_program *program,
		   struct arena *arena);
void drivers_installed(const char *names[DRIVER_KIND_COUNT], const struct drivers_program *program,
		       struct arena *arena);

#endif
