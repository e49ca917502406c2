/* Tables of lines: the first bytes say which kind, which first line and which instruction. */
#include <string.h>

#include "shim/python_lines.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct {
		int32_t first_line;
		uint32_t offset_bytes;
	} asked;
	if (length_bytes < sizeof asked + 1)
		return 0;
	memcpy(&asked, bytes, sizeof asked);
	enum python_lines kind = (enum python_lines)(bytes[sizeof asked] % 3);
	size_t left = length_bytes - sizeof asked - 1;
	/* Of its own, so that reading beyond is seen. */
	uint8_t *table = malloc(left + 1);
	memcpy(table, bytes + sizeof asked + 1, left);
	uint8_t *exact = realloc(table, left ? left : 1);
	uint32_t line = python_line(kind, exact, left, asked.first_line, (int64_t)asked.offset_bytes - 2);
	FUZZ_EXPECT(line <= INT32_MAX);
	free(exact);
	return 0;
}
