#include "analyzer/drill/drill_wave.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/wait.h>
#include <time.h>

#include "analyzer/instant.h"

static volatile sig_atomic_t signal_taken;

static void take_signal(int number) {
	signal_taken = number;
}

void drill_wave_take_signals(void) {
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = take_signal};
	struct sigaction before;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
}

int drill_wave_signal(void) {
	return signal_taken;
}

static int start(struct drill_run *run, char *const *command, char *const *environment) {
	*run = (struct drill_run){.begun_ns = instant_monotonic_ns()};
	int error = posix_spawnp(&run->pid, command[0], NULL, NULL, command, environment);
	if (error != 0)
		run->pid = 0;
	else
		run->start_ticks = ledger_keeper_start_ticks(run->pid);
	return error;
}

/* Marked before it is reaped: its number is its own until then. */
static void end(struct drill_run *run, const siginfo_t *info, struct ledger_keeper *keeper) {
	bool is_killed = info->si_code != CLD_EXITED;
	run->ended_ns = instant_monotonic_ns();
	run->signal_number = is_killed ? info->si_status : 0;
	run->status = is_killed ? 128 + info->si_status : info->si_status;
	if (is_killed)
		ledger_keeper_mark_killed(keeper, run->pid, run->start_ticks, info->si_status);
	waitpid(run->pid, NULL, 0);
	run->pid = 0;
}

static void forward_signal(const struct drill_run *runs, size_t count, int *forwarded) {
	if (signal_taken == 0 || *forwarded == signal_taken)
		return;
	*forwarded = signal_taken;
	for (size_t i = 0; i < count; i++)
		if (runs[i].pid != 0)
			kill(runs[i].pid, *forwarded);
}

static bool wait_for_one(struct drill_run *runs, size_t count, struct ledger_keeper *keeper) {
	siginfo_t info = {0};
	if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) != 0)
		return errno == EINTR;
	for (size_t i = 0; i < count; i++)
		if (runs[i].pid == info.si_pid) {
			end(&runs[i], &info, keeper);
			return true;
		}
	waitpid(info.si_pid, NULL, 0); /* a child that was ours before exec made us */
	return true;
}

static bool is_any_running(const struct drill_run *runs, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (runs[i].pid != 0)
			return true;
	return false;
}

int drill_wave_run(struct drill_run *runs, size_t count, char *const *command, char *const *environment,
		   struct ledger_keeper *keeper) {
	int error = 0;
	int forwarded = 0;
	size_t started = 0;
	while (started < count && error == 0 && signal_taken == 0)
		error = start(&runs[started++], command, environment);
	do
		forward_signal(runs, started, &forwarded);
	while (is_any_running(runs, started) && wait_for_one(runs, started, keeper));
	for (size_t i = started; i < count; i++)
		runs[i] = (struct drill_run){.status = 128 + signal_taken};
	return error;
}

void drill_wave_pause(double seconds) {
	struct timespec pause = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	if (seconds > 0 && signal_taken == 0)
		nanosleep(&pause, NULL);
}
