/*
 * From (module, address) to function, file, line and the inlined functions in between.
 *
 * A module is believed only if the file on disk is the one the program had loaded: its build-id
 * equals the recorded one or, when none was recorded, its size does. Otherwise there are no
 * symbols, which is better than wrong ones. Separate debug files are found by build-id and by
 * .gnu_debuglink on this machine; nothing is ever fetched over a network.
 *
 * Files are untrusted input: a damaged one gives fewer symbols or none. A symbolizer belongs to one
 * thread. It keeps the files it has opened until they add up to a limit, then starts afresh;
 * strings it has handed out stay valid until symbolizer_free().
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_SYMBOLIZER_H
#define PQLEASE_ANALYZER_SYMBOLS_SYMBOLIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYMBOL_BUILD_ID_MAX_BYTES 64u
#define SYMBOL_FRAMES_MAX 256u /* no chain of inlined functions is longer */

/* A loaded object as the ledger knows it. */
struct symbol_module {
	const char *path;
	const uint8_t *build_id;
	size_t build_id_length; /* bytes, 0 if none was recorded */
	uint64_t file_bytes;    /* size of the file when it was loaded, 0 if unknown */
};

/* One function at one address. Unknown strings are NULL, an unknown line is 0. */
struct symbol_frame {
	const char *function; /* demangled */
	const char *file;     /* as the compiler knew it, absolute where the debug information allows it */
	uint32_t line;
	bool inlined; /* into the next frame */
};

enum symbol_address_kind {
	SYMBOL_RETURN_ADDRESS, /* the call is the instruction before it */
	SYMBOL_EXACT_ADDRESS   /* the instruction itself, as in the first frame of an interrupted stack */
};

struct symbolizer;

/* NULL when out of memory. */
struct symbolizer *symbolizer_new(void);
void symbolizer_free(struct symbolizer *symbolizer);

/* Where the system keeps separate debug files; "/usr/lib/debug" unless set. Call before resolving. */
bool symbolizer_set_debug_root(struct symbolizer *symbolizer, const char *directory);

/*
 * Fills out[] for an ELF address (pc - load bias) and returns how many frames were written, at most
 * max: the innermost inlined function first, the physical function last. A chain that does not fit
 * loses frames in its middle. 0 when nothing is known; the caller then shows module and offset.
 */
size_t symbolizer_resolve(struct symbolizer *symbolizer, const struct symbol_module *module, uint64_t address,
			  enum symbol_address_kind kind, struct symbol_frame *out, size_t max);

#endif
