#include "analyzer/judge/verdict_causes.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const double LIKELY = 0.5;     /* from here a cause counts */
static const double STANDS_OUT = 0.2; /* over the second one */

struct causes_facts {
	const struct verdict_signs *signs;
	const struct thresholds *thresholds;
	const struct report *report;
	struct arena *arena;
};

static double between_0_and_1(double value) {
	return value < 0 || isnan(value) ? 0 : value > 1 ? 1 : value;
}

static bool is_strained(const struct causes_facts *facts) {
	return facts->signs->refused > 0 || facts->signs->full_pool != NULL;
}

static bool has_uses(const struct causes_facts *facts) {
	return facts->signs->uses > 0;
}

static bool has_no_uses(const struct causes_facts *facts) {
	return !has_uses(facts);
}

/* Between uses, not in the middle of one. */
static bool lies_idle(const struct causes_facts *facts) {
	return facts->signs->transaction_idle_share < facts->signs->idle_share;
}

/* ---- Scores ------------------------------------------------------------------------------------- */

/* Sure by its finding; how much of the trouble it explains is told by when attempts failed. */
static double score_stampede(const struct causes_facts *facts) {
	return facts->signs->stampede != NULL ? facts->signs->refused_at_start : 0;
}

static double score_role_contention(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	if (signs->refused == 0 || isnan(signs->holders) || signs->holding_role == NULL)
		return 0;
	return (1 - score_stampede(facts)) * signs->other_roles_share;
}

/* How much of what there was our own processes held when they were refused. */
static double own_share(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	double held = isnan(signs->holders) ? (double)facts->report->totals.peak_open : signs->holders;
	if (signs->slots != REPORT_UNKNOWN)
		return between_0_and_1(held / (double)(signs->slots > 0 ? signs->slots : 1));
	/* Without the limit: who held nothing cannot have filled it, and who held several may have. */
	return held < 1 ? 0 : held <= 2 ? 0.5 : 0.8;
}

static double score_external(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	if (signs->refused == 0)
		return 0;
	double missing = 1 - own_share(facts);
	/* With the server's word for it that others are there, half of the slots is enough. */
	bool is_witnessed =
		signs->slots != REPORT_UNKNOWN && signs->foreign > 0 && signs->foreign * 2 >= signs->slots;
	if (is_witnessed)
		return fmax(missing, (double)signs->foreign / (double)signs->slots);
	/* At a start many have a slot of the server that are not through with connecting. */
	return missing * (1 - score_stampede(facts));
}

/* What is left for causes inside a role when neither others nor the start explain it. */
static double left_over(const struct causes_facts *facts) {
	if (facts->signs->refused == 0)
		return 1;
	return (1 - score_external(facts)) * (1 - score_role_contention(facts)) * (1 - score_stampede(facts));
}

static double slowness(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	double slow_s = facts->thresholds->slow_query_note / 2;
	return between_0_and_1(signs->query_share) * between_0_and_1(signs->query_per_use_s / slow_s);
}

static double idleness(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	double idle_s = facts->thresholds->idle_in_use_note;
	double in_use = between_0_and_1(signs->transaction_idle_share) *
		between_0_and_1(signs->transaction_idle_per_use_s / idle_s);
	/* Without one use nobody knows what all these connections are held for: idle is not the word. */
	return signs->refused > 0 && has_uses(facts) ? fmax(in_use, signs->idle_share) : in_use;
}

static double score_slow_queries(const struct causes_facts *facts) {
	return is_strained(facts) ? left_over(facts) * slowness(facts) : 0;
}

static double score_held_idle(const struct causes_facts *facts) {
	double strained = is_strained(facts) ? left_over(facts) * idleness(facts) : 0;
	/* Half a minute of silence in a transaction is trouble for others, with slots left or not. */
	double alone = !is_strained(facts) && facts->signs->held_idle != NULL ? 0.9 : 0;
	return fmax(strained, alone);
}

static double score_undersized(const struct causes_facts *facts) {
	if (!is_strained(facts))
		return 0;
	double moving = 1 - fmin(1, slowness(facts) + idleness(facts));
	return left_over(facts) * moving;
}

static double score_churn(const struct causes_facts *facts) {
	return facts->signs->churn == NULL ? 0 : is_strained(facts) ? 0.7 : 0.9;
}

/* ---- Sentences ---------------------------------------------------------------------------------- */

static const char *percent(const struct causes_facts *facts, double share) {
	return arena_text(facts->arena, "%.0f%%", 100 * between_0_and_1(share));
}

static const char *duration(const struct causes_facts *facts, double seconds) {
	return seconds < 1 ? arena_text(facts->arena, "%.0f ms", 1e3 * seconds)
			   : arena_text(facts->arena, "%.1f s", seconds);
}

/* "12 connections were refused" or "pool 'web' was 97% utilized on average (2.9/3 active)". */
static const char *say_strain(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	if (signs->refused > 0)
		return arena_text(facts->arena, "%" PRId64 " connection%s refused", signs->refused,
				  signs->refused == 1 ? " was" : "s were");
	if (signs->full_pool == NULL)
		return "nobody was refused";
	return arena_text(facts->arena, "pool '%s' was %s utilized",
			  signs->full_pool->role != NULL ? signs->full_pool->role : "?",
			  percent(facts, signs->full_pool->utilization));
}

static const char *say_stampede(const struct causes_facts *facts) {
	return arena_text(facts->arena,
			  "Stampede: %" PRId64 " connections were asked for within the first %s, %" PRId64
			  " in vain; later never more than %" PRId64 " were open.",
			  facts->signs->start.attempts, duration(facts, facts->thresholds->stampede_window),
			  facts->signs->start.failures, facts->signs->start.steady_peak);
}

static const char *say_role_contention(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	return arena_text(
		facts->arena,
		"Role contention: %s, of role '%s', while other roles held %s of the connections, most of "
		"them '%s'.",
		say_strain(facts), signs->refused_role, percent(facts, signs->other_roles_share),
		signs->holding_role);
}

static const char *say_external(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	const char *held = isnan(signs->holders) ? "few" : arena_text(facts->arena, "%.0f", signs->holders);
	if (signs->slots == REPORT_UNKNOWN)
		return arena_text(
			facts->arena,
			"External: %s while this program held %s: others have the slots, or the limit lies "
			"outside of it.",
			say_strain(facts), held);
	return arena_text(facts->arena,
			  "External: %s while this program held %s of %" PRId64 " slots; %" PRId64
			  " sessions of others were seen.",
			  say_strain(facts), held, signs->slots, signs->foreign);
}

static const char *say_slow_queries(const struct causes_facts *facts) {
	return arena_text(facts->arena,
			  "Slow queries: %s; %s of the time in use a command was in flight, %s per use.",
			  say_strain(facts), percent(facts, facts->signs->query_share),
			  duration(facts, facts->signs->query_per_use_s));
}

static const char *say_held_idle(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	if (lies_idle(facts))
		return arena_text(
			facts->arena,
			"Held idle: %s while %s of the connections that this program held lay idle.",
			say_strain(facts), percent(facts, signs->idle_share));
	return arena_text(
		facts->arena,
		"Held idle: %s; %s of the time in use a transaction waited for the program, %s per use.",
		say_strain(facts), percent(facts, signs->transaction_idle_share),
		duration(facts, signs->transaction_idle_per_use_s));
}

static const char *say_undersized(const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	if (has_no_uses(facts))
		return arena_text(
			facts->arena,
			"Undersized: %s; of what this program held no use was seen: it asks for more "
			"connections than there are.",
			say_strain(facts));
	const char *moving =
		arena_text(facts->arena, "commands take %s per use", duration(facts, signs->query_per_use_s));
	return arena_text(facts->arena,
			  "Undersized: %s; %s and nothing is held idle: there are too few connections.",
			  say_strain(facts), moving);
}

static const char *say_churn(const struct causes_facts *facts) {
	return arena_text(facts->arena, "Churn: %s.", facts->signs->churn->message);
}

/* ---- The causes --------------------------------------------------------------------------------- */

enum { ADVICE_MAX = 3 };

static const struct cause {
	const char *name;
	double (*score)(const struct causes_facts *facts);
	const char *(*say)(const struct causes_facts *facts);
	const char *advice[ADVICE_MAX + 1];
} causes[] = {
	{"stampede",
	 score_stampede,
	 say_stampede,
	 {"Let workers start one after another, or wait 50 to 200 ms at random before they connect.",
	  "Fill caches from one process before the others start.", NULL}},
	{"role_contention",
	 score_role_contention,
	 say_role_contention,
	 {"Give each role a limit of its own, so that background work cannot take what requests need.",
	  "Reserve slots: a few that no other role may use keep ad-hoc work possible.", NULL}},
	{"external",
	 score_external,
	 say_external,
	 {"Look who has the slots: SELECT application_name, usename, count(*) FROM pg_stat_activity GROUP BY "
	  "1, 2.",
	  "Changing this program's pool will not help.", NULL}},
	{"slow_queries",
	 score_slow_queries,
	 say_slow_queries,
	 {"Make the slow commands faster first; more connections only run more of them at once.", NULL}},
	{"held_idle",
	 score_held_idle,
	 say_held_idle,
	 {"Keep sleeps and calls to other services out of transactions, and give connections back before "
	  "them.",
	  NULL}},
	{"undersized",
	 score_undersized,
	 say_undersized,
	 {"Grow the pool, as far as the server has slots: the usual start is twice the number of concurrent "
	  "workers.",
	  NULL}},
	{"churn",
	 score_churn,
	 say_churn,
	 {"Keep connections in a pool, or one per process: connecting costs more than most queries.", NULL}},
};

/* Where this holds, something else is to be done. */
static const struct other_advice {
	const char *cause;
	bool (*applies)(const struct causes_facts *facts);
	const char *advice[ADVICE_MAX + 1];
} other_advice[] = {
	{"held_idle",
	 lies_idle,
	 {"Close connections that lie idle, or share them in a smaller pool: each of them takes a slot.",
	  NULL}},
	{"undersized",
	 has_no_uses,
	 {"Open connections when they are needed: those that are never used take slots all the same.", NULL}},
};

enum { CAUSE_COUNT = sizeof causes / sizeof causes[0], EVIDENCE_MAX = 24 };

/* ---- Evidence ----------------------------------------------------------------------------------- */

struct evidence {
	struct report_count *counts;
	size_t count;
};

static void add(struct evidence *evidence, const char *key, double value) {
	evidence->counts[evidence->count++] =
		(struct report_count){key, isnan(value) ? REPORT_UNKNOWN : (int64_t)llround(value)};
}

static void add_count(struct evidence *evidence, const char *key, int64_t value) {
	evidence->counts[evidence->count++] = (struct report_count){key, value};
}

static void give_evidence(struct report_verdict *verdict, const struct causes_facts *facts) {
	const struct verdict_signs *signs = facts->signs;
	struct evidence evidence = {arena_array(facts->arena, EVIDENCE_MAX, sizeof *evidence.counts), 0};
	bool has_uses = signs->uses > 0;
	add_count(&evidence, "refused", signs->refused);
	add(&evidence, "utilization_percent",
	    signs->full_pool != NULL ? 100 * signs->full_pool->utilization : NAN);
	add(&evidence, "query_percent", has_uses ? 100 * signs->query_share : NAN);
	add(&evidence, "query_ms_per_use", has_uses ? 1e3 * signs->query_per_use_s : NAN);
	add(&evidence, "idle_in_transaction_percent", has_uses ? 100 * signs->transaction_idle_share : NAN);
	add(&evidence, "idle_in_transaction_ms_per_use",
	    has_uses ? 1e3 * signs->transaction_idle_per_use_s : NAN);
	add(&evidence, "held_when_refused", signs->holders);
	add(&evidence, "held_by_other_roles_percent",
	    isnan(signs->holders) ? NAN : 100 * signs->other_roles_share);
	add(&evidence, "held_idle_percent", isnan(signs->holders) ? NAN : 100 * signs->idle_share);
	add_count(&evidence, "slots", signs->slots);
	add_count(&evidence, "foreign_sessions", signs->foreign);
	add_count(&evidence, "start_attempts",
		  signs->start.is_known ? signs->start.attempts : REPORT_UNKNOWN);
	add_count(&evidence, "start_failures",
		  signs->start.is_known ? signs->start.failures : REPORT_UNKNOWN);
	add_count(&evidence, "steady_peak",
		  signs->start.is_known ? signs->start.steady_peak : REPORT_UNKNOWN);
	verdict->evidence = evidence.counts;
	verdict->evidence_count = evidence.count;
}

/* ---- Judging ------------------------------------------------------------------------------------ */

static size_t list_length(const char *const *list) {
	size_t length = 0;
	while (list[length] != NULL)
		length++;
	return length;
}

static const char *const *advice_for(const struct causes_facts *facts, const struct cause *cause) {
	for (size_t i = 0; i < sizeof other_advice / sizeof other_advice[0]; i++)
		if (strcmp(other_advice[i].cause, cause->name) == 0 && other_advice[i].applies(facts))
			return other_advice[i].advice;
	return cause->advice;
}

static void give_cause(struct report_verdict *verdict, const struct causes_facts *facts,
		       const struct cause *cause) {
	verdict->cause = cause->name;
	verdict->message = cause->say(facts);
	verdict->advice = advice_for(facts, cause);
	verdict->advice_count = list_length(verdict->advice);
}

static void give_candidates(struct report_verdict *verdict, const struct causes_facts *facts,
			    const struct cause *first, const struct cause *second) {
	const char **candidates = arena_array(facts->arena, 2, sizeof *candidates);
	const char **advice = arena_array(facts->arena, 2, sizeof *advice);
	candidates[0] = first->name;
	candidates[1] = second->name;
	advice[0] = first->say(facts);
	advice[1] = second->say(facts);
	verdict->cause = "unsure";
	verdict->candidates = candidates;
	verdict->candidate_count = 2;
	verdict->advice = advice;
	verdict->advice_count = 2;
	verdict->message = arena_text(facts->arena, "Unsure: %s; it may be %s or %s.", say_strain(facts),
				      first->name, second->name);
}

bool verdict_causes_judge(struct report_verdict *verdict, struct arena *arena, const struct report *report,
			  const struct verdict_signs *signs, const struct thresholds *thresholds) {
	struct causes_facts facts = {signs, thresholds, report, arena};
	const struct cause *first = NULL;
	const struct cause *second = NULL;
	double first_score = -1;
	double second_score = -1;
	for (size_t i = 0; i < CAUSE_COUNT; i++) {
		double score = causes[i].score(&facts);
		if (score > first_score) {
			second = first;
			second_score = first_score;
			first = &causes[i];
			first_score = score;
		} else if (score > second_score) {
			second = &causes[i];
			second_score = score;
		}
	}
	bool is_trouble = is_strained(&facts) || first_score >= LIKELY;
	if (!is_trouble)
		return false;
	*verdict = (struct report_verdict){0};
	if (first_score >= LIKELY && first_score - second_score >= STANDS_OUT)
		give_cause(verdict, &facts, first);
	else
		give_candidates(verdict, &facts, first, second);
	give_evidence(verdict, &facts);
	return true;
}
