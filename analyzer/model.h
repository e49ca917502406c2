/*
 * What a ledger says, as plain structs: the reader fills them, everything else reads them. Nothing
 * here depends on the ledger's bytes. Strings are never NULL unless said; "" is unknown. Times are
 * CLOCK_MONOTONIC nanoseconds of the recording machine, 0 unknown.
 */
#ifndef PQLEASE_ANALYZER_MODEL_H
#define PQLEASE_ANALYZER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/arena.h"
#include "analyzer/histogram.h"

enum model_how_ended { MODEL_RUNNING, MODEL_EXIT, MODEL_EXEC, MODEL_KILLED, MODEL_UNKNOWN, MODEL_HOW_COUNT };

/* In what state a lease or an attempt was left by a process that ended. */
enum model_left {
	MODEL_LEFT_OPEN,
	MODEL_LEFT_FAILED,
	MODEL_LEFT_CONNECTING, /* an asynchronous attempt that reached neither OK nor FAILED */
	MODEL_LEFT_RESETTING,  /* an established lease inside a reset */
	MODEL_LEFT_IN_CALL,    /* inside a synchronous connect */
	MODEL_LEFT_ORPHANED,   /* as OPEN; its thread had ended long before, and nobody used it since */
	MODEL_LEFT_COUNT
};

/* Of ended things, by pool and by site, unless said. A use is booked on the site where it began (its use site), a
 * lease on the site where it was taken. What follows MODEL_COMMANDS except FINISHED_UNUSED belongs to use sites. */
enum model_counter {
	MODEL_ESTABLISHED,
	MODEL_FAILED,
	MODEL_ABANDONED,
	MODEL_CUT_SHORT,
	MODEL_PROBES,
	MODEL_PROBES_ANSWERED,
	MODEL_RESETS,
	MODEL_RESETS_OK,
	MODEL_FINISHED,
	MODEL_FAILED_FINISHED,
	MODEL_REVIVED,
	MODEL_FINISH_UNSEEN,
	MODEL_DOUBLE_FINISH,
	MODEL_INHERITED_FINISH,
	MODEL_INHERITED_USE,
	MODEL_FINISHED_ELSEWHERE,
	MODEL_USES_ENDED,             /* those of struct model_lease's open use are not in it */
	MODEL_IN_QUERY_NS,            /* of ended uses: a command was in flight */
	MODEL_IDLE_IN_TRANSACTION_NS, /* of ended uses: in a transaction, no command in flight */
	MODEL_IDLE_NS,                /* of ended leases, outside uses; at the site of the lease */
	MODEL_LEFT_HELD_NS,
	MODEL_COMMANDS,         /* of ended uses */
	MODEL_USES_LEFT,        /* of USES_ENDED: their lease or process ended in the middle of them */
	MODEL_USES_ASSUMED,     /* of USES_ENDED: site recognised by samples, see MODEL_NOTE_USES_ASSUMED */
	MODEL_FINISHED_UNUSED,  /* of FINISHED: not one command was sent; at the site of the lease */
	MODEL_CONCURRENT_USE,   /* calls on a PGconn while another thread was inside a call on it */
	MODEL_USE_AFTER_FINISH, /* commands on a PGconn that was finished */
	MODEL_NESTED_LEASE, /* a thread in a transaction waited for a lease, or in a use of another one (event loops do not wait) */
	MODEL_SERVER_CLOSED,        /* commands after which an established lease was broken */
	MODEL_SLOW_QUERIES,         /* commands of at least 1 s, very slow ones included */
	MODEL_VERY_SLOW_QUERIES,    /* at least 10 s */
	MODEL_IDLE_SPANS,           /* idle in a transaction for at least 1 s, longer ones included */
	MODEL_LONG_IDLE_SPANS,      /* at least 30 s */
	MODEL_VERY_LONG_IDLE_SPANS, /* at least 300 s */
	MODEL_COUNTER_COUNT
};

enum model_measure {
	MODEL_CONNECT_TIME,
	MODEL_FAILED_TIME,
	MODEL_HOLD_TIME,
	MODEL_USE_TIME,           /* ended uses, by use site */
	MODEL_FIRST_COMMAND_TIME, /* first command of each lease: behind a pooler the wait for a server; by use site */
	MODEL_IDLE_SPAN_TIME, /* single spans idle in a transaction of at least 1 ms; by use site */
	MODEL_MEASURE_COUNT
};
enum model_phase { MODEL_PHASE_TCP, MODEL_PHASE_TLS, MODEL_PHASE_AUTH, MODEL_PHASE_COUNT };

/* Which instants of findings the totals keep for what has been folded already. */
/* Each enum model_left, then the misuses. */
enum model_finding_time {
	MODEL_LEFT_SEEN,
	MODEL_DOUBLE_FINISH_SEEN = MODEL_LEFT_COUNT,
	MODEL_INHERITED_SEEN,
	MODEL_CONCURRENT_USE_SEEN,
	MODEL_USE_AFTER_FINISH_SEEN,
	MODEL_NESTED_LEASE_SEEN,
	MODEL_SERVER_CLOSED_SEEN,
	MODEL_SLOW_QUERY_SEEN, /* when it ended */
	MODEL_IDLE_SPAN_SEEN,  /* when it ended */
	MODEL_FINDING_TIME_COUNT
};

enum model_loss {
	MODEL_LOST_LEASES,
	MODEL_LOST_SITES,
	MODEL_LOST_PROCESSES,
	MODEL_TORN,
	MODEL_LOST_STRINGS,
	MODEL_LOST_MODULES,
	MODEL_LOST_POOLS,
	MODEL_LOST_OCTAVES,
	MODEL_LOST_EXAMPLES,
	MODEL_LOST_HISTORY,
	MODEL_LOST_SPACE,
	MODEL_LOST_POINTERS,
	MODEL_LOST_RELEASERS,
	MODEL_LOST_TRENDS,
	MODEL_LOSS_COUNT
};

enum model_note { /* bits */
		  MODEL_NOTE_NO_LIBUNWIND = 1u << 0,
		  MODEL_NOTE_UNWINDER_UNSAFE = 1u << 1,
		  MODEL_NOTE_STACK_UNAVAILABLE = 1u << 2,
		  MODEL_NOTE_STACKS_OFF = 1u << 3,
		  MODEL_NOTE_BAD_SETTING = 1u << 4,
		  MODEL_NOTE_RECORDING_OFF = 1u << 5,
		  MODEL_NOTE_USES_OFF = 1u << 6,
		  MODEL_NOTE_UNBOUND_CALLER = 1u << 7,
		  /* Some uses above 1 000 a second of a lease have a site that was recognised, not captured in full,
		   * and entries in `uses` that stand for several. Counters and times are exact all the same. */
		  MODEL_NOTE_USES_ASSUMED = 1u << 8
};

enum model_language {
	MODEL_NATIVE = 1,
	MODEL_PYTHON,
	MODEL_PHP,
	MODEL_RUBY,
	MODEL_PERL,
	MODEL_NODE,
	MODEL_LANGUAGE_END
};

/* How frames of a script runtime were read in a process. From MODEL_SCRIPT_UNKNOWN_VERSION on, only native ones were. */
enum model_script_reading {
	MODEL_SCRIPT_UNMET,
	MODEL_SCRIPT_OFFSETS,
	MODEL_SCRIPT_FUNCTIONS,
	MODEL_SCRIPT_UNKNOWN_VERSION,
	MODEL_SCRIPT_UNKNOWN_BUILD,
	MODEL_SCRIPT_UNSAFE,
	MODEL_SCRIPT_OFF,
	MODEL_SCRIPT_NEVER,
	MODEL_SCRIPT_READING_COUNT
};

struct model_runtime {
	enum model_script_reading reading;
	const char *version;
};

enum model_lease_state {
	MODEL_LEASE_CONNECTING, /* its first attempt is in progress */
	MODEL_LEASE_OPEN,
	MODEL_LEASE_FAILED,
	MODEL_LEASE_RESETTING
};

enum model_release {
	MODEL_RELEASE_NONE,
	MODEL_RELEASE_FINISHED,
	MODEL_RELEASE_FAILED,
	MODEL_RELEASE_ABANDONED,
	MODEL_RELEASE_CUT_SHORT,
	MODEL_RELEASE_UNSEEN,
	MODEL_RELEASE_OWNER_GONE,
	MODEL_RELEASE_BY_OTHER_PROCESS,
	/* Examples of misuses: `site` is where the first of the two uses began, `release_site` where the second was. */
	MODEL_RELEASE_CONCURRENT_USE,
	MODEL_RELEASE_NESTED_LEASE,
	MODEL_RELEASE_COUNT
};

enum model_release_fact {                                    /* bits */
			  MODEL_FACT_FINALIZING = 1u << 0,   /* the script runtime was shutting down */
			  MODEL_FACT_COLLECTING = 1u << 1,   /* inside its garbage collector */
			  MODEL_FACT_DEALLOCATING = 1u << 2, /* inside the deallocation of an object */
			  MODEL_FACT_ORPHAN = 1u
				  << 3, /* its thread had ended long before, and nobody used it since */
			  MODEL_FACT_UNUSED = 1u << 4,        /* uses were tracked, and there was none */
			  MODEL_FACT_OTHER_PROCESS = 1u << 5, /* by a process that did not take it */
			  MODEL_FACT_NO_SCRIPT = 1u
				  << 6, /* a script runtime is there, and ran no script in this thread */
			  MODEL_FACT_IN_USE = 1u << 7, /* in the middle of a use, and no command in flight */
			  MODEL_FACT_LEFT = 1u << 8,   /* no release: see model.left_in_use */
			  MODEL_FACT_ANY = (1u << 9) - 1
};

struct model_totals {
	uint64_t counter[MODEL_COUNTER_COUNT];
	uint64_t unreleased[MODEL_LEFT_COUNT][MODEL_HOW_COUNT];
	uint64_t first_ns;
	uint64_t last_ns;
	int64_t open_peak;
	int64_t in_use_peak;
	uint64_t first_finding_ns[MODEL_FINDING_TIME_COUNT];
	uint64_t last_finding_ns[MODEL_FINDING_TIME_COUNT];
	struct histogram time[MODEL_MEASURE_COUNT];
};

enum { MODEL_RUN_ID_BYTES = 16, MODEL_BOOT_ID_BYTES = 16 };

struct model_run {
	uint8_t id[MODEL_RUN_ID_BYTES];
	uint8_t boot_id[MODEL_BOOT_ID_BYTES]; /* zero: unknown */
	uint64_t pid_namespace;
	uint64_t created_realtime_ns; /* the same instant on both clocks */
	/* What a process that could not record said, "" if none did. Beside the ledger, so anybody may have said it. */
	const char *off_reason;
	uint64_t created_ns;
	int32_t creator_pid;
	uint64_t creator_start_ticks;
	bool is_made_by_run;
	const char *host;
	const char *tool_version;
	const char *const *command;
	size_t command_count;
	uint64_t ended_ns; /* the run command's mark, 0 while it runs or when there was none */
	int exit_status;
	int exit_signal;
	int64_t open_peak;
	int64_t in_use_peak;

	/* Settled after reading (aftermath.h). */
	bool is_live;
	uint64_t until_ns; /* now if the run is live, else its end or the last event behind it */
};

struct model_process {
	int32_t pid;
	int32_t parent_pid;
	uint32_t tenants; /* processes that had this record, this one included */
	uint32_t uid;
	uint64_t start_ticks;
	uint64_t stack_start;
	uint64_t pid_namespace;
	const char *exe;
	const char *script;
	const char *role;
	const char *container;
	const char *setting_problem;
	uint32_t notes;                                    /* enum model_note */
	struct model_runtime runtimes[MODEL_LANGUAGE_END]; /* by language */
	uint64_t attached_ns;
	uint64_t started_ns;
	uint64_t ended_ns;
	int exit_signal;
	bool has_marked_end;            /* the record itself says how it ended */
	enum model_how_ended how_ended; /* MODEL_RUNNING in a record without a mark, until settled */

	/* Settled after reading. */
	bool is_gone; /* false: running, or nobody can tell */
	uint64_t open_count;
};

struct model_module {
	const char *path;
	uint8_t build_id[20];
	uint8_t build_id_length;
	uint64_t text_start;
	uint64_t text_end;
	uint64_t file_bytes;
};

#define MODEL_NO_MODULE UINT32_MAX

struct model_frame {
	enum model_language language;
	uint32_t module;      /* native: number in modules, or MODEL_NO_MODULE */
	uint64_t address;     /* native: return address in the ELF file's own terms */
	const char *file;     /* script frames */
	const char *function; /* script frames */
	uint32_t line;        /* script frames */
};

enum { MODEL_SITE_NONE, MODEL_SITE_LOST, MODEL_SITE_FIRST }; /* stack unavailable; no room for the site */

/* Open leases of a site from one instant of a change to the next. */
struct model_trend_cell {
	uint64_t begin_ns; /* since the ledger was created */
	uint32_t least;
	uint32_t last;
};

struct model_site {
	const struct model_frame *frames; /* innermost first */
	size_t frame_count;
	bool is_truncated;
	struct model_totals totals;
	/* At least the last half of the run, oldest first; where nothing is written, nothing changed. No cells:
	 * never more than one was open, or nobody knows (MODEL_LOST_TRENDS). */
	const struct model_trend_cell *trend;
	size_t trend_count;
};

/* Established leases of one site that were given to PQfinish at one place in one way. */
struct model_releaser {
	uint32_t site;
	uint32_t release_site;
	uint32_t facts;    /* enum model_release_fact */
	uint32_t use_site; /* with MODEL_FACT_IN_USE: where that use began */
	uint64_t count;
	uint64_t first_ns;
	uint64_t last_ns;
};

enum { MODEL_POOL_OTHER }; /* pools that found no place in the table */

struct model_timeline;

struct model_pool {
	const char *role;
	const char *host;
	const char *port;
	const char *database;
	const char *user;
	const char *application_name; /* "" also if its leases had different ones */
	struct model_totals totals;
	struct model_timeline *timeline; /* NULL: its events are in the run's timeline alone */
};

#define MODEL_NO_PROCESS SIZE_MAX

struct model_lease {
	enum model_lease_state state;
	size_t process; /* number in processes, MODEL_NO_PROCESS if its record has another tenant now */
	int32_t pid;
	int32_t thread;
	int32_t backend_pid; /* 0 unknown */
	uint32_t site;
	uint32_t last_use_site;
	uint32_t pool;
	const char *role;
	const char *test;
	bool is_async;
	bool was_established;
	bool is_dedicated;
	bool is_active;
	bool is_in_transaction;
	bool is_transaction_failed;
	uint64_t begun_ns;
	uint64_t established_ns;
	uint64_t last_event_ns;  /* last change of state or last command's end */
	uint64_t thread_gone_ns; /* when its thread ended, 0: it runs, or nobody saw it end */
	uint32_t uses;           /* ended ones and the one in progress */
	uint32_t commands;       /* begun */
	uint32_t use_commands;   /* of these, in the use in progress */
	bool is_begun_empty;     /* as struct model_use, of the use in progress */
	bool is_in_use; /* has a use in progress: active, in a transaction or with results to consume */
	bool is_used_to_the_end;   /* its last use ended only while the script runtime shut down */
	bool is_broken;            /* the server or the network ended the session */
	uint64_t use_begun_ns;     /* of the use in progress, 0 none */
	int32_t use_thread;        /* who began it, 0 unknown */
	uint64_t command_begun_ns; /* of the command in flight, 0 none */
	/* Of the whole lease, without what is going on now: up to `last_event_ns`, or `command_begun_ns`. */
	uint64_t in_query_ns;
	uint64_t idle_in_transaction_ns;
	uint64_t idle_ns;
	/* Of these, what belongs to the use in progress: the totals have the rest. */
	uint64_t use_in_query_ns;
	uint64_t use_idle_in_transaction_ns;
	uint64_t use_first_command_ns; /* as struct model_use, 0: in flight */
	uint64_t first_command_ns;     /* length of the lease's first command, 0 none */
	const char *statement;         /* first word of the last command: "SELECT"; "" unknown or other */

	/* Settled after reading. */
	bool is_owner_gone;
	bool is_orphan; /* of an owner that runs: its thread has ended long ago, and nobody used it since */
	enum model_left left;     /* when its owner is gone */
	enum model_how_ended how; /* of its owner, when it is gone */
	uint64_t until_ns;        /* end of its owner as far as known, else of the run */
};

/* A closed lease of the history, or an unreleased one that a reaper kept as example. */
struct model_ended {
	enum model_release release;
	enum model_left left;     /* for MODEL_RELEASE_OWNER_GONE */
	enum model_how_ended how; /* for MODEL_RELEASE_OWNER_GONE */
	int32_t pid;
	int32_t thread;
	int32_t backend_pid;
	uint32_t site;
	uint32_t release_site; /* of MODEL_RELEASE_BY_OTHER_PROCESS: where that process used it */
	uint32_t
		release_facts; /* enum model_release_fact, of MODEL_RELEASE_FINISHED; IN_USE of OWNER_GONE, too */
	uint32_t last_use_site; /* where its last use began */
	uint32_t pool;
	const char *role;
	const char *test;
	uint64_t begun_ns;
	uint64_t established_ns;
	uint64_t ended_ns;
	uint64_t connect_ns;
	uint32_t uses;
	uint32_t commands;
	bool is_dedicated;
	bool is_broken; /* the server or the network ended the session */
	uint64_t in_query_ns;
	uint64_t idle_in_transaction_ns;
	uint64_t idle_ns;
};

/* An ended use, of the last ones. Above 1 000 uses a second of a lease an entry stands for several. */
struct model_use {
	uint64_t lease; /* the same for all uses of one lease */
	uint32_t
		weight; /* uses of the lease that it stands for, itself included: those before it since its last entry */
	uint64_t begun_ns;
	uint64_t ended_ns;
	uint64_t first_command_ns; /* length of its first command */
	uint64_t in_query_ns;
	uint64_t idle_in_transaction_ns;
	uint32_t site; /* where it began */
	uint32_t pool;
	int32_t pid;
	int32_t thread; /* who began it */
	int32_t backend_pid;
	uint32_t commands;
	const char *statement; /* first word of its first command that is not BEGIN; "" unknown or other */
	bool is_dedicated;
	bool is_transaction_failed;
	bool is_site_assumed; /* see MODEL_NOTE_USES_ASSUMED */
	bool is_left;         /* its lease or process ended in the middle of it */
	bool is_begun_empty;  /* its first command was BEGIN, which does no work */
	bool is_broken;       /* it ended with the session */
};

/* Who held a lease when a connection was refused for lack of slots. */
struct model_holder {
	enum model_lease_state state;
	bool is_active;
	bool is_in_transaction;
	bool is_transaction_failed;
	bool is_dedicated;
	bool is_in_use;
	uint64_t since_ns;   /* taken */
	uint64_t changed_ns; /* since when it is in that state */
	uint32_t site;       /* taken */
	uint32_t use_site;   /* MODEL_SITE_NONE: never used, or unknown */
	uint32_t pool;
	const char *role;
	const char *statement;
	int32_t pid;
	int32_t backend_pid;
};

struct model_snapshot {
	uint64_t at_ns;
	const char *class_name; /* of the refusal, as struct model_failure */
	const char *sqlstate;
	const char *text;
	int32_t pid; /* who was refused, and where */
	const char *role;
	uint32_t pool;
	uint32_t site;
	const struct model_holder *holders; /* oldest first */
	size_t holder_count;
	size_t missing_count; /* holders that did not fit */
};

struct model_failure {
	const char *class_name;
	const char *sqlstate; /* "" if there is none */
	const char *text;
	uint64_t count;
	uint64_t first_ns;
	uint64_t last_ns;
};

enum model_metric {
	MODEL_METRIC_ATTEMPTS,
	MODEL_METRIC_FAILURES,
	MODEL_METRIC_OPEN,
	MODEL_METRIC_OPEN_PEAK,
	MODEL_METRIC_IN_USE,
	MODEL_METRIC_IN_USE_PEAK,
	MODEL_METRIC_COUNT
};

enum model_resolution { MODEL_SECONDS, MODEL_MINUTES, MODEL_HOURS, MODEL_RESOLUTION_COUNT };

struct model_cell {
	uint32_t epoch; /* begins epoch * resolution after the ledger was created */
	uint32_t value;
};

/* Cells that were written, oldest first; gaps mean "nothing changed". */
struct model_series {
	const struct model_cell *cells;
	size_t cell_count;
};

struct model_timeline {
	struct model_series series[MODEL_RESOLUTION_COUNT][MODEL_METRIC_COUNT];
};

struct model {
	struct arena arena;
	uint64_t mapped_bytes; /* of the ledger; symbols may be kept behind them */
	struct model_run run;
	struct model_process *processes;
	size_t process_count;
	uint64_t process_total; /* every process that ever attached */
	struct model_module *modules;
	size_t module_count;
	struct model_site
		*sites; /* by site number; duplicates of a site are empty, their totals added to the first */
	size_t site_count;
	struct model_pool *pools; /* by pool number, likewise */
	size_t pool_count;
	struct model_lease *leases;
	size_t lease_count;
	struct model_ended *history;
	size_t history_count;
	uint64_t history_overwritten;
	struct model_ended *examples;
	size_t example_count;
	struct model_releaser *releasers;
	size_t releaser_count;
	struct model_releaser
		*left_in_use; /* never released: their process ended itself in the middle of a use */
	size_t left_in_use_count;
	struct model_ended *misuses; /* examples of MODEL_RELEASE_CONCURRENT_USE and NESTED_LEASE */
	size_t misuse_count;
	struct model_use *uses; /* the last ones, oldest first */
	size_t use_count;
	uint64_t uses_overwritten;
	struct model_snapshot *snapshots; /* oldest first */
	size_t snapshot_count;
	struct model_failure *failures;
	size_t failure_count;
	struct model_timeline timeline; /* of the whole run */
	struct histogram phase_time[MODEL_PHASE_COUNT];
	uint64_t lost[MODEL_LOSS_COUNT];
	size_t *moving_owners; /* owners of slots between two states: torn if the owner is gone */
	size_t moving_count;
	/* At least one process followed the uses of its leases: else all that tells of uses is unknown, never 0. */
	bool has_uses;
};

void model_release(struct model *model);

/* Adds counts, peaks (the higher one) and histograms; instants widen. */
void model_totals_add(struct model_totals *into, struct arena *arena, const struct model_totals *other);

/* CLOCK_REALTIME nanoseconds of a CLOCK_MONOTONIC instant of the run, 0 for 0. */
uint64_t model_realtime_ns(const struct model *model, uint64_t monotonic_ns);

const char *model_language_name(enum model_language language);
const char *model_how_ended_name(enum model_how_ended how);

#endif
