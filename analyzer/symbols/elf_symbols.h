/*
 * Functions of an ELF symbol table: .symtab, or .dynsym in a stripped file.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_ELF_SYMBOLS_H
#define PQLEASE_ANALYZER_SYMBOLS_ELF_SYMBOLS_H

#include "analyzer/symbols/elf_file.h"

struct elf_symbols;

/* NULL if there is no table. Names are owned by the file, which must stay open. */
struct elf_symbols *elf_symbols_load(const struct elf_file *file);
void elf_symbols_free(struct elf_symbols *symbols);

/* The linkage name of the function that contains the address, NULL if none does. A symbol without a
 * size counts only in a .symtab: in a stripped file the functions behind it have no symbols. */
const char *elf_symbols_find(const struct elf_symbols *symbols, uint64_t address);

#endif
