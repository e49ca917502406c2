#include "shim/proc.h"
#include "tests/unit/support/shim_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

void shim_support_open(void) {
	strcpy(directory, "/dev/shm/pqlease-test.XXXXXX");
	assert_non_null(mkdtemp(directory));
}

void shim_support_close(void) {
	DIR *entries = opendir(directory);
	for (struct dirent *entry; entries && (entry = readdir(entries));)
		if (entry->d_name[0] != '.' && unlinkat(dirfd(entries), entry->d_name, 0) != 0)
			unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
	if (entries)
		closedir(entries);
	rmdir(directory);
}

const char *shim_support_path(const char *name) {
	static char paths[4][256];
	static unsigned turn;
	char *path = paths[turn++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", directory, name);
	return path;
}

/* ---- Ledgers ------------------------------------------------------------------------------------ */

struct ledger_header *shim_support_ledger(uint64_t size_bytes) {
	static const struct ledger_run_facts facts = {.tool_version = "test"};
	struct ledger_map map;
	const char *path = shim_support_path("ledger");
	assert_int_equal(LEDGER_FILE_OK, ledger_file_create(&map, path, size_bytes, &facts));
	assert_int_equal(0, unlink(path));
	return map.header;
}

void shim_support_release(struct ledger_header *ledger) {
	struct ledger_map map = {.header = ledger, .mapped_bytes = ledger->mapped_bytes};
	ledger_file_unmap(&map);
}

/* ---- Threads and children ------------------------------------------------------------------------ */

struct thread {
	pthread_t id;
	pthread_barrier_t *start;
	shim_support_work *work;
	void *argument;
	uint32_t number;
};

static void *run_thread(void *argument) {
	struct thread *thread = argument;
	pthread_barrier_wait(thread->start);
	thread->work(thread->argument, thread->number);
	return NULL;
}

void shim_support_threads(uint32_t count, shim_support_work *work, void *argument) {
	pthread_barrier_t start;
	struct thread threads[64];
	assert_true(count <= 64);
	assert_int_equal(0, pthread_barrier_init(&start, NULL, count));
	for (uint32_t i = 0; i < count; i++) {
		threads[i] =
			(struct thread){.start = &start, .work = work, .argument = argument, .number = i};
		assert_int_equal(0, pthread_create(&threads[i].id, NULL, run_thread, &threads[i]));
	}
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(0, pthread_join(threads[i].id, NULL));
	pthread_barrier_destroy(&start);
}

pid_t shim_support_child(shim_support_work *work, void *argument, uint32_t number) {
	fflush(NULL);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		work(argument, number);
		_exit(0);
	}
	return child;
}

bool shim_support_children(uint32_t count, shim_support_work *work, void *argument) {
	pid_t children[64];
	bool are_well = true;
	assert_true(count <= 64);
	for (uint32_t i = 0; i < count; i++)
		children[i] = shim_support_child(work, argument, i);
	for (uint32_t i = 0; i < count; i++) {
		int status = -1;
		assert_int_equal(children[i], waitpid(children[i], &status, 0));
		are_well = are_well && status == 0;
	}
	return are_well;
}

void shim_support_kill(pid_t child) {
	assert_int_equal(0, kill(child, SIGKILL));
	assert_int_equal(child, waitpid(child, NULL, 0));
}

/* ---- Processes ------------------------------------------------------------------------------------ */

struct ledger_process_identity shim_support_identity(void) {
	char line[1024] = "";
	struct stat namespace_stat;
	FILE *file = fopen("/proc/self/stat", "r");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof line, file));
	fclose(file);
	assert_int_equal(0, stat("/proc/self/ns/pid", &namespace_stat));
	return (struct ledger_process_identity){.pid = getpid(),
						.start_ticks = proc_stat_field(line, 22),
						.stack_start = proc_stat_field(line, 28),
						.pid_namespace = namespace_stat.st_ino};
}

uint32_t shim_support_join(struct ledger_header *ledger) {
	struct ledger_process_identity identity = shim_support_identity();
	uint32_t process = ledger_process_claim(ledger, &identity);
	if (process != LEDGER_NO_PROCESS)
		ledger_process_publish(ledger, process);
	return process;
}

/* ---- Reading back ----------------------------------------------------------------------------------- */

static uint64_t units_used(const struct ledger_section *section) {
	return section->used < section->capacity ? section->used : section->capacity;
}

uint32_t shim_support_slots_in_use(struct ledger_header *ledger) {
	uint32_t in_use = 0;
	for (uint64_t i = 0; i < units_used(&ledger->section[LEDGER_LEASES]); i++) {
		const struct ledger_lease *lease = ledger_unit(ledger, LEDGER_LEASES, i);
		in_use += lease && lease->word >> 56 != LEDGER_LEASE_FREE;
	}
	return in_use;
}

typedef uint64_t reading(const struct ledger_totals *totals, int which);

static uint64_t sum(struct ledger_header *ledger, reading *read, int which) {
	uint64_t of_pools = 0;
	uint64_t of_sites = 0;
	for (uint64_t i = 0; i < units_used(&ledger->section[LEDGER_POOLS]); i++)
		of_pools +=
			read(&((struct ledger_pool *)ledger_unit(ledger, LEDGER_POOLS, i))->totals, which);
	for (uint64_t i = 0; i < units_used(&ledger->section[LEDGER_SITES]); i++)
		of_sites +=
			read(&((struct ledger_site *)ledger_unit(ledger, LEDGER_SITES, i))->totals, which);
	if (ledger->lost[LEDGER_TORN] == 0) /* a torn lease may be in one and not in the other */
		assert_int_equal(of_pools, of_sites);
	return of_pools;
}

static uint64_t read_counter(const struct ledger_totals *totals, int which) {
	return totals->counter[which];
}

static uint64_t read_unreleased(const struct ledger_totals *totals, int which) {
	uint64_t count = 0;
	(void)which;
	for (int left = 0; left < LEDGER_LEFT_COUNT; left++)
		for (int how = 0; how < LEDGER_HOW_ENDED_COUNT; how++)
			count += totals->unreleased[left][how];
	return count;
}

uint64_t shim_support_counter(struct ledger_header *ledger, enum ledger_counter counter) {
	return sum(ledger, read_counter, (int)counter);
}

uint64_t shim_support_unreleased(struct ledger_header *ledger) {
	return sum(ledger, read_unreleased, 0);
}

uint64_t shim_support_lost(const struct ledger_header *ledger, enum ledger_loss loss) {
	return ledger->lost[loss];
}

uint64_t shim_support_random(uint64_t *state) {
	uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ mixed >> 31;
}
