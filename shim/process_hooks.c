/*
 * What is hooked besides libpq: the ways a process ends itself, and the unloading of libraries.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/instance.h"
#include "shim/loader.h"
#include "shim/modules.h"
#include "shim/process.h"
#include "shim/stack_table.h"

#define EXPORT __attribute__((visibility("default")))

_Noreturn EXPORT void _exit(int status);
_Noreturn EXPORT void _Exit(int status);

typedef void exit_function(int status);

static exit_function *real_exit; /* looked up early: _exit may be called in a signal handler */

static _Noreturn void end(int status) {
	process_end();
	if (real_exit)
		real_exit(status);
	for (;;)
		syscall(SYS_exit_group, status);
}

void _exit(int status) {
	end(status);
}

void _Exit(int status) {
	end(status);
}

/* Addresses of the unloaded library may mean other code from now on. Before, because code may be mapped there
 * the moment the real call returns; after, because another thread may have looked it up meanwhile. */
static void forget_addresses(void) {
	instance_forget();
	modules_forget();
	stack_table_forget();
}

EXPORT int dlclose(void *handle) {
	static int (*_Atomic real_dlclose)(void *);
	int (*real)(void *) = atomic_load_explicit(&real_dlclose, memory_order_relaxed);
	if (!real) {
		real = (int (*)(void *))loader_dlsym(RTLD_NEXT, "dlclose");
		atomic_store_explicit(&real_dlclose, real, memory_order_relaxed);
	}
	forget_addresses();
	int result = real ? real(handle) : -1;
	forget_addresses();
	return result;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **environment) {
	real_exit = (exit_function *)loader_dlsym(RTLD_NEXT, "_exit");
	process_init(argc, argv, environment);
}
