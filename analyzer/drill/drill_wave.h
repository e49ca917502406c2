/*
 * One wave of a drill: COMMAND several times side by side, and what the ledger says afterwards.
 */
#ifndef PQLEASE_ANALYZER_DRILL_DRILL_WAVE_H
#define PQLEASE_ANALYZER_DRILL_DRILL_WAVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "analyzer/ledger/ledger_keeper.h"

struct drill_run {
	pid_t pid; /* 0: not running */
	uint64_t start_ticks;
	uint64_t begun_ns;
	uint64_t ended_ns;
	int status; /* as a shell shows it */
	int signal_number;
};

/* From now on the signals that end a program end COMMAND, and no further wave is started. */
void drill_wave_take_signals(void);
/* The signal that came, 0 for none. */
int drill_wave_signal(void);

/* Starts COMMAND `count` times and waits until all have ended. Returns 0, or the errno of a start; those that were
 * started have ended in any case. */
int drill_wave_run(struct drill_run *runs, size_t count, char *const *command, char *const *environment,
		   struct ledger_keeper *keeper);

/* Waits `seconds`, unless a signal comes. */
void drill_wave_pause(double seconds);

#endif
