/*
 * A small HTTP server for answers that take a moment to make and are read by few: one thread, one request a
 * connection, GET and HEAD only.
 *
 * It listens on loopback or a unix socket unless told otherwise, and trusts nobody: a Host that is neither an address
 * nor a name of this machine is refused (DNS rebinding), so are bodies; a connection lives no longer than
 * HTTP_SERVER_DEADLINE_NS however slowly it sends or reads; when all places are taken the oldest is given to the newest.
 */
#ifndef PQLEASE_ANALYZER_LIVE_HTTP_SERVER_H
#define PQLEASE_ANALYZER_LIVE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HTTP_SERVER_DEADLINE_NS UINT64_C(10000000000)
enum { HTTP_SERVER_CONNECTIONS = 256, HTTP_SERVER_REQUEST_BYTES = 16384 };

struct http_request {
	const char *path;
	const char *accept; /* "" if the client did not say */
	void *connection;
};

/* The value of a query parameter, NULL if it is not there. Valid during the answer. */
const char *http_request_parameter(const struct http_request *request, const char *name);

struct http_answer {
	unsigned status;
	const char *content_type; /* static */
	FILE *body;               /* what is written here is the body */
};

typedef void http_answerer(void *context, const struct http_request *request, struct http_answer *answer);

struct http_server_settings {
	const char
		*listen; /* ADDRESS:PORT, [ADDRESS]:PORT or the path of a unix socket (it contains a slash) */
	const char *const *allowed_hosts; /* names besides those of this machine */
	size_t allowed_host_count;
	http_answerer *answer;
	void *context;
};

struct http_server;

/* NULL after it wrote why into `problem`. A unix socket at the path that nobody listens on is replaced; any other file
 * is refused. */
struct http_server *http_server_open(const struct http_server_settings *settings, char problem[256]);
/* Where it listens, with the port that was given for port 0. */
const char *http_server_address(const struct http_server *server);
/* Answers until SIGINT or SIGTERM, which wait from http_server_open() on; both are blocked while an answer is made. */
void http_server_run(struct http_server *server);
void http_server_close(struct http_server *server);

#endif
