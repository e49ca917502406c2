#include "analyzer/commands/judge_options.h"

#include <errno.h>
#include <stdlib.h>

#include "analyzer/model.h"
#include "analyzer/server/server_account.h"

enum { LIMIT_MAX = 1000000 };

bool judge_options_is_one(int option) {
	return option == JUDGE_OPTIONS_LIMIT || option == JUDGE_OPTIONS_SERVER;
}

bool judge_options_parse_limit(const char *value, int64_t *limit) {
	char *end;
	errno = 0;
	*limit = strtol(value, &end, 10);
	if (errno == 0 && end != value && *end == '\0' && *limit > 0 && *limit <= LIMIT_MAX)
		return true;
	options_error("--limit", "'%s' is no number of connections", value);
	return false;
}

static bool take_server(struct judge_options *options, const char *conninfo) {
	/* Not quoted: it may hold the very password that is refused. */
	const char *reason = server_witness_refuse(conninfo);
	if (reason != NULL)
		options_error("--server", "%s", reason);
	options->conninfo = conninfo;
	return reason == NULL;
}

bool judge_options_take(struct judge_options *options, int option, const char *value) {
	return option == JUDGE_OPTIONS_LIMIT ? judge_options_parse_limit(value, &options->limit)
					     : take_server(options, value);
}

bool judge_options_ask_before(struct judge_options *options) {
	if (options->conninfo == NULL)
		return true;
	const char *problem = server_witness_read(&options->before, &options->arena, options->conninfo);
	options->has_before = problem == NULL;
	if (problem != NULL)
		options_error("--server", "%s", problem);
	return problem == NULL;
}

/* The sessions that should be gone by now. */
static size_t ended_backends(struct judge_options *options, const struct model *model, int32_t **pids) {
	size_t count = 0;
	*pids = arena_array(&options->arena, model->history_count + model->example_count + model->lease_count,
			    sizeof **pids);
	for (size_t i = 0; i < model->history_count; i++)
		if (model->history[i].backend_pid != 0)
			(*pids)[count++] = model->history[i].backend_pid;
	for (size_t i = 0; i < model->example_count; i++)
		if (model->examples[i].backend_pid != 0)
			(*pids)[count++] = model->examples[i].backend_pid;
	for (size_t i = 0; i < model->lease_count; i++)
		if (model->leases[i].is_owner_gone && model->leases[i].backend_pid != 0)
			(*pids)[count++] = model->leases[i].backend_pid;
	return count;
}

bool judge_options_apply(struct judge_options *options, struct model *model,
			 struct report_settings *settings) {
	int32_t *pids;
	if (options->limit > 0)
		settings->limit = options->limit;
	if (options->conninfo == NULL)
		return true;
	size_t count = ended_backends(options, model, &pids);
	const char *problem =
		server_witness_read_settled(&options->now, &options->arena, options->conninfo, pids, count);
	if (problem != NULL) {
		options_error("--server", "%s", problem);
		return false;
	}
	settings->server = &options->now;
	settings->server_before = options->has_before ? &options->before : NULL;
	server_account_mark_dedicated(model, &options->now);
	return true;
}

void judge_options_release(struct judge_options *options) {
	arena_release(&options->arena);
	*options = (struct judge_options){0};
}
