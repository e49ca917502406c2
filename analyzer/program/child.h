/*
 * COMMAND as a child process that cannot tell us from its usual parent: same process group, same
 * terminal, same signal mask and dispositions, same descriptors.
 *
 * One child at a time; single-threaded callers only, since signals are taken with sigwaitinfo(2).
 */
#ifndef PQLEASE_ANALYZER_PROGRAM_CHILD_H
#define PQLEASE_ANALYZER_PROGRAM_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	sigset_t mask; /* what we were started with, for COMMAND and for afterwards */
	struct sigaction on_sigchld;
	struct sigaction on_sigpipe;
};

struct child_end {
	int status;        /* as a shell shows it: 128+N for signal N */
	int signal_number; /* N, or 0 */
};

/* Starts `command` with `environment`, found by PATH as execvp(3) does. Returns 0, or an errno, and then
 * nothing runs and nothing has changed. From here on our own signals are blocked, except stop and kill. */
int child_start(struct child *child, char *const *command, char *const *environment);

/* Closes our copies of what only COMMAND uses: standard input and output (now /dev/null) and everything
 * above standard error. Who reads COMMAND's output must see its end when COMMAND closes it, not when we
 * end. `keep_output`: standard output stays, because the report goes there. */
void child_hand_over_descriptors(bool keep_output);

/* Waits until COMMAND has ended, and leaves it unreaped. Meanwhile: signals that somebody sent to us alone go on to
 * COMMAND; what the terminal sends, it sends to COMMAND too, so it is swallowed; when COMMAND is
 * stopped from the terminal, so are we, until we are continued. */
void child_wait(struct child *child, struct child_end *end);

/* Reaps COMMAND and gives us our signals back, except SIGINT, which stays blocked so that another
 * Ctrl-C does not cost the report, and SIGPIPE, which stays ignored for the same reason. */
void child_reap(struct child *child);

#endif
