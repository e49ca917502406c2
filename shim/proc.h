/*
 * Reading /proc: the little that both rooms want to know of a process.
 *
 * Opens a file for an instant; a cancellation point that sets errno. Where a host could notice either, the caller
 * takes care.
 */
#ifndef PQLEASE_SHIM_PROC_H
#define PQLEASE_SHIM_PROC_H

#include <stddef.h>
#include <stdint.h>

/* The beginning of a small file, zero-terminated; "" if it cannot be read. Returns the length. */
size_t proc_read_text(const char *path, char *text, size_t size_bytes);

/* Field number `field` (as proc(5) counts, 3 and up) of the text of /proc/PID/stat; 0 if missing. Pure. */
uint64_t proc_stat_field(const char *stat_line, int field);

/* When a process started, field 22; 0 if that cannot be known (it ended, hidepid, no descriptor left). */
uint64_t proc_start_ticks(int32_t pid);

#endif
