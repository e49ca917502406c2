/* first_call: nanoseconds of the first PQconnectdb of a process, less those of the second. */
#include <stdio.h>

#include <libpq-fe.h>

#include "tests/bench/bench.h"

static double connect_ns(void) {
	uint64_t begun_ns = now_ns();
	PGconn *conn = PQconnectdb("");
	uint64_t ended_ns = now_ns();
	PQfinish(conn);
	return (double)(ended_ns - begun_ns);
}

int main(void) {
	double first_ns = connect_ns();
	printf("%.1f\n", first_ns - connect_ns());
	return 0;
}
