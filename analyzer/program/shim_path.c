#include "analyzer/program/shim_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/program/target.h"

static const char file_name[] = "libpqlease.so";

static bool refuse(struct shim_path *shim, const char *reason) {
	snprintf(shim->reason, sizeof shim->reason, "%s", reason);
	return false;
}

static bool is_usable(struct shim_path *shim) {
	if (access(shim->path, R_OK) != 0)
		return refuse(shim, strerror(errno));
	if (strpbrk(shim->path, " :"))
		return refuse(shim, "a path with a space or a colon cannot be preloaded");
	return target_is_preloadable_library(shim->path) ||
		refuse(shim, "not a shared library for this machine");
}

bool shim_path_find(struct shim_path *shim) {
	static const char *const places[] = {"", "../lib/pqlease/"};
	char directory[PATH_MAX];
	char candidate[PATH_MAX + 64];
	ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
	if (length <= 0) {
		strcpy(shim->path, "/proc/self/exe");
		return refuse(shim, strerror(errno));
	}
	directory[length] = '\0';
	*strrchr(directory, '/') = '\0';
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		snprintf(candidate, sizeof candidate, "%s/%s%s", directory, places[i], file_name);
		if (realpath(candidate, shim->path))
			return is_usable(shim);
	}
	strcpy(shim->path, file_name);
	snprintf(shim->reason, sizeof shim->reason, "neither beside %s/pqlease nor in %s/../lib/pqlease",
		 directory, directory);
	return false;
}

bool shim_path_is_shim(const char *entry, unsigned long length) {
	size_t name_length = sizeof file_name - 1;
	return length >= name_length && memcmp(entry + length - name_length, file_name, name_length) == 0 &&
		(length == name_length || entry[length - name_length - 1] == '/');
}
