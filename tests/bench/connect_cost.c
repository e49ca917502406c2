/*
 * connect_cost DEPTH COUNT SITES: nanoseconds of processor time of one PQconnectdb + PQfinish from a stack of DEPTH
 * frames.
 *
 * With SITES > 1 every connect comes from another stack (bits of its number choose between two call sites at each
 * level), so that first sights are timed.
 */
#include <stdio.h>

#include <libpq-fe.h>

#include "tests/bench/bench.h"

__attribute__((noinline)) static int connect_at(long depth, unsigned long path) {
	if (depth <= 0) {
		PGconn *conn = PQconnectdb("");
		int is_ok = PQstatus(conn) == CONNECTION_OK;
		PQfinish(conn);
		return is_ok;
	}
	int result;
	if (path >> depth & 1) /* the innermost frames differ: only so many are kept */
		result = connect_at(depth - 1, path) * 3;
	else
		result = connect_at(depth - 1, path);
	__asm__ volatile("" : "+r"(result)); /* no tail call: the frame stays */
	return result;
}

int main(int argc, char **argv) {
	long depth = argument(argc, argv, 1, 25);
	long count = argument(argc, argv, 2, 100000);
	unsigned long sites = (unsigned long)argument(argc, argv, 3, 1);
	connect_at(depth, 0); /* attaches */
	uint64_t begun_ns = cpu_ns();
	for (long i = 0; i < count; i++)
		connect_at(depth, (unsigned long)i % sites << 1);
	printf("%.1f\n", (double)(cpu_ns() - begun_ns) / (double)count);
	return 0;
}
