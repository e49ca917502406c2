/*
 * Files that exist whole or not at all: written beside their place and renamed into it. What is no
 * regular file (a terminal, a pipe, /dev/null) is written to directly.
 */
#ifndef PQLEASE_ANALYZER_OUTPUT_FILE_H
#define PQLEASE_ANALYZER_OUTPUT_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

struct output_file {
	FILE *stream;
	char path[PATH_MAX];      /* where it will be, links followed */
	char temporary[PATH_MAX]; /* "" if written directly */
};

/* Both return 0 or an errno; after a failure nothing is left behind and the old file is untouched. */
int output_file_open(struct output_file *file, const char *path);
int output_file_close(struct output_file *file);

#endif
