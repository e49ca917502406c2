/*
 * A listening socket from what a user wrote: ADDRESS:PORT, [ADDRESS]:PORT, localhost:PORT, or a path (it contains a
 * slash) of a unix socket. Names other than localhost are not looked up.
 */
#ifndef PQLEASE_ANALYZER_LIVE_LISTENER_H
#define PQLEASE_ANALYZER_LIVE_LISTENER_H

#include <stdbool.h>

enum { LISTENER_PROBLEM_BYTES = 256, LISTENER_ADDRESS_BYTES = 128 };

struct listener {
	int descriptor; /* non-blocking, closed on exec */
	bool is_unix;
	char address[LISTENER_ADDRESS_BYTES]; /* as a client would write it, with the real port */
};

/* False after `problem` says why. A socket file that nobody listens on any more is replaced; other files are not. */
bool listener_open(struct listener *listener, const char *where, char problem[LISTENER_PROBLEM_BYTES]);
/* Closes it; the socket file it made is removed. */
void listener_close(struct listener *listener);

#endif
