#include "analyzer/commands/report_command.h"

#include <string.h>

#include "analyzer/gate/gate_command.h"
#include "analyzer/ledger/ledger_load.h"
#include "analyzer/output_file.h"
#include "analyzer/report/report.h"
#include "analyzer/symbols/symbol_source.h"

static struct render_options render_options_of(const struct report_command_request *request) {
	return (struct render_options){.is_full = request->is_full,
				       .source_root = report_outputs_root(&request->outputs)};
}

static int write_to_stream(const struct report_command_request *request, const struct report *report,
			   FILE *stream, int descriptor) {
	struct render_options options = render_options_of(request);
	options.use_colors = options_use_color(request->color, descriptor);
	render_report(request->format, report, &options, stream);
	if (request->format == RENDER_GITHUB && !report_outputs_summarise_job(report, &options))
		return OPTIONS_EXIT_CANNOT;
	return fflush(stream) == 0 && !ferror(stream) ? OPTIONS_EXIT_OK : OPTIONS_EXIT_CANNOT;
}

/* A stream that fails is its owner's to complain about (main does for stdout). */
static int write_report(const struct report_command_request *request, const struct report *report) {
	struct output_file file;
	if (request->output_path == NULL && request->stream == NULL)
		return OPTIONS_EXIT_OK;
	if (request->output_path == NULL)
		return write_to_stream(request, report, request->stream, fileno(request->stream));
	int error = output_file_open(&file, request->output_path);
	if (error == 0) {
		write_to_stream(request, report, file.stream, fileno(file.stream));
		error = output_file_close(&file);
	}
	if (error == 0)
		return OPTIONS_EXIT_OK;
	options_error(request->output_path, "%s", output_file_error_text(error));
	return OPTIONS_EXIT_CANNOT;
}

static void fill_outcome(struct report_command_outcome *outcome, const struct report *report) {
	*outcome = (struct report_command_outcome){.is_trusted = report->trust.ok,
						   .process_total = (uint64_t)report->trust.processes,
						   .attempts = (uint64_t)report->totals.attempts,
						   .findings = report->finding_count};
	for (size_t i = 0; i < report->finding_count; i++) {
		outcome->errors += report->findings[i].finding->level == FINDING_ERROR;
		outcome->warnings += report->findings[i].finding->level == FINDING_WARNING;
	}
}

static bool may_change(const struct model *model) {
	if (model->run.is_live)
		return true;
	for (size_t i = 0; i < model->process_count; i++)
		if (!model->processes[i].is_gone)
			return true;
	return false;
}

int report_command_finish(const struct report_command_request *request, struct report *report) {
	if (request->gate != NULL)
		gate_command_judge(request->gate, report);
	struct render_options options = render_options_of(request);
	int code = write_report(request, report);
	if (request->gate != NULL)
		gate_command_conclude(request->gate, report, options.source_root);
	if (!report_outputs_write(&request->outputs, report, &options))
		code = OPTIONS_EXIT_CANNOT;
	return code;
}

static int report_model(const struct report_command_request *request, const struct model *model,
			struct report_command_outcome *outcome) {
	struct report report;
	struct symbol_source *symbols = symbol_source_open(request->ledger_path, model->mapped_bytes, NULL);
	report_build(&report, model, symbols, &request->settings);
	int code = report_command_finish(request, &report);
	if (code == OPTIONS_EXIT_OK && outcome != NULL)
		fill_outcome(outcome, &report);
	report_release(&report);
	/* A ledger that cannot be written gives the same report, only later. */
	if (symbols != NULL && !may_change(model))
		(void)symbol_source_save(symbols, request->ledger_path, model->mapped_bytes);
	symbol_source_close(symbols);
	return code;
}

int report_command_write(const struct report_command_request *request,
			 struct report_command_outcome *outcome) {
	struct model model;
	const char *problem = ledger_load(&model, request->ledger_path);
	if (problem != NULL) {
		options_error(request->ledger_path, "%s", problem);
		return OPTIONS_EXIT_CANNOT;
	}
	struct report_command_request judged = *request;
	int code = OPTIONS_EXIT_CANNOT;
	if (request->judge == NULL || judge_options_apply(request->judge, &model, &judged.settings) ||
	    request->is_server_optional)
		code = report_model(&judged, &model, outcome);
	model_release(&model);
	return code;
}
