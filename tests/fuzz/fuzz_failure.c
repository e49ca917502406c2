/* Messages of libpq and names of endpoints: classified, never believed. */
#include <string.h>

#include "shim/failure.h"
#include "shim/ledger_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	char *text = fuzz_text(bytes, length_bytes);
	enum failure_reason reason = failure_classify(text, bytes, length_bytes);
	FUZZ_EXPECT(reason < FAILURE_REASON_COUNT);
	failure_was_contacted(reason);
	if (ledger_text_is_harmless(text))
		FUZZ_EXPECT(!strpbrk(text, "=@ '\"") && !strstr(text, "://"));
	free(text);
	return 0;
}
