#include "analyzer/commands/report_outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/commands/options.h"
#include "analyzer/output_file.h"

bool report_outputs_parse_format(const char *option, const char *name, enum render_format *format) {
	if (render_find_format(name, format))
		return true;
	options_error(option, "'%s' is none of %s", name, RENDER_FORMAT_NAMES);
	return false;
}

static bool add_output(struct report_outputs *outputs, const char *value) {
	const char *separator = strchr(value, '=');
	char name[32] = "";
	if (separator == NULL || separator[1] == '\0') {
		options_error("--output", "'%s' is not FORMAT=FILE", value);
		return false;
	}
	if (outputs->count == REPORT_OUTPUTS_MAX) {
		options_error("--output", "at most %d of them", REPORT_OUTPUTS_MAX);
		return false;
	}
	size_t length = (size_t)(separator - value);
	memcpy(name, value, length < sizeof name ? length : sizeof name - 1);
	struct report_output *output = &outputs->output[outputs->count];
	if (!report_outputs_parse_format("--output", name, &output->format))
		return false;
	output->path = separator + 1;
	for (size_t i = 0; i < outputs->count; i++)
		if (strcmp(outputs->output[i].path, output->path) == 0) {
			options_error("--output", "'%s' is given twice", output->path);
			return false;
		}
	outputs->count++;
	return true;
}

static bool set_root(struct report_outputs *outputs, const char *directory) {
	if (realpath(directory, outputs->source_root) != NULL)
		return true;
	options_error(directory, "%s", strerror(errno));
	outputs->source_root[0] = '\0';
	return false;
}

bool report_outputs_is_one(int option) {
	return option == REPORT_OUTPUTS_OUTPUT || option == REPORT_OUTPUTS_ROOT;
}

bool report_outputs_take(struct report_outputs *outputs, int option, const char *value) {
	return option == REPORT_OUTPUTS_OUTPUT ? add_output(outputs, value) : set_root(outputs, value);
}

const char *report_outputs_root(const struct report_outputs *outputs) {
	return outputs->source_root[0] != '\0' ? outputs->source_root : NULL;
}

bool report_outputs_write_file(enum render_format format, const struct report *report,
			       const struct render_options *options, const char *path) {
	struct output_file file;
	int error = output_file_open(&file, path);
	if (error == 0) {
		render_report(format, report, options, file.stream);
		error = output_file_close(&file);
	}
	if (error != 0)
		options_error(path, "%s", output_file_error_text(error));
	return error == 0;
}

bool report_outputs_write(const struct report_outputs *outputs, const struct report *report,
			  const struct render_options *options) {
	struct render_options plain = *options;
	bool is_written = true;
	plain.use_colors = false;
	for (size_t i = 0; i < outputs->count; i++) {
		const struct report_output *output = &outputs->output[i];
		is_written &= report_outputs_write_file(output->format, report, &plain, output->path);
		if (output->format == RENDER_GITHUB)
			is_written &= report_outputs_summarise_job(report, &plain);
	}
	return is_written;
}

/* The file belongs to the job: other steps have written into it, it is never replaced. */
bool report_outputs_summarise_job(const struct report *report, const struct render_options *options) {
	const char *path = getenv("GITHUB_STEP_SUMMARY");
	if (path == NULL || *path == '\0')
		return true;
	FILE *stream = fopen(path, "ae");
	if (stream == NULL) {
		options_error(path, "%s", strerror(errno));
		return false;
	}
	render_report(RENDER_MARKDOWN, report, options, stream);
	bool is_written = !ferror(stream);
	errno = 0;
	is_written &= fclose(stream) == 0;
	if (!is_written)
		options_error(path, "%s", strerror(errno != 0 ? errno : EIO));
	return is_written;
}
