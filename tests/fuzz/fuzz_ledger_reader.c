/* A file that says it is a ledger: reading, settling, judging, rendering. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "analyzer/judge/advice.h"
#include "analyzer/ledger/aftermath.h"
#include "analyzer/ledger/ledger_reader.h"
#include "analyzer/render/render.h"
#include "analyzer/report/report.h"
#include "tests/fuzz/fuzz.h"

static void check_references(const struct model *model) {
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		FUZZ_EXPECT(lease->site < model->site_count || lease->site == MODEL_SITE_NONE);
		FUZZ_EXPECT(lease->pool < model->pool_count || lease->pool == MODEL_POOL_OTHER);
		FUZZ_EXPECT(lease->process == MODEL_NO_PROCESS || lease->process < model->process_count);
	}
	for (size_t i = 0; i < model->history_count; i++)
		FUZZ_EXPECT(model->history[i].site < model->site_count ||
			    model->history[i].site == MODEL_SITE_NONE);
}

static void render(const struct report *report, enum render_format format) {
	static const struct render_options options = {.is_full = true};
	char *output = NULL;
	size_t length_bytes = 0;
	FILE *stream = open_memstream(&output, &length_bytes);
	render_report(format, report, &options, stream);
	fclose(stream);
	if (format == RENDER_JSON) {
		json_t *parsed = json_loadb(output, length_bytes, 0, NULL);
		FUZZ_EXPECT(parsed != NULL);
		json_decref(parsed);
	}
	free(output);
}

static void advise(const struct model *model, const struct report *report) {
	struct arena arena = {NULL};
	struct advice *advice = arena_new(&arena, struct advice);
	for (size_t i = 0; i < report->pool_count; i++) {
		if (!advice_give(advice, &arena, model, report->pools[i].number, 0.01))
			continue;
		FUZZ_EXPECT(advice->uses > 0 && advice->size_count <= ADVICE_SIZES_MAX);
		FUZZ_EXPECT(advice->concurrency_max <= advice->uses);
	}
	arena_release(&arena);
}

/* Nobody of the ledger is looked for on this machine. */
static void judge(struct model *model) {
	struct liveness_observer observer = {.proc_path = "/nowhere", .now_ns = UINT64_C(9000) * 1000000000u};
	struct report report;
	memcpy(observer.boot_id, model->run.boot_id, sizeof observer.boot_id);
	observer.pid_namespace = model->run.pid_namespace;
	aftermath_settle(model, &observer);
	report_build(&report, model, NULL, NULL);
	render(&report, RENDER_JSON);
	render(&report, RENDER_TEXT);
	advise(model, &report);
	report_release(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes) {
	struct model model = {0};
	enum ledger_reader_status status = ledger_reader_read_from(&model, fuzz_file(bytes, length_bytes));
	FUZZ_EXPECT(ledger_reader_status_text(status)[0] != '\0');
	if (status != LEDGER_READER_OK)
		return 0;
	check_references(&model);
	judge(&model);
	model_release(&model);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length_bytes, size_t max_bytes, unsigned int seed) {
	uint64_t random = seed;
	if (fuzz_below(&random, 32) == 0)
		return LLVMFuzzerMutate(bytes, length_bytes, max_bytes);
	fuzz_change_ledger(bytes, length_bytes, &random);
	return length_bytes;
}
