/*
 * This process and its ledger: attach at the first libpq call, again after fork, end marks.
 */
#ifndef PQLEASE_SHIM_PROCESS_H
#define PQLEASE_SHIM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/ledger_format.h"

/* Where this process records. Valid until the next fork; shared by all threads, read-only. */
struct recording {
	struct ledger_header *ledger;
	uint32_t process; /* record number */
	uint32_t
		generation; /* 1 in the first process image, more in forked children: tells inherited things */
	uint32_t role;      /* string ids */
	int32_t pid;
	bool tracks_uses;
	bool captures_every_use; /* PQLEASE_USES=2: no use's site is recognised without a capture */
};

/* Constructor only: settings, the ledger's name in the environment, exit marks. */
void process_init(int argc, char **argv, char **environment);

/* True when every hook must be a plain forward. A load. */
bool process_is_disabled(void);

/* Attaches at the first call of this process (creates or joins the ledger, opens the unwinder), and again
 * in a forked child. NULL when recording is off. Warm: two loads. Any thread; threads that arrive
 * during the attaching wait for it, at most a second. */
const struct recording *process_recording(void);

/* As process_recording, but never attaches. */
const struct recording *process_recording_if_attached(void);

/* The kernel's number of the calling thread. */
int32_t process_thread_id(void);

/* Notes in the process record what could not be recorded (enum ledger_process_note). */
void process_note(uint32_t note);

/* Notes in the process record which script runtimes were met and how their frames are read. A load when there is nothing
 * new. */
void process_note_runtimes(void);

/* The program ends itself. Async-signal-safe; does nothing in a vfork child. */
void process_end(void);

#endif
