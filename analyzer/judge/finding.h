/*
 * One judged problem. Rules make findings, reports carry them; neither the ledger nor a format is known here.
 */
#ifndef PQLEASE_ANALYZER_JUDGE_FINDING_H
#define PQLEASE_ANALYZER_JUDGE_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum finding_level { FINDING_ERROR, FINDING_WARNING, FINDING_NOTE };
enum finding_certainty { FINDING_FACT, FINDING_SUSPICION };

enum { FINDING_EVIDENCE_MAX = 12, FINDING_FINGERPRINT_BYTES = 17 };

/* Numbers that support a finding, in the order in which they are shown. */
struct finding_evidence {
	const char *key;
	bool is_seconds; /* else a count */
	uint64_t count;
	double seconds;
};

/* One lease or attempt of those counted. */
struct finding_example {
	int32_t pid;
	int32_t backend_pid; /* 0: unknown */
	uint64_t taken_ns;
	uint64_t age_ns;
	const char *test;    /* "" unknown */
	uint32_t taken_site; /* where it was taken, which may be elsewhere than the finding */
};

/* What a finding is about. */
enum finding_scope { FINDING_OF_SITE, FINDING_OF_POOL, FINDING_OF_RUN };

struct finding {
	const char *kind;
	enum finding_scope scope;
	unsigned rank; /* of the kind: what matters more has the lower one */
	enum finding_level level;
	enum finding_certainty certainty;
	char fingerprint[FINDING_FINGERPRINT_BYTES];
	uint64_t count; /* leases or attempts, never processes */
	uint32_t site;
	bool has_pool;
	size_t pool;       /* number in the report's pools */
	uint64_t first_ns; /* monotonic, 0 unknown */
	uint64_t last_ns;
	uint64_t oldest_age_ns; /* 0 unknown */
	const char *message;
	struct finding_evidence evidence[FINDING_EVIDENCE_MAX];
	size_t evidence_count;
	const struct finding_example *examples;
	size_t example_count;
};

const char *finding_level_name(enum finding_level level);
const char *finding_certainty_name(enum finding_certainty certainty);

#endif
