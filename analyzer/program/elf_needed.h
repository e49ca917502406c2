/*
 * The libraries that an ELF file itself names (DT_NEEDED), by its program headers as the dynamic loader reads them.
 */
#ifndef PQLEASE_ANALYZER_PROGRAM_ELF_NEEDED_H
#define PQLEASE_ANALYZER_PROGRAM_ELF_NEEDED_H

#include <stdbool.h>

/* Whether the file at `path` needs a library whose name begins with `prefix`. False for whatever cannot be read. */
bool elf_needed_names(const char *path, const char *prefix);

#endif
