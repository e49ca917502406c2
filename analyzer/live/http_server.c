#include "analyzer/live/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <microhttpd.h>

#include "analyzer/instant.h"
#include "analyzer/live/listener.h"

struct guest {
	int descriptor; /* -1: the place is free */
	uint64_t came_ns;
};

struct http_server {
	struct http_server_settings settings;
	struct listener listener;
	struct MHD_Daemon *daemon;
	sigset_t signals; /* the mask while we wait: SIGINT and SIGTERM come only then */
	unsigned places;
	struct guest guests[HTTP_SERVER_CONNECTIONS]; /* the first `places` of them are used */
};

enum { OWN_DESCRIPTORS = 18 /* standard ones, listening, polling, a ledger that is read and its symbols */ };

/* ---- Guests: who is connected, and since when ---------------------------------------------------------- */

static struct guest *oldest_guest(struct http_server *server) {
	struct guest *oldest = NULL;
	for (unsigned i = 0; i < server->places; i++) {
		struct guest *guest = &server->guests[i];
		if (guest->descriptor >= 0 && (oldest == NULL || guest->came_ns < oldest->came_ns))
			oldest = guest;
	}
	return oldest;
}

static struct guest *find_guest(struct http_server *server, int descriptor) {
	for (unsigned i = 0; i < server->places; i++)
		if (server->guests[i].descriptor == descriptor)
			return &server->guests[i];
	return NULL;
}

/* The library notices the end of the connection itself; its descriptor stays open until then. */
static void show_out(struct guest *guest) {
	shutdown(guest->descriptor, SHUT_RDWR);
	guest->descriptor = -1;
}

static void welcome(struct http_server *server, int descriptor) {
	struct guest *place = find_guest(server, -1);
	if (place == NULL) {
		place = oldest_guest(server);
		show_out(place);
	}
	*place = (struct guest){descriptor, instant_monotonic_ns()};
}

static void on_connection(void *context, struct MHD_Connection *connection, void **unused,
			  enum MHD_ConnectionNotificationCode code) {
	struct http_server *server = context;
	(void)unused;
	int descriptor = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	struct guest *guest = find_guest(server, descriptor);
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		welcome(server, descriptor);
	else if (guest != NULL)
		guest->descriptor = -1;
}

/* The library's own timeout counts inactivity, which a client that sends a byte now and then avoids for ever. */
static void show_out_the_late(struct http_server *server) {
	uint64_t now = instant_monotonic_ns();
	for (struct guest *guest = oldest_guest(server);
	     guest != NULL && now - guest->came_ns >= HTTP_SERVER_DEADLINE_NS; guest = oldest_guest(server))
		show_out(guest);
}

/* ---- What is not answered --------------------------------------------------------------------------------- */

static const char *header(struct MHD_Connection *connection, const char *name) {
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Host without its port; false if it is longer than any name. */
static bool host_name(const char *host, char name[256]) {
	const char *end = *host == '[' ? strchr(host, ']') : strrchr(host, ':');
	size_t length = end == NULL ? strlen(host) : (size_t)(end - host);
	const char *begin = host + (*host == '[');
	length -= *host == '[' ? 1 : 0;
	if (length == 0 || length > 255)
		return false;
	memcpy(name, begin, length);
	name[length] = '\0';
	return true;
}

static bool is_own_name(const struct http_server *server, const char *name) {
	struct in6_addr address;
	char own[256] = "";
	gethostname(own, sizeof own - 1);
	if (strcasecmp(name, "localhost") == 0 || strcasecmp(name, own) == 0 ||
	    inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
		return true;
	for (size_t i = 0; i < server->settings.allowed_host_count; i++)
		if (strcasecmp(name, server->settings.allowed_hosts[i]) == 0)
			return true;
	return false;
}

/* A page of a foreign name that resolves to this machine must not read us through a browser here. */
static bool is_host_allowed(const struct http_server *server, struct MHD_Connection *connection) {
	char name[256];
	const char *host = header(connection, MHD_HTTP_HEADER_HOST);
	if (server->listener.is_unix)
		return true;
	return host != NULL && host_name(host, name) && is_own_name(server, name);
}

static bool has_body(struct MHD_Connection *connection) {
	const char *length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
	return header(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL ||
		(length != NULL && strcmp(length, "0") != 0);
}

static bool is_method_known(const char *method) {
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static const char *refuse(const struct http_server *server, struct MHD_Connection *connection,
			  const char *method, unsigned *status) {
	*status = MHD_HTTP_METHOD_NOT_ALLOWED;
	if (!is_method_known(method))
		return "only GET and HEAD\n";
	*status = MHD_HTTP_FORBIDDEN;
	if (!is_host_allowed(server, connection))
		return "this Host is not a name of this server, see --allow-host\n";
	*status = MHD_HTTP_BAD_REQUEST;
	return has_body(connection) ? "a request here has no body\n" : NULL;
}

/* ---- Answers ---------------------------------------------------------------------------------------------- */

static enum MHD_Result send_answer(struct MHD_Connection *connection, unsigned status, const char *type,
				   char *body, size_t length) {
	struct MHD_Response *response = MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(body);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_refusal(struct MHD_Connection *connection, unsigned status, const char *why) {
	char *body = strdup(why);
	return body != NULL ? send_answer(connection, status, "text/plain; charset=utf-8", body, strlen(body))
			    : MHD_NO;
}

static enum MHD_Result answer(struct http_server *server, struct MHD_Connection *connection,
			      const char *path) {
	char *body = NULL;
	size_t length = 0;
	const char *accept = header(connection, MHD_HTTP_HEADER_ACCEPT);
	struct http_request request = {path, accept != NULL ? accept : "", connection};
	struct http_answer made = {MHD_HTTP_OK, "application/json", open_memstream(&body, &length)};
	if (made.body == NULL)
		return MHD_NO;
	server->settings.answer(server->settings.context, &request, &made);
	if (fclose(made.body) != 0) {
		free(body);
		return MHD_NO;
	}
	return send_answer(connection, made.status, made.content_type, body, length);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_bytes, void **request) {
	struct http_server *server = context;
	static int is_begun;
	unsigned status;
	(void)version, (void)upload;
	const char *why = refuse(server, connection, method, &status);
	if (why != NULL)
		return *upload_bytes == 0 ? send_refusal(connection, status, why) : MHD_NO;
	if (*request == NULL) { /* the library asks again when the whole request is there */
		*request = &is_begun;
		return MHD_YES;
	}
	return *upload_bytes == 0 ? answer(server, connection, path) : MHD_NO;
}

const char *http_request_parameter(const struct http_request *request, const char *name) {
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */

/* Who is shown out keeps a descriptor for a moment: two for each place. */
static unsigned places_within_limits(void) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
	    limit.rlim_cur >= OWN_DESCRIPTORS + 2 * HTTP_SERVER_CONNECTIONS)
		return HTTP_SERVER_CONNECTIONS;
	return limit.rlim_cur > OWN_DESCRIPTORS + 2 ? (unsigned)(limit.rlim_cur - OWN_DESCRIPTORS) / 2 : 1;
}

static volatile sig_atomic_t is_stopping;

static void stop(int signal_number) {
	(void)signal_number;
	is_stopping = 1;
}

/* Signals come only while we wait: an answer is never cut short. */
static sigset_t take_signals(void) {
	struct sigaction action = {.sa_handler = stop};
	sigset_t blocked;
	sigset_t before;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	sigdelset(&before, SIGINT);
	sigdelset(&before, SIGTERM);
	return before;
}

struct http_server *http_server_open(const struct http_server_settings *settings, char problem[256]) {
	struct http_server *server = calloc(1, sizeof *server);
	if (server == NULL || !listener_open(&server->listener, settings->listen, problem)) {
		free(server);
		return NULL;
	}
	server->settings = *settings;
	server->signals = take_signals();
	server->places = places_within_limits();
	for (unsigned i = 0; i < server->places; i++)
		server->guests[i].descriptor = -1;
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET,
		server->listener.descriptor, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
		MHD_OPTION_CONNECTION_LIMIT, 2 * server->places, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)HTTP_SERVER_REQUEST_BYTES, MHD_OPTION_END);
	if (server->daemon != NULL)
		return server;
	snprintf(problem, LISTENER_PROBLEM_BYTES, "the HTTP library could not start");
	listener_close(&server->listener);
	free(server);
	return NULL;
}

const char *http_server_address(const struct http_server *server) {
	return server->listener.address;
}

static void wait_for_something(struct http_server *server, const sigset_t *signals) {
	int epoll = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	struct pollfd waiting = {.fd = epoll, .events = POLLIN};
	struct timespec longest = {.tv_nsec = 250000000};
	/* Full, the library listens again only when it is run after the last guest has gone. */
	struct timespec calm = {.tv_sec = 1};
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES && timeout_ms < 250)
		longest.tv_nsec = (long)timeout_ms * 1000000;
	ppoll(&waiting, 1, oldest_guest(server) != NULL ? &longest : &calm, signals);
}

void http_server_run(struct http_server *server) {
	while (!is_stopping) {
		wait_for_something(server, &server->signals);
		MHD_run(server->daemon);
		show_out_the_late(server);
	}
}

void http_server_close(struct http_server *server) {
	MHD_stop_daemon(server->daemon); /* closes the listening descriptor as well */
	if (server->listener.is_unix)
		unlink(server->listener.address);
	free(server);
}
