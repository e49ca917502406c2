/*
 * An ELF file on disk that is proven to be the one that was meant, and its separate debug file.
 * Opens regular files only, never waits for one and never follows a file that changes its size
 * into a fault: sections are read, not mapped.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_ELF_FILE_H
#define PQLEASE_ANALYZER_SYMBOLS_ELF_FILE_H

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/symbols/span_table.h"

struct elf_file {
	Elf *elf;
	int fd;
	uint64_t file_bytes;
	struct span_table code; /* ELF addresses of the executable sections */
};

/* Opens the file if its build-id is this one. NULL otherwise. */
struct elf_file *elf_file_open_build_id(const char *path, const uint8_t *build_id, size_t length);

/* For a module without a recorded build-id: opens the file if it has this size. NULL otherwise. */
struct elf_file *elf_file_open_size(const char *path, uint64_t file_bytes);

void elf_file_close(struct elf_file *file);

/* The debug file that is filed under a build-id below debug_root. NULL if there is none. */
struct elf_file *elf_file_debug_by_build_id(const char *debug_root, const uint8_t *build_id, size_t length);

/* The debug file that belongs to a file opened from `path`, by build-id or by .gnu_debuglink. NULL if none. */
struct elf_file *elf_file_debug_of(const struct elf_file *file, const char *path, const char *debug_root);

/* True when the file has DWARF of a size that is safe to expand. */
bool elf_file_has_dwarf(const struct elf_file *file);

/* True when what libdw reads as strings ends inside its section; to be asked after libdw has expanded the
 * sections. libdw 0.188 trusts .debug_line_str and reads past its end otherwise. */
bool elf_file_has_whole_strings(const struct elf_file *file);

/* True when an executable section holds the address; true for all if there are no sections. */
bool elf_file_is_code(const struct elf_file *file, uint64_t address);

#endif
