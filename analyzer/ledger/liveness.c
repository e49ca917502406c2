#include "analyzer/ledger/liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STAT_BYTES = 4096, FIELD_STATE = 3, FIELD_START_TICKS = 22, FIELD_STACK_START = 28 };

static const uint8_t unknown_boot[LIVENESS_BOOT_ID_BYTES];

struct process_stat {
	char state;
	uint64_t start_ticks;
	uint64_t stack_start;
};

/* The length read, -1 if there is no such file, 0 if it cannot be read. */
static ssize_t read_text(const char *path, char *text, size_t size_bytes) {
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return errno == ENOENT || errno == ESRCH ? -1 : 0;
	ssize_t length = read(descriptor, text, size_bytes - 1);
	bool is_gone = length < 0 && errno == ESRCH;
	close(descriptor);
	text[length > 0 ? length : 0] = '\0';
	return is_gone ? -1 : length > 0 ? length : 0;
}

static int hex_value(char digit) {
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static void read_boot_id(uint8_t boot_id[LIVENESS_BOOT_ID_BYTES]) {
	char text[64] = "";
	unsigned digits = 0;
	read_text("/proc/sys/kernel/random/boot_id", text, sizeof text);
	for (const char *at = text; *at != '\0' && digits < 2 * LIVENESS_BOOT_ID_BYTES; at++) {
		int value = hex_value(*at);
		if (value < 0)
			continue;
		boot_id[digits / 2] = (uint8_t)(boot_id[digits / 2] << 4 | value);
		digits++;
	}
}

struct liveness_observer liveness_observer_here(void) {
	struct liveness_observer observer = {.proc_path = "/proc"};
	struct timespec now;
	struct stat space;
	clock_gettime(CLOCK_MONOTONIC, &now);
	observer.now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (stat("/proc/self/ns/pid", &space) == 0)
		observer.pid_namespace = space.st_ino;
	read_boot_id(observer.boot_id);
	return observer;
}

bool liveness_is_same_boot(const struct liveness_observer *observer,
			   const uint8_t boot_id[LIVENESS_BOOT_ID_BYTES]) {
	return memcmp(observer->boot_id, unknown_boot, sizeof unknown_boot) != 0 &&
		memcmp(observer->boot_id, boot_id, sizeof unknown_boot) == 0;
}

/* The command name in field 2 may hold spaces and parentheses: fields are counted from its end. */
static const char *stat_field(const char *line, int field) {
	const char *at = strrchr(line, ')');
	for (int i = 2; at != NULL && i < field; i++) {
		at = strchr(at, ' ');
		at = at != NULL ? at + 1 : NULL;
	}
	return at;
}

static uint64_t stat_number(const char *line, int field) {
	const char *at = stat_field(line, field);
	uint64_t value = 0;
	for (; at != NULL && *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

/* As read_text. */
static ssize_t read_stat(const struct liveness_observer *observer, int32_t pid,
			 struct process_stat *process) {
	char path[256];
	char line[STAT_BYTES];
	snprintf(path, sizeof path, "%s/%d/stat", observer->proc_path, pid);
	ssize_t length = read_text(path, line, sizeof line);
	if (length <= 0)
		return length;
	const char *state = stat_field(line, FIELD_STATE);
	process->state = state != NULL ? *state : '?';
	process->start_ticks = stat_number(line, FIELD_START_TICKS);
	process->stack_start = stat_number(line, FIELD_STACK_START);
	return length;
}

/* The kernel shows 0 for the stack of a process that we may not trace: that tells nothing. */
static bool is_other_image(const struct process_stat *process, const struct liveness_subject *subject) {
	return process->stack_start != 0 && subject->stack_start != 0 &&
		process->stack_start != subject->stack_start;
}

enum liveness liveness_of(const struct liveness_observer *observer, const struct liveness_subject *subject) {
	struct process_stat process = {0};
	bool is_boot_known = memcmp(subject->boot_id, unknown_boot, sizeof unknown_boot) != 0;
	if (is_boot_known && !liveness_is_same_boot(observer, subject->boot_id))
		return LIVENESS_GONE;
	if (subject->pid_namespace == 0 || subject->pid_namespace != observer->pid_namespace ||
	    subject->pid <= 0)
		return LIVENESS_UNKNOWN;
	ssize_t length = read_stat(observer, subject->pid, &process);
	if (length < 0)
		return LIVENESS_GONE;
	if (length == 0 || subject->start_ticks == 0)
		return LIVENESS_UNKNOWN;
	if (process.start_ticks != subject->start_ticks || process.state == 'Z' || process.state == 'X')
		return LIVENESS_GONE;
	return is_other_image(&process, subject) ? LIVENESS_REPLACED : LIVENESS_RUNNING;
}

bool liveness_has_thread(const struct liveness_observer *observer, int32_t pid, int32_t thread) {
	char path[256];
	snprintf(path, sizeof path, "%s/%d/task/%d", observer->proc_path, pid, thread);
	return access(path, F_OK) == 0 || errno != ENOENT;
}
