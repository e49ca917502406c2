/*
 * The keeper of a run's ledger: what `pqlease run` and `pqlease ls` do to ledger files besides reading
 * reports from them. Makes the ledger of a run, marks what only the parent of COMMAND can know, and
 * tells an ended ledger from a live one before anything is removed.
 *
 * One of two analyzer modules that know the shim's headers. Prints nothing.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_LEDGER_KEEPER_H
#define PQLEASE_ANALYZER_LEDGER_LEDGER_KEEPER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* ---- A run's own ledger ------------------------------------------------------------------------- */

struct ledger_keeper {
	void *header; /* struct ledger_header, mapped; NULL: no ledger */
	uint64_t mapped_bytes;
	char path[PATH_MAX]; /* absolute */
};

/* Where the ledgers of this user live unless told otherwise. */
#define LEDGER_KEEPER_DIRECTORY "/dev/shm"

/* The name a run of this process gets in `directory`; false if it does not fit. */
bool ledger_keeper_default_path(char path[PATH_MAX], const char *directory);

/* Makes a new ledger at `path` for a run of `command` (NULL-terminated), masked. An ended ledger there
 * is replaced, anything else left alone. `size_text` is PQLEASE_LEDGER_SIZE or NULL. NULL if it was
 * made, else the reason: static, or of strerror. */
const char *ledger_keeper_create(struct ledger_keeper *keeper, const char *path, const char *size_text,
				 char *const *command);

/* When a process started, as its record tells; readable until it is reaped. 0 unknown. */
uint64_t ledger_keeper_start_ticks(pid_t pid);

/* COMMAND died by `signal_number` and is not reaped yet: its record, if it still says that it runs, is
 * marked as killed. `start_ticks` tells it from earlier owners of its number; 0 marks nothing. */
void ledger_keeper_mark_killed(struct ledger_keeper *keeper, pid_t pid, uint64_t start_ticks,
			       int signal_number);

/* The end of the run; the last thing written. `exit_status` as a shell shows it. */
void ledger_keeper_mark_ended(struct ledger_keeper *keeper, int exit_status, int exit_signal);

/* Whether any process was ever recorded. */
bool ledger_keeper_has_processes(const struct ledger_keeper *keeper);

/* Unmaps; the file stays. */
void ledger_keeper_close(struct ledger_keeper *keeper);

/* Unmaps and removes the file: COMMAND never started. */
void ledger_keeper_discard(struct ledger_keeper *keeper);

/* PQLEASE_LEDGER_SIZE in bytes: digits and K, M or G. The default for NULL or a bad value. Pure. */
uint64_t ledger_keeper_size_bytes(const char *text);

/* ---- Masking: no secret of a command line is ever stored ------------------------------------------ */

/* `command` with every word that might be a secret replaced by "***": at most 32 words, NULL at the end.
 * The array is the caller's to free, the words are `command`'s own or static. */
const char **ledger_keeper_mask_command(char *const *command);

/* ---- Other ledgers ---------------------------------------------------------------------------------- */

enum ledger_keeper_state { LEDGER_KEEPER_LIVE, LEDGER_KEEPER_ENDED, LEDGER_KEEPER_UNREADABLE };

struct ledger_keeper_glance {
	enum ledger_keeper_state state;
	const char *reason; /* of UNREADABLE, else NULL; static, or of strerror */
	struct stat file;   /* of the name itself, never of what a symbolic link points to */
	uint64_t created_realtime_ns;
	uint64_t attempts; /* begun so far */
	bool is_run_alive; /* made by a run command that is still there */
	char command[512]; /* masked words, for display; may hold any byte */
};

/* Looks at the ledger at `path`. LIVE means that a process of the run, or the run command, or the process
 * in its name is alive or may be (another pid namespace): such a file is never removed. */
void ledger_keeper_glance(struct ledger_keeper_glance *glance, const char *path);

/* Removes the ledger at `path` if it is ended, this user's, and still the file that `glance` saw. */
bool ledger_keeper_remove_ended(const struct ledger_keeper_glance *glance, const char *path);

#endif
