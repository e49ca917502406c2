/* /proc/PID/stat as both rooms read it; the command name in it belongs to the program. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/ledger/liveness.h"
#include "shim/proc.h"
#include "shim/ledger_file.h"
#include "tests/fuzz/fuzz.h"

/* The analyzer reads a file; a made-up /proc with one process, removed at the end. */
static char proc[] = "/dev/shm/pqlease-fuzz-XXXXXX";
static char path_of_stat[64];
static int stat_file = -1;

static void remove_proc(void) {
	unlink(path_of_stat);
	*strrchr(path_of_stat, '/') = '\0';
	rmdir(path_of_stat);
	rmdir(proc);
}

static void make_proc(void) {
	FUZZ_EXPECT(mkdtemp(proc) != NULL);
	snprintf(path_of_stat, sizeof path_of_stat, "%s/17", proc);
	FUZZ_EXPECT(mkdir(path_of_stat, 0700) == 0);
	strcat(path_of_stat, "/stat");
	stat_file = open(path_of_stat, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	FUZZ_EXPECT(stat_file >= 0);
	atexit(remove_proc);
}

static void ask_analyzer(const uint8_t *bytes, size_t length_bytes) {
	struct liveness_observer observer = {.proc_path = proc, .pid_namespace = 1, .boot_id = {1}};
	struct liveness_subject subject = {.pid = 17, .pid_namespace = 1, .boot_id = {1}, .start_ticks = 5};
	FUZZ_EXPECT(ftruncate(stat_file, 0) == 0);
	FUZZ_EXPECT(pwrite(stat_file, bytes, length_bytes, 0) == (ssize_t)length_bytes);
	enum liveness liveness = liveness_of(&observer, &subject);
	FUZZ_EXPECT(liveness <= LIVENESS_UNKNOWN);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	char *text = fuzz_text(bytes, length_bytes);
	if (stat_file < 0)
		make_proc();
	for (int field = 3; field < 60; field++)
		proc_stat_field(text, field);
	free(text);
	ask_analyzer(bytes, length_bytes);
	return 0;
}
