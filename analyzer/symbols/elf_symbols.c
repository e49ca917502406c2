#include "analyzer/symbols/elf_symbols.h"

#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#define UNSIZED_MAX_BYTES 4096u
#define SYMBOLS_MAX (UINT32_C(1) << 25)

struct symbol {
	uint64_t start;
	uint64_t end; /* equal to start while unknown */
	const char *name;
	uint32_t section;
	uint32_t rank; /* 0 if its size is a guess */
};

struct elf_symbols {
	struct symbol *symbols;
	size_t count;
	struct span_table spans;
};

/* ---- Reading ------------------------------------------------------------------------------- */

struct table {
	Elf_Data *entries;
	size_t count;
	uint32_t names; /* section number of the string table */
	bool is_complete;
};

static bool read_table(const struct elf_file *file, uint32_t type, struct table *table) {
	Elf_Scn *section = NULL;
	GElf_Shdr header;

	while ((section = elf_nextscn(file->elf, section)) != NULL) {
		if (gelf_getshdr(section, &header) == NULL || header.sh_type != type ||
		    header.sh_entsize == 0)
			continue;
		table->entries = elf_getdata(section, NULL);
		if (table->entries == NULL)
			continue;
		table->count = header.sh_size / header.sh_entsize;
		table->names = header.sh_link;
		table->is_complete = type == SHT_SYMTAB;
		return table->count <= SYMBOLS_MAX;
	}
	return false;
}

/* Of symbols for the same bytes the one people know best wins. */
static uint32_t rank_symbol(const GElf_Sym *entry, const char *name) {
	uint32_t rank = entry->st_size > 0;

	if (GELF_ST_TYPE(entry->st_info) != STT_NOTYPE)
		rank += 16;
	if (GELF_ST_BIND(entry->st_info) == STB_GLOBAL)
		rank += 8;
	else if (GELF_ST_BIND(entry->st_info) == STB_WEAK)
		rank += 4;
	return name[0] != '_' ? rank + 2 : rank;
}

static bool is_function(const GElf_Sym *entry, const char *name) {
	uint8_t type = GELF_ST_TYPE(entry->st_info);

	if (entry->st_shndx == SHN_UNDEF || entry->st_shndx == SHN_ABS || name == NULL)
		return false;
	if (name[0] == '\0' || name[0] == '$') /* "$x" marks code for disassemblers on some machines */
		return false;
	return type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE;
}

static void read_symbols(const struct elf_file *file, const struct table *table,
			 struct elf_symbols *symbols) {
	GElf_Sym entry;

	for (size_t i = 0; i < table->count && gelf_getsym(table->entries, (int)i, &entry) != NULL; i++) {
		const char *name = elf_strptr(file->elf, table->names, entry.st_name);
		uint64_t end = entry.st_value + entry.st_size;
		if (!is_function(&entry, name) || end < entry.st_value ||
		    !elf_file_is_code(file, entry.st_value))
			continue;
		if (entry.st_size == 0 && !table->is_complete)
			continue;
		symbols->symbols[symbols->count++] = (struct symbol){
			.start = entry.st_value,
			.end = end,
			.name = name,
			.section = entry.st_shndx,
			.rank = rank_symbol(&entry, name),
		};
	}
}

/* ---- Searching ----------------------------------------------------------------------------- */

static int compare_starts(const void *a, const void *b) {
	const struct symbol *one = a;
	const struct symbol *other = b;

	return one->start < other->start ? -1 : one->start > other->start;
}

static uint64_t end_of_section(const struct elf_file *file, uint32_t number) {
	Elf_Scn *section = elf_getscn(file->elf, number);
	GElf_Shdr header;

	if (section == NULL || gelf_getshdr(section, &header) == NULL)
		return 0;
	return header.sh_addr + header.sh_size;
}

/* A function of unknown size ends at the next symbol at the latest. */
static void guess_ends(const struct elf_file *file, struct elf_symbols *symbols) {
	uint64_t next_start = UINT64_MAX;

	for (size_t i = symbols->count; i-- > 0;) {
		struct symbol *symbol = &symbols->symbols[i];
		if (i + 1 < symbols->count && symbols->symbols[i + 1].start > symbol->start)
			next_start = symbols->symbols[i + 1].start;
		if (symbol->end > symbol->start)
			continue;
		symbol->end = end_of_section(file, symbol->section);
		if (symbol->end > next_start)
			symbol->end = next_start;
		if (symbol->end > symbol->start + UNSIZED_MAX_BYTES)
			symbol->end = symbol->start + UNSIZED_MAX_BYTES;
		symbol->rank = 0;
	}
}

/* Labels of hand-written assembly inside a function are not functions. */
static void drop_unsized_in_sized(struct elf_symbols *symbols) {
	uint64_t sized_end = 0;

	for (size_t i = 0; i < symbols->count; i++) {
		struct symbol *symbol = &symbols->symbols[i];
		if (symbol->rank > 0 && symbol->end > sized_end)
			sized_end = symbol->end;
		else if (symbol->rank == 0 && symbol->start < sized_end)
			symbol->end = symbol->start;
	}
}

static bool index_spans(struct elf_symbols *symbols) {
	for (size_t i = 0; i < symbols->count; i++) {
		const struct symbol *symbol = &symbols->symbols[i];
		if (!span_table_add(&symbols->spans, symbol->start, symbol->end, (uint32_t)i, symbol->rank))
			return false;
	}
	span_table_sort(&symbols->spans);
	return true;
}

struct elf_symbols *elf_symbols_load(const struct elf_file *file) {
	struct table table;
	struct elf_symbols *symbols;

	if (!read_table(file, SHT_SYMTAB, &table) && !read_table(file, SHT_DYNSYM, &table))
		return NULL;
	symbols = calloc(1, sizeof *symbols);
	if (symbols == NULL)
		return NULL;
	symbols->symbols = calloc(table.count > 0 ? table.count : 1, sizeof *symbols->symbols);
	if (symbols->symbols == NULL)
		goto failed;
	read_symbols(file, &table, symbols);
	qsort(symbols->symbols, symbols->count, sizeof *symbols->symbols, compare_starts);
	guess_ends(file, symbols);
	drop_unsized_in_sized(symbols);
	if (index_spans(symbols))
		return symbols;
failed:
	elf_symbols_free(symbols);
	return NULL;
}

void elf_symbols_free(struct elf_symbols *symbols) {
	if (symbols == NULL)
		return;
	span_table_release(&symbols->spans);
	free(symbols->symbols);
	free(symbols);
}

const char *elf_symbols_find(const struct elf_symbols *symbols, uint64_t address) {
	size_t cursor = SPAN_TABLE_START;
	const struct span *span = span_table_next(&symbols->spans, address, &cursor);

	return span != NULL ? symbols->symbols[span->value].name : NULL;
}
