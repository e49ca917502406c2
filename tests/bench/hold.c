/* hold COUNT: resident KiB of this process that COUNT live connections added, the first libpq call included. */
#include <stdio.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "tests/bench/bench.h"

/* Without the pages of the ledger: those are shared and counted once, by its size. */
static long private_kib(void) {
	long size, resident, shared;
	FILE *statm = fopen("/proc/self/statm", "r");
	if (!statm || fscanf(statm, "%ld %ld %ld", &size, &resident, &shared) != 3)
		abort();
	fclose(statm);
	return (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv) {
	long count = argument(argc, argv, 1, 1);
	long before_kib = private_kib();
	for (long i = 0; i < count; i++)
		if (PQstatus(PQconnectdb("")) != CONNECTION_OK)
			return 1;
	printf("%ld\n", private_kib() - before_kib);
	fflush(stdout);
	_exit(0);
}
