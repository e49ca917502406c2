#include "analyzer/gate/gate_command.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/gate/gate.h"
#include "analyzer/gate/gate_baseline.h"
#include "analyzer/gate/gate_text.h"
#include "analyzer/gate/git_file.h"
#include "analyzer/output_file.h"
#include "analyzer/report/report.h"

static const char standard_reason[] = "accepted when the baseline was written";

/* ---- Options ------------------------------------------------------------------------------------ */

bool gate_command_is_option(int option) {
	return option >= GATE_OPTION_FIRST && option < GATE_OPTION_END;
}

static void take_suppressions(struct gate_command *command, const char *path) {
	const char **grown = arena_array(&command->arena, command->suppression_path_count + 1, sizeof *grown);
	if (command->suppression_path_count > 0)
		memcpy(grown, command->suppression_paths, command->suppression_path_count * sizeof *grown);
	grown[command->suppression_path_count++] = path;
	command->suppression_paths = grown;
}

static bool take_limit(struct gate_command *command, int option, const char *value) {
	static const struct {
		int option;
		enum gate_metric metric;
		const char *example;
	} limits[] = {{GATE_OPTION_MAX_OPEN, GATE_MAX_OPEN, "a count"},
		      {GATE_OPTION_MAX_UTILIZATION, GATE_MAX_UTILIZATION, "a percentage like 90%"},
		      {GATE_OPTION_P95_ACQUIRE, GATE_P95_ACQUIRE, "a time like 100ms"},
		      {GATE_OPTION_MAX_HOLD, GATE_MAX_HOLD, "a time like 100ms"}};
	double limit;
	size_t i = 0;
	while (limits[i].option != option)
		i++;
	command->limits[limits[i].metric] = value;
	if (gate_policy_parse_limit(limits[i].metric, value, &limit))
		return true;
	options_error(arena_text(&command->arena, "--%s", gate_metric_name(limits[i].metric)),
		      "'%s' is not %s", value, limits[i].example);
	return false;
}

static bool take_fail_on(struct gate_command *command, const char *value) {
	struct gate_policy scratch;
	gate_policy_init(&scratch);
	const char *problem = gate_policy_fail_on(&scratch, value, "option");
	if (problem != NULL)
		options_error("--fail-on", "%s", problem);
	gate_policy_release(&scratch);
	command->fail_on = value;
	return problem == NULL;
}

bool gate_command_take(struct gate_command *command, int option, const char *value) {
	command->is_any_given |= option != GATE_OPTION_CONFIG;
	switch (option) {
	case GATE_OPTION_CONFIG:
		command->config_path = value;
		return true;
	case GATE_OPTION_FAIL_ON:
		return take_fail_on(command, value);
	case GATE_OPTION_BASELINE:
		command->baseline_path = value;
		return true;
	case GATE_OPTION_BASELINE_REF:
		command->baseline_ref = value;
		return true;
	case GATE_OPTION_WRITE_BASELINE:
		command->write_path = value;
		return true;
	case GATE_OPTION_UPDATE_BASELINE:
		command->update_path = value;
		return true;
	case GATE_OPTION_REASON:
		command->reason = value;
		return true;
	case GATE_OPTION_SUPPRESSIONS:
		take_suppressions(command, value);
		return true;
	case GATE_OPTION_GEN_SUPPRESSIONS:
		command->generates_suppressions = true;
		return true;
	case GATE_OPTION_EXPLAIN:
		command->explains = true;
		return true;
	default:
		return take_limit(command, option, value);
	}
}

/* ---- Files -------------------------------------------------------------------------------------- */

static int complain(const struct gate_error *error) {
	options_error(error->place, "%s", error->why);
	return OPTIONS_EXIT_CANNOT;
}

/* The found one is named relative to here where that is shorter to read. */
static const char *find_config(struct gate_command *command) {
	char directory[PATH_MAX];
	char path[PATH_MAX];
	if (getcwd(directory, sizeof directory) == NULL || !gate_config_find(path, directory))
		return NULL;
	size_t length = strlen(directory);
	bool is_here = strncmp(path, directory, length) == 0 && path[length] == '/';
	const char *shown = is_here ? path + length + 1 : path;
	return arena_copy(&command->arena, shown, strlen(shown));
}

int gate_command_configure(struct gate_command *command, struct report_settings *settings) {
	struct gate_input input;
	struct gate_error error;
	gate_policy_init(&command->policy);
	const char *path = command->config_path != NULL ? command->config_path : find_config(command);
	if (path == NULL)
		return OPTIONS_EXIT_OK;
	if (!gate_input_read(&input, &command->policy.arena, path, &error) ||
	    !gate_config_read(&command->config, &command->policy, settings, &input, &error))
		return complain(&error);
	return OPTIONS_EXIT_OK;
}

static int read_suppressions(struct gate_command *command) {
	struct gate_input input;
	struct gate_error error;
	for (size_t i = 0; i < command->suppression_path_count; i++)
		if (!gate_input_read(&input, &command->policy.arena, command->suppression_paths[i], &error) ||
		    !gate_config_read_suppressions(&command->policy, &input, &error))
			return complain(&error);
	return OPTIONS_EXIT_OK;
}

static bool read_baseline_text(struct gate_command *command, struct gate_input *input, const char *path,
			       struct gate_error *error) {
	struct arena *arena = &command->policy.arena;
	return command->baseline_ref != NULL
		? git_file_read_at_merge_base(input, arena, path, command->baseline_ref, error)
		: gate_input_read(input, arena, path, error);
}

static int read_baseline(struct gate_command *command, const char *path, const char *source) {
	struct gate_input input;
	struct gate_error error;
	struct gate_policy *policy = &command->policy;
	if (!read_baseline_text(command, &input, path, &error) ||
	    !baseline_parse(&policy->baseline, &policy->arena, &input, &error))
		return complain(&error);
	policy->has_baseline = true;
	policy->baseline_source = source;
	return OPTIONS_EXIT_OK;
}

/* Whether a file that cannot be read as a baseline was one all the same, before a merge or an editor. */
static bool is_replaceable(const struct gate_input *input) {
	return strncmp(input->text, BASELINE_FIRST_LINE, sizeof BASELINE_FIRST_LINE - 1) == 0;
}

/* The baseline that is to be written anew, for its reasons; none is none. */
static int read_old_baseline(struct gate_command *command) {
	struct gate_policy *policy = &command->policy;
	const char *path = command->write_path != NULL ? command->write_path : command->update_path;
	struct gate_input input;
	struct gate_error error;
	struct baseline old;
	if (access(path, F_OK) != 0 && errno == ENOENT)
		return OPTIONS_EXIT_OK;
	if (!gate_input_read(&input, &policy->arena, path, &error))
		return complain(&error);
	policy->has_baseline = baseline_parse(&old, &policy->arena, &input, &error);
	if (!policy->has_baseline && !is_replaceable(&input)) {
		options_error(path, "is no baseline: not replaced");
		return OPTIONS_EXIT_CANNOT;
	}
	policy->baseline_source = "option";
	if (policy->has_baseline)
		policy->baseline = old;
	else if (command->update_path != NULL)
		return complain(&error);
	return OPTIONS_EXIT_OK;
}

static int choose_baseline(struct gate_command *command) {
	if (command->write_path != NULL || command->update_path != NULL)
		return read_old_baseline(command);
	if (command->baseline_path != NULL)
		return read_baseline(command, command->baseline_path, "option");
	if (command->config.baseline_path != NULL)
		return read_baseline(command, command->config.baseline_path, command->config.baseline_source);
	return OPTIONS_EXIT_OK;
}

/* ---- Before judging ----------------------------------------------------------------------------- */

static void apply_options(struct gate_command *command) {
	if (command->fail_on != NULL)
		gate_policy_fail_on(&command->policy, command->fail_on, "option");
	for (int metric = 0; metric < GATE_METRIC_COUNT; metric++) {
		struct gate_budget budget = {.metric = (enum gate_metric)metric, .source = "option"};
		if (command->limits[metric] != NULL &&
		    gate_policy_parse_limit(budget.metric, command->limits[metric], &budget.limit))
			gate_policy_add_budget(&command->policy, &budget);
	}
}

static const char *find_misuse(const struct gate_command *command) {
	bool writes = command->write_path != NULL || command->update_path != NULL;
	if (command->write_path != NULL && command->update_path != NULL)
		return "--write-baseline and --update-baseline exclude each other";
	if (writes && (command->baseline_path != NULL || command->baseline_ref != NULL))
		return "a baseline is written or compared with, not both at once";
	if (command->reason != NULL && !writes)
		return "--reason needs --write-baseline or --update-baseline";
	if (command->baseline_ref != NULL && command->baseline_path == NULL &&
	    command->config.baseline_path == NULL)
		return "--baseline-ref needs --baseline FILE, or a baseline in the configuration";
	return NULL;
}

static void explain(const struct gate_command *command, FILE *stream) {
	const struct gate_config *config = &command->config;
	fprintf(stream, "Configuration: %s\n",
		config->path != NULL ? config->path : "none (no " GATE_CONFIG_NAME " here or above)");
	gate_policy_explain(&command->policy, stream);
	for (size_t i = 0; i < config->threshold_count; i++)
		fprintf(stream, "  threshold %-50s %s\n", config->thresholds[i].entry->name,
			config->thresholds[i].source);
	fputc('\n', stream);
}

int gate_command_prepare(struct gate_command *command) {
	const char *misuse = find_misuse(command);
	if (misuse != NULL) {
		options_error("check", "%s", misuse);
		return OPTIONS_EXIT_USAGE;
	}
	apply_options(command);
	int code = read_suppressions(command);
	if (code == OPTIONS_EXIT_OK)
		code = choose_baseline(command);
	if (code == OPTIONS_EXIT_OK && command->explains && command->text != NULL)
		explain(command, command->text);
	return code;
}

/* ---- Judging and writing ------------------------------------------------------------------------ */

void gate_command_judge(const struct gate_command *command, struct report *report) {
	gate_judge(report, &command->policy);
}

/* Sets the code unless a worse one is there. */
static void fail_writing(struct gate_command *command, const char *path, int error) {
	options_error(path, "%s", output_file_error_text(error));
	command->exit_code = OPTIONS_EXIT_CANNOT;
}

static void generate_suppressions(const struct report *report, FILE *stream) {
	bool has_any = false;
	for (size_t i = 0; i < report->finding_count; i++) {
		if (report->gate->findings[i].failed_item == NULL)
			continue;
		if (!has_any)
			fputs("suppressions:\n", stream);
		has_any = true;
		suppression_generate(report, &report->findings[i], stream);
	}
}

static const char *refusal_to_write(const struct report *report) {
	if (!report->trust.ok)
		return report->trust.reason_count > 0 ? report->trust.reasons[0]
						      : "the run cannot be trusted";
	return report->run.live ? "the run has not ended" : NULL;
}

static void write_baseline_file(struct gate_command *command, const struct report *report) {
	bool is_update = command->update_path != NULL;
	const char *path = is_update ? command->update_path : command->write_path;
	const struct gate_policy *policy = &command->policy;
	const char *refusal = refusal_to_write(report);
	struct baseline baseline = {.name = path};
	struct output_file file;
	command->exit_code = OPTIONS_EXIT_OK;
	if (refusal != NULL) {
		options_error(path, "not written: %s", refusal);
		command->exit_code = OPTIONS_EXIT_CANNOT;
		return;
	}
	gate_baseline_build(&baseline, &command->arena, report,
			    policy->has_baseline ? &policy->baseline : NULL, is_update,
			    command->reason != NULL ? command->reason : standard_reason);
	int error = output_file_open(&file, path);
	if (error == 0) {
		baseline_write(&baseline, file.stream);
		error = output_file_close(&file);
	}
	if (error != 0)
		fail_writing(command, path, error);
	else if (command->text != NULL)
		fprintf(command->text, "pqlease check: %s: %zu finding%s accepted\n", path, baseline.count,
			baseline.count == 1 ? "" : "s");
}

void gate_command_conclude(struct gate_command *command, const struct report *report,
			   const char *source_root) {
	command->exit_code = gate_exit_code(report->gate);
	if (command->write_path != NULL || command->update_path != NULL)
		write_baseline_file(command, report);
	else if (command->text != NULL && !(command->is_quiet_if_green && report->gate->result == GATE_GREEN))
		gate_text_write(report, source_root, command->text);
	if (command->generates_suppressions)
		generate_suppressions(report, command->suppressions);
}

void gate_command_release(struct gate_command *command) {
	gate_policy_release(&command->policy);
	arena_release(&command->arena);
}
