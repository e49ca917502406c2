/*
 * PGconn addresses of this process -> what is known about them.
 *
 * Private memory, so a forked child has its own copy; entries carry the generation of the process that
 * made them and are "inherited" in others. A finished connection stays as a tombstone until the
 * allocator hands its address out again: that is how a second finish is recognised. Lock-free;
 * addresses are unique among live connections, which the caller guarantees.
 */
#ifndef PQLEASE_SHIM_CONN_TABLE_H
#define PQLEASE_SHIM_CONN_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#define CONN_TABLE_CAPACITY 32768u

enum conn_state {
	CONN_UNKNOWN, /* never seen, or its tombstone was reused */
	CONN_HELD,
	CONN_BORROWED, /* held by another process, and used by this one: said once */
	CONN_FINISHED
};

struct conn_entry {
	enum conn_state state;
	uint32_t generation; /* struct recording: generation of the process that took it */
	uint32_t instance;   /* which libpq it belongs to */
	uint32_t slot;       /* lease slot number */
	uint64_t word;       /* slot word; the state bits are stale */
};

/* Stores or replaces; false if the table is full of held connections. */
bool conn_table_put(const void *conn, const struct conn_entry *entry);

/* A copy of what is known; CONN_UNKNOWN if nothing. */
struct conn_entry conn_table_find(const void *conn);

/* HELD or BORROWED -> FINISHED; false if another thread did it first or the address is unknown. */
bool conn_table_finish(const void *conn);

/* HELD -> BORROWED; false if another thread did it first. */
bool conn_table_borrow(const void *conn);

/* The address now belongs to something that is no connection of ours (a cancel handle). */
void conn_table_forget(const void *conn);

#endif
