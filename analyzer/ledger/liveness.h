/*
 * Whether a process that a ledger speaks of is still there. A pid alone says nothing: it is believed
 * only in the same boot and pid namespace and with the same start time; the place of the initial stack
 * tells one image of a process from the next (exec). Reads /proc, sends nothing, needs no rights.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_LIVENESS_H
#define PQLEASE_ANALYZER_LEDGER_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

enum { LIVENESS_BOOT_ID_BYTES = 16 };

/* From where we look. Tests point it at a /proc of their own. */
struct liveness_observer {
	const char *proc_path;
	uint8_t boot_id[LIVENESS_BOOT_ID_BYTES]; /* zero: unknown */
	uint64_t pid_namespace;                  /* 0: unknown */
	uint64_t now_ns;                         /* CLOCK_MONOTONIC */
};

struct liveness_subject {
	uint8_t boot_id[LIVENESS_BOOT_ID_BYTES]; /* zero: unknown */
	uint64_t pid_namespace;                  /* 0: unknown */
	int32_t pid;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat, 0: unknown */
	uint64_t stack_start; /* field 28, 0: unknown */
};

enum liveness {
	LIVENESS_RUNNING,
	LIVENESS_REPLACED, /* the process runs another image now */
	LIVENESS_GONE,
	LIVENESS_UNKNOWN /* another pid namespace, or /proc hides it */
};

struct liveness_observer liveness_observer_here(void);
enum liveness liveness_of(const struct liveness_observer *observer, const struct liveness_subject *subject);
/* Whether a running process of our pid namespace still has this thread; true also if nobody can tell. */
bool liveness_has_thread(const struct liveness_observer *observer, int32_t pid, int32_t thread);
/* Whether instants of the subject's clock can be compared with ours. */
bool liveness_is_same_boot(const struct liveness_observer *observer,
			   const uint8_t boot_id[LIVENESS_BOOT_ID_BYTES]);

#endif
