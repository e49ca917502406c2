/*
 * Who released a lease, judged from the stack of its PQfinish and raw facts about that moment.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_RELEASE_KIND_H
#define PQLEASE_ANALYZER_JUDGE_RELEASE_KIND_H

#include <stdint.h>

#include "analyzer/symbols/site_frames.h"

enum release_kind {
	RELEASE_EXPLICIT,  /* the program's own code called for it */
	RELEASE_DROPPED,   /* the program dropped the last reference, and the object was destroyed at once */
	RELEASE_COLLECTOR, /* a garbage collector found it */
	RELEASE_EXIT, /* while the interpreter shut down, or by a static destructor or handler of exit() */
	RELEASE_OTHER_PROCESS, /* by a forked process */
	RELEASE_UNKNOWN,       /* no stack, or none that tells */
	RELEASE_KIND_COUNT
};

const char *release_kind_name(enum release_kind kind);

/* `frames` are those of the site where it was released, `facts` enum model_release_fact. */
enum release_kind release_kind_of(const struct site_frames *frames, uint32_t facts);

#endif
