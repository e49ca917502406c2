/* Names from a ledger on their way to a terminal and to JSON. */
#include <jansson.h>
#include <string.h>

#include "analyzer/text.h"
#include "tests/fuzz/fuzz.h"

static void check_terminal(const char *text) {
	for (; *text; text++)
		FUZZ_EXPECT((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void check_utf8(const char *text) {
	json_t *string = json_string(text); /* refuses what is not UTF-8 */
	FUZZ_EXPECT(string != NULL);
	json_decref(string);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct arena arena = {0};
	char *text = fuzz_text(bytes, length_bytes);
	const char *printable = text_printable(&arena, text);
	size_t width = 4 + length_bytes % 40;
	check_terminal(printable);
	check_utf8(printable);
	check_utf8(text_valid_utf8(&arena, text));
	FUZZ_EXPECT(text_width(text_shorten_middle(&arena, printable, width)) <= width);
	FUZZ_EXPECT(text_width(text_shorten_end(&arena, printable, width)) <= width);
	text_basename(text);
	arena_release(&arena);
	free(text);
	return 0;
}
