#include "analyzer/server/libpq.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

#define LIBPQ_NAME "libpq.so.5"

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define LIBPQ_ROW(name) {#name, offsetof(struct libpq, name)},
	LIBPQ_FUNCTIONS(LIBPQ_ROW)
#undef LIBPQ_ROW
};

/* The name of the first function that is missing, NULL if none is. */
static const char *find_all(void *library, struct libpq *libpq) {
	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		void *address = dlsym(library, functions[i].name);
		if (address == NULL)
			return functions[i].name;
		*(void **)((char *)libpq + functions[i].offset) = address;
	}
	return NULL;
}

const struct libpq *libpq_open(const char **problem) {
	static struct libpq libpq;
	static char why[512];
	static void *library;
	if (library != NULL)
		return &libpq;
	void *opened = dlopen(LIBPQ_NAME, RTLD_NOW | RTLD_LOCAL);
	const char *missing = opened != NULL ? find_all(opened, &libpq) : NULL;
	if (opened == NULL)
		snprintf(why, sizeof why, "%s", dlerror());
	else if (missing != NULL)
		snprintf(why, sizeof why, LIBPQ_NAME ": no function %s in it", missing);
	else
		library = opened;
	*problem = why;
	return library != NULL ? &libpq : NULL;
}
