/*
 * A ledger followed while its run goes on: read again when asked, with the names that were found before.
 *
 * Reading costs the more the fuller the ledger is, so a follower paces itself: it reads again only when the last
 * reading is old compared with what it cost, and at least every FOLLOWER_LONGEST_NS. What it shows meanwhile is the
 * last reading; follower_read_at_ns() says how old that is. Belongs to one thread.
 */
#ifndef PQLEASE_ANALYZER_LIVE_FOLLOWER_H
#define PQLEASE_ANALYZER_LIVE_FOLLOWER_H

#include <stdint.h>

#include "analyzer/report/report.h"

#define FOLLOWER_SHORTEST_NS UINT64_C(200000000) /* between two readings */
#define FOLLOWER_LONGEST_NS \
	UINT64_C(10000000000) /* a full ledger takes some 50 ms: half a percent of a core */
enum { FOLLOWER_PACE = 150 }; /* readings cost at most one part of this */

enum follower_state {
	FOLLOWER_UNREAD, /* could not be read so far: there is no report */
	FOLLOWER_LIVE,
	FOLLOWER_ENDED, /* the run is over, nothing of it can change */
	FOLLOWER_LOST /* could be read once, now it is removed or is no ledger any more: the last report stays */
};

struct follower;

/* Never fails but for memory (arena.h): what cannot be read is FOLLOWER_UNREAD. Nothing is read yet. The settings must
 * outlive the follower. */
struct follower *follower_open(const char *path, const struct report_settings *settings);
void follower_close(struct follower *follower);

/* Reads again if it is due at `now_ns` (CLOCK_MONOTONIC), which invalidates the report before. */
enum follower_state follower_look(struct follower *follower, uint64_t now_ns);

const char *follower_path(const struct follower *follower);
/* NULL if it was never read. Valid until the next look. */
const struct report *follower_report(const struct follower *follower);
/* Why it is UNREAD or LOST, a sentence without a full stop; NULL otherwise. */
const char *follower_problem(const struct follower *follower);
uint64_t follower_read_at_ns(const struct follower *follower); /* CLOCK_MONOTONIC, 0 never */

#endif
