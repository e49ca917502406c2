#include "analyzer/live/routes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "analyzer/instant.h"
#include "analyzer/live/health.h"
#include "analyzer/live/history.h"
#include "analyzer/render/metrics.h"
#include "analyzer/render/render.h"

enum { NOT_FOUND = 404, BAD_REQUEST = 400, UNAVAILABLE = 503, RECENT_SAMPLES = 5, HISTORY_SAMPLES = 10 };

/* One request being answered. */
struct visit {
	const struct routes *routes;
	const struct http_request *request;
	struct http_answer *answer;
	struct health_subject live;
};

static void send_json(struct visit *visit, json_t *object) {
	json_dumpf(object, visit->answer->body, JSON_COMPACT | JSON_REAL_PRECISION(15));
	fputc('\n', visit->answer->body);
	json_decref(object);
}

static void refuse(struct visit *visit, unsigned status, const char *message) {
	visit->answer->status = status;
	send_json(visit, json_pack("{s:s}", "message", message));
}

/* A number of the query; `otherwise` if it is not there. False after refusing what is no such number. */
static bool take_number(struct visit *visit, const char *name, unsigned long most, unsigned long otherwise,
			unsigned long *number) {
	const char *text = http_request_parameter(visit->request, name);
	*number = otherwise;
	if (text == NULL)
		return true;
	char *end;
	*number = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && *end == '\0' && *number >= 1 && *number <= most)
		return true;
	refuse(visit, BAD_REQUEST, "not a number in range");
	return false;
}

/* ---- Routes --------------------------------------------------------------------------------------------- */

static void answer_alive(struct visit *visit) {
	send_json(visit, json_pack("{s:s}", "status", "ok"));
}

static void answer_health(struct visit *visit) {
	send_json(visit, health_aggregate(&visit->live));
}

static void answer_database(struct visit *visit) {
	send_json(visit,
		  health_database(&visit->live, http_request_parameter(visit->request, "pool"),
				  RECENT_SAMPLES));
}

static void answer_readiness(struct visit *visit) {
	if (visit->live.count == 0)
		visit->answer->status = UNAVAILABLE;
	send_json(visit, health_readiness(&visit->live));
}

static void answer_history(struct visit *visit) {
	unsigned long limit;
	unsigned long interval;
	if (take_number(visit, "limit", HISTORY_MAX, HISTORY_SAMPLES, &limit) &&
	    take_number(visit, "interval", 3600, 1, &interval))
		send_json(visit, health_history(&visit->live, limit, (unsigned)interval));
}

static void answer_metrics(struct visit *visit) {
	size_t count;
	const struct report *const *reports = fleet_reports(visit->routes->fleet, &count);
	const struct metrics_options options = {visit->routes->with_aliases};
	visit->answer->content_type = METRICS_CONTENT_TYPE;
	metrics_write(reports, count, &options, visit->answer->body);
}

/* The newest run, or the one whose id begins so. */
static const struct report *wanted_report(struct visit *visit) {
	size_t count;
	const struct report *const *reports = fleet_reports(visit->routes->fleet, &count);
	const char *run = http_request_parameter(visit->request, "run");
	for (size_t i = 0; i < count; i++)
		if (run == NULL || strncmp(reports[i]->run.id, run, strlen(run)) == 0)
			return reports[i];
	return NULL;
}

static void answer_report(struct visit *visit) {
	const struct report *report = wanted_report(visit);
	const struct render_options options = {.is_full = true};
	const char *path;
	bool wants_text = strstr(visit->request->accept, "text/plain") != NULL &&
		strstr(visit->request->accept, "application/json") == NULL;
	if (report == NULL) {
		refuse(visit, NOT_FOUND, fleet_problem(visit->routes->fleet, &path));
		return;
	}
	visit->answer->content_type = wants_text ? "text/plain; charset=utf-8" : "application/json";
	render_report(wants_text ? RENDER_TEXT : RENDER_JSON, report, &options, visit->answer->body);
}

static const struct route {
	const char *path;
	void (*answer)(struct visit *visit);
} routes[] = {
	{"/health", answer_health},    {"/health/database", answer_database}, {"/healthz", answer_alive},
	{"/readyz", answer_readiness}, {"/history", answer_history},          {"/report", answer_report},
	{"/metrics", answer_metrics},
};

void routes_answer(void *context, const struct http_request *request, struct http_answer *answer) {
	const struct routes *with = context;
	struct visit visit = {.routes = with, .request = request, .answer = answer};
	fleet_look(with->fleet, instant_monotonic_ns());
	visit.live.reports = fleet_live_reports(with->fleet, &visit.live.count);
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (strcmp(request->path, routes[i].path) == 0) {
			routes[i].answer(&visit);
			return;
		}
	refuse(&visit, NOT_FOUND, "no such page");
}
