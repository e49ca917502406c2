/*
 * The environment of the shim, read once in the constructor and copied: programs overwrite theirs
 * (php-fpm wipes it in its workers). A bad value falls back to the default and is remembered.
 */
#ifndef PQLEASE_SHIM_SETTINGS_H
#define PQLEASE_SHIM_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_TEXT_BYTES 256

struct settings {
	char ledger_path[4096]; /* "" only when no path could be named */
	uint64_t ledger_size_bytes;
	char role[SETTINGS_TEXT_BYTES]; /* "" unset */
	char test[SETTINGS_TEXT_BYTES];
	uint64_t uses;
	uint64_t stack_depth;
	uint64_t script_frames;
	uint64_t is_disabled;
	uint64_t is_verbose;
	bool opens_early;
	uint64_t
		preloaded_pid; /* PQLEASE_PID, set by the shim: the last preloaded process up the chain; 0 none */
	char problem[SETTINGS_TEXT_BYTES]; /* the first bad value, as a sentence; "" none */
};

/* Reads `environment` (NAME=value strings, NULL-terminated) into `settings`. Pure but for the output. */
void settings_read(struct settings *settings, char *const *environment);

/* Names the default ledger of a run that starts with this process. */
void settings_name_ledger(struct settings *settings, uint32_t uid, int32_t pid, uint64_t started_us);

#endif
