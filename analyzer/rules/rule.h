/*
 * Rules: each looks at one group of sites, one pool or the whole run and says whether there is a finding of its kind. A rule
 * is one file, rule_<kind>.c, and one line in rules.def.
 */
#ifndef PQLEASE_ANALYZER_RULES_RULE_H
#define PQLEASE_ANALYZER_RULES_RULE_H

#include <stdbool.h>

#include "analyzer/judge/finding.h"
#include "analyzer/report/report.h"
#include "analyzer/symbols/site_groups.h"

struct rule_input {
	const struct model *model;
	const struct site_group *group; /* NULL unless the rule is about sites */
	const struct site_groups *groups;
	struct arena *arena; /* for messages */
	const struct report_settings *settings;
	const struct report *report;    /* totals, failures, pools and server of it are there already */
	const struct report_pool *pool; /* NULL unless the rule is about pools */
	const bool *growing;            /* by number of group: there is a finding of this kind */
};

/* Returns whether there is a finding. If so, count, message and evidence are filled; kind, level,
 * certainty, fingerprint and site are already there and may be changed. */
typedef bool rule_function(const struct rule_input *input, struct finding *finding);

#define RULE(kind, function, level, certainty) rule_function function;
#include "analyzer/rules/rules.def"
#undef RULE

struct rule_findings {
	struct finding *findings; /* by level, then in the order of rules.def, then by count */
	size_t count;
};

/* In `input` only model, arena, settings and report are given. */
void rule_judge_all(struct rule_findings *findings, const struct rule_input *input,
		    const struct site_groups *groups);

/* Whether findings of this kind are made at all. */
bool rule_knows_kind(const char *kind);
/* What findings of a kind are about; a place, should the kind not be known. */
enum finding_scope rule_scope(const char *kind);

/* ---- For rules ---------------------------------------------------------------------------------- */

/* Bits of enum model_how_ended. */
#define RULE_HOW(how) (1u << (how))

/* How many were left in state `left` by processes that ended in one of the ways `hows`. First and last
 * instants, the oldest age and examples are added to the finding's. */
uint64_t rule_take_left(const struct rule_input *input, enum model_left left, unsigned hows,
			struct finding *finding);
uint64_t rule_count_left(const struct rule_input *input, enum model_left left, unsigned hows);

/* How many were released in way `kind`, orphans among them or not; counted in the finding with their instants, and examples
 * from the history as far as it reaches. */
enum rule_orphans { RULE_WITHOUT_ORPHANS, RULE_ORPHANS_ONLY };
uint64_t rule_take_released(const struct rule_input *input, enum release_kind kind, enum rule_orphans orphans,
			    struct finding *finding);
/* Leases of pools that were used here last, and ended so in the middle of that use; added to the finding with their instants and
 * examples. The message says so, behind what it says already, if anything. */
uint64_t rule_take_checkouts(const struct rule_input *input, enum site_checkout_end end,
			     struct finding *finding);

/* Leases taken here, whether established by a connect or by a reset. */
uint64_t rule_count_taken(const struct rule_input *input);
/* "; 97 others were released at pool.c:12 in give_back: a path that leads around it leaks", "" if none was. */
const char *rule_say_released(const struct rule_input *input);

/* Of two uses that should not have met, where the other one was: " at shop.py:12 in pay", "" if that is not known. `here`
 * says which of the two is booked at the group's sites. */
enum rule_misuse_side { RULE_FIRST_SITE, RULE_SECOND_SITE };
const char *rule_say_other_site(const struct rule_input *input, enum model_release misuse,
				enum rule_misuse_side here);

/* Examples of leases that processes used here without having taken them. */
void rule_take_borrowed_examples(const struct rule_input *input, struct finding *finding);

/* Whether a site is one of the group's. */
bool rule_is_here(const struct rule_input *input, uint32_t site);

/* Who looks at open leases leaves those alone that are blamed already: whose thread has gone, and those of a place where
 * more and more are open. */
bool rule_is_blamed_open(const struct rule_input *input, const struct model_lease *lease);

/* Open leases of processes that are there. */
bool rule_is_open(const struct model_lease *lease);
/* Of these: a use is in progress, no command in flight. Nobody is blamed for a command in flight. */
bool rule_is_waiting_in_use(const struct model_lease *lease);

/* How many samples of one measure at the group's sites are longer. */
uint64_t rule_count_longer(const struct rule_input *input, enum model_measure measure, double seconds);

/* Counts a lease in the finding: its instants, its age, an example. Begin with no examples. */
void rule_add_lease(const struct rule_input *input, struct finding *finding, const struct model_lease *lease,
		    uint64_t since_ns);

/* A finding about something that the site's totals count and time: false if there was none. */
bool rule_take_counted(const struct rule_input *input, enum model_counter counter,
		       enum model_finding_time time, struct finding *finding);

void rule_add_seconds(struct finding *finding, const char *key, double seconds);
/* "1.5 s", "20 ms". */
const char *rule_duration(struct arena *arena, double seconds);

void rule_add_count(struct finding *finding, const char *key, uint64_t value);
/* Evidence "oldest_age" of all that was taken, when any age is known. */
void rule_add_oldest_age(struct finding *finding);

/* "" for one, "s" for more. */
const char *rule_plural(uint64_t count);

#endif
