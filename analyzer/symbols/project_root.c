#include "analyzer/symbols/project_root.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/text.h"

static const char *const markers[] = {
#define MARKER(name) name,
#include "analyzer/symbols/project_root.def"
#undef MARKER
};

/* The directory is made exact, the name of the file stays as the program knows it. */
static bool make_exact(char buffer[PATH_MAX], const char *file) {
	const char *name = text_basename(file);
	char directory[PATH_MAX];
	char exact[PATH_MAX];
	struct stat status;
	if (stat(file, &status) != 0 || !S_ISREG(status.st_mode))
		return false;
	int length = snprintf(directory, sizeof directory, "%.*s.", (int)(name - file), file);
	if (length >= (int)sizeof directory || realpath(directory, exact) == NULL)
		return false;
	length = snprintf(buffer, PATH_MAX, "%s/%s", strcmp(exact, "/") == 0 ? "" : exact, name);
	return length < PATH_MAX;
}

static bool is_root(const char *path, size_t length) {
	char marker[PATH_MAX];
	for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++)
		if (snprintf(marker, sizeof marker, "%.*s/%s", (int)length, path, markers[i]) < PATH_MAX &&
		    access(marker, F_OK) == 0)
			return true;
	return false;
}

const char *project_root_relative(char buffer[PATH_MAX], const char *file) {
	if (!make_exact(buffer, file))
		return NULL;
	for (char *slash = strrchr(buffer, '/'); slash != NULL;
	     slash = memrchr(buffer, '/', (size_t)(slash - buffer)))
		if (is_root(buffer, (size_t)(slash - buffer)))
			return slash + 1;
	return text_basename(buffer);
}
