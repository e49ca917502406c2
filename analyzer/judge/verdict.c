#include "analyzer/judge/verdict.h"

#include <inttypes.h>
#include <string.h>

#include "analyzer/judge/verdict_causes.h"

/* ---- Facts ------------------------------------------------------------------------------------ */

/* What verdicts are given from: the findings, added up. */
struct verdict_facts {
	const struct report *report;
	struct arena *arena;
	uint64_t leaked;                         /* established, and not given back by the program */
	uint64_t never_finished;                 /* of these, by nobody */
	uint64_t failed_leaked;                  /* failed, never finished */
	uint64_t leak_sites;                     /* places of the first */
	uint64_t failed_leak_sites;              /* places of the second */
	const struct report_finding *worst_leak; /* the one with the most leases */
	uint64_t problems;                       /* findings of level error about libpq used wrongly */
	uint64_t suspicions;
	uint64_t held;     /* of these, about connections that are perhaps not given back */
	uint64_t vanished; /* of these, about processes that are gone without a word */
	uint64_t killed;   /* leases of processes that were killed */
	uint64_t retained; /* leases that lay in a pool when their process ended */
};

static bool is_kind(const struct finding *finding, const char *kind) {
	return strcmp(finding->kind, kind) == 0;
}

static bool is_misuse(const struct finding *finding) {
	static const char *const kinds[] = {"double-finish", "used-after-fork", "concurrent-use",
					    "use-after-finish"};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (is_kind(finding, kinds[i]))
			return true;
	return false;
}

/* Closed by the end of the process is not given back. A single one for the whole run is a habit, no leak. */
static bool is_leak_finding(const struct finding *finding) {
	static const char *const kinds[] = {"never-finished", "owner-thread-gone", "exit-closed", "growing"};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (is_kind(finding, kinds[i]))
			return finding->level == FINDING_ERROR && finding->certainty == FINDING_FACT;
	return false;
}

static uint64_t evidence_of(const struct finding *finding, const char *key) {
	for (size_t i = 0; i < finding->evidence_count; i++)
		if (strcmp(finding->evidence[i].key, key) == 0)
			return finding->evidence[i].count;
	return 0;
}

static void gather_ends(struct verdict_facts *facts, const struct finding *finding) {
	if (is_kind(finding, "killed")) {
		facts->killed += finding->count;
		facts->vanished += finding->certainty == FINDING_SUSPICION;
	}
	if (is_kind(finding, "pool-retained"))
		facts->retained += evidence_of(finding, "left");
}

static void gather(struct verdict_facts *facts) {
	for (size_t i = 0; i < facts->report->finding_count; i++) {
		const struct finding *finding = facts->report->findings[i].finding;
		bool is_leak = is_leak_finding(finding);
		bool is_failed_leak = is_kind(finding, "failed-not-finished");
		facts->leaked += is_leak ? finding->count : 0;
		facts->never_finished += is_kind(finding, "never-finished") ? finding->count : 0;
		facts->failed_leaked += is_failed_leak ? finding->count : 0;
		facts->leak_sites += is_leak;
		facts->failed_leak_sites += is_failed_leak;
		bool is_told = is_leak || (is_failed_leak && facts->leaked == 0);
		bool is_first = facts->worst_leak == NULL ||
			(is_leak && !is_leak_finding(facts->worst_leak->finding));
		if (is_told && (is_first || finding->count > facts->worst_leak->finding->count))
			facts->worst_leak = &facts->report->findings[i];
		facts->problems += is_misuse(finding);
		facts->suspicions += finding->certainty == FINDING_SUSPICION;
		facts->held += is_kind(finding, "long-held") || is_kind(finding, "stranded");
		gather_ends(facts, finding);
	}
}

/* ---- Predicates and sentences ------------------------------------------------------------------ */

static bool is_unrecorded(const struct verdict_facts *facts) {
	return facts->report->trust.processes == 0;
}

static const char *say_unrecorded(const struct verdict_facts *facts) {
	if (facts->report->trust.off_reason != NULL)
		return arena_text(facts->arena, "Nothing was recorded, so nothing can be said: %s.",
				  facts->report->trust.off_reason);
	return facts->report->run.live
		? "Nothing is recorded yet: no process has called libpq so far."
		: "Nothing was recorded, so nothing can be said: no process called libpq with the "
		  "shim loaded.";
}

static const char *base_name(const char *path) {
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;
	return slash != NULL ? slash + 1 : path != NULL ? path : "?";
}

static bool is_leak(const struct verdict_facts *facts) {
	return facts->leaked + facts->failed_leaked > 0;
}

static bool is_leak_of_failed_only(const struct verdict_facts *facts) {
	return facts->leaked == 0 && facts->failed_leaked > 0;
}

/* "taken at orders.c:53 in charge_customer"; with several places, the worst one. */
static const char *say_where(const struct verdict_facts *facts) {
	const struct report_site *site = report_find_site(facts->report, facts->worst_leak->site);
	const struct site_frame *frame = site != NULL ? report_application_frame(site) : NULL;
	const char *place = NULL;
	if (frame != NULL && !site->frames->is_fallback && frame->file != NULL)
		place = arena_text(facts->arena, "%s:%" PRIu32 " in %s", base_name(frame->file), frame->line,
				   frame->function != NULL ? frame->function : "?");
	else if (frame != NULL && !site->frames->is_fallback && frame->function != NULL)
		place = arena_text(facts->arena, "%s in %s", frame->function, base_name(frame->module));
	uint64_t sites = facts->leaked > 0 ? facts->leak_sites : facts->failed_leak_sites;
	if (sites == 1)
		return place != NULL ? arena_text(facts->arena, "taken at %s", place)
				     : "from one place in the program";
	if (place == NULL)
		return arena_text(facts->arena, "from %" PRIu64 " places in the program", sites);
	return arena_text(facts->arena, "from %" PRIu64 " places in the program, most at %s,", sites, place);
}

static const char *say_leak(const struct verdict_facts *facts) {
	uint64_t count = facts->leaked > 0 ? facts->leaked : facts->failed_leaked;
	const char *what = facts->leaked > 0 ? "connection" : "failed connection";
	const char *also = facts->leaked > 0 && facts->failed_leaked > 0
		? arena_text(facts->arena, ", nor %s %" PRIu64 " that had failed",
			     facts->failed_leaked == 1 ? "was" : "were", facts->failed_leaked)
		: "";
	const char *how = facts->leaked == facts->never_finished ? "never finished"
		: facts->never_finished == 0                     ? "not given back by the program"
								 : "never finished, or not by the program";
	return arena_text(facts->arena, "Leak: %" PRIu64 " %s%s %s %s %s%s.", count, what,
			  count == 1 ? "" : "s", say_where(facts), count == 1 ? "was" : "were", how, also);
}

static bool is_distrusted(const struct verdict_facts *facts) {
	return !facts->report->trust.ok;
}

static const char *say_distrusted(const struct verdict_facts *facts) {
	(void)facts;
	return "Unsure: no leak was seen, but not everything was recorded.";
}

static bool has_vanished(const struct verdict_facts *facts) {
	return facts->vanished > 0;
}

static const char *say_vanished(const struct verdict_facts *facts) {
	(void)facts;
	return "Unsure: connections were held by processes that vanished; whether that is a leak cannot be "
	       "told.";
}

static bool is_suspicious(const struct verdict_facts *facts) {
	return facts->suspicions > 0;
}

static const char *say_suspicious(const struct verdict_facts *facts) {
	(void)facts;
	return "Unsure: connections are perhaps not given back; see the findings.";
}

static bool is_held(const struct verdict_facts *facts) {
	return facts->held > 0 && facts->held == facts->suspicions;
}

static const char *say_held(const struct verdict_facts *facts) {
	(void)facts;
	return "Unsure: connections are held for long, or lie idle while others were opened; whether they "
	       "come back "
	       "cannot be told yet.";
}

static bool has_problems(const struct verdict_facts *facts) {
	return facts->problems > 0;
}

static const char *say_problems(const struct verdict_facts *facts) {
	(void)facts;
	return "Unsure: no connection leaked, but libpq was used wrongly; see the findings.";
}

static bool is_unused(const struct verdict_facts *facts) {
	return facts->report->totals.attempts == 0;
}

static const char *say_unused(const struct verdict_facts *facts) {
	(void)facts;
	return "Nothing wrong: no connection was asked for.";
}

static bool always(const struct verdict_facts *facts) {
	(void)facts;
	return true;
}

/* "of 8 connections 5 were finished and 3 were left in a pool when their process ended": only what happened. */
static const char *say_ends(const struct verdict_facts *facts) {
	const struct report_totals *totals = &facts->report->totals;
	uint64_t left = (uint64_t)totals->unreleased;
	uint64_t told = facts->retained + facts->killed;
	const struct {
		uint64_t count;
		const char *text;
	} parts[] = {{(uint64_t)totals->finished, "finished"},
		     {facts->retained, "left in a pool when the process ended"},
		     {facts->killed, "held by a process that was killed"},
		     {left > told ? left - told : 0, "left by a process that ended"}};
	size_t count = 0;
	size_t said = 0;
	const char *line = arena_text(facts->arena, "No leak found: of %" PRId64 " connection%s",
				      totals->established, totals->established == 1 ? "" : "s");
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		count += parts[i].count > 0;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (parts[i].count == 0)
			continue;
		const char *joint = said == 0 ? "" : said + 1 == count ? " and" : ",";
		said++;
		line = arena_text(facts->arena, "%s%s %" PRIu64 " %s %s", line, joint, parts[i].count,
				  parts[i].count == 1 ? "was" : "were", parts[i].text);
	}
	return arena_text(facts->arena, "%s.", line);
}

static const char *say_none(const struct verdict_facts *facts) {
	const struct report_totals *totals = &facts->report->totals;
	if (totals->open > 0)
		return arena_text(facts->arena,
				  "No leak found so far: of %" PRId64 " connection%s %" PRId64
				  " %s open and %" PRId64 " %s finished.",
				  totals->established, totals->established == 1 ? "" : "s", totals->open,
				  totals->open == 1 ? "is" : "are", totals->finished,
				  totals->finished == 1 ? "was" : "were");
	if (totals->unreleased > 0)
		return say_ends(facts);
	if (totals->established == 0 && totals->failed > 0)
		return arena_text(facts->arena,
				  "No connection was established: %" PRId64
				  " attempt%s failed, see the failures.",
				  totals->failed, totals->failed == 1 ? "" : "s");
	if (totals->established == 0)
		return "No leak found: no connection was established.";
	if (totals->established == 1)
		return "No leak found: the one connection that was taken came to a known end.";
	return arena_text(facts->arena, "No leak found: all %" PRId64 " connections came to a known end.",
			  totals->established);
}

/* ---- The table ---------------------------------------------------------------------------------- */

enum { ADVICE_MAX = 3, CANDIDATES_MAX = 3 };

/* Stand for what the language of the place that leaks says. */
#define RELEASE_LEAKED "release, leaked"
#define RELEASE_FAILED "release, failed"

#define ON_EVERY_PATH "on every path that leaves the functions below"
#define ALSO_FAILED " also when connecting has failed: that frees memory and often a socket."

static const struct release_words {
	const char *leaked;
	const char *failed;
} release_words[MODEL_LANGUAGE_END] = {
	[MODEL_NATIVE] = {"Call PQfinish " ON_EVERY_PATH ", also when the connection has failed.",
			  "Call PQfinish also when the connection has failed: it frees memory and often a "
			  "socket."},
	[MODEL_PYTHON] = {"Close the connection " ON_EVERY_PATH
			  ": close() in finally, or with contextlib.closing(...). "
			  "The context manager of a psycopg2 connection ends the transaction only.",
			  "Call close() in finally," ALSO_FAILED},
	[MODEL_PHP] = {"Close the connection " ON_EVERY_PATH
		       ": pg_close() in finally; for PDO set every reference to "
		       "the object to null.",
		       "Call pg_close(), or set the PDO object to null, in finally," ALSO_FAILED},
	[MODEL_RUBY] = {"Close the connection " ON_EVERY_PATH ": conn.close in ensure.",
			"Call conn.close in ensure," ALSO_FAILED},
	[MODEL_PERL] = {"Close the connection " ON_EVERY_PATH
			", also by die: $dbh->disconnect, and let the handle go out of scope.",
			"Let the handle go out of scope," ALSO_FAILED},
	[MODEL_NODE] = {"Close the connection " ON_EVERY_PATH ": client.end() in finally.",
			"Call client.end() in finally," ALSO_FAILED},
};

/* The first line that applies is the verdict. */
static const struct verdict_line {
	bool (*applies)(const struct verdict_facts *facts);
	const char *cause;
	const char *(*message)(const struct verdict_facts *facts);
	const char *candidates[CANDIDATES_MAX + 1];
	const char *advice[ADVICE_MAX + 1];
} verdict_lines[] = {
	{is_unrecorded,
	 "unsure",
	 say_unrecorded,
	 {NULL},
	 {"Check that the program uses libpq, is dynamically linked, and is neither setuid nor started with "
	  "a cleared "
	  "environment.",
	  NULL}},
	{is_leak_of_failed_only, "leak", say_leak, {NULL}, {RELEASE_FAILED, NULL}},
	{is_leak,
	 "leak",
	 say_leak,
	 {NULL},
	 {RELEASE_LEAKED,
	  "A larger pool or a higher max_connections only delays the moment when the leak is felt.", NULL}},
	{is_distrusted,
	 "unsure",
	 say_distrusted,
	 {NULL},
	 {"Record again with a larger PQLEASE_LEDGER_SIZE, or see the reasons.", NULL}},
	{is_held,
	 "unsure",
	 say_held,
	 {"leak", "held_idle", NULL},
	 {"See the findings for who has them.", NULL}},
	{has_vanished,
	 "unsure",
	 say_vanished,
	 {"leak", "external", NULL},
	 {"Find out why the processes vanished: killed, crashed, or replaced by a program without the shim.",
	  NULL}},
	{is_suspicious, "unsure", say_suspicious, {"leak", NULL}, {NULL}},
	{has_problems, "unsure", say_problems, {NULL}, {NULL}},
	{is_unused, "none", say_unused, {NULL}, {NULL}},
	{always, "none", say_none, {NULL}, {NULL}},
};

static size_t list_length(const char *const *list) {
	size_t length = 0;
	while (list[length] != NULL)
		length++;
	return length;
}

static const struct release_words *words_for(const struct verdict_facts *facts) {
	const struct report_site *site =
		facts->worst_leak != NULL ? report_find_site(facts->report, facts->worst_leak->site) : NULL;
	const struct site_frame *frame = site != NULL ? report_application_frame(site) : NULL;
	enum model_language language = frame != NULL ? frame->language : MODEL_NATIVE;
	return &release_words[language < MODEL_LANGUAGE_END && release_words[language].leaked != NULL
				      ? language
				      : MODEL_NATIVE];
}

static void fill_advice(struct report_verdict *verdict, const struct verdict_facts *facts,
			const char *const *from) {
	const struct release_words *words = words_for(facts);
	const char **advice = arena_array(facts->arena, ADVICE_MAX, sizeof *advice);
	verdict->advice = advice;
	verdict->advice_count = list_length(from);
	for (size_t i = 0; i < verdict->advice_count; i++)
		advice[i] = strcmp(from[i], RELEASE_LEAKED) == 0 ? words->leaked
			: strcmp(from[i], RELEASE_FAILED) == 0   ? words->failed
								 : from[i];
}

static void fill_evidence(struct report_verdict *verdict, const struct verdict_facts *facts) {
	const struct report_count evidence[] = {
		{"leaked", (int64_t)facts->leaked},
		{"never_finished", (int64_t)facts->never_finished},
		{"failed_not_finished", (int64_t)facts->failed_leaked},
		{"sites", (int64_t)facts->leak_sites},
		{"suspicions", (int64_t)facts->suspicions},
		{"established", facts->report->totals.established},
		{"finished", facts->report->totals.finished},
	};
	struct report_count *copy =
		arena_array(facts->arena, sizeof evidence / sizeof evidence[0], sizeof *copy);
	memcpy(copy, evidence, sizeof evidence);
	verdict->evidence = copy;
	verdict->evidence_count = sizeof evidence / sizeof evidence[0];
}

/* ---- How long a leak can go on ------------------------------------------------------------------- */

enum { SIZES = 2, ENOUGH_LEAKS = 3 };

static const char *say_duration(struct arena *arena, double seconds) {
	return seconds < 1.5     ? "a second"
		: seconds < 120  ? arena_text(arena, "%.0f seconds", seconds)
		: seconds < 7200 ? arena_text(arena, "%.0f minutes", seconds / 60)
				 : arena_text(arena, "%.0f hours", seconds / 3600);
}

/* Three digits, none of them behind an exponent. */
static const char *say_rate(struct arena *arena, double rate) {
	return arena_text(arena, rate < 999.5 ? "%.3g" : "%.0f", rate);
}

/* The instants of others are those of their release. */
static bool tells_when_taken(const struct finding *finding) {
	return is_kind(finding, "never-finished") || is_kind(finding, "growing");
}

#define RATE_SPAN_S 0.1 /* a rate is of leaks that are at least so far apart */

/* The slots of the server, or two sizes that pools often have. */
static const char *say_exhaustion(const struct verdict_facts *facts) {
	const struct report_server *server = facts->report->server;
	const struct finding *worst = facts->worst_leak != NULL ? facts->worst_leak->finding : NULL;
	double sizes[SIZES] = {30, 50};
	if (facts->leaked < ENOUGH_LEAKS || worst == NULL || worst->count < ENOUGH_LEAKS ||
	    worst->last_ns <= worst->first_ns || !tells_when_taken(worst))
		return NULL;
	if (server != NULL && server->max_connections > server->reserved)
		sizes[1] = (double)(server->max_connections - server->reserved);
	double span_s = (double)(worst->last_ns - worst->first_ns) / 1e9;
	if (span_s < RATE_SPAN_S)
		return NULL; /* a burst has no rate */
	double per_second = (double)(worst->count - 1) / span_s;
	return arena_text(facts->arena,
			  "At this rate, %s per minute, %.0f connections are gone after %s and %.0f after "
			  "%s: a larger "
			  "pool delays exhaustion but won't solve a leak.",
			  say_rate(facts->arena, 60 * per_second), sizes[0],
			  say_duration(facts->arena, sizes[0] / per_second), sizes[1],
			  say_duration(facts->arena, sizes[1] / per_second));
}

static void add_exhaustion(struct report_verdict *verdict, const struct verdict_facts *facts) {
	const char *line = facts->leaked > 0 ? say_exhaustion(facts) : NULL;
	const char **advice = arena_array(facts->arena, ADVICE_MAX, sizeof *advice);
	if (line == NULL || verdict->advice_count == 0)
		return;
	memcpy(advice, verdict->advice, verdict->advice_count * sizeof *advice);
	advice[verdict->advice_count - 1] = line; /* says what the general line says, with numbers */
	verdict->advice = advice;
}

/* Why connections are short, when they are; a leak that is a fact explains it all. */
static bool give_cause(struct report_verdict *verdict, const struct verdict_facts *facts,
		       const struct model *model, const struct report_settings *settings) {
	struct verdict_signs signs;
	if (is_unrecorded(facts) || facts->leaked > 0 || is_distrusted(facts))
		return false;
	verdict_signs_read(&signs, facts->report, model, settings);
	return verdict_causes_judge(verdict, facts->arena, facts->report, &signs, &settings->thresholds);
}

void verdict_give(struct report_verdict *verdict, struct arena *arena, const struct report *report,
		  const struct model *model, const struct report_settings *settings) {
	struct verdict_facts facts = {.report = report, .arena = arena};
	const struct verdict_line *line = verdict_lines;
	gather(&facts);
	if (give_cause(verdict, &facts, model, settings))
		return;
	while (!line->applies(&facts))
		line++;
	*verdict = (struct report_verdict){.cause = line->cause,
					   .message = line->message(&facts),
					   .candidates = line->candidates,
					   .candidate_count = list_length(line->candidates)};
	fill_advice(verdict, &facts, line->advice);
	fill_evidence(verdict, &facts);
	add_exhaustion(verdict, &facts);
}
