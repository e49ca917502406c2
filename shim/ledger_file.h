/*
 * Making and joining ledger files: the only code that creates, sizes and opens them for writing.
 *
 * Shared by both rooms: the shim makes or joins a ledger at the first libpq call of a process, and
 * `pqlease run` makes it before its command starts, so that both lay out the very same bytes.
 * Depends on libc alone; never prints; leaves no descriptor open; async-signal-unsafe.
 */
#ifndef PQLEASE_SHIM_LEDGER_FILE_H
#define PQLEASE_SHIM_LEDGER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/ledger_format.h"

enum ledger_file_status {
	LEDGER_FILE_OK,
	LEDGER_FILE_EXISTS,       /* create: the path is taken */
	LEDGER_FILE_ABSENT,       /* join: nothing there */
	LEDGER_FILE_NOT_REGULAR,  /* symlink, FIFO, directory, device */
	LEDGER_FILE_FOREIGN,      /* of another user (own uid and root are trusted) */
	LEDGER_FILE_LINKED,       /* has more than one name */
	LEDGER_FILE_NOT_A_LEDGER, /* magic, size or a section offset is wrong */
	LEDGER_FILE_OTHER_VERSION,
	LEDGER_FILE_NO_SPACE,    /* less than LEDGER_MIN_SIZE_BYTES in a quarter of what is free */
	LEDGER_FILE_SIZE_LIMIT,  /* RLIMIT_FSIZE */
	LEDGER_FILE_SYSTEM_ERROR /* see `error_number` */
};

/* A sentence for people, static. */
const char *ledger_file_status_text(enum ledger_file_status status);

/* A mapped ledger. Unmapped only by ledger_file_unmap; the shim never unmaps. */
struct ledger_map {
	struct ledger_header *header; /* NULL: not mapped */
	uint64_t mapped_bytes;        /* kept here: the header of a file we failed to fill must not be read */
	int error_number;             /* errno of LEDGER_FILE_SYSTEM_ERROR, else 0 */
};

/* What the creator of a run writes about it. Words of the command have been masked already. */
struct ledger_run_facts {
	const char *tool_version;
	bool made_by_run;
	const char *const *command; /* NULL-terminated, or NULL */
};

/* Fills header->section for a ledger of `size_bytes`; returns false below the minimum. Pure. */
bool ledger_file_layout(struct ledger_header *header, uint64_t size_bytes);

/* Creates the ledger complete or not at all (O_TMPFILE and linkat, mode 0600) and maps it. Takes at
 * most `size_bytes`, less where the file system has little room. LEDGER_FILE_EXISTS if the path is taken. */
enum ledger_file_status ledger_file_create(struct ledger_map *map, const char *path, uint64_t size_bytes,
					   const struct ledger_run_facts *facts);

/* Opens an existing ledger without O_CREAT, with O_NOFOLLOW, checks all that a writer relies on, maps it. */
enum ledger_file_status ledger_file_join(struct ledger_map *map, const char *path);

void ledger_file_unmap(struct ledger_map *map);

/* Makes sure that [offset, offset + length) of the file has backing pages; false when the file system is full,
 * each refusal is counted in lost[LEDGER_LOST_SPACE]. Any thread. */
bool ledger_file_populate(struct ledger_header *header, uint64_t offset, uint64_t length_bytes);

/* Whether an extent has backing pages: a load. */
static inline bool ledger_file_extent_is_ready(const struct ledger_header *header, uint64_t extent) {
	return atomic_load_explicit(&header->extent_ready[extent / 64], memory_order_acquire) >>
		(extent % 64) &
		1;
}

/* As ledger_file_populate, for what usually is there. */
static inline bool ledger_file_is_backed(struct ledger_header *header, uint64_t offset,
					 uint64_t length_bytes) {
	int shift = __builtin_ctzll(header->extent_bytes);
	uint64_t first = offset >> shift;
	if (first == (offset + length_bytes - 1) >> shift && ledger_file_extent_is_ready(header, first))
		return true;
	return ledger_file_populate(header, offset, length_bytes);
}

/* Whether a word of a command line or a file name may be stored: it looks like neither a conninfo,
 * a URI, code nor an assignment. Pure. */
bool ledger_text_is_harmless(const char *text);

#endif
