/* A library that opens another by its bare name: only this library's RUNPATH leads there. */
#include <dlfcn.h>
#include <stdio.h>

void caller_take(void);
void caller_use(const char *label);
void caller_give(void);

static void *hidden(const char *name) {
	void *handle = dlopen("libhidden.so", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		printf("%s\n", dlerror());
	return handle ? dlsym(handle, name) : NULL;
}

void caller_take(void) {
	((void (*)(void))hidden("caller_take"))();
}

void caller_use(const char *label) {
	((void (*)(const char *))hidden("caller_use"))(label);
}

void caller_give(void) {
	((void (*)(void))hidden("caller_give"))();
}
