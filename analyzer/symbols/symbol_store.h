/*
 * Resolved symbols and places of scripts in their projects, kept with the ledger so that one file stays readable on another day and another
 * machine. A store is appended behind the mapped part of the ledger as one block:
 *
 *   8 bytes   SYMBOL_STORE_MAGIC
 *   uint64_t  length of the payload in bytes (native byte order, as the ledger)
 *   uint64_t  FNV-1a (64 bits) of the payload
 *   payload   a compact JSON document:
 *     {"schema": "pqlease/symbols-2",
 *      "strings": [...],                   numbered from 1; 0 stands for "unknown"
 *      "modules": [{"path": string number, "build_id": "hex", "file_bytes": N,
 *                   "addresses": [[address, function, file, line, inlined, function, ...], ...]}],
 *      "scripts": [[file, the same below the root of its project], ...]}
 *
 * Addresses in the block are those of the instruction, after a return address was made exact. JSON
 * holds UTF-8 only: bytes of a name that are not are kept as the four characters \xNN, in memory as
 * well as in the file, so that a name looks the same before and after.
 *
 * The file is untrusted input. A store belongs to one thread; its strings live as long as it.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_SYMBOL_STORE_H
#define PQLEASE_ANALYZER_SYMBOLS_SYMBOL_STORE_H

#include "analyzer/symbols/symbolizer.h"

#define SYMBOL_STORE_MAGIC "PQLSYMS1" /* 8 bytes, no terminator in the file */
#define SYMBOL_STORE_MAX_BYTES (UINT64_C(64) << 20)

enum symbol_store_status {
	SYMBOL_STORE_OK,
	SYMBOL_STORE_ABSENT,     /* load: nothing behind the mapped part, or no such file */
	SYMBOL_STORE_TORN,       /* load: the block is longer than the file */
	SYMBOL_STORE_CORRUPT,    /* load: wrong magic, checksum or document */
	SYMBOL_STORE_UNREADABLE, /* load: open or read failed */
	SYMBOL_STORE_NOT_LEDGER, /* save: not a regular file that has its whole mapped part */
	SYMBOL_STORE_DENIED,     /* save: no permission, read-only file system, symbolic link */
	SYMBOL_STORE_BUSY,       /* save: another process is saving */
	SYMBOL_STORE_FULL,       /* save: no space, quota or file size limit */
	SYMBOL_STORE_TOO_LARGE,  /* save: more than a reader would accept */
	SYMBOL_STORE_FAILED,     /* save: any other error of the file */
	SYMBOL_STORE_NO_MEMORY,
	SYMBOL_STORE_STATUS_COUNT
};

struct symbol_store;

/* NULL when out of memory. */
struct symbol_store *symbol_store_new(void);
void symbol_store_free(struct symbol_store *store);

/* A sentence for people, without a full stop. */
const char *symbol_store_status_text(enum symbol_store_status status);

/* Adds what is kept in a ledger whose mapped part has mapped_bytes. With any status but OK the store
 * is as it was before. */
enum symbol_store_status symbol_store_load(struct symbol_store *store, const char *path,
					   uint64_t mapped_bytes);
enum symbol_store_status symbol_store_load_from(struct symbol_store *store, int fd, uint64_t mapped_bytes);

/*
 * Writes the store behind the mapped part, replacing an older block; a process killed in between
 * leaves a block that readers ignore. No byte below mapped_bytes is touched. On failure the file has
 * its former length. An existing file only; symbolic links are refused. SIGXFSZ must be ignored for a
 * file size limit to be an error.
 */
enum symbol_store_status symbol_store_save(struct symbol_store *store, const char *path,
					   uint64_t mapped_bytes);

/* As symbolizer_resolve(). 0 when the address was never put. */
size_t symbol_store_lookup(const struct symbol_store *store, const struct symbol_module *module,
			   uint64_t address, enum symbol_address_kind kind, struct symbol_frame *out,
			   size_t max);

/* Remembers copies of the frames, at most SYMBOL_FRAMES_MAX; replaces what was there. False when out of memory. */
bool symbol_store_put(struct symbol_store *store, const struct symbol_module *module, uint64_t address,
		      enum symbol_address_kind kind, const struct symbol_frame *frames, size_t count);

/* Where a script lies in its project. NULL when it was never put. */
const char *symbol_store_lookup_script(const struct symbol_store *store, const char *file);

/* Remembers copies; what was there stays. False when out of memory. */
bool symbol_store_put_script(struct symbol_store *store, const char *file, const char *in_project);

/* True when something was put since the store was made or last saved. */
bool symbol_store_is_changed(const struct symbol_store *store);

#endif
