/*
 * pqlease serve: health, readiness, history, report and metrics over HTTP, from ledgers alone.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/live/fleet.h"
#include "analyzer/live/http_server.h"
#include "analyzer/live/live_options.h"
#include "analyzer/live/routes.h"
#include "analyzer/commands/options.h"

static const char help[] =
	"usage: pqlease serve [OPTIONS] LEDGER...\n"
	"       pqlease serve [OPTIONS] --dir DIR\n\n"
	"Answers GET /health /health/database /healthz /readyz /history /report /metrics.\n"
	"Reads ledgers only, opens no connection to a database; ends by SIGINT or SIGTERM.\n\n"
	"  --listen WHERE     ADDRESS:PORT or the path of a unix socket; 127.0.0.1:9187\n"
	"  --dir DIR          all ledgers in DIR, as they come and go\n" LIVE_OPTIONS_HELP(
		"      ") "  --aliases          db_pool_size and the like in /metrics too\n"
			  "  --allow-host NAME  a name of this machine that clients may use "
			  "(repeatable)\n"
			  "  --help             this text\n"
			  "  --version          the version\n";

enum { OPTION_LISTEN = OPTIONS_LONG_ONLY, OPTION_DIRECTORY, OPTION_ALIASES, OPTION_HOST };

static const struct option serve_options[] = {{"listen", required_argument, NULL, OPTION_LISTEN},
					      {"dir", required_argument, NULL, OPTION_DIRECTORY},
					      {"aliases", no_argument, NULL, OPTION_ALIASES},
					      {"allow-host", required_argument, NULL, OPTION_HOST},
					      LIVE_OPTIONS,
					      OPTIONS_COMMON,
					      {NULL, 0, NULL, 0}};

enum { ALLOWED_HOSTS_MAX = 16 };

struct request {
	const char *listen;
	const char *directory;
	bool with_aliases;
	struct live_options live;
	const char *hosts[ALLOWED_HOSTS_MAX];
	size_t host_count;
};

static bool take_option(void *context, int option) {
	struct request *request = context;
	switch (option) {
	case OPTION_LISTEN:
		request->listen = optarg;
		return true;
	case OPTION_DIRECTORY:
		request->directory = optarg;
		return true;
	case OPTION_ALIASES:
		request->with_aliases = true;
		return true;
	case OPTION_HOST:
		if (request->host_count < ALLOWED_HOSTS_MAX)
			request->hosts[request->host_count++] = optarg;
		return true;
	default:
		return live_options_take(&request->live, option, optarg);
	}
}

static bool check_directory(const char *directory) {
	struct ledger_search_list list;
	if (!ledger_search_all(&list, directory, LEDGER_SEARCH_ANY_NAME)) {
		options_error(directory, "%s", strerror(errno));
		return false;
	}
	ledger_search_release(&list);
	return true;
}

/* A ledger that does not exist yet may come; what exists and is none is a mistake. */
static bool check_ledgers(const char *const *paths, size_t count) {
	struct report_settings settings = report_settings_standard();
	bool are_good = true;
	for (size_t i = 0; i < count && are_good; i++) {
		struct follower *follower = follower_open(paths[i], &settings);
		are_good = access(paths[i], F_OK) != 0 || follower_look(follower, 1) != FOLLOWER_UNREAD;
		if (!are_good)
			options_error(paths[i], "%s", follower_problem(follower));
		follower_close(follower);
	}
	return are_good;
}

static bool check_request(const struct request *request, const char *const *paths, size_t path_count) {
	return request->directory != NULL ? check_directory(request->directory)
					  : check_ledgers(paths, path_count);
}

static int serve(const struct request *request, const char *const *paths, size_t path_count) {
	char problem[256] = "no memory";
	struct routes routes = {fleet_open(paths, path_count, request->directory, &request->live.settings),
				request->with_aliases};
	struct http_server_settings settings = {request->listen, request->hosts, request->host_count,
						routes_answer, &routes};
	struct http_server *server = routes.fleet != NULL ? http_server_open(&settings, problem) : NULL;
	if (server == NULL) {
		options_error(request->listen, "%s", problem);
		if (routes.fleet != NULL)
			fleet_close(routes.fleet);
		return OPTIONS_EXIT_CANNOT;
	}
	fprintf(stderr, "pqlease: serving on %s\n", http_server_address(server));
	http_server_run(server);
	http_server_close(server);
	fleet_close(routes.fleet);
	return OPTIONS_EXIT_OK;
}

static const struct options_syntax syntax = {"+:hV", serve_options, help, take_option};

int cmd_serve(int argc, char **argv) {
	struct request request = {.listen = "127.0.0.1:9187"};
	int code;
	if (!options_parse(&syntax, &request, argc, argv, &code))
		return code;
	size_t path_count = (size_t)(argc - optind);
	if ((path_count == 0) == (request.directory == NULL) || path_count > FLEET_RUNS_MAX) {
		options_error("serve",
			      path_count > FLEET_RUNS_MAX
				      ? "too many ledgers; see --dir"
				      : "either LEDGER... or --dir DIR, see pqlease serve --help");
		return OPTIONS_EXIT_USAGE;
	}
	const char *const *paths = (const char *const *)(argv + optind);
	code = live_options_settle(&request.live);
	if (code == OPTIONS_EXIT_OK)
		code = check_request(&request, paths, path_count) ? serve(&request, paths, path_count)
								  : OPTIONS_EXIT_CANNOT;
	live_options_release(&request.live);
	return code;
}
