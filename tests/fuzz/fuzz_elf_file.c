/* An ELF file that a ledger names: sections, symbol tables, notes, debug links. */
#include <string.h>

#include "analyzer/symbols/elf_file.h"
#include "analyzer/symbols/elf_symbols.h"
#include "tests/fuzz/fuzz.h"

static void look_up(const struct elf_symbols *symbols) {
	for (uint64_t address = 0; address < 0x4000; address += 0x91) {
		const char *name = elf_symbols_find(symbols, address);
		FUZZ_EXPECT(!name || strlen(name) < SIZE_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	fuzz_file(bytes, length_bytes);
	struct elf_file *file = elf_file_open_size(fuzz_file_path(), length_bytes);
	if (file == NULL)
		return 0;
	struct elf_symbols *symbols = elf_symbols_load(file);
	if (symbols != NULL)
		look_up(symbols);
	elf_symbols_free(symbols);
	elf_file_is_code(file, 0x1040);
	if (elf_file_has_dwarf(file))
		elf_file_has_whole_strings(file);
	elf_file_close(elf_file_debug_of(file, fuzz_file_path(), "/nowhere"));
	elf_file_close(file);
	return 0;
}
