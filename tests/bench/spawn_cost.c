/* spawn_cost COUNT PRELOAD PROGRAM [ARG...]: median microseconds from posix_spawn to the end of PROGRAM, which alone
 * sees LD_PRELOAD ("" for none). */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

static int compare(const void *a, const void *b) {
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

static uint64_t spawn_ns(char **command) {
	pid_t child;
	int status;
	uint64_t begun_ns = now_ns();
	if (posix_spawn(&child, command[0], NULL, NULL, command, environ) != 0 ||
	    waitpid(child, &status, 0) < 0 || status != 0)
		abort();
	return now_ns() - begun_ns;
}

int main(int argc, char **argv) {
	long count = argument(argc, argv, 1, 100);
	if (argc < 4 || count < 1)
		return 2;
	if (argv[2][0])
		setenv("LD_PRELOAD", argv[2], 1);
	uint64_t *taken_ns = calloc((size_t)count, sizeof *taken_ns);
	for (long i = 0; i < count; i++)
		taken_ns[i] = spawn_ns(argv + 3);
	qsort(taken_ns, (size_t)count, sizeof *taken_ns, compare);
	printf("%.1f\n", (double)taken_ns[count / 2] / 1e3);
	return 0;
}
