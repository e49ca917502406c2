#include "analyzer/render/render_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/render/text_page.h"
#include "analyzer/report/report.h"
#include "analyzer/text.h"

enum {
	SHORT_STACK = 4,     /* frames of a finding without --full */
	SHORT_LIST = 8,      /* lines of a list without --full */
	FINDING_INDENT = 9,  /* under a finding's first line */
	LOCATION_WIDTH = 48, /* file:line in stacks */
	HEAD_LOCATION_WIDTH = 44
};

struct text_rendering {
	struct text_page page;
	const struct report *report;
	bool is_full;
};

/* ---- Frames ----------------------------------------------------------------------------------- */

static const char *location_of(struct text_page *page, const struct site_frame *frame, size_t width) {
	const char *place = frame->file != NULL ? frame->file : frame->module;
	const char *suffix = "";
	if (frame->file != NULL && frame->line != 0)
		suffix = arena_text(&page->arena, ":%" PRIu32, frame->line);
	else if (frame->file == NULL && frame->language == MODEL_NATIVE)
		suffix = arena_text(&page->arena, "+0x%" PRIx64, frame->offset);
	const char *shown = text_page_fit(page, place, width - text_width(suffix));
	return arena_text(&page->arena, "%s%s", shown, suffix);
}

/* What stands on a finding's first line for a frame. */
static const char *describe_frame(struct text_page *page, const struct site_frame *frame) {
	const char *location = location_of(page, frame, HEAD_LOCATION_WIDTH);
	return frame->function != NULL
		? arena_text(&page->arena, "%s %s", location, text_printable(&page->arena, frame->function))
		: location;
}

static void print_frame(struct text_page *page, const struct site_frame *frame, bool is_application) {
	text_page_line(page, is_application ? TEXT_PAGE_HEADING : TEXT_PAGE_PLAIN,
		       is_application ? "       > " : "         ", "%s %s%s",
		       text_page_cell(page, location_of(page, frame, LOCATION_WIDTH), LOCATION_WIDTH),
		       frame->function != NULL ? frame->function : "?",
		       frame->is_inlined ? " (inlined)" : "");
}

static void print_whole_stack(struct text_page *page, const struct site_frames *frames) {
	for (size_t i = 0; i < frames->count; i++)
		print_frame(page, &frames->frames[i], i == frames->application);
	if (frames->is_truncated)
		text_page_line(page, TEXT_PAGE_FAINT, "         (deeper frames were not kept)", "%s", "");
}

/* From the application's frame outwards, without the frames of others. */
static void print_short_stack(struct text_page *page, const struct site_frames *frames) {
	size_t shown = 0;
	for (size_t i = frames->application; i < frames->count && shown < SHORT_STACK; i++) {
		bool is_own = frames->frames[i].owner == SITE_FRAME_APPLICATION;
		if (i != frames->application && !is_own)
			continue;
		print_frame(page, &frames->frames[i], i == frames->application);
		shown++;
	}
	if (shown < frames->count)
		text_page_line(page, TEXT_PAGE_FAINT, "         ", "(%zu more frame%s with --full)",
			       frames->count - shown, frames->count - shown == 1 ? "" : "s");
}

/* ---- Findings --------------------------------------------------------------------------------- */

static enum text_page_style style_of_level(enum finding_level level) {
	static const enum text_page_style styles[] = {TEXT_PAGE_BAD, TEXT_PAGE_DOUBTFUL, TEXT_PAGE_HEADING};
	return styles[level];
}

static const char *describe_site(struct text_page *page, const struct report_site *site,
				 const struct finding *finding) {
	const struct site_frame *frame = report_application_frame(site);
	if (frame != NULL)
		return describe_frame(page, frame);
	if (finding->scope != FINDING_OF_SITE)
		return finding->scope == FINDING_OF_POOL ? "(a pool)" : "(the whole run)";
	return finding->site == MODEL_SITE_LOST ? "(place not recorded: the table was full)"
						: "(stack unavailable)";
}

static const char *oldest_age(struct text_page *page, const struct finding *finding) {
	return finding->oldest_age_ns == 0
		? ""
		: arena_text(&page->arena, ", oldest %s",
			     text_page_seconds(page, (double)finding->oldest_age_ns / 1e9));
}

static void print_instants(struct text_rendering *rendering, const struct report_finding *from) {
	struct text_page *page = &rendering->page;
	if (from->first == NULL)
		return;
	bool is_once = from->last == NULL || strcmp(from->first, from->last) == 0;
	text_page_line(page, TEXT_PAGE_FAINT, "         ", "%s%s%s%s%s", is_once ? "at " : "first ",
		       from->first, is_once ? "" : ", last ", is_once ? "" : from->last,
		       oldest_age(page, from->finding));
}

static void print_evidence(struct text_rendering *rendering, const struct finding *finding) {
	struct text_page *page = &rendering->page;
	const char *line = "";
	for (size_t i = 0; i < finding->evidence_count; i++) {
		const struct finding_evidence *evidence = &finding->evidence[i];
		line = arena_text(&page->arena, "%s%s%s %s", line, i > 0 ? ", " : "", evidence->key,
				  evidence->is_seconds ? text_page_seconds(page, evidence->seconds)
						       : text_page_count(page, (int64_t)evidence->count));
	}
	if (*line != '\0')
		text_page_wrapped(page, TEXT_PAGE_PLAIN, "         ", FINDING_INDENT, line);
}

static void print_example(struct text_page *page, const struct report_example *example) {
	text_page_line(page, TEXT_PAGE_FAINT, "         ", "pid %s, backend %s, held %s%s%s",
		       text_page_count(page, example->pid), text_page_count(page, example->backend_pid),
		       text_page_seconds(page, example->age), example->test != NULL ? ", test " : "",
		       example->test != NULL ? example->test : "");
}

/* A finding about a lease that was taken elsewhere shows that place too. */
static void print_taken(struct text_rendering *rendering, const struct report_finding *from) {
	struct text_page *page = &rendering->page;
	for (size_t i = 0; i < from->example_count; i++) {
		const struct report_site *site =
			report_find_site(rendering->report, from->examples[i].taken_site);
		bool is_repeated = i > 0 && from->examples[i].taken_site == from->examples[i - 1].taken_site;
		if (from->examples[i].taken_site != from->site && site != NULL && !is_repeated)
			text_page_line(page, TEXT_PAGE_PLAIN, "         ", "opened at %s",
				       describe_site(page, site, from->finding));
	}
}

static const char *describe_place(struct text_rendering *rendering, const struct report_finding *from,
				  const struct report_site *site) {
	struct text_page *page = &rendering->page;
	if (from->finding->scope != FINDING_OF_POOL || from->pool == REPORT_UNKNOWN)
		return describe_site(page, site, from->finding);
	return arena_text(&page->arena, "pool '%s'",
			  text_page_fit(page, rendering->report->pools[from->pool].role, 40));
}

static void print_finding(struct text_rendering *rendering, const struct report_finding *from) {
	struct text_page *page = &rendering->page;
	const struct finding *finding = from->finding;
	const struct report_site *site = report_find_site(rendering->report, from->site);
	const char *level = arena_text(&page->arena, "%-8s ", finding_level_name(finding->level));
	text_page_line(page, style_of_level(finding->level), level, "%s  %" PRIu64 "x  %s", finding->kind,
		       finding->count, describe_place(rendering, from, site));
	text_page_wrapped(page, TEXT_PAGE_PLAIN, "         ", FINDING_INDENT, finding->message);
	print_instants(rendering, from);
	if (strcmp(finding->kind, "used-after-fork") == 0)
		print_taken(rendering, from);
	if (site != NULL && site->frames->is_fallback)
		text_page_line(page, TEXT_PAGE_FAINT, "         ",
			       "no frame of the program itself was seen; this is the outermost known one");
	if (rendering->is_full)
		print_evidence(rendering, finding);
	for (size_t i = 0; rendering->is_full && i < from->example_count; i++)
		print_example(page, &from->examples[i]);
	if (site != NULL && rendering->is_full)
		print_whole_stack(page, site->frames);
	else if (site != NULL)
		print_short_stack(page, site->frames);
	text_page_blank(page);
}

static void print_findings(struct text_rendering *rendering) {
	for (size_t i = 0; i < rendering->report->finding_count; i++)
		print_finding(rendering, &rendering->report->findings[i]);
}

/* ---- Verdict and run -------------------------------------------------------------------------- */

static void print_verdict(struct text_rendering *rendering) {
	const struct report_verdict *verdict = &rendering->report->verdict;
	bool is_good = strcmp(verdict->cause, "none") == 0;
	bool is_unsure = strcmp(verdict->cause, "unsure") == 0;
	text_page_wrapped(&rendering->page,
			  is_good             ? TEXT_PAGE_GOOD
				  : is_unsure ? TEXT_PAGE_DOUBTFUL
					      : TEXT_PAGE_BAD,
			  "pqlease: ", 2, verdict->message);
	for (size_t i = 0; i < verdict->advice_count; i++)
		text_page_wrapped(&rendering->page, TEXT_PAGE_PLAIN, "  ", 2, verdict->advice[i]);
	text_page_blank(&rendering->page);
}

static const char *join_command(struct text_page *page, const struct report_run *run) {
	const char *command = "";
	for (size_t i = 0; i < run->command_count; i++)
		command = arena_text(&page->arena, "%s%s%s", command, i > 0 ? " " : "",
				     text_printable(&page->arena, run->command[i]));
	return command;
}

static void print_run(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report_run *run = &rendering->report->run;
	const char *command = join_command(page, run);
	text_page_line(page, TEXT_PAGE_HEADING, "Run", "%s", "");
	if (*command != '\0')
		text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%s",
			       text_page_fit(page, command, TEXT_PAGE_WIDTH - 2));
	const char *exit_code = run->exit_code == REPORT_UNKNOWN
		? ""
		: arena_text(&page->arena, ", exit code %" PRId64, run->exit_code);
	text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%s on %s, %s%s%s", run->started,
		       text_page_fit(page, run->host, 24), text_page_seconds(page, run->duration),
		       run->live ? " so far, still running" : "", exit_code);
}

/* ---- Numbers ---------------------------------------------------------------------------------- */

struct part {
	int64_t count;
	const char *name;
};

/* "3 failed, 1 abandoned", without what did not happen. */
static const char *join_parts(struct text_page *page, const struct part *parts, size_t count) {
	const char *line = "";
	for (size_t i = 0; i < count; i++)
		if (parts[i].count > 0)
			line = arena_text(&page->arena, "%s%s%" PRId64 " %s", line, *line != '\0' ? ", " : "",
					  parts[i].count, parts[i].name);
	return *line != '\0' ? line : "none";
}

static void print_totals(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report_totals *totals = &rendering->report->totals;
	const struct part attempts[] = {{totals->established, "established"},
					{totals->failed, "failed"},
					{totals->abandoned, "abandoned"},
					{totals->in_progress, "in progress"}};
	const struct part ends[] = {{totals->finished, "finished"},
				    {totals->open, "open"},
				    {totals->unreleased, "left by processes that ended"},
				    {totals->finish_unseen, "finished unseen"}};
	const struct part others[] = {{totals->probes, "probes"}, {totals->resets, "resets"}};
	if (totals->attempts + totals->probes + totals->resets + totals->double_finish == 0)
		return;
	text_page_line(page, TEXT_PAGE_HEADING, "Connections", "%s", "");
	text_page_line(page, TEXT_PAGE_PLAIN, "  attempts  ", "%" PRId64 ": %s", totals->attempts,
		       join_parts(page, attempts, sizeof attempts / sizeof attempts[0]));
	text_page_line(page, TEXT_PAGE_PLAIN, "  leases    ", "%s",
		       join_parts(page, ends, sizeof ends / sizeof ends[0]));
	text_page_line(page, TEXT_PAGE_PLAIN, "  open      ", "peak %s, mean %s",
		       text_page_count(page, totals->peak_open),
		       isfinite(totals->mean_open) ? arena_text(&page->arena, "%.2f", totals->mean_open)
						   : "-");
	if (totals->probes + totals->resets > 0)
		text_page_line(page, TEXT_PAGE_PLAIN, "  besides   ", "%s",
			       join_parts(page, others, sizeof others / sizeof others[0]));
}

static void print_times(struct text_rendering *rendering, const char *name,
			const struct report_times *times) {
	struct text_page *page = &rendering->page;
	if (times->count == 0 || times->count == REPORT_UNKNOWN)
		return;
	text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%-16s %8" PRId64 " %9s %9s %9s %9s %9s %9s %9s", name,
		       times->count, text_page_seconds(page, times->min),
		       text_page_seconds(page, times->mean), text_page_seconds(page, times->p50),
		       text_page_seconds(page, times->p90), text_page_seconds(page, times->p95),
		       text_page_seconds(page, times->p99), text_page_seconds(page, times->max));
}

static void print_all_times(struct text_rendering *rendering) {
	const struct report *report = rendering->report;
	const struct {
		const char *name;
		const struct report_times *times;
	} rows[] = {{"connect", &report->connect_time},
		    {"  tcp", &report->connect_phases.tcp},
		    {"  tls", &report->connect_phases.tls},
		    {"  authentication", &report->connect_phases.auth},
		    {"failed connect", &report->failed_time},
		    {"hold", &report->hold_time},
		    {"use", &report->use_time}};
	if (report->connect_time.count + report->failed_time.count + report->hold_time.count == 0)
		return;
	text_page_line(&rendering->page, TEXT_PAGE_HEADING, "Times             ",
		       "%9s %9s %9s %9s %9s %9s %9s %9s", "count", "min", "mean", "p50", "p90", "p95", "p99",
		       "max");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		print_times(rendering, rows[i].name, rows[i].times);
}

static void print_failures(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report *report = rendering->report;
	if (report->failure_count == 0)
		return;
	text_page_line(page, TEXT_PAGE_HEADING, "Failures", "%s", "");
	for (size_t i = 0; i < report->failure_count; i++)
		text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%8" PRId64 "  %-16s %-5s  %s",
			       report->failures[i].count, report->failures[i].class_name,
			       report->failures[i].sqlstate != NULL ? report->failures[i].sqlstate : "",
			       report->failures[i].message);
}

/* ---- Pools and processes ------------------------------------------------------------------------ */

static const char *endpoint_of(struct text_page *page, const struct report_pool *pool) {
	if (pool->host == NULL && pool->database == NULL && pool->user == NULL)
		return "(unknown endpoint)";
	return arena_text(&page->arena, "%s@%s:%s/%s", text_page_fit(page, pool->user, 16),
			  text_page_fit(page, pool->host, 24), text_page_fit(page, pool->port, 6),
			  text_page_fit(page, pool->database, 16));
}

static size_t list_limit(const struct text_rendering *rendering, size_t count) {
	return rendering->is_full || count <= SHORT_LIST ? count : SHORT_LIST;
}

static void print_rest(struct text_rendering *rendering, size_t shown, size_t count) {
	if (shown < count)
		text_page_line(&rendering->page, TEXT_PAGE_FAINT, "  ", "(%zu more with --full)",
			       count - shown);
}

static enum text_page_style style_of_status(const char *status) {
	return strcmp(status, "exhausted") == 0 || strcmp(status, "critical") == 0 ? TEXT_PAGE_BAD
		: strcmp(status, "warning") == 0                                   ? TEXT_PAGE_DOUBTFUL
										   : TEXT_PAGE_PLAIN;
}

/* A pooler lets connect at once and makes the first command wait. */
static void print_first_command(struct text_rendering *rendering, const struct report_pool *pool) {
	struct text_page *page = &rendering->page;
	const struct report_times *times = &pool->first_command_time;
	if (!pool->is_pooled || times->count == 0)
		return;
	text_page_line(page, TEXT_PAGE_PLAIN, "    ",
		       "first command behind the pooler, with the wait for a server: p50 %s, p95 %s, max %s",
		       text_page_seconds(page, times->p50), text_page_seconds(page, times->p95),
		       text_page_seconds(page, times->max));
}

static void print_pools(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report *report = rendering->report;
	size_t limit = list_limit(rendering, report->pool_count);
	if (report->pool_count == 0)
		return;
	text_page_line(page, TEXT_PAGE_HEADING, "Pools", "%s", "");
	text_page_line(page, TEXT_PAGE_FAINT, "  ", "%-16s %-36s %-14s %4s %4s %9s %9s", "role", "endpoint",
		       "application", "open", "peak", "connect95", "hold95");
	for (size_t i = 0; i < limit; i++) {
		const struct report_pool *pool = &report->pools[i];
		const char *application = pool->application_name != NULL ? pool->application_name : "";
		text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%s %s %s %4s %4s %9s %9s",
			       text_page_cell(page, pool->role, 16),
			       text_page_cell(page, endpoint_of(page, pool), 36),
			       text_page_cell(page, application, 14), text_page_count(page, pool->open),
			       text_page_count(page, pool->peak_open),
			       text_page_seconds(page, pool->connect_time.p95),
			       text_page_seconds(page, pool->hold_time.p95));
	}
	print_rest(rendering, limit, report->pool_count);
	for (size_t i = 0; i < limit; i++) {
		if (report->pools[i].sentence != NULL)
			text_page_wrapped(page, style_of_status(report->pools[i].status), "  ", 4,
					  report->pools[i].sentence);
		print_first_command(rendering, &report->pools[i]);
	}
}

/* ---- Server ------------------------------------------------------------------------------------- */

static const char *limit_of(struct text_page *page, const char *name, int64_t limit) {
	return limit == REPORT_UNKNOWN ? "" : arena_text(&page->arena, ", %s %" PRId64, name, limit);
}

static void print_unmatched(struct text_page *page, const struct report_unmatched *unmatched) {
	text_page_line(
		page, TEXT_PAGE_PLAIN, "  ", "backend %s %s %s: %s",
		text_page_count(page, unmatched->backend_pid),
		text_page_fit(page, unmatched->application_name, 20),
		unmatched->pid != REPORT_UNKNOWN
			? arena_text(&page->arena, "of pid %" PRId64, unmatched->pid)
			: arena_text(&page->arena, "of user %s", text_page_fit(page, unmatched->user, 16)),
		unmatched->why);
}

/* "15.20 (Debian 15.20-0+deb12u1)" without its second half. */
static const char *short_version(struct text_page *page, const char *version) {
	return version != NULL ? arena_copy(&page->arena, version, strcspn(version, " ")) : "?";
}

static void print_server(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report_server *server = rendering->report->server;
	if (server == NULL)
		return;
	text_page_line(page, TEXT_PAGE_HEADING, "Server", "%s", "");
	text_page_line(page, TEXT_PAGE_PLAIN, "  ",
		       "version %s, max_connections %s, %s of them reserved%s%s; client sessions now: %s",
		       short_version(page, server->version), text_page_count(page, server->max_connections),
		       text_page_count(page, server->reserved),
		       limit_of(page, "role limit", server->role_limit),
		       limit_of(page, "database limit", server->database_limit),
		       text_page_count(page, server->clients));
	text_page_wrapped(page, server->agrees == 0 ? TEXT_PAGE_BAD : TEXT_PAGE_PLAIN, "  ", 2,
			  server->message);
	size_t limit = list_limit(rendering, server->unmatched_count);
	for (size_t i = 0; i < limit; i++)
		print_unmatched(page, &server->unmatched[i]);
	print_rest(rendering, limit, server->unmatched_count);
}

/* ---- Places ------------------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b) {
	const struct report_site *left = *(const struct report_site *const *)a;
	const struct report_site *right = *(const struct report_site *const *)b;
	if (left->open != right->open)
		return left->open > right->open ? -1 : 1;
	if (left->attempts != right->attempts)
		return left->attempts > right->attempts ? -1 : 1;
	return (left->id > right->id) - (left->id < right->id);
}

static double oldest_open_age(const struct report *report, int64_t site) {
	double oldest = NAN;
	for (size_t i = 0; i < report->open_lease_count; i++)
		if (report->open_leases[i].site == site && !(report->open_leases[i].age <= oldest))
			oldest = report->open_leases[i].age;
	return oldest;
}

static void print_place(struct text_rendering *rendering, const struct report_site *site) {
	struct text_page *page = &rendering->page;
	const struct site_frame *frame = report_application_frame(site);
	text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%8s %6s %5s %5s %9s %9s  %s",
		       text_page_count(page, site->attempts), text_page_count(page, site->failed),
		       text_page_count(page, site->open), text_page_count(page, site->peak_open),
		       text_page_seconds(page, oldest_open_age(rendering->report, site->id)),
		       text_page_seconds(page, site->hold_time.p95),
		       frame != NULL ? text_page_fit(page, describe_frame(page, frame), 46)
				     : "(stack unavailable)");
}

/* Who takes connections, and who holds them now: those with the most open ones first. */
static void print_places(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report *report = rendering->report;
	if (report->site_count == 0)
		return;
	const struct report_site **sites = arena_array(&page->arena, report->site_count, sizeof *sites);
	size_t count = 0;
	for (size_t i = 0; i < report->site_count; i++)
		if (report->sites[i].attempts > 0) /* else it only uses or releases */
			sites[count++] = &report->sites[i];
	if (count == 0)
		return;
	qsort(sites, count, sizeof *sites, compare_places);
	text_page_line(page, TEXT_PAGE_HEADING, "Places", "%s", "");
	text_page_line(page, TEXT_PAGE_FAINT, "  ", "%8s %6s %5s %5s %9s %9s  %s", "attempts", "failed",
		       "open", "peak", "oldest", "hold95", "taken at");
	size_t limit = list_limit(rendering, count);
	for (size_t i = 0; i < limit; i++)
		print_place(rendering, sites[i]);
	print_rest(rendering, limit, count);
}

/* ---- Who held what ------------------------------------------------------------------------------ */

/* Holders of one place and state are one line. */
struct holder_line {
	const struct report_holder *holder; /* the oldest */
	size_t count;
};

static bool is_same_text(const char *a, const char *b) {
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct holder_line *line_of(struct holder_line *lines, size_t *count,
				   const struct report_holder *holder) {
	for (size_t i = 0; i < *count; i++)
		if (lines[i].holder->site == holder->site &&
		    is_same_text(lines[i].holder->state, holder->state) &&
		    is_same_text(lines[i].holder->role, holder->role))
			return &lines[i];
	lines[*count] = (struct holder_line){holder, 0};
	return &lines[(*count)++];
}

static int compare_holder_lines(const void *a, const void *b) {
	const struct holder_line *left = a;
	const struct holder_line *right = b;
	if (left->count != right->count)
		return left->count > right->count ? -1 : 1;
	return (left->holder > right->holder) - (left->holder < right->holder);
}

static void print_holder_line(struct text_rendering *rendering, const struct holder_line *line) {
	struct text_page *page = &rendering->page;
	const struct report_holder *holder = line->holder;
	const struct site_frame *frame =
		report_application_frame(report_find_site(rendering->report, holder->site));
	text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%8zu  %-14s %9s  %-16s %s", line->count,
		       holder->state != NULL ? holder->state : "unknown",
		       text_page_seconds(page, holder->age), text_page_fit(page, holder->role, 16),
		       frame != NULL ? text_page_fit(page, describe_frame(page, frame), 40)
				     : "(stack unavailable)");
}

/* The last refusal that was frozen. */
static void print_snapshot(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report *report = rendering->report;
	if (report->snapshot_count == 0)
		return;
	const struct report_snapshot *snapshot = &report->snapshots[report->snapshot_count - 1];
	struct holder_line *lines = arena_array(&page->arena, snapshot->holder_count, sizeof *lines);
	size_t count = 0;
	for (size_t i = 0; i < snapshot->holder_count; i++)
		line_of(lines, &count, &snapshot->holders[i])->count++;
	qsort(lines, count, sizeof *lines, compare_holder_lines);
	text_page_line(page, TEXT_PAGE_HEADING, "Refused   ",
		       "%s at %s (%s); then held:", text_page_fit(page, snapshot->role, 24), snapshot->at,
		       snapshot->failure);
	text_page_line(page, TEXT_PAGE_FAINT, "  ", "%8s  %-14s %9s  %-16s %s", "held", "state", "oldest",
		       "role", "taken at");
	size_t limit = list_limit(rendering, count);
	for (size_t i = 0; i < limit; i++)
		print_holder_line(rendering, &lines[i]);
	print_rest(rendering, limit, count);
}

/* Processes that look the same in a short list. */
struct process_kind {
	const struct report_process *process;
	size_t count;
	int64_t open;
};

static bool is_same_kind(const struct report_process *a, const struct report_process *b) {
	return is_same_text(a->role, b->role) && is_same_text(a->exe, b->exe) &&
		is_same_text(a->script, b->script) && strcmp(a->how_ended, b->how_ended) == 0;
}

static size_t gather_kinds(struct text_rendering *rendering, struct process_kind *kinds) {
	const struct report *report = rendering->report;
	size_t count = 0;
	for (size_t i = 0; i < report->process_count; i++) {
		const struct report_process *process = &report->processes[i];
		size_t kind = 0;
		while (kind < count && (rendering->is_full || !is_same_kind(kinds[kind].process, process)))
			kind++;
		if (kind == count)
			kinds[count++] = (struct process_kind){process, 0, 0};
		kinds[kind].count++;
		kinds[kind].open += process->open;
	}
	return count;
}

static void print_process_kind(struct text_page *page, const struct process_kind *kind) {
	const struct report_process *process = kind->process;
	const char *who = kind->count == 1 ? arena_text(&page->arena, "pid %" PRId64, process->pid)
					   : arena_text(&page->arena, "%zu processes", kind->count);
	const char *open = kind->open > 0 ? arena_text(&page->arena, "%" PRId64 " open", kind->open) : "";
	const char *program = process->script != NULL ? process->script : process->exe;
	text_page_line(page, TEXT_PAGE_PLAIN, "  ", "%s %s %-8s %-8s %s", text_page_cell(page, who, 15),
		       text_page_cell(page, process->role, 18), process->how_ended, open,
		       text_page_fit(page, program, 44));
}

static void print_processes(struct text_rendering *rendering) {
	struct text_page *page = &rendering->page;
	const struct report *report = rendering->report;
	if (report->process_count == 0)
		return;
	struct process_kind *kinds = arena_array(&page->arena, report->process_count, sizeof *kinds);
	size_t count = gather_kinds(rendering, kinds);
	size_t limit = list_limit(rendering, count);
	text_page_line(page, TEXT_PAGE_HEADING, "Processes", " (%" PRId64 " called libpq)",
		       report->trust.processes);
	for (size_t i = 0; i < limit; i++)
		print_process_kind(page, &kinds[i]);
	print_rest(rendering, limit, count);
}

/* ---- Trust ------------------------------------------------------------------------------------ */

static void print_trust(struct text_rendering *rendering) {
	const struct report_trust *trust = &rendering->report->trust;
	if (trust->reason_count == 0)
		return;
	text_page_line(&rendering->page, trust->ok ? TEXT_PAGE_HEADING : TEXT_PAGE_BAD,
		       trust->ok ? "Remarks" : "Not to be trusted", "%s", "");
	for (size_t i = 0; i < trust->reason_count; i++)
		text_page_wrapped(&rendering->page, TEXT_PAGE_PLAIN, "  - ", 4, trust->reasons[i]);
}

void render_text(const struct report *report, const struct render_options *options, FILE *stream) {
	struct text_rendering rendering = {.page = {.stream = stream, .use_colors = options->use_colors},
					   .report = report,
					   .is_full = options->is_full};
	print_verdict(&rendering);
	print_findings(&rendering);
	print_run(&rendering);
	print_totals(&rendering);
	print_all_times(&rendering);
	print_failures(&rendering);
	print_snapshot(&rendering);
	print_places(&rendering);
	print_pools(&rendering);
	print_server(&rendering);
	print_processes(&rendering);
	print_trust(&rendering);
	text_page_end(&rendering.page);
}
