#include "analyzer/program/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Signals that are COMMAND's business, not ours. SIGCHLD and SIGCONT are taken with them. */
static const int taken_signals[] = {SIGHUP,   SIGINT,  SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM,
				    SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD};

static void fill_taken(sigset_t *set) {
	sigemptyset(set);
	for (size_t i = 0; i < sizeof taken_signals / sizeof taken_signals[0]; i++)
		sigaddset(set, taken_signals[i]);
}

/* ---- Start --------------------------------------------------------------------------------------- */

/* An ignored SIGCHLD, which survives exec, would make the kernel reap COMMAND before we saw its status. */
static void take_signals(struct child *child) {
	struct sigaction by_default = {.sa_handler = SIG_DFL};
	struct sigaction ignored = {.sa_handler = SIG_IGN};
	sigset_t taken;
	fill_taken(&taken);
	sigprocmask(SIG_BLOCK, &taken, &child->mask);
	sigaction(SIGCHLD, &by_default, &child->on_sigchld);
	sigaction(SIGPIPE, &ignored, &child->on_sigpipe);
}

static void give_signals_back(const struct child *child) {
	sigaction(SIGCHLD, &child->on_sigchld, NULL);
	sigaction(SIGPIPE, &child->on_sigpipe, NULL);
	sigprocmask(SIG_SETMASK, &child->mask, NULL);
}

static void become_command(const struct child *child, char *const *command, char *const *environment,
			   int error_pipe) {
	give_signals_back(child);
	execvpe(command[0], command, environment);
	int error = errno;
	ssize_t written = write(error_pipe, &error, sizeof error);
	_exit(written == (ssize_t)sizeof error ? 127 : 126);
}

/* The pipe closes when COMMAND's image replaces ours, or brings the reason why it did not. */
static int read_start_error(int error_pipe) {
	int error = 0;
	ssize_t count;
	do
		count = read(error_pipe, &error, sizeof error);
	while (count < 0 && errno == EINTR);
	return count == (ssize_t)sizeof error ? error : 0;
}

int child_start(struct child *child, char *const *command, char *const *environment) {
	int error_pipe[2];
	*child = (struct child){0};
	if (pipe2(error_pipe, O_CLOEXEC) != 0)
		return errno;
	take_signals(child);
	child->pid = fork();
	int error = child->pid < 0 ? errno : 0;
	if (child->pid == 0)
		become_command(child, command, environment, error_pipe[1]);
	close(error_pipe[1]);
	if (error == 0)
		error = read_start_error(error_pipe[0]);
	close(error_pipe[0]);
	if (error == 0)
		return 0;
	if (child->pid > 0)
		waitpid(child->pid, NULL, 0);
	give_signals_back(child);
	return error;
}

void child_hand_over_descriptors(bool keep_output) {
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		if (!keep_output)
			dup2(null, STDOUT_FILENO);
	}
	closefrom(STDERR_FILENO + 1);
}

/* ---- Wait ---------------------------------------------------------------------------------------- */

/* Without consuming anything: a stop stays visible until COMMAND is continued, an end until it is reaped. */
static bool look_at(const struct child *child, int what, siginfo_t *info) {
	info->si_pid = 0;
	return waitid(P_PID, (id_t)child->pid, info, what | WNOHANG | WNOWAIT) == 0 &&
		info->si_pid == child->pid;
}

static bool has_ended(const struct child *child, struct child_end *end) {
	siginfo_t info;
	if (!look_at(child, WEXITED, &info))
		return false;
	bool is_exit = info.si_code == CLD_EXITED;
	end->signal_number = is_exit ? 0 : info.si_status;
	end->status = is_exit ? info.si_status : 128 + info.si_status;
	return true;
}

/* A stop from the terminal must be seen by the shell that watches us. One by SIGSTOP is between COMMAND
 * and whoever sent it: who will continue COMMAND does not know us, so we must keep running. */
static void follow_stop(const struct child *child) {
	siginfo_t info;
	sigset_t one;
	if (!look_at(child, WSTOPPED, &info))
		return;
	if (info.si_status != SIGTSTP && info.si_status != SIGTTIN && info.si_status != SIGTTOU)
		return;
	sigemptyset(&one);
	sigaddset(&one, info.si_status);
	raise(info.si_status);
	sigprocmask(SIG_UNBLOCK, &one, NULL); /* stops here */
	sigprocmask(SIG_BLOCK, &one, NULL);
}

/* The shell continues the whole process group; others may know only us. */
static void follow_continue(const struct child *child) {
	siginfo_t info;
	if (look_at(child, WSTOPPED, &info))
		kill(child->pid, SIGCONT);
}

static void take_signal(const struct child *child, const siginfo_t *info) {
	if (info->si_signo == SIGCHLD)
		follow_stop(child);
	else if (info->si_signo == SIGCONT)
		follow_continue(child);
	else if (info->si_code <= 0) /* sent by a process; what the kernel sends, COMMAND has got as well */
		kill(child->pid, info->si_signo);
}

void child_wait(struct child *child, struct child_end *end) {
	siginfo_t info;
	sigset_t taken;
	fill_taken(&taken);
	while (!has_ended(child, end))
		if (sigwaitinfo(&taken, &info) > 0)
			take_signal(child, &info);
}

/* ---- Afterwards ------------------------------------------------------------------------------------ */

void child_reap(struct child *child) {
	siginfo_t info;
	sigset_t taken;
	sigset_t mask = child->mask;
	struct timespec no_time = {0};
	waitid(P_PID, (id_t)child->pid, &info, WEXITED);
	/* What came too late for COMMAND must not hit the report. */
	fill_taken(&taken);
	while (sigtimedwait(&taken, NULL, &no_time) > 0)
		continue;
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_SETMASK, &mask, NULL);
}
