/* A library (or a part of a program) that holds one connection: what a driver is to its application. */
#include <libpq-fe.h>
#include <stddef.h>
#include <stdio.h>

void caller_take(void);
void caller_use(const char *label);
void caller_give(void);

static PGconn *held;

void caller_take(void) {
	held = PQconnectdb("");
}

void caller_use(const char *label) {
	printf("%s: %s libpq, status %d, session %s\n", label, PQlibVersion() == 990000 ? "other" : "system",
	       (int)PQstatus(held), PQbackendPID(held) > 0 ? "open" : "none");
}

void caller_give(void) {
	PQfinish(held);
	held = NULL;
}
