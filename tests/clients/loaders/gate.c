/* The door to a libpq in a namespace of its own: loaded there, it answers for the libpq that it is linked with. */
#include <dlfcn.h>
#include <libpq-fe.h>

void *gate_function(const char *name);

void *gate_function(const char *name) {
	return PQlibVersion() > 0 ? dlsym(RTLD_DEFAULT, name) : NULL;
}
