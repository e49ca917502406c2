/*
 * storm [--seed N] [--kills N] [--stride N] [SCENARIO...]: writers and reapers of one ledger are killed, and the books
 * must balance after each kill.
 *
 *   random   at random instants, --kills times (400)
 *   exact    at every instruction that changes the ledger (every N-th of them with --stride), one after another
 *   lapped   stopped at each of them instead, while another writer goes twice around the history, and continued
 *
 * SCENARIO picks by a part of a name. One line per scenario: kills, what was torn, steps of writers, seconds. Status 1
 * and a sentence if something did not hold; the seed repeats a random scenario, the instruction an exact one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "analyzer/ledger/ledger_reader.h"
#include "shim/process.h"
#include "tests/evaluate/storm_judge.h"
#include "tests/evaluate/storm_writer.h"
#include "tests/unit/support/shim_support.h"

static uint64_t seed = 20240229;
static uint64_t kills_wanted = 400;
static uint64_t stride = 1;

static struct ledger_header *ledger;
static struct ledger_process_identity self;
static struct storm_judge judge;
static uint64_t kills;
static uint64_t torn; /* in the ledgers before this one */
static char path[256];

/* ---- A scenario's own process ---------------------------------------------------------------------------------- */

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	fputs("storm: ", stdout);
	vprintf(format, arguments);
	va_end(arguments);
	printf(" (seed %llu, after %llu kills)\n", (unsigned long long)seed, (unsigned long long)kills);
	fflush(stdout);
	_exit(1);
}

/* The constructor of the shim, without a preload: the settings of this process and all its children. */
static void configure(const char *stack_depth) {
	static char ledger_entry[300];
	static char depth_entry[64];
	static char role[] = "PQLEASE_ROLE=storm";
	static char *argv[] = {"storm", NULL};
	static char *environment[] = {ledger_entry, depth_entry, role, NULL};
	snprintf(ledger_entry, sizeof ledger_entry, "PQLEASE_LEDGER=%s", path);
	snprintf(depth_entry, sizeof depth_entry, "PQLEASE_STACK_DEPTH=%s", stack_depth);
	process_init(1, argv, environment);
}

static void open_ledger(void) {
	static const struct ledger_run_facts facts = {.tool_version = "storm"};
	struct ledger_map map;
	unlink(path);
	if (ledger_file_create(&map, path, LEDGER_MIN_SIZE_BYTES, &facts) != LEDGER_FILE_OK)
		give_up("no ledger could be made");
	ledger = map.header;
	if (shim_support_join(ledger) == LEDGER_NO_PROCESS)
		give_up("no record for the judge");
	judge = (struct storm_judge){.path = path, .first_tally = storm_board->used};
}

static void close_ledger(void) {
	shim_support_release(ledger);
	unlink(path);
}

/* ---- Killing ----------------------------------------------------------------------------------------------------- */

static void pause_us(uint64_t us) {
	struct timespec pause_time = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
	nanosleep(&pause_time, NULL);
}

static void kill_child(pid_t child) {
	kill(child, SIGKILL);
	if (waitpid(child, NULL, 0) != child)
		give_up("a child is gone already");
	kills++;
}

static void check_verdict(bool is_right, const char *where, uint64_t number) {
	if (!is_right)
		give_up("%s %llu: does not hold: %s", where, (unsigned long long)number, judge.claim);
}

static uint64_t positive(int64_t value) {
	return (uint64_t)(value < 0 ? -value : value);
}

/* All writers of the ledger are dead. */
static void judge_the_dead(const char *where, uint64_t number, uint64_t killed_reapers) {
	check_verdict(storm_judge_before_reaping(&judge), where, number);
	ledger_reap(ledger, self.pid_namespace);
	check_verdict(storm_judge_after_reaping(&judge, killed_reapers), where, number);
	if (positive(ledger->open) > judge.torn)
		give_up("%s %llu: %lld leases are open for ever", where, (unsigned long long)number,
			(long long)ledger->open);
}

/* ---- Random instants ------------------------------------------------------------------------------------------------ */

struct crowd {
	uint32_t writers;
	uint32_t threads;
	uint64_t longest_us;
};

/* Some are killed while they attach, most in the middle of their work. */
static void kill_a_crowd(const struct crowd *crowd, uint64_t *random) {
	pid_t writers[16];
	for (uint32_t i = 0; i < crowd->writers; i++)
		writers[i] = storm_start_writer(crowd->threads, shim_support_random(random));
	for (uint32_t i = 0; i < crowd->writers; i++) {
		pause_us(shim_support_random(random) % crowd->longest_us);
		kill_child(writers[i]);
	}
}

static void kill_crowds(const void *argument) {
	const struct crowd *crowd = argument;
	uint64_t random = seed;
	/* On a busy machine one of several may sleep longer than the smallest history lasts. */
	judge.is_lapped = crowd->writers * crowd->threads > 1;
	for (uint64_t round = 1; kills < kills_wanted; round++) {
		kill_a_crowd(crowd, &random);
		judge_the_dead("round", round, 0);
	}
}

/* A writer that holds `count` leases and dies; what is left is known exactly. */
static void leave_leases(uint32_t count) {
	pid_t child = fork();
	if (child == 0) {
		for (uint32_t taken = 0; taken < count;) {
			struct storm_thread thread;
			storm_thread_init(&thread, 1);
			for (int conn = 0; conn < STORM_CONNS_MAX && taken < count; conn++, taken++)
				storm_do(&thread, conn, taken % 5 == 4 ? STORM_CONNECT_FAILS : STORM_CONNECT);
		}
		_exit(0);
	}
	if (waitpid(child, NULL, 0) != child)
		give_up("a writer is gone already");
}

static pid_t start_reaper(void) {
	pid_t reaper = fork();
	if (reaper != 0)
		return reaper;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shim_support_join(ledger);
	for (;;)
		ledger_reap(ledger, self.pid_namespace);
}

/* Reapers are killed while they fold, others take over; each slot is folded once. */
static void kill_reapers(const void *argument) {
	const uint32_t *reapers = argument;
	uint64_t random = seed;
	for (uint64_t round = 1; kills < kills_wanted; round++) {
		pid_t children[4];
		leave_leases(60);
		for (uint32_t i = 0; i < *reapers; i++)
			children[i] = start_reaper();
		pause_us(shim_support_random(&random) % 1500);
		for (uint32_t i = 0; i < *reapers; i++)
			kill_child(children[i]);
		judge_the_dead("round", round, *reapers);
	}
}

/* ---- Every instruction ------------------------------------------------------------------------------------------------- */

/* One thing that a process does with a ledger. */
struct act {
	void (*prepare)(struct storm_thread *thread);
	void (*act)(struct storm_thread *thread); /* NULL: `step` with connection `conn` */
	enum storm_step step;
	int conn;
	uint32_t dead_leases; /* that somebody leaves before it begins */
	void (*before)(void); /* what else happens before it begins */
	bool folds;           /* what is torn by it was not announced by a writer */
};

static void hold_some(struct storm_thread *thread) {
	storm_do(thread, 0, STORM_CONNECT);
	storm_do(thread, 1, STORM_CONNECT_FAILS);
	storm_do(thread, 2, STORM_CONNECT_START);
	storm_do(thread, 3, STORM_CONNECT);
	storm_do(thread, 3, STORM_RESET_FAILS);
	storm_do(thread, 4, STORM_CONNECT);
	storm_do(thread, 4, STORM_FINISH);
	storm_do(thread, 6, STORM_CONNECT);
	storm_do(thread, 6, STORM_RESET_START);
}

static void do_nothing(struct storm_thread *thread) {
	(void)thread;
}

static void join(struct storm_thread *thread) {
	(void)thread;
	shim_support_join(ledger);
}

static void attach(struct storm_thread *thread) {
	(void)thread;
	process_recording();
}

static void end_process(struct storm_thread *thread) {
	(void)thread;
	process_end();
}

static void reap(struct storm_thread *thread) {
	(void)thread;
	ledger_reap(ledger, self.pid_namespace);
}

static void perform(const struct act *act, struct storm_thread *thread) {
	if (act->act)
		act->act(thread);
	else
		storm_do(thread, act->conn, act->step);
}

/* The child stops itself where the interesting part begins and where it ends. */
static pid_t start_stopped(const struct act *act) {
	pid_t child = fork();
	if (child == 0) {
		struct storm_thread thread;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		storm_thread_init(&thread, seed);
		act->prepare(&thread);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		perform(act, &thread);
		raise(SIGSTOP);
		_exit(0);
	}
	int status;
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
		give_up("a traced child did not stop: is ptrace allowed?");
	if (act->dead_leases > 0)
		leave_leases(act->dead_leases);
	if (act->before)
		act->before();
	return child;
}

/* False when the child reached its second stop. */
static bool step_once(pid_t child) {
	int status;
	return ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0 && waitpid(child, &status, 0) == child &&
		WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

static void step_to(pid_t child, uint64_t instruction) {
	for (uint64_t i = 0; i < instruction && step_once(child); i++)
		;
}

/* The instructions after which the ledger is not what it was before them: killed between two of these, a process
 * leaves the same as after the first. */
struct changes {
	uint64_t instruction[4096];
	size_t count;
};

static void find_changes(const struct act *act, struct changes *changes) {
	char *before = malloc(ledger->mapped_bytes);
	pid_t child = start_stopped(act);
	memcpy(before, ledger, ledger->mapped_bytes);
	changes->count = 1; /* killed before anything */
	changes->instruction[0] = 0;
	for (uint64_t instruction = 1; step_once(child); instruction++) {
		if (memcmp(before, ledger, ledger->mapped_bytes) == 0)
			continue;
		memcpy(before, ledger, ledger->mapped_bytes);
		if (changes->count < sizeof changes->instruction / sizeof *changes->instruction)
			changes->instruction[changes->count++] = instruction;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	free(before);
}

/* Each time from the same beginning: instructions are counted. */
static void renew_ledger(void) {
	torn += judge.torn;
	close_ledger();
	open_ledger();
}

static void at_every_change(const struct act *act,
			    void (*happen)(const struct act *act, pid_t child, uint64_t at)) {
	static struct changes changes;
	find_changes(act, &changes);
	for (size_t i = 0; i < changes.count; i += stride) {
		renew_ledger();
		pid_t child = start_stopped(act);
		step_to(child, changes.instruction[i]);
		happen(act, child, changes.instruction[i]);
	}
}

static void die(const struct act *act, pid_t child, uint64_t at) {
	kill_child(child);
	judge_the_dead("instruction", at, act->folds);
}

static void die_everywhere(const void *argument) {
	at_every_change(argument, die);
}

/* ---- Sleeping through laps ----------------------------------------------------------------------------------------------- */

static void lap_the_history(void) {
	pid_t child = fork();
	if (child == 0) {
		struct storm_thread thread;
		uint64_t end =
			ledger->section[LEDGER_HISTORY].used + 2 * ledger->section[LEDGER_HISTORY].capacity;
		storm_thread_init(&thread, 1);
		while (ledger->section[LEDGER_HISTORY].used < end) {
			storm_do(&thread, 0, STORM_CONNECT);
			storm_do(&thread, 0, STORM_FINISH);
		}
		_exit(0);
	}
	if (waitpid(child, NULL, 0) != child)
		give_up("a writer is gone already");
}

/* It reaches its second stop, if it is not there already, and dies there, where nothing is under way. */
static void go_on(pid_t child) {
	int status;
	ptrace(PTRACE_CONT, child, NULL, NULL);
	if (waitpid(child, &status, 0) != child)
		give_up("a child is gone already");
	if (WIFSTOPPED(status))
		kill_child(child);
}

/* Of the last lap, those that are missing or hide behind an older one. */
static uint64_t stale_history(void) {
	const struct ledger_section *section = &ledger->section[LEDGER_HISTORY];
	uint64_t used = section->used;
	uint64_t stale = 0;
	for (uint64_t sequence = used > section->capacity ? used - section->capacity : 0; sequence < used;
	     sequence++) {
		const struct ledger_ended *ended =
			ledger_unit(ledger, LEDGER_HISTORY, sequence % section->capacity);
		stale += ended == NULL || ended->word != ((sequence + section->capacity) << 1 | 1);
	}
	return stale;
}

/* Stopped for two laps of the ring, then continued: nobody dies on the way, so nothing may be torn. */
static void sleep_long(const struct act *act, pid_t child, uint64_t at) {
	(void)act;
	judge.is_lapped = true;
	lap_the_history();
	go_on(child);
	judge_the_dead("instruction", at, 0);
	if (stale_history() > ledger->lost[LEDGER_LOST_HISTORY])
		give_up("instruction %llu: history is missing and not counted as lost",
			(unsigned long long)at);
	if (judge.torn > 0)
		give_up("instruction %llu: torn though nobody was killed on the way", (unsigned long long)at);
}

static void sleep_everywhere(const void *argument) {
	at_every_change(argument, sleep_long);
}

/* ---- Handed over ------------------------------------------------------------------------------- */

/* A child that has its dead parent's connection, and finishes it when it is told to. */
static struct heir {
	bool is_waiting;
	int order[2];
	int answer[2];
} heir;

static void wait_for(const int *pipe_ends) {
	char byte;
	if (read(pipe_ends[0], &byte, 1) != 1)
		_exit(1);
}

static void tell(const int *pipe_ends) {
	if (write(pipe_ends[1], "x", 1) != 1)
		_exit(1);
}

static void be_heir(struct storm_thread *thread) {
	prctl(PR_SET_PDEATHSIG, 0);
	close(heir.order[1]); /* so that it ends when nobody is left to tell it */
	tell(heir.answer);
	wait_for(heir.order);
	storm_finish_inherited(thread, 0);
	tell(heir.answer);
	_exit(0);
}

static void close_pipes(void) {
	for (int end = 0; end < 2; end++) {
		close(heir.order[end]);
		close(heir.answer[end]);
	}
	heir.is_waiting = false;
}

static void leave_a_lease_to_an_heir(void) {
	if (heir.is_waiting)
		close_pipes();
	if (pipe2(heir.order, O_CLOEXEC) != 0 || pipe2(heir.answer, O_CLOEXEC) != 0)
		give_up("no pipes");
	pid_t owner = fork();
	if (owner == 0) {
		struct storm_thread thread;
		storm_thread_init(&thread, 1);
		storm_do(&thread, 0, STORM_CONNECT);
		if (fork() == 0)
			be_heir(&thread);
		pause();
	}
	wait_for(heir.answer);
	heir.is_waiting = true;
	kill_child(owner);
}

/* Whichever of the two comes first, the lease was finished. */
static void finish_meanwhile(const struct act *act, pid_t reaper, uint64_t at) {
	struct model model;
	(void)act;
	tell(heir.order);
	wait_for(heir.answer);
	go_on(reaper);
	close_pipes();
	ledger_reap(ledger, self.pid_namespace);
	if (ledger_reader_read(&model, path) != LEDGER_READER_OK)
		give_up("instruction %llu: the reader does not open it", (unsigned long long)at);
	uint64_t left = storm_judge_unreleased(&model, MODEL_LEFT_OPEN);
	uint64_t elsewhere = storm_judge_counter(&model, MODEL_FINISHED_ELSEWHERE);
	model_release(&model);
	if (left != 0 || elsewhere != 1)
		give_up("instruction %llu: a lease that was handed over is %llu times left open, %llu times "
			"finished",
			(unsigned long long)at, (unsigned long long)left, (unsigned long long)elsewhere);
}

static void finish_meanwhile_everywhere(const void *argument) {
	at_every_change(argument, finish_meanwhile);
}

/* ---- Scenarios ------------------------------------------------------------------------------------------------------------- */

#define CROWD(...)                           \
	kill_crowds, &(const struct crowd) { \
		__VA_ARGS__                  \
	}
#define REAPERS(count)                    \
	kill_reapers, &(const uint32_t) { \
		count                     \
	}
#define DIE(...)                              \
	die_everywhere, &(const struct act) { \
		__VA_ARGS__                   \
	}
#define DIE_IN(which, number) DIE(.prepare = hold_some, .step = (which), .conn = (number))
#define SLEEP_IN(which, number)                                         \
	sleep_everywhere, &(const struct act) {                         \
		.prepare = hold_some, .step = (which), .conn = (number) \
	}

static const struct scenario {
	const char *name;
	void (*run)(const void *argument);
	const void *argument;
	const char *stack_depth;
} scenarios[] = {
	{"random one-writer", CROWD(1, 1, 3000), "0"},
	{"random one-writer-with-stacks", CROWD(1, 1, 12000), "16"},
	{"random four-writers", CROWD(4, 1, 2000), "0"},
	{"random two-writers-of-three-threads", CROWD(2, 3, 3000), "0"},
	{"random one-reaper", REAPERS(1), "0"},
	{"random three-reapers", REAPERS(3), "0"},
	{"exact attach", DIE(.prepare = do_nothing, .act = attach), "0"},
	{"exact connect", DIE_IN(STORM_CONNECT, 5), "0"},
	{"exact connect-fails", DIE_IN(STORM_CONNECT_FAILS, 5), "0"},
	{"exact connect-start", DIE_IN(STORM_CONNECT_START, 5), "0"},
	{"exact first-connect", DIE(.prepare = attach, .step = STORM_CONNECT, .conn = 5), "0"},
	{"exact poll", DIE_IN(STORM_POLL, 2), "0"},
	{"exact abandon", DIE_IN(STORM_ABANDON, 2), "0"},
	{"exact finish", DIE_IN(STORM_FINISH, 0), "0"},
	{"exact finish-failed", DIE_IN(STORM_FINISH_FAILED, 1), "0"},
	{"exact finish-lost", DIE_IN(STORM_FINISH_LOST, 3), "0"},
	{"exact reset", DIE_IN(STORM_RESET, 0), "0"},
	{"exact reset-fails", DIE_IN(STORM_RESET_FAILS, 0), "0"},
	{"exact revive", DIE_IN(STORM_REVIVE, 1), "0"},
	{"exact recover", DIE_IN(STORM_RECOVER, 6), "0"},
	{"exact end-of-process", DIE(.prepare = hold_some, .act = end_process, .folds = true), "0"},
	{"exact reap", DIE(.prepare = join, .act = reap, .dead_leases = 3, .folds = true), "0"},
	{"exact join-and-reap", DIE(.prepare = do_nothing, .act = join, .dead_leases = 3, .folds = true),
	 "0"},
	{"lapped finish", SLEEP_IN(STORM_FINISH, 0), "0"},
	{"lapped abandon", SLEEP_IN(STORM_ABANDON, 2), "0"},
	{"handed-over", finish_meanwhile_everywhere,
	 &(const struct act){.prepare = join, .act = reap, .before = leave_a_lease_to_an_heir}, "0"},
};
#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

static double seconds_now(void) {
	return (double)ledger_now_ns() / 1e9;
}

static void play(const struct scenario *scenario) {
	double begun = seconds_now();
	uint64_t step_count = 0;
	storm_board_open();
	self = shim_support_identity();
	configure(scenario->stack_depth);
	open_ledger();
	scenario->run(scenario->argument);
	for (uint32_t i = 0; i < storm_board->used; i++)
		step_count += storm_board->tally[i].steps_done;
	printf("%-36s %6llu kills %6llu torn %9llu steps %7.1f s\n", scenario->name,
	       (unsigned long long)kills, (unsigned long long)(torn + judge.torn),
	       (unsigned long long)step_count, seconds_now() - begun);
	fflush(stdout);
	close_ledger();
}

/* In a process of its own: settings are read once, and a child that survives ends with it. */
static bool play_alone(const struct scenario *scenario) {
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		play(scenario);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status != 0)
		printf("%-36s FAILED\n", scenario->name);
	fflush(stdout);
	return status == 0;
}

static bool is_chosen(const struct scenario *scenario, int argc, char **argv) {
	for (int i = 0; i < argc; i++)
		if (strstr(scenario->name, argv[i]))
			return true;
	return argc == 0;
}

static void read_options(int *argc, char ***argv) {
	static const struct {
		const char *name;
		uint64_t *value;
	} options[] = {{"--seed", &seed}, {"--kills", &kills_wanted}, {"--stride", &stride}};
	for (size_t i = 0; i<sizeof options / sizeof *options && * argc> 1;) {
		bool is_this = strcmp((*argv)[0], options[i].name) == 0;
		if (is_this) {
			*options[i].value = strtoull((*argv)[1], NULL, 10);
			*argc -= 2;
			*argv += 2;
		}
		i = is_this ? 0 : i + 1;
	}
}

int main(int argc, char **argv) {
	bool is_well = true;
	argc--;
	argv++;
	read_options(&argc, &argv);
	shim_support_open();
	snprintf(path, sizeof path, "%s", shim_support_path("storm.ledger"));
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	for (size_t i = 0; i < SCENARIOS; i++)
		if (is_chosen(&scenarios[i], argc, argv))
			is_well = play_alone(&scenarios[i]) && is_well;
	shim_support_close();
	return is_well ? 0 : 1;
}
