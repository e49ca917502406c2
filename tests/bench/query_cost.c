/* query_cost WAY FRAMES COUNT: processor nanoseconds per query below FRAMES frames of this program; WAY is `exec`, or `send`
 * for a query that is sent and fetched by three calls. */
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include "tests/bench/bench.h"

static PGconn *conn;
static int is_sent;

static void query(void) {
	if (!is_sent) {
		PQexec(conn, "SELECT 1");
		return;
	}
	PQsendQuery(conn, "SELECT 1");
	while (PQgetResult(conn))
		;
}

__attribute__((noinline)) static void below(long frames, long count) {
	if (frames > 0) {
		below(frames - 1, count);
		__asm__ volatile("" ::: "memory"); /* no tail call */
		return;
	}
	for (long i = 0; i < count; i++)
		query();
}

int main(int argc, char **argv) {
	long frames = argument(argc, argv, 2, 10);
	long count = argument(argc, argv, 3, 1000000);
	is_sent = argc > 1 && strcmp(argv[1], "send") == 0;
	conn = PQconnectdb("");
	below(frames, count / 10);
	uint64_t begun_ns = cpu_ns();
	below(frames, count);
	printf("%.1f\n", (double)(cpu_ns() - begun_ns) / (double)count);
	PQfinish(conn);
	return 0;
}
