/*
 * Files that exist whole or not at all: written beside their place and renamed into it. What is no
 * regular file (a terminal, a pipe, /dev/null) is written to directly. A ledger is never replaced: it cannot be made again.
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

enum { OUTPUT_FILE_IS_LEDGER = -1 };

/* Both return 0, an errno or OUTPUT_FILE_IS_LEDGER; after a failure nothing is left behind and the old file is untouched. */
int output_file_open(struct output_file *file, const char *path);
int output_file_close(struct output_file *file);
const char *output_file_error_text(int error);

/* Whether the file there is one that output_file_open() refuses to replace. */
bool output_file_is_ledger(const char *path);

#endif
