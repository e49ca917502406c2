/* A file that is about to be started: the first line of a script, the headers of a program, what it needs. */
#include "analyzer/doctor/tell_tale.h"
#include "analyzer/program/elf_needed.h"
#include "analyzer/program/target.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	static struct target target;
	char text[3 * PATH_MAX];
	fuzz_file(bytes, length_bytes);
	if (target_find(&target, fuzz_file_path(), "/usr/bin") == 0)
		target_explain(&target, text, sizeof text);
	elf_needed_names(fuzz_file_path(), "libasan.so");
	target_is_preloadable_library(fuzz_file_path());
	tell_tale_find(fuzz_file_path());
	return 0;
}
