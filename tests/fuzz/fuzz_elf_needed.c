/* A shared object that a program is about to open. */
#include "shim/elf_needed.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	fuzz_file(bytes, length_bytes);
	elf_needs(fuzz_file_path(), "libpq.so");
	return 0;
}
