/*
 * Reports that are written beside the main one: --output FORMAT=FILE, and what belongs to a CI system's own files.
 * Every file then exists whole, or is as it was before.
 */
#ifndef PQLEASE_ANALYZER_COMMANDS_REPORT_OUTPUTS_H
#define PQLEASE_ANALYZER_COMMANDS_REPORT_OUTPUTS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "analyzer/render/render.h"

enum { REPORT_OUTPUTS_MAX = 16 };

enum { REPORT_OUTPUTS_OUTPUT = 1056, REPORT_OUTPUTS_ROOT };

/* For the command's table of options and its help. */
#define REPORT_OUTPUTS_OPTIONS                                              \
	{"output", required_argument, NULL, REPORT_OUTPUTS_OUTPUT}, {       \
		"source-root", required_argument, NULL, REPORT_OUTPUTS_ROOT \
	}
#define REPORT_OUTPUTS_HELP                                                                          \
	"  --output FORMAT=FILE  write this format into FILE too, whole or not at all; repeatable\n" \
	"  --source-root DIR     name files below DIR relative to it\n"                              \
	"Formats: " RENDER_FORMAT_NAMES "; github also adds a\n"                                     \
	"Markdown summary to the file that GITHUB_STEP_SUMMARY names.\n"

struct report_output {
	enum render_format format;
	const char *path;
};

struct report_outputs {
	struct report_output output[REPORT_OUTPUTS_MAX];
	size_t count;
	char source_root[PATH_MAX]; /* "" not given */
};

bool report_outputs_is_one(int option);
/* Takes one of the options; false after its line of error. */
bool report_outputs_take(struct report_outputs *outputs, int option, const char *value);

/* The value of an option that names a format; false after its line of error. */
bool report_outputs_parse_format(const char *option, const char *name, enum render_format *format);

/* NULL if none was given. */
const char *report_outputs_root(const struct report_outputs *outputs);

/* Returns whether all could be written; each failure has printed its line. */
bool report_outputs_write(const struct report_outputs *outputs, const struct report *report,
			  const struct render_options *options);

/* Renders one format into a file. */
bool report_outputs_write_file(enum render_format format, const struct report *report,
			       const struct render_options *options, const char *path);

/* Appends a summary to the file that GitHub Actions names in GITHUB_STEP_SUMMARY, if it does. */
bool report_outputs_summarise_job(const struct report *report, const struct render_options *options);

#endif
