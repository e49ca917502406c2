#include "analyzer/live/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

union any_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
};

static bool fail(char problem[LISTENER_PROBLEM_BYTES], const char *why) {
	snprintf(problem, LISTENER_PROBLEM_BYTES, "%s", why);
	return false;
}

/* ---- ADDRESS:PORT ------------------------------------------------------------------------------------- */

static bool parse_port(const char *text, in_port_t *port) {
	char *end;
	unsigned long number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || number > 65535)
		return false;
	*port = htons((uint16_t)number);
	return true;
}

/* The host part without brackets, and where the port begins; false if there are no such parts. */
static bool split(const char *where, char host[INET6_ADDRSTRLEN], const char **port) {
	const char *colon = strrchr(where, ':');
	bool has_brackets = *where == '[';
	const char *begin = where + has_brackets;
	const char *end = colon != NULL && has_brackets ? colon - 1 : colon;
	if (colon == NULL || end <= begin || (has_brackets && *end != ']') ||
	    (size_t)(end - begin) >= INET6_ADDRSTRLEN)
		return false;
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';
	*port = colon + 1;
	return true;
}

static socklen_t parse_inet(union any_address *address, const char *where) {
	char host[INET6_ADDRSTRLEN];
	const char *port;
	*address = (union any_address){0};
	if (!split(where, host, &port))
		return 0;
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");
	if (*where != '[' && inet_pton(AF_INET, host, &address->v4.sin_addr) == 1 &&
	    parse_port(port, &address->v4.sin_port)) {
		address->v4.sin_family = AF_INET;
		return sizeof address->v4;
	}
	if (*where == '[' && inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1 &&
	    parse_port(port, &address->v6.sin6_port)) {
		address->v6.sin6_family = AF_INET6;
		return sizeof address->v6;
	}
	return 0;
}

static void describe_inet(struct listener *listener) {
	char text[INET6_ADDRSTRLEN] = "?";
	union any_address address = {0};
	socklen_t length = sizeof address;
	getsockname(listener->descriptor, &address.any, &length);
	bool is_v6 = address.any.sa_family == AF_INET6;
	inet_ntop(address.any.sa_family, is_v6 ? (void *)&address.v6.sin6_addr : (void *)&address.v4.sin_addr,
		  text, sizeof text);
	snprintf(listener->address, sizeof listener->address, is_v6 ? "http://[%s]:%u" : "http://%s:%u", text,
		 ntohs(is_v6 ? address.v6.sin6_port : address.v4.sin_port));
}

/* ---- Unix sockets --------------------------------------------------------------------------------------- */

static bool parse_local(union any_address *address, const char *path, char problem[LISTENER_PROBLEM_BYTES]) {
	*address = (union any_address){.local = {.sun_family = AF_UNIX}};
	if (strlen(path) >= sizeof address->local.sun_path)
		return fail(problem, "the path is too long for a socket");
	strcpy(address->local.sun_path, path);
	return true;
}

static bool is_deserted(const union any_address *address) {
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_refused = probe >= 0 && connect(probe, &address->any, sizeof address->local) != 0 &&
		errno == ECONNREFUSED;
	if (probe >= 0)
		close(probe);
	return is_refused;
}

/* What a server that was killed left behind. */
static bool clear_place(const union any_address *address, char problem[LISTENER_PROBLEM_BYTES]) {
	struct stat file;
	const char *path = address->local.sun_path;
	if (lstat(path, &file) != 0)
		return true;
	if (!S_ISSOCK(file.st_mode))
		return fail(problem, "there is a file that is no socket");
	if (!is_deserted(address))
		return fail(problem, "somebody listens there already");
	return unlink(path) == 0 || fail(problem, strerror(errno));
}

/* ---- Opening ---------------------------------------------------------------------------------------------- */

static bool bind_and_listen(struct listener *listener, const union any_address *address, socklen_t length,
			    char problem[LISTENER_PROBLEM_BYTES]) {
	const int yes = 1;
	listener->descriptor = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->descriptor < 0)
		return fail(problem, strerror(errno));
	if (!listener->is_unix)
		setsockopt(listener->descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(listener->descriptor, &address->any, length) == 0 &&
	    listen(listener->descriptor, BACKLOG) == 0)
		return true;
	fail(problem, strerror(errno));
	close(listener->descriptor);
	return false;
}

static bool open_local(struct listener *listener, const char *path, char problem[LISTENER_PROBLEM_BYTES]) {
	union any_address address;
	listener->is_unix = true;
	if (!parse_local(&address, path, problem) || !clear_place(&address, problem))
		return false;
	snprintf(listener->address, sizeof listener->address, "%s", path);
	mode_t before = umask(0177); /* the ledger is the user's own, so is what tells of it */
	bool is_open = bind_and_listen(listener, &address, sizeof address.local, problem);
	umask(before);
	return is_open;
}

bool listener_open(struct listener *listener, const char *where, char problem[LISTENER_PROBLEM_BYTES]) {
	union any_address address;
	*listener = (struct listener){.descriptor = -1};
	if (strchr(where, '/') != NULL)
		return open_local(listener, where, problem);
	socklen_t length = parse_inet(&address, where);
	if (length == 0)
		return fail(problem, "neither ADDRESS:PORT nor the path of a socket");
	if (!bind_and_listen(listener, &address, length, problem))
		return false;
	describe_inet(listener);
	return true;
}

void listener_close(struct listener *listener) {
	if (listener->descriptor < 0)
		return;
	if (listener->is_unix)
		unlink(listener->address);
	close(listener->descriptor);
	listener->descriptor = -1;
}
