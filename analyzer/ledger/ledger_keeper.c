#include "analyzer/ledger/ledger_keeper.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "analyzer/ledger/liveness.h"
#include "analyzer/commands/options.h"
#include "shim/ledger_file.h"
#include "shim/proc.h"
#include "shim/ledger_format.h"

#define MASKED_WORD "***"

/* ---- Masking -------------------------------------------------------------------------------------- */

enum {
	OPTION_BYTES_MAX = 32,
	LETTERS_BYTES_MAX = 5, /* "-XAtc"; a longer one may be a letter with its value glued to it */
	NUMBER_BYTES_MAX = 5   /* a port, a count; a longer one may be a secret */
};

/* -p, -P and -W are where clients take a password glued to the letter; a port or a count is digits. */
static bool may_hold_glued_value(const char *word) {
	return strlen(word) > LETTERS_BYTES_MAX ||
		(strchr("pPW", word[1]) && word[2] != '\0' && !isdigit((unsigned char)word[2]));
}

static bool is_plain_option(const char *word) {
	if (word[0] != '-' || strlen(word) > OPTION_BYTES_MAX)
		return false;
	bool is_long = word[1] == '-';
	for (const char *at = word; *at; at++)
		if (*at != '-' && !isalpha((unsigned char)*at) && (is_long || !isdigit((unsigned char)*at)))
			return false;
	return is_long || word[1] == '\0' || !may_hold_glued_value(word);
}

/* Behind a one-letter option only: --pin 1234 and a lone number tell nothing about what they are. */
static bool is_number(const char *word, const char *previous) {
	size_t length = strspn(word, "0123456789");
	bool is_value = previous[0] == '-' && isalpha((unsigned char)previous[1]) && previous[2] == '\0' &&
		!strchr("PW", previous[1]);
	return is_value && length > 0 && length <= NUMBER_BYTES_MAX && word[length] == '\0';
}

static bool is_existing_file(const char *word) {
	return *word != '\0' && access(word, F_OK) == 0 && ledger_text_is_harmless(word);
}

static bool announces_secret(const char *word) {
	static const char *const parts[] = {"pass", "pw", "secret", "token", "key"};
	if (word[0] != '-')
		return false;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (strcasestr(word, parts[i]))
			return true;
	return false;
}

static const char *mask_word(const char *word, const char *previous) {
	if (announces_secret(previous))
		return MASKED_WORD;
	return is_plain_option(word) || is_number(word, previous) || is_existing_file(word) ? word
											    : MASKED_WORD;
}

const char **ledger_keeper_mask_command(char *const *command) {
	const char **masked = calloc(LEDGER_COMMAND_WORDS + 1, sizeof *masked);
	for (unsigned i = 0; masked && command[i] && i < LEDGER_COMMAND_WORDS; i++)
		masked[i] = i == 0 ? command[i] : mask_word(command[i], command[i - 1]);
	return masked;
}

/* ---- Reading a mapped ledger ------------------------------------------------------------------------ */

static bool extent_is_ready(const struct ledger_header *header, uint64_t offset) {
	uint64_t extent = offset / header->extent_bytes;
	uint64_t word = atomic_load_explicit(&header->extent_ready[extent / 64], memory_order_acquire);
	return word >> (extent % 64) & 1;
}

/* Bytes of a section, NULL outside it or where the file has no pages yet: touching those would
 * allocate them. The header was checked when the ledger was mapped. */
static void *section_bytes(struct ledger_header *header, enum ledger_section_kind kind, uint64_t number,
			   uint64_t length_bytes) {
	const struct ledger_section *section = &header->section[kind];
	uint64_t section_bytes_all = section->capacity * section->entry_size_bytes;
	if (number >= section->capacity ||
	    length_bytes > section_bytes_all - number * section->entry_size_bytes)
		return NULL;
	uint64_t first = section->offset + number * section->entry_size_bytes;
	if (!extent_is_ready(header, first) || !extent_is_ready(header, first + length_bytes - 1))
		return NULL;
	return (char *)header + first;
}

static void *section_unit(struct ledger_header *header, enum ledger_section_kind kind, uint64_t number) {
	return section_bytes(header, kind, number, header->section[kind].entry_size_bytes);
}

static uint64_t section_used(const struct ledger_header *header, enum ledger_section_kind kind) {
	uint64_t used = atomic_load_explicit(&header->section[kind].used, memory_order_acquire);
	return used < header->section[kind].capacity ? used : header->section[kind].capacity;
}

static const char *string_text(struct ledger_header *header, uint32_t id) {
	const struct ledger_string *string = section_unit(header, LEDGER_STRINGS, id);
	if (id == 0 || !string || string->length_bytes > LEDGER_STRING_MAX_BYTES)
		return "";
	uint32_t length = string->length_bytes;
	string = section_bytes(header, LEDGER_STRINGS, id, sizeof *string + length + 1);
	return string && ((const char *)(string + 1))[length] == '\0' ? (const char *)(string + 1) : "";
}

static enum ledger_process_state process_state(uint64_t word) {
	return (enum ledger_process_state)(word >> 56);
}

static int32_t process_pid(uint64_t word) {
	return (int32_t)(uint32_t)word;
}

static uint64_t load_process_word(const struct ledger_process *process) {
	return atomic_load_explicit(&process->word, memory_order_acquire);
}

/* ---- Life of a ledger --------------------------------------------------------------------------------- */

static enum liveness liveness_in(const struct ledger_header *header, int32_t pid, uint64_t start_ticks,
				 uint64_t pid_namespace) {
	struct liveness_observer observer = liveness_observer_here();
	struct liveness_subject subject = {
		.pid_namespace = pid_namespace, .pid = pid, .start_ticks = start_ticks};
	memcpy(subject.boot_id, header->boot_id, sizeof subject.boot_id);
	return pid > 0 ? liveness_of(&observer, &subject) : LIVENESS_GONE;
}

/* Unknown counts as alive: whose process it is, his ledger stays. An exec leaves the process alive. */
static bool may_be_alive(const struct ledger_header *header, int32_t pid, uint64_t start_ticks,
			 uint64_t pid_namespace) {
	return liveness_in(header, pid, start_ticks, pid_namespace) != LIVENESS_GONE;
}

static bool record_may_be_alive(const struct ledger_header *header, const struct ledger_process *process) {
	uint64_t word = load_process_word(process);
	switch (process_state(word)) {
	case LEDGER_PROCESS_CLAIMED: /* nothing but its owner's number is there yet */
		return may_be_alive(header, process_pid(word), 0, header->pid_namespace);
	case LEDGER_PROCESS_RUNNING:
		return may_be_alive(header, process_pid(word), process->start_ticks, process->pid_namespace);
	default:
		return false;
	}
}

static bool has_living_process(struct ledger_header *header) {
	for (uint64_t i = 0; i < section_used(header, LEDGER_PROCESSES); i++) {
		const struct ledger_process *process = section_unit(header, LEDGER_PROCESSES, i);
		if (process && record_may_be_alive(header, process))
			return true;
	}
	return false;
}

static bool run_is_alive(const struct ledger_header *header) {
	return header->made_by_run &&
		may_be_alive(header, header->creator_pid, header->creator_start_ticks, header->pid_namespace);
}

static uint64_t clock_ns(clockid_t clock) {
	struct timespec now;
	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Start ticks count from boot and through sleep, the ledger's clock does not: after a sleep the ledger
 * looks younger than it is, and then rather alive than removed. */
static uint64_t ticks_at_creation(const struct ledger_header *header) {
	uint64_t awake_ns = clock_ns(CLOCK_MONOTONIC); /* first, for it must not be the greater one */
	uint64_t slept_ns = clock_ns(CLOCK_BOOTTIME) - awake_ns;
	return (header->created_monotonic_ns + slept_ns) / (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* A ledger without a run command is named after the first preloaded process, often a shell that calls
 * libpq through its children only and will start more of them. A process that began after the ledger
 * has only inherited the number. */
static bool namesake_is_alive(const struct ledger_header *header, const char *path) {
	unsigned uid;
	int pid;
	unsigned long long started; /* whose unit depends on who named the file */
	const char *base = strrchr(path, '/');
	if (sscanf(base ? base + 1 : path, "pqlease.%u.%d-%llu.ledger", &uid, &pid, &started) != 3)
		return false;
	uint64_t start_ticks = proc_start_ticks(pid);
	enum liveness liveness = liveness_in(header, pid, start_ticks, header->pid_namespace);
	return liveness == LIVENESS_UNKNOWN ||
		(liveness == LIVENESS_RUNNING && start_ticks <= ticks_at_creation(header));
}

static bool is_live(struct ledger_header *header, const char *path) {
	return run_is_alive(header) || has_living_process(header) || namesake_is_alive(header, path);
}

/* ---- Glance --------------------------------------------------------------------------------------------- */

static uint64_t count_ended_attempts(const struct ledger_pool *pool) {
	static const enum ledger_counter counters[] = {LEDGER_ESTABLISHED, LEDGER_FAILED, LEDGER_ABANDONED};
	uint64_t count = 0;
	for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
		count += atomic_load_explicit(&pool->totals.counter[counters[i]], memory_order_relaxed);
	return count;
}

static uint64_t count_attempts(struct ledger_header *header) {
	uint64_t count = 0;
	for (uint64_t i = 0; i < section_used(header, LEDGER_POOLS); i++) {
		const struct ledger_pool *pool = section_unit(header, LEDGER_POOLS, i);
		count += pool ? count_ended_attempts(pool) : 0;
	}
	for (uint64_t i = 0; i < section_used(header, LEDGER_LEASES); i++) {
		const struct ledger_lease *lease = section_unit(header, LEDGER_LEASES, i);
		if (lease &&
		    atomic_load_explicit(&lease->word, memory_order_acquire) >> 56 == LEDGER_LEASE_CONNECTING)
			count++;
	}
	return count;
}

static void join_command(char *text, size_t size_bytes, struct ledger_header *header) {
	size_t length = 0;
	*text = '\0';
	for (uint32_t i = 0; i < header->command_count && i < LEDGER_COMMAND_WORDS && length < size_bytes;
	     i++)
		length += (size_t)snprintf(text + length, size_bytes - length, "%s%s", i > 0 ? " " : "",
					   string_text(header, header->command[i]));
}

static const char *status_reason(enum ledger_file_status status, int error_number) {
	return status == LEDGER_FILE_SYSTEM_ERROR ? strerror(error_number) : ledger_file_status_text(status);
}

/* Why the name is not even opened, NULL if it may be. */
static const char *check_name(struct ledger_keeper_glance *glance, const char *path) {
	if (lstat(path, &glance->file) != 0)
		return strerror(errno);
	if (!S_ISREG(glance->file.st_mode))
		return ledger_file_status_text(LEDGER_FILE_NOT_REGULAR);
	if (glance->file.st_uid != geteuid())
		return ledger_file_status_text(LEDGER_FILE_FOREIGN);
	return NULL;
}

void ledger_keeper_glance(struct ledger_keeper_glance *glance, const char *path) {
	struct ledger_map map;
	*glance = (struct ledger_keeper_glance){.state = LEDGER_KEEPER_UNREADABLE};
	glance->reason = check_name(glance, path);
	if (glance->reason)
		return;
	enum ledger_file_status status = ledger_file_join(&map, path);
	if (status != LEDGER_FILE_OK) {
		glance->reason = status_reason(status, map.error_number);
		return;
	}
	glance->state = is_live(map.header, path) ? LEDGER_KEEPER_LIVE : LEDGER_KEEPER_ENDED;
	glance->created_realtime_ns = map.header->created_realtime_ns;
	glance->attempts = count_attempts(map.header);
	glance->is_run_alive = atomic_load_explicit(&map.header->ended_ns, memory_order_acquire) == 0 &&
		run_is_alive(map.header);
	join_command(glance->command, sizeof glance->command, map.header);
	ledger_file_unmap(&map);
}

/* What a process that could not record left beside the ledger goes with it. */
static void remove_off_reason(const char *path) {
	char link[PATH_MAX];
	if (snprintf(link, sizeof link, "%s%s", path, LEDGER_OFF_SUFFIX) < (int)sizeof link)
		unlink(link);
}

bool ledger_keeper_remove_ended(const struct ledger_keeper_glance *glance, const char *path) {
	struct ledger_keeper_glance now;
	struct stat file;
	ledger_keeper_glance(&now, path);
	if (now.state != LEDGER_KEEPER_ENDED || lstat(path, &file) != 0)
		return false;
	if (file.st_ino != glance->file.st_ino || file.st_dev != glance->file.st_dev ||
	    file.st_ino != now.file.st_ino || file.st_dev != now.file.st_dev || unlink(path) != 0)
		return false;
	remove_off_reason(path);
	return true;
}

/* ---- The run's own ledger ---------------------------------------------------------------------------------- */

uint64_t ledger_keeper_size_bytes(const char *text) {
	static const char suffixes[] = "KMG";
	if (!text || !isdigit((unsigned char)*text))
		return LEDGER_DEFAULT_SIZE_BYTES;
	char *end;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	const char *suffix = *end != '\0' ? strchr(suffixes, *end) : NULL;
	unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
	bool is_malformed = errno != 0 || (*end != '\0' && (!suffix || end[1] != '\0'));
	if (is_malformed || number > LEDGER_MAX_SIZE_BYTES >> shift ||
	    number << shift < LEDGER_MIN_SIZE_BYTES)
		return LEDGER_DEFAULT_SIZE_BYTES;
	return number << shift;
}

bool ledger_keeper_default_path(char path[PATH_MAX], const char *directory) {
	int length = snprintf(path, PATH_MAX, "%s/pqlease.%u.%d-%llu.ledger", directory, (unsigned)getuid(),
			      (int)getpid(), (unsigned long long)proc_start_ticks(getpid()));
	return length > 0 && length < PATH_MAX;
}

/* COMMAND and its children may change their directory, so the path they get must not depend on it. */
static bool make_absolute(char absolute[PATH_MAX], const char *path) {
	char directory[PATH_MAX] = "";
	bool is_relative = *path != '/';
	if (is_relative && !getcwd(directory, sizeof directory))
		return false;
	int length = snprintf(absolute, PATH_MAX, "%s%s%s", directory, is_relative ? "/" : "", path);
	return length > 0 && length < PATH_MAX;
}

static const char *remove_predecessor(const char *path) {
	struct ledger_keeper_glance glance;
	ledger_keeper_glance(&glance, path);
	if (glance.state == LEDGER_KEEPER_UNREADABLE)
		return glance.reason;
	if (glance.state == LEDGER_KEEPER_LIVE)
		return "a live ledger, in use by another run";
	return ledger_keeper_remove_ended(&glance, path) ? NULL : "the ended ledger there cannot be removed";
}

static const char *create_file(struct ledger_keeper *keeper, const char *size_text,
			       const char *const *words) {
	struct ledger_map map;
	struct ledger_run_facts facts = {
		.tool_version = PQLEASE_VERSION, .made_by_run = true, .command = words};
	uint64_t size_bytes = ledger_keeper_size_bytes(size_text);
	remove_off_reason(keeper->path);
	enum ledger_file_status status = ledger_file_create(&map, keeper->path, size_bytes, &facts);
	if (status == LEDGER_FILE_EXISTS) {
		const char *reason = remove_predecessor(keeper->path);
		if (reason)
			return reason;
		status = ledger_file_create(&map, keeper->path, size_bytes, &facts);
	}
	if (status != LEDGER_FILE_OK)
		return status_reason(status, map.error_number);
	keeper->header = map.header;
	keeper->mapped_bytes = map.mapped_bytes;
	return NULL;
}

const char *ledger_keeper_create(struct ledger_keeper *keeper, const char *path, const char *size_text,
				 char *const *command) {
	*keeper = (struct ledger_keeper){0};
	if (!make_absolute(keeper->path, path))
		return strerror(ENAMETOOLONG);
	const char **words = ledger_keeper_mask_command(command);
	const char *reason = words ? create_file(keeper, size_text, words) : strerror(ENOMEM);
	free(words);
	return reason;
}

/* What the process wrote about its own end wins: it is a fact, and it came first. The state is
 * published last, so that whoever folds the slots finds out how their owner ended. */
static void mark_record_killed(struct ledger_process *process, uint64_t word, int signal_number) {
	uint32_t not_ended = LEDGER_ENDED_NOT;
	uint64_t ended_word = (word & ~(UINT64_C(0xff) << 56)) | (uint64_t)LEDGER_PROCESS_ENDED << 56;
	if (!atomic_compare_exchange_strong(&process->how_ended, &not_ended, LEDGER_ENDED_KILLED))
		return;
	atomic_store(&process->exit_signal, signal_number);
	atomic_store(&process->ended_ns, clock_ns(CLOCK_MONOTONIC));
	atomic_compare_exchange_strong(&process->word, &word, ended_word);
}

uint64_t ledger_keeper_start_ticks(pid_t pid) {
	return proc_start_ticks(pid);
}

void ledger_keeper_mark_killed(struct ledger_keeper *keeper, pid_t pid, uint64_t start_ticks,
			       int signal_number) {
	struct ledger_header *header = keeper->header;
	if (!header || start_ticks == 0)
		return;
	uint64_t pid_namespace = liveness_observer_here().pid_namespace;
	for (uint64_t i = 0; i < section_used(header, LEDGER_PROCESSES); i++) {
		struct ledger_process *process = section_unit(header, LEDGER_PROCESSES, i);
		uint64_t word = process ? load_process_word(process) : 0;
		if (process_state(word) == LEDGER_PROCESS_RUNNING && process_pid(word) == pid &&
		    process->start_ticks == start_ticks && process->pid_namespace == pid_namespace)
			mark_record_killed(process, word, signal_number);
	}
}

void ledger_keeper_mark_ended(struct ledger_keeper *keeper, int exit_status, int exit_signal) {
	struct ledger_header *header = keeper->header;
	if (!header)
		return;
	header->exit_status = exit_status;
	header->exit_signal = exit_signal;
	atomic_store_explicit(&header->ended_ns, clock_ns(CLOCK_MONOTONIC), memory_order_release);
}

bool ledger_keeper_has_processes(const struct ledger_keeper *keeper) {
	struct ledger_header *header = keeper->header;
	for (uint64_t i = 0; header && i < section_used(header, LEDGER_PROCESSES); i++) {
		const struct ledger_process *process = section_unit(header, LEDGER_PROCESSES, i);
		if (process && process_state(load_process_word(process)) > LEDGER_PROCESS_CLAIMED)
			return true;
	}
	return false;
}

void ledger_keeper_close(struct ledger_keeper *keeper) {
	struct ledger_map map = {.header = keeper->header, .mapped_bytes = keeper->mapped_bytes};
	ledger_file_unmap(&map);
	keeper->header = NULL;
}

void ledger_keeper_discard(struct ledger_keeper *keeper) {
	if (keeper->header) {
		unlink(keeper->path);
		remove_off_reason(keeper->path);
	}
	ledger_keeper_close(keeper);
}
