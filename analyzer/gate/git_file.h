/*
 * A file as the history of its git repository has it: asked of git itself, without a shell.
 */
#ifndef PQLEASE_ANALYZER_GATE_GIT_FILE_H
#define PQLEASE_ANALYZER_GATE_GIT_FILE_H

#include "analyzer/gate/gate_input.h"

/* Reads `path` as it was at the merge base of HEAD and `ref`. `name` of the input then tells the commit. A file that
 * did not exist there is an empty text. False if git cannot say. */
bool git_file_read_at_merge_base(struct gate_input *input, struct arena *arena, const char *path,
				 const char *ref, struct gate_error *error);

#endif
