#include "analyzer/live/live_options.h"

bool live_options_take(struct live_options *options, int option, const char *value) {
	if (option == JUDGE_OPTIONS_LIMIT)
		return judge_options_parse_limit(value, &options->limit);
	return option == GATE_OPTION_CONFIG && gate_command_take(&options->gate, option, value);
}

int live_options_settle(struct live_options *options) {
	options->settings = report_settings_standard();
	int code = gate_command_configure(&options->gate, &options->settings);
	if (code == OPTIONS_EXIT_OK && options->limit > 0)
		options->settings.limit = options->limit;
	return code;
}

void live_options_release(struct live_options *options) {
	gate_command_release(&options->gate);
}
