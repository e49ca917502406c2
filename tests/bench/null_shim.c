/* Forwards and does nothing else: what any interposition costs. */
#include <dlfcn.h>

#include <libpq-fe.h>

PGconn *PQconnectdb(const char *conninfo) {
	static PGconn *(*real)(const char *);
	if (!real)
		real = (PGconn * (*)(const char *)) dlsym(RTLD_NEXT, "PQconnectdb");
	return real(conninfo);
}

void PQfinish(PGconn *conn) {
	static void (*real)(PGconn *);
	if (!real)
		real = (void (*)(PGconn *))dlsym(RTLD_NEXT, "PQfinish");
	real(conn);
}
