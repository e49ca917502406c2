#include "shim/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/ledger_file.h"
#include "shim/ledger_writer.h"
#include "shim/owner_thread.h"
#include "shim/proc.h"
#include "shim/script.h"
#include "shim/settings.h"
#include "shim/stack.h"
#include "shim/stack_table.h"
#include "shim/test_name.h"

/* Registers a handler that runs after all others, even other libraries' destructors (with a NULL dso
 * handle it belongs to no object). From the Itanium C++ ABI, section 3.3.5. */
int __cxa_atexit(void (*handler)(void *), void *argument, void *dso_handle);

enum attach_state { UNTRIED, ATTACHING, ATTACHED, OFF };

/* One page that a forked child finds zeroed: fork is noticed without a system call. */
enum fork_owner { WIPED, FORGETTING, OURS };

struct fork_page {
	_Atomic uint32_t owner;
};

static struct settings settings;
static struct recording recording;
static _Atomic int attach_state;
static struct fork_page *fork_page;
static _Atomic uint32_t generation;
static bool was_told; /* why recording is off */
static _Atomic uint64_t missed_calls;
static uint32_t unwinder_notes; /* a forked child keeps its parent's unwinder: dlopen may be unusable there */
static _Atomic uint32_t told_news; /* what this process's record says of script runtimes; 0: nothing yet */
static _Atomic uint32_t noted;     /* in this process's record, by process_note */
static char script_name[SETTINGS_TEXT_BYTES]; /* as on the command line; checked when attaching */
static bool is_module;                        /* python -m */
static _Atomic bool is_initialised;

bool process_is_disabled(void) {
	/* A constructor of another library may connect before ours has run. */
	if (!atomic_load_explicit(&is_initialised, memory_order_acquire))
		process_init(0, NULL, environ);
	return settings.is_disabled;
}

/* ---- Saying why recording is off ------------------------------------------------------------------------ */

static void say(const char *what, const char *why) {
	if (!settings.is_verbose)
		return;
	char line[512] = "pqlease: ";
	size_t length = strlen(line);
	const char *const parts[] = {what, ": ", why, "\n"};
	for (size_t i = 0; i < 4; i++) {
		size_t count = strnlen(parts[i], sizeof line - length - 1);
		memcpy(line + length, parts[i], count);
		length += count;
	}
	if (write(STDERR_FILENO, line, length) < 0)
		return; /* the host's stderr is closed: nobody to tell */
}

/* ---- Facts about this process ----------------------------------------------------------------------------- */

static struct ledger_process_identity identify(void) {
	char line[1024];
	struct stat namespace_stat;
	proc_read_text("/proc/self/stat", line, sizeof line);
	struct ledger_process_identity identity = {.pid = (int32_t)getpid(),
						   .start_ticks = proc_stat_field(line, 22),
						   .stack_start = proc_stat_field(line, 28)};
	if (stat("/proc/self/ns/pid", &namespace_stat) == 0)
		identity.pid_namespace = namespace_stat.st_ino;
	return identity;
}

/* Start ticks count from boot, as CLOCK_BOOTTIME does; leases use CLOCK_MONOTONIC. */
static uint64_t started_ns(uint64_t start_ticks) {
	struct timespec boot;
	uint64_t ticks_per_second = (uint64_t)sysconf(_SC_CLK_TCK);
	if (start_ticks == 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
		return 0;
	uint64_t boot_ns = (uint64_t)boot.tv_sec * 1000000000u + (uint64_t)boot.tv_nsec;
	uint64_t age_ns = boot_ns - start_ticks * (1000000000u / ticks_per_second);
	uint64_t now_ns = ledger_now_ns();
	return age_ns < now_ns ? now_ns - age_ns : 1;
}

static const char *base_name(const char *path) {
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool is_interpreter(const char *exe) {
	static const char *const names[] = {"python", "php", "ruby", "perl", "node", "lua", "tclsh", "wish"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strncmp(base_name(exe), names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The script is the first word that is no option, or the module behind -m. Words are kept only if they cannot be a
 * secret or code: a script must be an existing file, a module name an identifier. Code comes behind an option that
 * holds c, e or r (python -c, perl -we, php -r); a lone dash is a script on standard input. */
static void find_script(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		is_module = strcmp(argv[i], "-m") == 0 && i + 1 < argc;
		const char *word = is_module ? argv[i + 1] : argv[i];
		if (word[0] != '-') {
			if (strlen(word) < sizeof script_name && ledger_text_is_harmless(word))
				memcpy(script_name, word, strlen(word) + 1);
			return;
		}
		if (word[1] == '\0' || (word[1] != '-' && strpbrk(word, "cer")))
			return;
	}
}

static bool is_identifier(const char *name) {
	for (; *name; name++)
		if (*name != '_' && *name != '.' && !(*name >= 'a' && *name <= 'z') &&
		    !(*name >= 'A' && *name <= 'Z') && !(*name >= '0' && *name <= '9'))
			return false;
	return true;
}

static const char *known_script(const char *exe) {
	if (!script_name[0] || !is_interpreter(exe))
		return "";
	if (is_module)
		return strncmp(base_name(exe), "python", 6) == 0 && is_identifier(script_name) ? script_name
											       : "";
	return access(script_name, F_OK) == 0 ? script_name : "";
}

static void name_role(char role[SETTINGS_TEXT_BYTES], const char *exe, const char *script) {
	const char *name = *script ? script : exe;
	name = base_name(name);
	size_t length = strnlen(name, SETTINGS_TEXT_BYTES - 1);
	memcpy(role, name, length);
	role[length] = '\0';
}

/* The last path component of the control group names the container on every common runtime. */
static uint32_t container_id(struct ledger_header *ledger) {
	static const char *const marks[] = {"docker", "kubepods", "containerd", "libpod", "lxc"};
	char groups[1024];
	proc_read_text("/proc/self/cgroup", groups, sizeof groups);
	char *end = strchr(groups, '\n');
	if (end)
		*end = '\0';
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (strstr(groups, marks[i]))
			return ledger_intern_string(ledger, base_name(groups));
	return 0;
}

static void fill_record(struct ledger_header *ledger, struct ledger_process *record,
			const struct ledger_process_identity *identity) {
	char exe[4096];
	char role[SETTINGS_TEXT_BYTES];
	ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[length > 0 ? length : 0] = '\0';
	const char *script = known_script(exe);
	name_role(role, exe, script);
	record->parent_pid = (int32_t)getppid();
	record->uid = (uint32_t)getuid();
	record->exe = ledger_intern_string(ledger, exe);
	record->script = ledger_intern_string(ledger, script);
	record->role = ledger_intern_string(ledger, settings.role[0] ? settings.role : role);
	record->container = container_id(ledger);
	record->setting_problem = ledger_intern_string(ledger, settings.problem);
	record->started_ns = started_ns(identity->start_ticks);
	record->attached_ns = ledger_now_ns();
	if (settings.problem[0])
		record->notes |= LEDGER_NOTE_BAD_SETTING;
	if (!settings.uses)
		record->notes |= LEDGER_NOTE_USES_OFF;
}

/* ---- Attaching ------------------------------------------------------------------------------------------------ */

/* Whoever comes second joins what the first created; the two may race in both directions. */
static enum ledger_file_status open_ledger(struct ledger_map *map) {
	static const struct ledger_run_facts facts = {.tool_version = PQLEASE_VERSION};
	enum ledger_file_status status = ledger_file_join(map, settings.ledger_path);
	if (status == LEDGER_FILE_ABSENT)
		status = ledger_file_create(map, settings.ledger_path, settings.ledger_size_bytes, &facts);
	if (status == LEDGER_FILE_EXISTS)
		status = ledger_file_join(map, settings.ledger_path);
	return status;
}

static uint32_t unwinder_note(void) {
	static const uint32_t notes[] = {
		[STACK_AVAILABLE] = 0,
		[STACK_NO_LIBUNWIND] = LEDGER_NOTE_NO_LIBUNWIND,
		[STACK_UNWINDER_UNSAFE] = LEDGER_NOTE_UNWINDER_UNSAFE,
		[STACK_OFF] = LEDGER_NOTE_STACKS_OFF,
	};
	return notes[stack_open((uint32_t)settings.stack_depth)];
}

/* What was called while this process could not record: losses, even if most were no connects. */
static void confess_missed_calls(struct ledger_header *ledger) {
	uint64_t missed = atomic_exchange(&missed_calls, 0);
	if (missed > 0)
		atomic_fetch_add_explicit(&ledger->lost[LEDGER_LOST_LEASES], missed, memory_order_relaxed);
}

static bool attach_to(struct ledger_header *ledger, bool is_forked) {
	struct ledger_process_identity identity = identify();
	uint32_t process = ledger_process_claim(ledger, &identity);
	if (process == LEDGER_NO_PROCESS) {
		say(settings.ledger_path, "the ledger has no room for another process");
		return false;
	}
	struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	fill_record(ledger, record, &identity);
	if (is_forked) {
		script_forked();
	} else {
		stack_table_forget();
		unwinder_notes = unwinder_note();
		script_open((uint32_t)settings.script_frames);
	}
	atomic_store(&told_news, 0);
	atomic_store(&noted, 0);
	record->notes |= unwinder_notes;
	confess_missed_calls(ledger);
	ledger_process_publish(ledger, process);
	recording = (struct recording){.ledger = ledger,
				       .process = process,
				       .generation = atomic_fetch_add(&generation, 1) + 1,
				       .role = record->role,
				       .pid = identity.pid,
				       .tracks_uses = settings.uses != 0,
				       .captures_every_use = settings.uses == 2};
	return true;
}

/* A report must not call a run complete in which somebody could not record. Who cannot open the ledger leaves a
 * symbolic link beside it whose target is the reason: that needs neither a descriptor nor the ledger's owner. */
static void mark_as_off(const char *why) {
	char path[sizeof settings.ledger_path + sizeof LEDGER_OFF_SUFFIX];
	char reason[SETTINGS_TEXT_BYTES] = "";
	struct stat ledger;
	bool is_told = lstat(settings.ledger_path, &ledger) == 0; /* a sandbox may forbid to ask */
	if (is_told ? !S_ISREG(ledger.st_mode) : errno != EPERM && errno != ENOSYS)
		return;
	size_t length = strlen(settings.ledger_path);
	memcpy(path, settings.ledger_path, length);
	memcpy(path + length, LEDGER_OFF_SUFFIX, sizeof LEDGER_OFF_SUFFIX);
	length = strnlen(program_invocation_short_name, 64);
	memcpy(reason, program_invocation_short_name, length);
	memcpy(reason + length, ": ", 2);
	memcpy(reason + length + 2, why, strnlen(why, sizeof reason - length - 3));
	if (symlink(reason, path) != 0)
		return; /* one is enough, and a directory that forbids it leaves nothing to be done */
}

/* Descriptors may be free again at the next call. */
static bool is_passing(const struct ledger_map *map) {
	return map->error_number == EMFILE || map->error_number == ENFILE;
}

static enum attach_state attach(void) {
	if (recording.ledger) /* a forked child: the mapping is inherited */
		return attach_to(recording.ledger, true) ? ATTACHED : OFF;
	struct ledger_map map;
	enum ledger_file_status status = open_ledger(&map);
	if (status == LEDGER_FILE_OK)
		return attach_to(map.header, false) ? ATTACHED : OFF;
	atomic_fetch_add(&missed_calls, 1);
	const char *why = status == LEDGER_FILE_SYSTEM_ERROR ? strerrordesc_np(map.error_number)
							     : ledger_file_status_text(status);
	if (!was_told) {
		was_told = true;
		say(settings.ledger_path, why);
		if (status == LEDGER_FILE_SYSTEM_ERROR || status == LEDGER_FILE_FOREIGN)
			mark_as_off(why); /* not beside what is no ledger */
	}
	return status == LEDGER_FILE_SYSTEM_ERROR && is_passing(&map) ? UNTRIED : OFF;
}

/* Signals and cancellation wait: whoever is interrupted here for good would leave the state ATTACHING. */
static void attach_undisturbed(void) {
	int cancel_state;
	sigset_t all, before;
	int saved_errno = errno;
	sigfillset(&all);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	atomic_store_explicit(&attach_state, attach(), memory_order_release);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved_errno;
}

/* Without the page (no memory, old kernel) every forked child would write into its parent's record. */
static bool make_fork_page(void) {
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return false;
	if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
		munmap(page, 4096);
		return false;
	}
	fork_page = page;
	return true;
}

static void wait_for_attaching_thread(void) {
	uint64_t deadline_ns = ledger_now_ns() + 1000000000u;
	while (atomic_load_explicit(&attach_state, memory_order_acquire) == ATTACHING &&
	       ledger_now_ns() < deadline_ns)
		sched_yield();
}

/* In a child the parent's state is history, even ATTACHING by a thread that does not exist here. One
 * thread forgets it; the others see either OURS or FORGETTING, never the parent's state as their own. */
static void forget_parent(void) {
	uint32_t wiped = WIPED;
	if (atomic_compare_exchange_strong(&fork_page->owner, &wiped, FORGETTING)) {
		atomic_store(&attach_state, UNTRIED);
		atomic_store_explicit(&fork_page->owner, OURS, memory_order_release);
	}
	while (atomic_load_explicit(&fork_page->owner, memory_order_acquire) != OURS)
		sched_yield();
}

static bool is_forked_child(void) {
	return atomic_load_explicit(&fork_page->owner, memory_order_acquire) != OURS;
}

const struct recording *process_recording(void) {
	if (is_forked_child())
		forget_parent();
	int state = atomic_load_explicit(&attach_state, memory_order_acquire);
	if (state == UNTRIED && atomic_compare_exchange_strong(&attach_state, &state, ATTACHING))
		attach_undisturbed();
	else if (state == ATTACHING)
		wait_for_attaching_thread();
	state = atomic_load_explicit(&attach_state, memory_order_acquire);
	if (state == ATTACHING)
		atomic_fetch_add(&missed_calls, 1);
	return state == ATTACHED ? &recording : NULL;
}

const struct recording *process_recording_if_attached(void) {
	bool is_attached = atomic_load_explicit(&attach_state, memory_order_acquire) == ATTACHED;
	return is_attached && fork_page && !is_forked_child() ? &recording : NULL;
}

void process_note(uint32_t note) {
	if (atomic_load_explicit(&noted, memory_order_relaxed) & note)
		return; /* some are noted at every use */
	const struct recording *now = process_recording_if_attached();
	struct ledger_process *record = now ? ledger_unit(now->ledger, LEDGER_PROCESSES, now->process) : NULL;
	if (!record)
		return;
	atomic_fetch_or_explicit(&record->notes, note, memory_order_relaxed);
	atomic_fetch_or_explicit(&noted, note, memory_order_relaxed);
}

static void note_runtimes(const struct recording *now, uint32_t current) {
	struct ledger_process *record = ledger_unit(now->ledger, LEDGER_PROCESSES, now->process);
	atomic_store_explicit(&told_news, current, memory_order_relaxed);
	for (uint32_t i = 0; record && i < LEDGER_RUNTIMES; i++) {
		const char *version;
		uint64_t reading =
			script_reading((enum ledger_frame_language)(LEDGER_FRAME_PYTHON + i), &version);
		uint64_t version_id = reading ? ledger_intern_string(now->ledger, version) : 0;
		/* An object that can be unloaded is met again and again. */
		if (reading != LEDGER_SCRIPT_UNMET)
			atomic_store_explicit(&record->runtime[i], version_id << 32 | reading,
					      memory_order_relaxed);
	}
}

void process_note_runtimes(void) {
	uint32_t current = script_news();
	if (atomic_load_explicit(&told_news, memory_order_relaxed) == current)
		return;
	const struct recording *now = process_recording_if_attached();
	if (now)
		note_runtimes(now, current);
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

void process_end(void) {
	const struct recording *now = process_recording_if_attached();
	/* A vfork child shares our memory and ends by _exit: only the kernel knows that it is not us. */
	if (!now || (int32_t)syscall(SYS_getpid) != now->pid)
		return;
	/* First: other threads still run, and what they begin after the mark would belong to nobody. */
	atomic_store_explicit(&attach_state, OFF, memory_order_release);
	ledger_process_end(now->ledger, now->process, now->pid, LEDGER_ENDED_EXIT, ledger_now_ns());
}

static void end_at_exit(void *unused) {
	(void)unused;
	process_end();
}

static void end_at_quick_exit(void) {
	process_end();
}

/* ---- The beginning ------------------------------------------------------------------------------------------------ */

/* The same process was preloaded before: exec replaced its image, and with it every PGconn. The image before may have
 * left a record that is still RUNNING; nobody but us can know that it is over. */
static void end_image_before(void) {
	struct ledger_map map;
	if (settings.preloaded_pid != (uint64_t)getpid() ||
	    ledger_file_join(&map, settings.ledger_path) != LEDGER_FILE_OK)
		return;
	struct ledger_process_identity identity = identify();
	ledger_process_end_earlier_images(map.header, &identity);
	ledger_file_unmap(&map);
}

static void name_this_process(void) {
	char digits[12];
	size_t at = sizeof digits;
	digits[--at] = '\0';
	for (uint32_t rest = (uint32_t)getpid(); rest > 0; rest /= 10)
		digits[--at] = (char)('0' + rest % 10);
	setenv("PQLEASE_PID", digits + at, 1);
}

/* Children may run in another directory. */
static void make_ledger_path_absolute(void) {
	char path[sizeof settings.ledger_path];
	if (settings.ledger_path[0] == '/' || !getcwd(path, sizeof path))
		return;
	size_t length = strlen(path);
	if (length + 1 + strlen(settings.ledger_path) >= sizeof path)
		return;
	path[length] = '/';
	memcpy(path + length + 1, settings.ledger_path, strlen(settings.ledger_path) + 1);
	memcpy(settings.ledger_path, path, sizeof path);
	setenv("PQLEASE_LEDGER", settings.ledger_path, 1);
}

static void name_default_ledger(void) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	settings_name_ledger(&settings, (uint32_t)getuid(), (int32_t)getpid(),
			     (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
	/* The only place where the environment is changed: no other thread can be reading it yet. */
	setenv("PQLEASE_LEDGER", settings.ledger_path, 1);
}

int32_t process_thread_id(void) {
	static __thread int32_t id;
	static __thread uint32_t id_generation;
	const struct recording *now = process_recording_if_attached();
	if (id == 0 || !now || id_generation != now->generation) {
		id = (int32_t)syscall(SYS_gettid);
		id_generation = now ? now->generation : 0;
	}
	return id;
}

static void start_recording(char **environment) {
	settings_read(&settings, environment);
	test_name_init(environment, settings.test);
	if (settings.is_disabled)
		return;
	if (settings.problem[0])
		say("environment", settings.problem);
	if (!settings.ledger_path[0])
		name_default_ledger();
	else
		make_ledger_path_absolute();
	end_image_before();
	name_this_process();
	if (!make_fork_page()) {
		say("recording is off", "the kernel has no MADV_WIPEONFORK or no memory");
		settings.is_disabled = 1;
		return;
	}
	atomic_store(&fork_page->owner, OURS);
	__cxa_atexit(end_at_exit, NULL, NULL);
	at_quick_exit(end_at_quick_exit);
	owner_thread_init();
}

void process_init(int argc, char **argv, char **environment) {
	if (!atomic_exchange(&is_initialised, true))
		start_recording(environment);
	if (settings.is_disabled || !argv)
		return;
	stack_init(argv);
	find_script(argc, argv);
	if (settings.opens_early)
		process_recording();
}
