/* Reports that come back as JSON: refused, or good enough for the gate and for every renderer. */
#include <stdio.h>
#include <string.h>

#include "analyzer/gate/gate.h"
#include "analyzer/gate/gate_text.h"
#include "analyzer/gate/suppression.h"
#include "analyzer/render/render.h"
#include "analyzer/report/report.h"
#include "analyzer/report/report_reader.h"
#include "tests/fuzz/fuzz.h"

static void write_everything(struct report *report) {
	const struct render_options options = {.is_full = true};
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	for (int format = 0; format < RENDER_FORMAT_COUNT; format++)
		render_report((enum render_format)format, report, &options, stream);
	gate_text_write(report, NULL, stream);
	for (size_t i = 0; i < report->finding_count; i++)
		suppression_generate(report, &report->findings[i], stream);
	fclose(stream);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct report report;
	struct gate_error error = {NULL, NULL};
	if (report_reader_parse(&report, "f", (const char *)bytes, length_bytes, &error)) {
		gate_judge(&report, NULL);
		FUZZ_EXPECT(report.trust.ok || gate_exit_code(report.gate) == 2);
		write_everything(&report);
	} else {
		FUZZ_EXPECT(error.place != NULL && *error.why != '\0');
	}
	report_release(&report);
	return 0;
}
