#include "analyzer/top/top_page.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/live/history.h"
#include "analyzer/text.h"

enum {
	PLACE_MIN = 20, /* columns of a place in the code, however narrow the page */
	BAR_COLUMNS = 20,
	POOLS_SHARE = 4, /* pools get at most one part of these of the page */
	LABEL_COLUMNS = 8
};

/* ---- Lines ---------------------------------------------------------------------------------------------- */

static void add_line(struct top_page *page, enum top_style style, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add_line(struct top_page *page, enum top_style style, const char *format, ...) {
	va_list arguments;
	char *text = NULL;
	if (page->count == page->rows)
		return;
	va_start(arguments, format);
	int length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	const char *shown = text_printable(&page->arena, text);
	free(text);
	if (text_width(shown) > page->columns)
		shown = page->columns >= 4 ? text_shorten_end(&page->arena, shown, page->columns) : "";
	page->lines[page->count++] = (struct top_line){shown, style};
}

static size_t rows_left(const struct top_page *page) {
	return page->rows - page->count;
}

static const char *known(const char *text) {
	return text != NULL ? text : "?";
}

static const char *count_text(struct top_page *page, int64_t count) {
	return count != REPORT_UNKNOWN ? arena_text(&page->arena, "%" PRId64, count) : "?";
}

static const char *age_text(struct top_page *page, double seconds) {
	if (isnan(seconds))
		return "?";
	if (seconds < 100)
		return arena_text(&page->arena, "%.1fs", seconds);
	if (seconds < 6000)
		return arena_text(&page->arena, "%.0fm", seconds / 60);
	return arena_text(&page->arena, "%.0fh", seconds / 3600);
}

/* ---- Bars and sparklines --------------------------------------------------------------------------------- */

static const char *const blocks_utf8[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
static const char *const blocks_ascii[] = {" ", ".", ":", "-", "=", "+", "*", "%", "#"};

static const char *spark(struct top_page *page, const int64_t *values, size_t count) {
	const char *const *blocks = page->is_ascii ? blocks_ascii : blocks_utf8;
	char *text = arena_array(&page->arena, count * 4 + 1, 1);
	int64_t most = 1;
	for (size_t i = 0; i < count; i++)
		most = values[i] > most ? values[i] : most;
	for (size_t i = 0; i < count; i++) {
		int64_t level = values[i] > 0 ? 1 + values[i] * 7 / most : 0;
		strcat(text, blocks[level <= 8 ? level : 8]);
	}
	return text;
}

static const char *bar(struct top_page *page, double ratio) {
	char *text = arena_array(&page->arena, BAR_COLUMNS + 1, 1);
	size_t full = isnan(ratio) ? 0 : (size_t)lround(fmin(fmax(ratio, 0), 1) * BAR_COLUMNS);
	memset(text, ' ', BAR_COLUMNS);
	memset(text, '|', full);
	return text;
}

static void draw_history(struct top_page *page, const struct report *report) {
	struct history_sample samples[HISTORY_MAX];
	int64_t open[HISTORY_MAX];
	int64_t in_use[HISTORY_MAX];
	size_t room = page->columns > LABEL_COLUMNS + 12 ? page->columns - LABEL_COLUMNS - 12 : 0;
	size_t count = history_take(samples, room, report, MODEL_SECONDS);
	for (size_t i = 0; i < count; i++) {
		open[i] = samples[i].open;
		in_use[i] = samples[i].in_use != REPORT_UNKNOWN ? samples[i].in_use : 0;
	}
	add_line(page, TOP_PLAIN, "open    %s %s (peak %s)", spark(page, open, count),
		 count_text(page, report->totals.open), count_text(page, report->totals.peak_open));
	if (report->totals.in_use != REPORT_UNKNOWN)
		add_line(page, TOP_PLAIN, "in use  %s %s (peak %s)", spark(page, in_use, count),
			 count_text(page, report->totals.in_use),
			 count_text(page, report->totals.peak_in_use));
}

/* ---- Head, pools, failures --------------------------------------------------------------------------------- */

static const char *command_of(struct top_page *page, const struct report_run *run) {
	const char *text = "";
	for (size_t i = 0; i < run->command_count; i++)
		text = arena_text(&page->arena, "%s%s%s", text, i > 0 ? " " : "", run->command[i]);
	return text;
}

static void draw_head(struct top_page *page, const struct top_state *state, const struct report *report,
		      const char *notice) {
	add_line(page, TOP_TITLE, "pqlease top - run %.8s, %s %s%s%s%s - %s", known(report->run.id),
		 report->run.live ? "live" : "ended after", age_text(page, report->run.duration),
		 state->is_paused ? ", PAUSED" : "", notice != NULL ? ", " : "", notice != NULL ? notice : "",
		 command_of(page, &report->run));
	if (!report->trust.ok)
		add_line(page, TOP_BAD, "Not everything was recorded: %s",
			 report->trust.reason_count > 0 ? report->trust.reasons[0] : "see pqlease report");
}

static enum top_style style_of_status(const char *status) {
	static const struct {
		const char *status;
		enum top_style style;
	} styles[] = {{"healthy", TOP_GOOD},
		      {"warning", TOP_DOUBTFUL},
		      {"critical", TOP_BAD},
		      {"exhausted", TOP_BAD}};
	for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
		if (strcmp(status, styles[i].status) == 0)
			return styles[i].style;
	return TOP_PLAIN;
}

static void draw_pools(struct top_page *page, const struct report *report) {
	size_t most = page->rows / POOLS_SHARE;
	for (size_t i = 0; i < report->pool_count && i < most; i++) {
		const struct report_pool *pool = &report->pools[i];
		add_line(page, style_of_status(pool->status), "[%s] %s: %s/%s used, %s idle, %s waiting, %s",
			 bar(page, pool->utilization), known(pool->name), count_text(page, pool->in_use),
			 count_text(page, pool->capacity), count_text(page, pool->idle),
			 count_text(page, pool->waiting), pool->status);
	}
	if (report->pool_count > most)
		add_line(page, TOP_FAINT, "(%zu more pools)", report->pool_count - most);
}

static void draw_failures(struct top_page *page, const struct report *report) {
	const char *text = "";
	for (size_t i = 0; i < report->failure_count; i++)
		text = arena_text(&page->arena, "%s%s%" PRId64 " %s", text, i > 0 ? ", " : "",
				  report->failures[i].count, report->failures[i].class_name);
	if (report->failure_count > 0)
		add_line(page, TOP_BAD, "failed  %s", text);
	size_t errors = 0;
	for (size_t i = 0; i < report->finding_count; i++)
		errors += report->findings[i].finding->level == FINDING_ERROR;
	if (report->finding_count > 0)
		add_line(page, errors > 0 ? TOP_BAD : TOP_DOUBTFUL, "found   %s: %s%s",
			 report->findings[0].finding->kind, report->findings[0].finding->message,
			 report->finding_count > 1 ? ", and more" : "");
}

/* ---- Lists ----------------------------------------------------------------------------------------------------- */

struct row {
	const char *place;
	const char *text; /* what stands before the place */
	const char *searched;
	int64_t open;
	int64_t used;
	double age;
};

struct rows {
	struct row *rows;
	size_t count;
};

static const char *place_of(struct top_page *page, const struct report *report, int64_t site) {
	const char *text = report_place_text(&page->arena, report, site);
	return text != NULL ? text : "(no stack)";
}

static bool is_used(const struct report_lease *lease) {
	return lease->state != NULL &&
		(strcmp(lease->state, "active") == 0 || strcmp(lease->state, "in_transaction") == 0);
}

static double older(double a, double b) {
	return isnan(a) || b > a ? b : a;
}

static struct rows site_rows(struct top_page *page, const struct report *report) {
	struct rows rows = {arena_array(&page->arena, report->site_count, sizeof *rows.rows), 0};
	for (size_t i = 0; i < report->site_count; i++) {
		const struct report_site *site = &report->sites[i];
		rows.rows[rows.count++] = (struct row){.open = site->open, .age = NAN};
	}
	for (size_t i = 0; i < report->open_lease_count; i++) {
		const struct report_lease *lease = &report->open_leases[i];
		const struct report_site *site = report_find_site(report, lease->site);
		if (site == NULL)
			continue;
		struct row *row = &rows.rows[site - report->sites];
		row->used += is_used(lease);
		row->age = older(row->age, lease->age);
	}
	for (size_t i = 0; i < rows.count; i++) {
		struct row *row = &rows.rows[i];
		row->place = place_of(page, report, report->sites[i].id);
		row->searched = row->place;
		row->text = arena_text(
			&page->arena, "%7" PRId64 " %7s %8" PRId64 " %8s  ", row->open,
			count_text(page,
				   report->totals.in_use != REPORT_UNKNOWN ? row->used : REPORT_UNKNOWN),
			report->sites[i].leases, age_text(page, row->open > 0 ? row->age : NAN));
	}
	return rows;
}

static struct rows lease_rows(struct top_page *page, const struct report *report) {
	struct rows rows = {arena_array(&page->arena, report->open_lease_count, sizeof *rows.rows), 0};
	for (size_t i = 0; i < report->open_lease_count; i++) {
		const struct report_lease *lease = &report->open_leases[i];
		const char *place = place_of(page, report, lease->site);
		const char *state = known(lease->state);
		rows.rows[rows.count++] = (struct row){
			.place = place,
			.searched = arena_text(&page->arena, "%s %s %s", place, known(lease->role), state),
			.text = arena_text(&page->arena, "%7" PRId64 " %7s %-14s %6s %6s %-10.10s ",
					   lease->pid, count_text(page, lease->backend_pid), state,
					   age_text(page, lease->age), age_text(page, lease->idle_for),
					   text_printable(&page->arena, known(lease->role))),
			.open = 1,
			.used = is_used(lease),
			.age = lease->age};
	}
	return rows;
}

static int compare_numbers(double a, double b) {
	a = isnan(a) ? -1 : a;
	b = isnan(b) ? -1 : b;
	return (a < b) - (a > b);
}

static int by_open(const void *a, const void *b) {
	return compare_numbers((double)((const struct row *)a)->open, (double)((const struct row *)b)->open);
}

static int by_used(const void *a, const void *b) {
	return compare_numbers((double)((const struct row *)a)->used, (double)((const struct row *)b)->used);
}

static int by_age(const void *a, const void *b) {
	return compare_numbers(((const struct row *)a)->age, ((const struct row *)b)->age);
}

static int by_name(const void *a, const void *b) {
	return strcmp(((const struct row *)a)->place, ((const struct row *)b)->place);
}

/* A stable order: what is equal stands by age, then by its line. */
static int (*const comparisons[])(const void *, const void *) = {
	[TOP_BY_OPEN] = by_open, [TOP_BY_USED] = by_used, [TOP_BY_AGE] = by_age, [TOP_BY_NAME] = by_name};

static int compare_rows(const void *a, const void *b, void *sort) {
	int order = comparisons[*(enum top_sort *)sort](a, b);
	order = order != 0 ? order : by_age(a, b);
	return order != 0 ? order : strcmp(((const struct row *)a)->text, ((const struct row *)b)->text);
}

static void filter_rows(struct rows *rows, const char *filter) {
	size_t kept = 0;
	for (size_t i = 0; i < rows->count; i++)
		if (*filter == '\0' || strcasestr(rows->rows[i].searched, filter) != NULL)
			rows->rows[kept++] = rows->rows[i];
	rows->count = kept;
}

static const struct list {
	const char *heading;
	const char *name;
	struct rows (*rows)(struct top_page *page, const struct report *report);
} lists[TOP_LIST_COUNT] = {
	[TOP_SITES] = {"   OPEN    USED   LEASES   OLDEST  AT", "sites", site_rows},
	[TOP_LEASES] = {"    PID BACKEND STATE             AGE   IDLE ROLE       AT", "open leases",
			lease_rows},
};

static void draw_row(struct top_page *page, const struct row *row, bool is_selected) {
	const char *text = row->text;
	const char *place = row->place;
	size_t used = text_width(text);
	size_t room = page->columns > used + PLACE_MIN ? page->columns - used : PLACE_MIN;
	add_line(page, is_selected ? TOP_SELECTED : TOP_PLAIN, "%s%s", text,
		 text_shorten_middle(&page->arena, text_printable(&page->arena, place), room));
}

/* At most `room` lines with the heading; the selected row is always among them. */
static void draw_list(struct top_page *page, struct top_state *state, const struct report *report,
		      enum top_list list, size_t room) {
	struct rows rows = lists[list].rows(page, report);
	filter_rows(&rows, state->filter);
	if (rows.count > 1)
		qsort_r(rows.rows, rows.count, sizeof *rows.rows, compare_rows, &state->sort);
	if (room < 2)
		return;
	size_t *selected = &state->selected[list];
	*selected = rows.count == 0 ? 0 : *selected < rows.count ? *selected : rows.count - 1;
	size_t shown = room - 1 < rows.count ? room - 1 : rows.count;
	size_t first = *selected >= shown ? *selected - shown + 1 : 0;
	add_line(page, TOP_HEADING, "%s (%zu of %zu %s)", lists[list].heading, shown, rows.count,
		 lists[list].name);
	for (size_t i = first; i < first + shown; i++)
		draw_row(page, &rows.rows[i], list == state->list && i == *selected);
}

static void draw_lists(struct top_page *page, struct top_state *state, const struct report *report) {
	size_t room = rows_left(page) > 1 ? rows_left(page) - 1 : 0; /* the last line is for keys */
	size_t sites = report->site_count + 1 < room / 2 ? report->site_count + 1 : room / 2;
	draw_list(page, state, report, TOP_SITES, sites);
	draw_list(page, state, report, TOP_LEASES, room - sites);
}

/* ---- The page --------------------------------------------------------------------------------------------------- */

static void draw_help(struct top_page *page) {
	static const char *const lines[] = {
		"arrows, j k   move          Tab    the other list",
		"o u a n       sort by open, used, age, name",
		"/             filter by place, role or state; Enter keeps it, Esc clears it",
		"space         pause         h ?    this help         q  quit",
		"",
		"used: a query is running or a transaction is open. Ages count from when the connection was",
		"established; idle is the time since its last command.",
	};
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		add_line(page, TOP_PLAIN, "%s", lines[i]);
}

static void draw_keys(struct top_page *page, const struct top_state *state) {
	while (rows_left(page) > 1)
		add_line(page, TOP_PLAIN, "%s", "");
	if (state->is_typing)
		add_line(page, TOP_HEADING, "/%s_", state->filter);
	else if (state->filter[0] != '\0')
		add_line(page, TOP_FAINT, "filter: %s   (Esc clears it)   h help  q quit", state->filter);
	else
		add_line(page, TOP_FAINT, "%s",
			 "h help  o/u/a/n sort  / filter  Tab list  space pause  q quit");
}

void top_draw(struct top_page *page, struct top_state *state, const struct report *report,
	      const char *notice) {
	page->lines = arena_array(&page->arena, page->rows, sizeof *page->lines);
	page->count = 0;
	if (report == NULL)
		add_line(page, TOP_BAD, "%s", notice != NULL ? notice : "nothing was read yet");
	else
		draw_head(page, state, report, notice);
	if (state->shows_help) {
		draw_help(page);
	} else if (report != NULL) {
		draw_history(page, report);
		draw_pools(page, report);
		draw_failures(page, report);
		draw_lists(page, state, report);
	}
	draw_keys(page, state);
}

void top_page_release(struct top_page *page) {
	arena_release(&page->arena);
	page->arena = (struct arena){0};
	page->lines = NULL;
	page->count = 0;
}
