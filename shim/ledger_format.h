/*
 * The ledger: every byte of the file that the shim writes and the analyzer reads.
 *
 * A ledger is one file per run, mapped MAP_SHARED by every process of the run. This header is the
 * bridge between the two rooms; it holds shapes, not behaviour. Any change to a shape, an offset
 * or the meaning of a field bumps LEDGER_FORMAT_VERSION (tests/unit/test_ledger_format.c pins them).
 *
 * Conventions
 *   - Native byte order, 8-byte alignment, little padding and none of it implicit.
 *   - Times are CLOCK_MONOTONIC nanoseconds (`_ns`); the header anchors them to CLOCK_REALTIME.
 *   - Zero means "unwritten" or "unknown". Ids are 1-based where 0 means none, except where said.
 *   - `_Atomic` words are shared between processes; everything else is written by the record's
 *     owner before the record's state word is published with release order, and read by others
 *     only after an acquire load of that word.
 *   - A process may be killed at any instruction. What it leaves is at most its own record torn,
 *     and the state word says so. Nobody ever waits for another process.
 *
 * The reader must treat everything here as untrusted input.
 */
#ifndef PQLEASE_SHIM_LEDGER_FORMAT_H
#define PQLEASE_SHIM_LEDGER_FORMAT_H

#include <stdatomic.h>
#include <stdint.h>

#define LEDGER_MAGIC "PQLEASE\x1a" /* 8 bytes, no terminator in the file */
#define LEDGER_FORMAT_VERSION 1u
#define LEDGER_BYTE_ORDER 0x01020304u

#define LEDGER_DEFAULT_SIZE_BYTES (32u << 20)
#define LEDGER_MIN_SIZE_BYTES (1u << 20)
#define LEDGER_MAX_SIZE_BYTES (UINT64_C(4) << 30)

#define LEDGER_HEADER_BYTES 8192u

/* A process that could not record leaves a symbolic link at the ledger's path with this suffix; its target is the
 * reason in words. Anybody may have made it: it makes a report less trusted, never more. */
#define LEDGER_OFF_SUFFIX ".off"

/* ---- Extents ------------------------------------------------------------------------------
 * The file has its full length from the start but its space is allocated in extents, so that a
 * full tmpfs is an error from madvise(2) and not a SIGBUS in the host. A bit in extent_ready says
 * that an extent has backing pages; nobody touches a byte of an extent whose bit is clear. The
 * reader sees holes as zeros, which mean "unwritten".
 */
#define LEDGER_EXTENT_COUNT_MAX 4096u
#define LEDGER_EXTENT_MIN_BYTES (64u << 10)

/* ---- Sections ------------------------------------------------------------------------------ */

enum ledger_section_kind {
	LEDGER_PROCESSES,      /* struct ledger_process */
	LEDGER_MODULES,        /* struct ledger_module, interned */
	LEDGER_MODULE_INDEX,   /* _Atomic uint32_t: id of an entry of the interned table, or 0 */
	LEDGER_ENDPOINTS,      /* struct ledger_endpoint, interned */
	LEDGER_ENDPOINT_INDEX, /* as LEDGER_MODULE_INDEX */
	LEDGER_POOLS,          /* struct ledger_pool, interned */
	LEDGER_POOL_INDEX,
	LEDGER_STRINGS, /* arena of struct ledger_string, 8-byte units; an id is a unit number */
	LEDGER_STRING_INDEX,
	LEDGER_FRAMES, /* arena of struct ledger_frame; an id is a frame number */
	LEDGER_SITES,  /* struct ledger_site, interned */
	LEDGER_SITE_INDEX,
	LEDGER_OCTAVES,    /* struct ledger_octave, allocated in order */
	LEDGER_LEASES,     /* struct ledger_lease: open leases and attempts */
	LEDGER_HISTORY,    /* ring of struct ledger_ended: the last closed leases */
	LEDGER_UNRELEASED, /* struct ledger_ended, allocated in order: examples kept by reapers */
	LEDGER_USES,       /* ring of struct ledger_use */
	LEDGER_TIMELINES,  /* struct ledger_timeline; number 0 is the run, others belong to pools */
	LEDGER_SNAPSHOTS,  /* struct ledger_snapshot, allocated in order */
	LEDGER_FAILURES,   /* struct ledger_failure, one per enum failure reason, indexed by it */
	LEDGER_RELEASERS,  /* struct ledger_releaser, interned */
	LEDGER_RELEASER_INDEX,
	LEDGER_TRENDS, /* struct ledger_trend, allocated in order */
	LEDGER_SECTION_COUNT
};

/* `used` counts units ever handed out (dense tables, arenas), the next sequence number (rings), or
 * the high-water mark (slots); it may exceed `capacity` after an overflow: clamp before use. */
struct ledger_section {
	uint32_t kind;             /* enum ledger_section_kind, equal to its place in the table */
	uint32_t entry_size_bytes; /* size of one unit */
	uint64_t offset;           /* from the start of the file, a multiple of 64 */
	uint64_t capacity;         /* in units */
	_Atomic uint64_t used;
};

/* ---- Losses: what did not fit or could not be seen, by reason ------------------------------- */

enum ledger_loss {
	LEDGER_LOST_LEASES,    /* attempts that found no slot: counted nowhere else */
	LEDGER_LOST_SITES,     /* leases whose stack found no site entry: booked on LEDGER_SITE_LOST */
	LEDGER_LOST_PROCESSES, /* processes that found no record: nothing of theirs is recorded */
	LEDGER_TORN,           /* slots whose owner died while they were being closed */
	LEDGER_LOST_STRINGS,
	LEDGER_LOST_MODULES,
	LEDGER_LOST_POOLS,
	LEDGER_LOST_OCTAVES, /* histogram samples in no bucket: count, sum, min and max still hold */
	LEDGER_LOST_EXAMPLES,
	LEDGER_LOST_HISTORY,   /* closed leases whose ring entry was dropped by a lapped writer */
	LEDGER_LOST_SPACE,     /* extents that could not be allocated (the file system was full) */
	LEDGER_LOST_POINTERS,  /* attempts whose PGconn found no place in the process's private table */
	LEDGER_LOST_RELEASERS, /* finished leases counted in the totals, but not by who released them */
	LEDGER_LOST_TRENDS,    /* sites without a trend */
	LEDGER_LOSS_COUNT = 16
};

/* ---- Histograms ------------------------------------------------------------------------------
 * Exponential, base 2^(1/32) (OpenTelemetry exponential histogram, scale 5), so a bucket's middle
 * is within 1.1 % of every value in it. Octave o holds the values in [2^(o+8), 2^(o+9)) ns, the
 * first and the last octave also everything below and above. Octaves of 32 counters are allocated
 * from LEDGER_OCTAVES when first needed. Histograms merge by addition.
 * count, sum, min and max are exact; min_ns is stored as ~min so that zero means "no value".
 */
#define LEDGER_OCTAVE_COUNT 48u
#define LEDGER_OCTAVE_FIRST_LOG2 8u
#define LEDGER_OCTAVE_BUCKETS 32u

struct ledger_octave {
	_Atomic uint64_t bucket[LEDGER_OCTAVE_BUCKETS];
};

struct ledger_histogram {
	_Atomic uint64_t count;
	_Atomic uint64_t sum_ns;
	_Atomic uint64_t inverted_min_ns; /* ~min */
	_Atomic uint64_t max_ns;
	_Atomic uint16_t octave[LEDGER_OCTAVE_COUNT]; /* number in LEDGER_OCTAVES plus 1, or 0 */
};

/* ---- How processes end, and in what state a lease was left ---------------------------------- */

enum ledger_how_ended {
	LEDGER_ENDED_NOT,     /* running, as far as the record tells */
	LEDGER_ENDED_EXIT,    /* exit, _exit, quick_exit: the program ended itself */
	LEDGER_ENDED_EXEC,    /* replaced by another image */
	LEDGER_ENDED_KILLED,  /* by a signal; written only by who reaped the process */
	LEDGER_ENDED_UNKNOWN, /* gone without a mark */
	LEDGER_HOW_ENDED_COUNT
};

enum ledger_left {
	LEDGER_LEFT_OPEN,       /* established, PQfinish never seen */
	LEDGER_LEFT_FAILED,     /* CONNECTION_BAD returned, PQfinish never seen */
	LEDGER_LEFT_CONNECTING, /* PQconnectStart, neither OK nor FAILED, no PQfinish */
	LEDGER_LEFT_RESETTING,  /* a reset of an established lease had not ended: no session, no PQfinish */
	LEDGER_LEFT_IN_CALL,    /* the process ended inside a synchronous connect */
	LEDGER_LEFT_ORPHANED, /* as LEFT_OPEN, and an orphan (LEDGER_ORPHAN_AFTER_NS) at the end of the process */
	LEDGER_LEFT_COUNT
};

/* ---- Totals: exact for ever, of ended things only, one per pool and one per site ------------
 * Open and in use are derived from the slots. A run's totals are the sum over its pools.
 * Pool LEDGER_POOL_OTHER and sites LEDGER_SITE_NONE, LEDGER_SITE_LOST take what has no own entry.
 */
enum ledger_counter {
	LEDGER_ESTABLISHED, /* attempts by PQconnect* */
	LEDGER_FAILED,
	LEDGER_ABANDONED, /* ended by PQfinish before established, or cut short */
	LEDGER_CUT_SHORT, /* of these, by longjmp, an exception or cancellation: the PGconn is lost */
	LEDGER_PROBES,    /* PQping* */
	LEDGER_PROBES_ANSWERED,
	LEDGER_RESETS, /* PQreset*, ended */
	LEDGER_RESETS_OK,
	LEDGER_FINISHED,           /* established leases released by PQfinish */
	LEDGER_FAILED_FINISHED,    /* failed PGconn released by PQfinish */
	LEDGER_REVIVED,            /* failed PGconn turned into a lease by a reset */
	LEDGER_FINISH_UNSEEN,      /* the same pointer came back while its lease was open */
	LEDGER_DOUBLE_FINISH,      /* PQfinish of a pointer already finished */
	LEDGER_INHERITED_FINISH,   /* PQfinish by a process that did not open the lease */
	LEDGER_INHERITED_USE,      /* leases first used by such a process, PQfinish included */
	LEDGER_FINISHED_ELSEWHERE, /* leases ended by LEDGER_INHERITED_FINISH of another process */
	LEDGER_USES_ENDED,
	LEDGER_IN_QUERY_NS,
	LEDGER_IDLE_IN_TRANSACTION_NS,
	LEDGER_IDLE_NS,
	LEDGER_LEFT_HELD_NS, /* hold time of the leases counted in unreleased; up to now if their end is unknown */
	LEDGER_COMMANDS,        /* commands of ended uses */
	LEDGER_USES_LEFT,       /* of USES_ENDED: ended with their lease or process, not by becoming idle */
	LEDGER_USES_ASSUMED,    /* of USES_ENDED: site recognised, see LEDGER_NOTE_USES_ASSUMED */
	LEDGER_FINISHED_UNUSED, /* of FINISHED: never used. At the site of the lease */
	LEDGER_CONCURRENT_USE,  /* calls on a PGconn while another thread was inside a call on it */
	LEDGER_USE_AFTER_FINISH,
	LEDGER_NESTED_LEASE, /* transactions in which their thread waited for a lease, or for a use of another one */
	LEDGER_SERVER_CLOSED, /* commands after which an established lease was broken */
	LEDGER_SLOW_QUERIES,  /* commands of at least LEDGER_SLOW_QUERY_NS */
	LEDGER_VERY_SLOW_QUERIES,
	LEDGER_IDLE_SPANS, /* in a transaction, no command in flight, at least as long as the first */
	LEDGER_LONG_IDLE_SPANS,
	LEDGER_VERY_LONG_IDLE_SPANS,
	LEDGER_COUNTER_COUNT = 40
};

#define LEDGER_SLOW_QUERY_NS UINT64_C(1000000000)
#define LEDGER_VERY_SLOW_QUERY_NS UINT64_C(10000000000)
#define LEDGER_IDLE_SPAN_NS UINT64_C(1000000000)
#define LEDGER_LONG_IDLE_SPAN_NS UINT64_C(30000000000)
#define LEDGER_VERY_LONG_IDLE_SPAN_NS UINT64_C(300000000000)

/* What has instants of its own: each enum ledger_left, then the misuses. */
enum ledger_finding_time {
	LEDGER_FINDING_LEFT,
	LEDGER_FINDING_DOUBLE_FINISH = LEDGER_LEFT_COUNT,
	LEDGER_FINDING_INHERITED,
	LEDGER_FINDING_CONCURRENT_USE,
	LEDGER_FINDING_USE_AFTER_FINISH,
	LEDGER_FINDING_NESTED_LEASE,
	LEDGER_FINDING_SERVER_CLOSED,
	LEDGER_FINDING_SLOW_QUERY, /* when it ended */
	LEDGER_FINDING_IDLE_SPAN,  /* when it ended */
	LEDGER_FINDING_TIME_COUNT
};

enum ledger_measure {
	LEDGER_CONNECT_TIME,
	LEDGER_FAILED_TIME,
	LEDGER_HOLD_TIME,
	LEDGER_USE_TIME,
	LEDGER_FIRST_COMMAND_TIME, /* the first command of each lease: behind a pooler the wait for a server. At its site */
	LEDGER_IDLE_SPAN_TIME, /* spans idle in a transaction, of at least LEDGER_BATCH_NS each */
	LEDGER_MEASURE_COUNT
};

struct ledger_totals {
	_Atomic uint64_t counter[LEDGER_COUNTER_COUNT];
	_Atomic uint64_t unreleased[LEDGER_LEFT_COUNT][LEDGER_HOW_ENDED_COUNT]; /* folded by reapers */
	_Atomic uint64_t inverted_first_ns;                                     /* ~time of first event */
	_Atomic uint64_t last_ns;
	_Atomic int64_t open;      /* gauge for the peak: open leases now */
	_Atomic int64_t open_peak; /* upper bound if a process was killed while it held leases */
	_Atomic int64_t in_use;    /* gauge for the peak, of pools only */
	_Atomic int64_t in_use_peak;
	/* LEDGER_FINDING_LEFT + enum ledger_left: when the leases counted in unreleased were taken. Of misuse: when it was seen. */
	_Atomic uint64_t inverted_first_finding_ns[LEDGER_FINDING_TIME_COUNT];
	_Atomic uint64_t last_finding_ns[LEDGER_FINDING_TIME_COUNT];
	struct ledger_histogram time[LEDGER_MEASURE_COUNT];
};

/* ---- Header ---------------------------------------------------------------------------------- */

enum ledger_phase { LEDGER_PHASE_TCP, LEDGER_PHASE_TLS, LEDGER_PHASE_AUTH, LEDGER_PHASE_COUNT };

struct ledger_header {
	char magic[8];
	uint32_t format_version;
	uint32_t byte_order;
	uint32_t header_bytes;  /* LEDGER_HEADER_BYTES */
	uint32_t section_count; /* LEDGER_SECTION_COUNT */
	uint64_t mapped_bytes;  /* the part that is mapped; symbols may be appended behind it */
	uint64_t extent_bytes;  /* a power of two */

	/* The run. Written by its creator before the file has a name. */
	uint8_t run_id[16];
	uint8_t boot_id[16];          /* of the kernel, zero if unknown */
	uint64_t created_realtime_ns; /* anchor: the same instant on both clocks */
	uint64_t created_monotonic_ns;
	uint64_t pid_namespace; /* inode of /proc/self/ns/pid, 0 if unknown */
	int32_t creator_pid;
	uint32_t creator_uid;
	uint64_t creator_start_ticks; /* field 22 of /proc/PID/stat */
	uint32_t made_by_run;         /* 1: by the run command, which will write the end */
	uint32_t host;                /* string ids */
	uint32_t tool_version;
	uint32_t command_count; /* words of command[], at most LEDGER_COMMAND_WORDS */
#define LEDGER_COMMAND_WORDS 32u
	uint32_t command[LEDGER_COMMAND_WORDS]; /* string ids; words that might be secrets are masked */

	/* The end of the run. Written by the run command only; ended_ns last, with release order. */
	_Atomic uint64_t ended_ns;
	int32_t exit_status; /* as a shell shows it: 128+N for signal N */
	int32_t exit_signal; /* N, or 0 */

	_Atomic uint64_t lost[LEDGER_LOSS_COUNT];
	struct ledger_histogram phase_time[LEDGER_PHASE_COUNT];
	_Atomic int64_t open; /* gauge for the peak of the whole run */
	_Atomic int64_t open_peak;
	_Atomic int64_t
		in_use; /* counts from the second pool on: the peak is this one's or the highest of a pool */
	_Atomic int64_t in_use_peak;
	_Atomic uint64_t lease_hint;       /* slot number where a search may start */
	_Atomic uint64_t process_hint;     /* record number where a search may start */
	_Atomic uint64_t last_snapshot_ns; /* claimed by compare-and-swap: at most one snapshot a second */
	_Atomic uint64_t extent_ready[LEDGER_EXTENT_COUNT_MAX / 64];
	struct ledger_section section[LEDGER_SECTION_COUNT];
};

_Static_assert(sizeof(struct ledger_header) <= LEDGER_HEADER_BYTES, "the header outgrew its page");

/* ---- Processes ---------------------------------------------------------------------------------
 * word = state (8 bits) | generation (24) | pid (32). A record is claimed, filled, published as
 * RUNNING, then ends as ENDED (its own mark, leases may still be in the slots) and, once its slots
 * are folded, FOLDED. ENDED and FOLDED records are reused; the generation tells tenants apart.
 */
enum ledger_process_state {
	LEDGER_PROCESS_FREE,
	LEDGER_PROCESS_CLAIMED,
	LEDGER_PROCESS_RUNNING,
	LEDGER_PROCESS_ENDED,
	LEDGER_PROCESS_REAPING, /* somebody folds its slots: reaper_* */
	LEDGER_PROCESS_FOLDED
};

enum ledger_process_note {                                     /* bits: what could not be recorded, and why */
			   LEDGER_NOTE_NO_LIBUNWIND = 1u << 0, /* libunwind could not be opened */
			   LEDGER_NOTE_UNWINDER_UNSAFE = 1u << 1, /* its memory probe could not be replaced */
			   LEDGER_NOTE_STACK_UNAVAILABLE = 1u << 2, /* at least one capture gave no frame */
			   LEDGER_NOTE_STACKS_OFF = 1u << 3,        /* PQLEASE_STACK_DEPTH=0 */
			   LEDGER_NOTE_BAD_SETTING = 1u << 4,       /* setting_problem says which */
			   LEDGER_NOTE_RECORDING_OFF = 1u
				   << 5, /* recording was switched off after it had begun */
			   LEDGER_NOTE_USES_OFF = 1u << 6,
			   LEDGER_NOTE_UNBOUND_CALLER = 1u
				   << 7, /* a call could not be resolved to its libpq */
			   /* Above 1 000 uses a second of a lease: a use's site was recognised by what lies on the
			    * stack at the return addresses known from a full capture, verified by samples; and its
			    * entry in LEDGER_USES stands for several (`weight`). Counters and times stay exact. */
			   LEDGER_NOTE_USES_ASSUMED = 1u << 8
};

enum ledger_frame_language {
	LEDGER_FRAME_NATIVE = 1, /* where = module number plus 1 (0 unknown), address = pc - load bias */
	LEDGER_FRAME_PYTHON,     /* script frames: where = file (string id), */
	LEDGER_FRAME_PHP,        /*   address = function (string id) << 32 | line */
	LEDGER_FRAME_RUBY,
	LEDGER_FRAME_PERL,
	LEDGER_FRAME_NODE,
	LEDGER_FRAME_LANGUAGE_END
};

/* How frames of a script runtime are read in a process. All but the first two: only its native frames are there. */
enum ledger_script_reading {
	LEDGER_SCRIPT_UNMET,
	LEDGER_SCRIPT_OFFSETS,         /* from its own structures, as its version lays them out */
	LEDGER_SCRIPT_FUNCTIONS,       /* by functions of its own */
	LEDGER_SCRIPT_UNKNOWN_VERSION, /* no version whose structures are known */
	LEDGER_SCRIPT_UNKNOWN_BUILD, /* built in a way that changes its structures (debugging, free threading) */
	LEDGER_SCRIPT_UNSAFE,        /* its structures do not look as those of its version */
	LEDGER_SCRIPT_OFF,           /* PQLEASE_SCRIPT_FRAMES=0 */
	LEDGER_SCRIPT_NEVER          /* frames of this language are not read at all */
};

#define LEDGER_RUNTIMES (LEDGER_FRAME_LANGUAGE_END - LEDGER_FRAME_PYTHON)

struct ledger_process {
	_Atomic uint64_t word;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat, 0 if unknown */
	uint64_t stack_start; /* field 28: tells images of one process apart (exec), 0 if unknown */
	uint64_t pid_namespace;
	int32_t parent_pid;
	uint32_t uid;
	uint32_t exe; /* string ids */
	uint32_t script;
	uint32_t role;
	uint32_t container;
	uint32_t setting_problem;
	_Atomic uint32_t notes; /* enum ledger_process_note */
	uint64_t attached_ns;   /* first libpq call of the process */
	uint64_t started_ns;    /* start of the process, from start_ticks; 0 if unknown */
	_Atomic uint64_t ended_ns;
	_Atomic uint32_t how_ended; /* enum ledger_how_ended */
	_Atomic int32_t exit_signal;
	_Atomic uint64_t reaper; /* start ticks (low 32 bits) << 32 | pid of who folds the slots */
	_Atomic uint64_t leases; /* attempts begun, for display */
	_Atomic uint32_t test;   /* string id: the test that ran last */
	_Atomic uint32_t slots;  /* lease slots held; never less than the truth */
	/* By language, from LEDGER_FRAME_PYTHON on: version (string id) << 32 | enum ledger_script_reading. */
	_Atomic uint64_t runtime[LEDGER_RUNTIMES];
	uint64_t reserved[4];
};

/* ---- Interned tables -----------------------------------------------------------------------------
 * An entry is filled first and then published by a compare-and-swap of its id into the table's
 * index (open addressing by hash, linear probing). Who loses the race leaves an orphan that nobody
 * refers to. Entries never change after publication, except for totals.
 */
struct ledger_string {
	uint32_t length_bytes; /* without the terminating zero, which is stored */
	uint32_t hash;
	/* char text[length_bytes + 1], padded to 8 bytes */
};
#define LEDGER_STRING_MAX_BYTES 4095u

struct ledger_module {
	uint64_t hash;
	uint32_t path; /* string id */
	uint8_t build_id_length;
	uint8_t build_id[20];
	uint8_t reserved[7];
	uint64_t text_start; /* ELF addresses (pc - load bias) of the executable segments */
	uint64_t text_end;
	uint64_t file_bytes; /* of the file when it was loaded, 0 if unknown */
};

struct ledger_endpoint {
	uint64_t hash;
	uint32_t host; /* string ids */
	uint32_t port;
	uint32_t database;
	uint32_t user;
};

struct ledger_pool {
	uint64_t hash;
	uint32_t role;     /* string id */
	uint32_t endpoint; /* endpoint number plus 1, 0 unknown */
	uint32_t timeline; /* number in LEDGER_TIMELINES, 0 none */
	/* String id of the name its leases had, not part of its identity: a failed attempt has none. */
	_Atomic uint32_t application_name;
	struct ledger_totals totals;
};
#define LEDGER_POOL_OTHER 0u /* reserved entry */
#define LEDGER_APPLICATION_NAMES_DIFFER UINT32_MAX

/* Frames are stored innermost first. A native address is a return address, except the first frame
 * of a stack that a signal handler interrupted; the symbolizer subtracts 1. */
struct ledger_frame {
	uint32_t language; /* enum ledger_frame_language */
	uint32_t where;
	uint64_t address;
};

enum ledger_site_flag {
	LEDGER_SITE_TRUNCATED = 1u << 0 /* the stack was deeper than what was kept */
};

struct ledger_site {
	uint64_t hash;
	uint32_t first_frame; /* number in LEDGER_FRAMES */
	uint16_t frame_count;
	uint16_t flags; /* enum ledger_site_flag */
	_Atomic uint32_t example_count;
	_Atomic uint32_t
		trend; /* number in LEDGER_TRENDS plus 1, 0 before LEDGER_TREND_FROM leases were open */
	struct ledger_totals totals;
};
#define LEDGER_SITE_NONE 0u /* reserved entries: the stack was unavailable */
#define LEDGER_SITE_LOST 1u /* the site table was full */
#define LEDGER_SITE_FIRST 2u
#define LEDGER_SITE_EXAMPLES 8u /* kept per site in LEDGER_UNRELEASED */

/* ---- Lease slots ------------------------------------------------------------------------------
 * word = state (8 bits) | generation (24) | owner (32: process record number plus 1).
 *
 *   FREE -> CLAIMED -> CONNECTING -> ESTABLISHING -> OPEN -> CLOSING -> FREE
 *                          |              (reset: OPEN/FAILED -> RESETTING -> ESTABLISHING/FAILING)
 *                          +-> FAILING -> FAILED -> CLOSING -> FREE
 *
 * ESTABLISHING, FAILING and CLOSING bracket the additions to the totals: a slot whose owner died in
 * one of them counts as torn, and totals are exact up to torn. FOLDING is CLOSING by a reaper.
 */
enum ledger_lease_state {
	LEDGER_LEASE_FREE,
	LEDGER_LEASE_CLAIMED,
	LEDGER_LEASE_CONNECTING,
	LEDGER_LEASE_ESTABLISHING,
	LEDGER_LEASE_OPEN,
	LEDGER_LEASE_FAILING,
	LEDGER_LEASE_FAILED,
	LEDGER_LEASE_RESETTING,
	LEDGER_LEASE_CLOSING,
	LEDGER_LEASE_FOLDING
};

enum ledger_lease_flag {
	LEDGER_LEASE_ASYNC = 1u << 0, /* the attempt in progress is PQconnectStart's or PQresetStart's */
	LEDGER_LEASE_TLS = 1u << 1,
	LEDGER_LEASE_ESTABLISHED = 1u << 2, /* was established at least once */
	LEDGER_LEASE_DEDICATED = 1u << 3,   /* LISTEN, replication, COPY in both directions */
	LEDGER_LEASE_IN_TRANSACTION = 1u << 4,
	LEDGER_LEASE_TRANSACTION_FAILED = 1u << 5,
	LEDGER_LEASE_ACTIVE = 1u << 6, /* a command is in flight */
	LEDGER_LEASE_UNIX_SOCKET = 1u << 7,
	LEDGER_LEASE_GSS = 1u << 8,
	LEDGER_LEASE_FINISHED_ELSEWHERE = 1u << 9, /* a forked child called PQfinish: the session is over */
	LEDGER_LEASE_LEFT = 1u << 10,       /* of a FREE slot: counted as unreleased, until it is reused */
	LEDGER_LEASE_IN_USE = 1u << 11,     /* counted in the pool's gauge in_use */
	LEDGER_LEASE_IN_USE_RUN = 1u << 15, /* and in the run's */
	LEDGER_LEASE_BROKEN = 1u << 12,     /* the server ended the session, or the network did */
	LEDGER_LEASE_USED_TO_THE_END = 1u
		<< 13, /* its last use ended only while the script runtime shut down; of use_flags */
	LEDGER_LEASE_LEFT_ORPHANED = 1u << 14, /* with LEFT: as LEDGER_LEFT_ORPHANED, else LEDGER_LEFT_OPEN */
	/* Of struct ledger_use only. */
	LEDGER_USE_ASSUMED = 1u << 16, /* as LEDGER_USES_ASSUMED */
	LEDGER_USE_LEFT = 1u << 17,    /* as LEDGER_USES_LEFT */
	LEDGER_USE_BEGAN_EMPTY =
		1u << 18, /* its first command was BEGIN, which does no work; of use_flags too */
	LEDGER_USE_HANDED_OVER = 1u << 19 /* another thread than the one that began it went on with it */
#define LEDGER_LEASE_LEFT_HOW_SHIFT 24u   /* enum ledger_how_ended of LEDGER_LEASE_LEFT */
#define LEDGER_LEASE_USE_FLAGS                                                                    \
	(LEDGER_LEASE_DEDICATED | LEDGER_LEASE_IN_TRANSACTION | LEDGER_LEASE_TRANSACTION_FAILED | \
	 LEDGER_LEASE_ACTIVE | LEDGER_LEASE_IN_USE | LEDGER_LEASE_IN_USE_RUN | LEDGER_LEASE_BROKEN)
};

/*
 * Uses of a lease. All that happens in a use is written to the slot alone, by the thread that makes the call: no other
 * thread shares its cache lines. The totals of pool and use site get a use when it ends, at once if it or the pause
 * before it took LEDGER_BATCH_NS; shorter ones are kept in the slot (batch_*) and added together. So the totals are
 * those of the pool and site plus the batches in the slots. A batch is of one use site, last_use_site.
 */
#define LEDGER_BATCH_NS UINT64_C(1000000)
#define LEDGER_BATCH_USES 16u
#define LEDGER_BATCH_FLUSHING 0x80000000u /* in batch_count: being added to the totals */

struct ledger_lease {
	_Atomic uint64_t word;
	_Atomic uint64_t conn; /* address of the PGconn, 0 before the library returned it */
	int32_t pid;
	int32_t thread; /* kernel thread id of who began it */
	uint32_t site;  /* site numbers */
	_Atomic uint32_t last_use_site;
	uint32_t pool;          /* pool number */
	uint32_t role;          /* string id */
	_Atomic uint32_t flags; /* enum ledger_lease_flag */
	int32_t backend_pid;    /* PQbackendPID, behind a pooler the pooler's number */
	uint32_t server_version;
	uint32_t test;     /* string id */
	uint64_t begun_ns; /* first attempt */
	uint64_t attempt_begun_ns;
	_Atomic uint64_t established_ns; /* end of the last successful attempt */
	_Atomic uint64_t last_event_ns;  /* last change of state or last command's end */
	uint64_t ending_ns;              /* set in CLOSING */
	uint64_t held_since_ns;          /* when it first became a lease: hold time counts from here */
	uint64_t connect_ns;             /* length of the attempt that established it */
	_Atomic uint64_t phase_ns[LEDGER_PHASE_COUNT];
	_Atomic uint64_t phase_stamp_ns;
	uint32_t failure; /* reason (line of failure.def) of the last failed attempt, plus 1 */
	uint32_t resets;
	_Atomic uint32_t polls;
	_Atomic uint32_t uses;
	_Atomic uint64_t use_begun_ns;     /* 0: not in use */
	_Atomic uint64_t command_begun_ns; /* 0: none in flight, all results consumed */
	_Atomic uint64_t in_query_ns;      /* of the whole lease, the command in flight not counted */
	_Atomic uint64_t idle_in_transaction_ns;
	_Atomic uint64_t idle_ns;         /* outside uses, up to the last use's begin */
	_Atomic uint32_t statement_kind;  /* of the last command, as shim/statement.def counts */
	uint32_t application_name;        /* string id */
	_Atomic uint32_t commands;        /* of the whole lease */
	_Atomic int32_t thread_inside;    /* kernel thread id of who is inside a call on it, 0 nobody */
	_Atomic uint32_t use_commands;    /* of this use */
	_Atomic uint32_t use_statement;   /* of this use: of its first command that is not BEGIN */
	_Atomic uint64_t use_in_query_ns; /* of this use */
	_Atomic uint64_t use_idle_in_transaction_ns;
	_Atomic uint64_t use_first_command_ns;
	_Atomic uint64_t first_command_ns; /* length of the first command of the lease */
	_Atomic uint64_t batch_begun_ns;   /* when the batch before this one was added */
	_Atomic uint32_t batch_count;      /* ended uses that are not in the totals; LEDGER_BATCH_FLUSHING */
	_Atomic uint32_t batch_assumed;    /* as LEDGER_USES_ASSUMED */
	_Atomic uint32_t batch_commands;
	_Atomic uint32_t batch_in_query_ns;
	_Atomic uint32_t batch_idle_in_transaction_ns;
	_Atomic int32_t use_thread;                       /* kernel thread id of who began the use */
	_Atomic uint32_t batch_use_ns[LEDGER_BATCH_USES]; /* length of each */
	_Atomic uint64_t
		owner_gone_ns; /* when the thread that began it ended, 0: it runs, or nobody saw it end */
	/* Of enum ledger_lease_flag those that follow query traffic (LEDGER_LEASE_USE_FLAGS), kept apart from `flags` because
	 * only who makes the calls writes them. */
	_Atomic uint32_t use_flags;
	_Atomic uint32_t intruder_site; /* where a thread came in last while another one was inside a call */
	uint64_t reserved[2];           /* whole cache lines: slots of two threads share none */
};

/* An orphan: its thread has been gone for this long, and nobody used it since. */
#define LEDGER_ORPHAN_AFTER_NS UINT64_C(5000000000)

static inline int ledger_is_orphan(uint64_t owner_gone_ns, uint64_t last_event_ns, uint64_t now_ns) {
	return owner_gone_ns != 0 && last_event_ns <= owner_gone_ns && now_ns > owner_gone_ns &&
		now_ns - owner_gone_ns > LEDGER_ORPHAN_AFTER_NS;
}

/* ---- Ended leases: the history ring and the kept examples ----------------------------------------
 * In a ring, sequence S lives at S % capacity. word = (S + capacity) << 1 | written (0 is unwritten). A
 * writer claims the entry by compare-and-swap from an older word to an even one, fills it, and publishes
 * the odd one the same way; a writer that was lapped fails one of the two and drops its own. In the dense
 * table of examples, number N has the word N << 1 | 1 and the check of sequence N. `check` (ledger_ended_check) covers
 * the payload, so a mixture left by a lapped writer is seen and counted as torn.
 */
enum ledger_release {
	LEDGER_RELEASE_NONE,
	LEDGER_RELEASE_FINISHED,   /* PQfinish of an established lease */
	LEDGER_RELEASE_FAILED,     /* PQfinish of a failed PGconn, or NULL returned */
	LEDGER_RELEASE_ABANDONED,  /* PQfinish before the attempt ended */
	LEDGER_RELEASE_CUT_SHORT,  /* longjmp, exception or cancellation out of a connect */
	LEDGER_RELEASE_UNSEEN,     /* the same pointer came back */
	LEDGER_RELEASE_OWNER_GONE, /* folded by a reaper */
	LEDGER_RELEASE_BY_OTHER_PROCESS,
	/* No release but an example of a misuse: `site` is where the first of the two uses began, `release_site` where
	 * the second one was. */
	LEDGER_RELEASE_CONCURRENT_USE,
	LEDGER_RELEASE_NESTED_LEASE
};

struct ledger_ended {
	_Atomic uint64_t word;
	uint64_t check;
	uint64_t begun_ns;
	uint64_t established_ns;
	uint64_t ended_ns;
	uint64_t connect_ns;
	int32_t pid;
	int32_t thread;
	int32_t backend_pid;
	uint32_t site;
	uint32_t
		release_site; /* BY_OTHER_PROCESS: where that process used it; else where it was finished; 0 unknown */
	uint32_t pool;
	uint32_t role;
	uint32_t test;
	uint32_t flags;    /* enum ledger_lease_flag */
	uint8_t release;   /* enum ledger_release */
	uint8_t left;      /* enum ledger_left, for OWNER_GONE */
	uint8_t how_ended; /* enum ledger_how_ended of the owner, for OWNER_GONE */
	uint8_t failure;   /* as struct ledger_lease */
	uint32_t uses;
	uint32_t resets;
	uint64_t in_query_ns;
	uint64_t idle_in_transaction_ns;
	uint32_t application_name;
	uint32_t release_facts; /* enum ledger_release_fact */
	uint64_t owner_gone_ns; /* as struct ledger_lease */
	uint64_t idle_ns;
	uint32_t commands;
	uint32_t last_use_site; /* 0: never used */
};

/* Mixes the payload (all 8-byte words behind `check`) with the sequence; both rooms use it. */
static inline uint64_t ledger_check_words(const uint64_t *words, uint32_t count, uint64_t sequence) {
	uint64_t check = sequence + UINT64_C(0x9e3779b97f4a7c15);
	for (uint32_t i = 0; i < count; i++) {
		check ^= words[i];
		check *= UINT64_C(0xff51afd7ed558ccd); /* the 64-bit finaliser of MurmurHash3 */
		check ^= check >> 33;
	}
	return check;
}

static inline uint64_t ledger_ended_check(const struct ledger_ended *ended, uint64_t sequence) {
	uint32_t count = (uint32_t)((sizeof *ended - 16) / 8);
	return ledger_check_words((const uint64_t *)ended + 2, count, sequence);
}

/* ---- Who released what: exact for ever ------------------------------------------------------------
 * One entry per site, place and circumstances of the release, for established leases given to PQfinish. The
 * circumstances are raw; what they mean is judged by the analyzer. Leases that were left in the middle of a use have
 * entries, too (LEDGER_FACT_LEFT): a pool's lease that was not given back is told from one that lay in the pool.
 */
enum ledger_release_fact {                                      /* bits */
			   LEDGER_FACT_FINALIZING = 1u << 0,    /* the script runtime was shutting down */
			   LEDGER_FACT_COLLECTING = 1u << 1,    /* inside its garbage collector */
			   LEDGER_FACT_DEALLOCATING = 1u << 2,  /* inside the deallocation of an object */
			   LEDGER_FACT_ORPHAN = 1u << 3,        /* LEDGER_ORPHAN_AFTER_NS */
			   LEDGER_FACT_UNUSED = 1u << 4,        /* uses were tracked, and there was none */
			   LEDGER_FACT_OTHER_PROCESS = 1u << 5, /* by a process that did not take it */
			   LEDGER_FACT_NO_SCRIPT = 1u
				   << 6, /* a script runtime is there, and ran no script in this thread */
			   LEDGER_FACT_IN_USE = 1u << 7, /* a use was in progress, and no command in flight */
			   LEDGER_FACT_LEFT = 1u
				   << 8, /* no release: its process ended itself, and left it so */
			   LEDGER_FACT_ANY = (1u << 9) - 1
};

struct ledger_releaser {
	uint64_t hash;
	uint32_t site;
	uint32_t release_site; /* site number; LEDGER_SITE_NONE: unknown */
	uint32_t facts;        /* enum ledger_release_fact */
	uint32_t use_site;     /* with LEDGER_FACT_IN_USE: where that use began; else 0 */
	_Atomic uint64_t count;
	_Atomic uint64_t inverted_first_ns;
	_Atomic uint64_t last_ns;
};

/* ---- Trends: the open leases of a site over the whole run ------------------------------------------
 * Time since the ledger was created is cut into stages, each as long as all before it, and a stage into
 * LEDGER_TREND_CELLS cells: the older the run, the wider a cell. Stage 0 is the first 2^LEDGER_TREND_STAGE_LOG2
 * nanoseconds, stage S the time from 2^(STAGE_LOG2 + S - 1) to 2^(STAGE_LOG2 + S). A stage lives in bank S % 2, so that
 * the one before it is always there, too. A cell is one word, changed by compare-and-swap and never to an older
 * stage: stage + 1 (8 bits) | the least open in the cell (28) | open at its last change (28); what was not
 * written did not change.
 */
#define LEDGER_TREND_CELLS 32u
#define LEDGER_TREND_STAGE_LOG2 25u
#define LEDGER_TREND_LOST UINT32_MAX /* of a site: there was no room for its trend */
#define LEDGER_TREND_FROM 2          /* a site gets a trend when this many of its leases are open */

struct ledger_trend {
	_Atomic uint64_t bank[2][LEDGER_TREND_CELLS];
};

static inline uint32_t ledger_trend_stage(uint64_t age_ns) {
	uint64_t stages = age_ns >> LEDGER_TREND_STAGE_LOG2;
	return stages ? 64u - (uint32_t)__builtin_clzll(stages) : 0u;
}

/* When stage and cell begin. */
static inline uint64_t ledger_trend_begin_ns(uint32_t stage, uint32_t cell) {
	uint64_t begin_ns = stage ? UINT64_C(1) << (LEDGER_TREND_STAGE_LOG2 + stage - 1) : 0;
	uint64_t length_ns = stage ? begin_ns : UINT64_C(1) << LEDGER_TREND_STAGE_LOG2;
	return begin_ns + length_ns / LEDGER_TREND_CELLS * cell;
}

/* ---- Uses -------------------------------------------------------------------------------------- */

/* An ended use. Below 1 000 uses a second of a lease every one has an entry; above, one in at most LEDGER_BATCH_USES:
 * its `weight` is how many uses of the lease it stands for, itself included, all since the entry of the lease before. */
struct ledger_use {
	_Atomic uint64_t word; /* a ring as struct ledger_ended */
	uint64_t check;
	uint64_t begun_ns;
	uint64_t ended_ns;
	uint64_t first_command_ns; /* length of the first command of the use */
	uint64_t in_query_ns;
	uint64_t idle_in_transaction_ns;
	uint32_t site;
	uint32_t pool;
	int32_t pid;
	int32_t thread; /* who began it */
	uint32_t flags; /* enum ledger_lease_flag */
	uint32_t statement_kind;
	uint32_t lease; /* slot number; with lease_generation the same for all uses of one lease */
	uint32_t lease_generation;
	int32_t backend_pid;
	uint32_t commands;
	uint32_t weight;
	uint32_t reserved;
};

static inline uint64_t ledger_use_check(const struct ledger_use *use, uint64_t sequence) {
	return ledger_check_words((const uint64_t *)use + 2, (uint32_t)((sizeof *use - 16) / 8), sequence);
}

/* ---- Timelines --------------------------------------------------------------------------------
 * A cell is one word: epoch + 1 (high 32 bits) and value (low 32 bits), changed by compare-and-swap
 * and never to an older epoch. Epoch e of a resolution begins e * resolution after the ledger was
 * created and lives at e % count. Empty epochs are carried forward by the reader.
 */
enum ledger_metric {
	LEDGER_METRIC_ATTEMPTS,  /* ended attempts in the epoch */
	LEDGER_METRIC_FAILURES,  /* of these, failed */
	LEDGER_METRIC_OPEN,      /* open at the last change in the epoch */
	LEDGER_METRIC_OPEN_PEAK, /* highest open in the epoch, counted from its first change */
	LEDGER_METRIC_IN_USE,    /* as OPEN, when uses were last added to the totals */
	LEDGER_METRIC_IN_USE_PEAK,
	LEDGER_METRIC_COUNT
};

enum ledger_resolution { LEDGER_SECONDS, LEDGER_MINUTES, LEDGER_HOURS, LEDGER_RESOLUTION_COUNT };
#define LEDGER_SECOND_CELLS 300u
#define LEDGER_MINUTE_CELLS 720u
#define LEDGER_HOUR_CELLS 336u

struct ledger_timeline {
	_Atomic uint64_t second[LEDGER_METRIC_COUNT][LEDGER_SECOND_CELLS];
	_Atomic uint64_t minute[LEDGER_METRIC_COUNT][LEDGER_MINUTE_CELLS];
	_Atomic uint64_t hour[LEDGER_METRIC_COUNT][LEDGER_HOUR_CELLS];
};

/* ---- Holder snapshots --------------------------------------------------------------------------- */

#define LEDGER_SNAPSHOT_HOLDERS 256u

struct ledger_holder {
	uint64_t since_ns;   /* taken */
	uint64_t changed_ns; /* last change of what it is doing: use or command begun, or command ended */
	uint32_t site;
	uint32_t use_site; /* 0: never used */
	uint32_t role;
	uint32_t pool;
	int32_t pid;
	int32_t backend_pid;
	uint32_t state;
	uint32_t flags;
	uint32_t statement_kind;
};

/* Who held what when a connection was refused for lack of slots. The first half of the section keeps the first ones for
 * good, the second half is a ring of the last: number N lives at N, then at half + (N - half) % half. `used` counts. */
struct ledger_snapshot {
	_Atomic uint64_t
		word; /* 0 unwritten, else (number + 1) << 1 | written; claimed by compare-and-swap */
	uint64_t at_ns;
	uint32_t failure; /* reason (line of failure.def), from 0 */
	uint32_t holder_count;
	uint32_t holders_missing; /* that did not fit */
	int32_t pid;              /* who was refused */
	uint32_t role;            /* string id */
	uint32_t pool;
	uint32_t site; /* where */
	uint32_t reserved;
	struct ledger_holder holder[LEDGER_SNAPSHOT_HOLDERS];
};

/* ---- Failures -------------------------------------------------------------------------------------
 * One entry per reason of shim/failure.def; the texts are ours, never the library's, because its
 * messages can quote passwords.
 */
struct ledger_failure {
	_Atomic uint64_t count;
	_Atomic uint64_t inverted_first_ns;
	_Atomic uint64_t last_ns;
	uint64_t reserved;
};
#define LEDGER_FAILURE_CAPACITY 64u

#endif
