/*
 * What is hooked besides libpq: the ways a process ends itself, and the unloading of libraries.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/instance.h"
#include "shim/loader.h"
#include "shim/modules.h"
#include "shim/process.h"
#include "shim/script.h"
#include "shim/site_recall.h"
#include "shim/stack_table.h"

#define EXPORT __attribute__((visibility("default")))

typedef void exit_function(int status);

static exit_function *real_exit; /* looked up early: _exit may be called in a signal handler */

static _Noreturn void end(int status) {
	process_end();
	if (real_exit)
		real_exit(status);
	for (;;)
		syscall(SYS_exit_group, status);
}

EXPORT void _exit(int status) {
	end(status);
}

EXPORT void _Exit(int status) {
	end(status);
}

/* Addresses of the unloaded library may mean other code from now on. Before, because code may be mapped there
 * the moment the real call returns; after, because another thread may have looked it up meanwhile. */
static void forget_addresses(void) {
	instance_forget();
	modules_forget();
	script_forget();
	stack_table_forget();
	site_recall_forget();
}

EXPORT int dlclose(void *handle) {
	forget_addresses();
	int result = loader_real_dlclose()(handle);
	forget_addresses();
	return result;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **environment) {
	loader_remember_startup();
	real_exit = (exit_function *)loader_dlsym(RTLD_NEXT, "_exit");
	process_init(argc, argv, environment);
}
