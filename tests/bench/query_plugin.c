/* A library linked with libpq that query_host loads out of sight: queries per second over about SECONDS. */
#include <libpq-fe.h>

#include "tests/bench/bench.h"

double queries_per_second(double seconds);

double queries_per_second(double seconds) {
	PGconn *conn = PQconnectdb("");
	uint64_t begun_ns = now_ns();
	uint64_t taken_ns = 0;
	long count = 0;
	for (; (double)taken_ns < seconds * 1e9; count++, taken_ns = now_ns() - begun_ns) {
		PGresult *result = PQexec(conn, "SELECT 1");
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			abort();
		PQclear(result);
	}
	PQfinish(conn);
	return (double)count * 1e9 / (double)taken_ns;
}
