/*
 * contention threads|processes WORKERS COUNT: WORKERS connect and finish COUNT times each, all at once; prints
 * connections per second. Processes are forked before anyone has called libpq, so each joins the ledger itself.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "tests/bench/bench.h"

static long count;

static void connect_in_a_loop(void) {
	for (long i = 0; i < count; i++)
		PQfinish(PQconnectdb(""));
}

static void *run_thread(void *start) {
	pthread_barrier_wait(start);
	connect_in_a_loop();
	return NULL;
}

static uint64_t run_threads(long workers) {
	pthread_t *threads = calloc((size_t)workers, sizeof *threads);
	pthread_barrier_t start;
	pthread_barrier_init(&start, NULL, (unsigned)workers + 1);
	for (long i = 0; i < workers; i++)
		if (pthread_create(&threads[i], NULL, run_thread, &start) != 0)
			abort();
	uint64_t begun_ns = now_ns();
	pthread_barrier_wait(&start);
	for (long i = 0; i < workers; i++)
		pthread_join(threads[i], NULL);
	return now_ns() - begun_ns;
}

/* The pipe is the starting gun: it reports its end to everybody at once. */
static uint64_t run_processes(long workers) {
	int gun[2];
	char byte;
	if (pipe(gun) != 0)
		abort();
	for (long i = 0; i < workers; i++) {
		pid_t child = fork();
		if (child < 0)
			abort();
		if (child == 0) {
			close(gun[1]);
			if (read(gun[0], &byte, 1) != 0)
				_exit(1);
			connect_in_a_loop();
			exit(0);
		}
	}
	uint64_t begun_ns = now_ns();
	close(gun[1]);
	int status;
	while (wait(&status) > 0)
		if (status != 0)
			abort();
	return now_ns() - begun_ns;
}

int main(int argc, char **argv) {
	long workers = argument(argc, argv, 2, 2);
	count = argument(argc, argv, 3, 100000);
	int is_threads = argc > 1 && strcmp(argv[1], "threads") == 0;
	uint64_t taken_ns = is_threads ? run_threads(workers) : run_processes(workers);
	printf("%.1f\n", (double)(workers * count) * 1e9 / (double)taken_ns);
	return 0;
}
