/*
 * What `pqlease serve` answers, route by route. Never opens a database connection: everything comes from ledgers.
 */
#ifndef PQLEASE_ANALYZER_LIVE_ROUTES_H
#define PQLEASE_ANALYZER_LIVE_ROUTES_H

#include <stdbool.h>

#include "analyzer/live/fleet.h"
#include "analyzer/live/http_server.h"

struct routes {
	struct fleet *fleet;
	bool with_aliases; /* in /metrics */
};

/* An http_answerer; `context` is a struct routes. */
void routes_answer(void *context, const struct http_request *request, struct http_answer *answer);

#endif
