/*
 * Where a script lies in its project: what stays the same when the project is checked out elsewhere.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_PROJECT_ROOT_H
#define PQLEASE_ANALYZER_SYMBOLS_PROJECT_ROOT_H

#include <limits.h>

/*
 * The path of `file` below the nearest directory above it that holds one of project_root.def; its basename if none does.
 * A relative name is looked for from the current directory. NULL if there is no such file here.
 */
const char *project_root_relative(char buffer[PATH_MAX], const char *file);

#endif
