/* Another preloaded library: wraps dlsym itself, as tracing tools do, and goes on by a tail call. */
#include <dlfcn.h>
#include <stddef.h>

void *dlsym(void *handle, const char *name) {
	static void *(*real)(void *, const char *);
	if (!real)
		real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
	if (!real)
		real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	return real(handle, name);
}
