/*
 * An own index of the functions and inlined calls in DWARF 4 and 5: units by address, and within a
 * unit, built when it is first asked for, functions and inlined calls by address. libdw's own ways to
 * a unit need .debug_aranges, which clang and rustc do not write.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_DWARF_INDEX_H
#define PQLEASE_ANALYZER_SYMBOLS_DWARF_INDEX_H

#include "analyzer/symbols/elf_file.h"

/* One function at an address, innermost first. Strings are owned by the index. */
struct dwarf_frame {
	const char *linkage_name; /* NULL if it has none */
	const char *name;
	const char *file;
	const char *directory; /* that a relative file is relative to, NULL if unknown */
	uint32_t line;
	bool inlined;
};

struct dwarf_index;

/* NULL if the file has no usable DWARF. The file must stay open. */
struct dwarf_index *dwarf_index_new(const struct elf_file *file);
void dwarf_index_free(struct dwarf_index *index);

/* Frames at an exact address, at most max. When only the line is known, one frame without names. A
 * chain that does not fit loses frames in its middle. */
size_t dwarf_index_find(struct dwarf_index *index, uint64_t address, struct dwarf_frame *out, size_t max);

#endif
