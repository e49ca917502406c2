/* Another preloaded library: wraps functions of libpq and of libc, finds the next ones by RTLD_NEXT, and tells. */
#include <dlfcn.h>
#include <libpq-fe.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

static int connect_count, finish_count;

PGconn *PQconnectdb(const char *conninfo) {
	PGconn *(*next)(const char *) = (PGconn * (*)(const char *)) dlsym(RTLD_NEXT, "PQconnectdb");
	connect_count++;
	return next ? next(conninfo) : NULL;
}

void PQfinish(PGconn *conn) {
	void (*next)(PGconn *) = (void (*)(PGconn *))dlsym(RTLD_NEXT, "PQfinish");
	finish_count++;
	if (next)
		next(conn);
}

__attribute__((destructor)) static void tell(void) {
	pid_t (*next)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "getpid");
	void *first = dlsym(RTLD_DEFAULT, "getpid");
	fprintf(stderr, "wrapper: %d connects, %d finishes, getpid %s\n", connect_count, finish_count,
		next && first && next() == getpid() ? "found" : "lost");
}
