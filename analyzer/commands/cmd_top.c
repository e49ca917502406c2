/*
 * pqlease top: a run as it goes, on a terminal.
 */
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Macros of curses named like ordinary words stay out. */
#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <ncurses.h>

#include "analyzer/commands/commands.h"
#include "analyzer/instant.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/live/follower.h"
#include "analyzer/live/live_options.h"
#include "analyzer/commands/options.h"
#include "analyzer/top/top_page.h"

static const char help[] =
	"usage: pqlease top [OPTIONS] [LEDGER]\n\n"
	"Shows a run as it goes: pools, places in the code, open connections, failures. Without LEDGER the\n"
	"newest run of this user in /dev/shm. h shows the keys, q ends it.\n\n"
	"  --interval SECONDS  between two looks (2)\n" LIVE_OPTIONS_HELP(
		"       ") "  --ascii             plain characters only\n"
			   "  --color=WHEN        auto (default), always or never; NO_COLOR is "
			   "respected\n"
			   "  --help              this text\n"
			   "  --version           the version\n";

enum { OPTION_INTERVAL = OPTIONS_LONG_ONLY, OPTION_ASCII, OPTION_COLOR };

static const struct option top_options[] = {{"interval", required_argument, NULL, OPTION_INTERVAL},
					    {"ascii", no_argument, NULL, OPTION_ASCII},
					    {"color", required_argument, NULL, OPTION_COLOR},
					    LIVE_OPTIONS,
					    OPTIONS_COMMON,
					    {NULL, 0, NULL, 0}};

struct request {
	double interval_seconds;
	bool is_ascii;
	enum options_color color;
	struct live_options live;
};

/* ---- The terminal ------------------------------------------------------------------------------------------- */

static const struct {
	short foreground; /* -1: the terminal's own */
	attr_t attributes;
} looks[TOP_STYLE_COUNT] = {
	[TOP_PLAIN] = {-1, A_NORMAL},         [TOP_TITLE] = {-1, A_BOLD},
	[TOP_HEADING] = {-1, A_REVERSE},      [TOP_SELECTED] = {-1, A_STANDOUT | A_BOLD},
	[TOP_GOOD] = {COLOR_GREEN, A_NORMAL}, [TOP_DOUBTFUL] = {COLOR_YELLOW, A_NORMAL},
	[TOP_BAD] = {COLOR_RED, A_BOLD},      [TOP_FAINT] = {-1, A_DIM},
};

static bool open_terminal(const struct request *request) {
	/* initscr() would end the program where it fails. */
	if (newterm(NULL, stdout, stdin) == NULL)
		return false;
	cbreak();
	noecho();
	keypad(stdscr, true);
	set_escdelay(50);
	curs_set(0);
	if (options_use_color(request->color, STDOUT_FILENO) && has_colors() && start_color() == OK) {
		use_default_colors();
		for (int style = 0; style < TOP_STYLE_COUNT; style++)
			init_pair((short)(style + 1), looks[style].foreground, -1);
	}
	return true;
}

static void show(const struct top_page *page, bool has_colors_on) {
	werase(stdscr);
	for (size_t i = 0; i < page->count; i++) {
		enum top_style style = page->lines[i].style;
		attr_t attributes = looks[style].attributes;
		if (has_colors_on)
			attributes |= (attr_t)COLOR_PAIR(style + 1);
		wattrset(stdscr, (int)attributes);
		mvwaddstr(stdscr, (int)i, 0, page->lines[i].text);
	}
	wattrset(stdscr, A_NORMAL);
	wrefresh(stdscr);
}

static int translate(int key) {
	static const struct {
		int curses;
		int own;
	} keys[] = {{KEY_UP, TOP_KEY_UP},         {KEY_DOWN, TOP_KEY_DOWN},
		    {KEY_PPAGE, TOP_KEY_PAGE_UP}, {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
		    {KEY_ENTER, TOP_KEY_ENTER},   {'\n', TOP_KEY_ENTER},
		    {'\r', TOP_KEY_ENTER},        {KEY_BACKSPACE, TOP_KEY_BACKSPACE},
		    {0x7f, TOP_KEY_BACKSPACE},    {'\b', TOP_KEY_BACKSPACE},
		    {0x1b, TOP_KEY_ESCAPE}};
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (keys[i].curses == key)
			return keys[i].own;
	return key;
}

/* ---- The loop ------------------------------------------------------------------------------------------------ */

static const char *notice_of(const struct follower *follower, enum follower_state state) {
	if (state == FOLLOWER_ENDED)
		return "THE RUN HAS ENDED";
	return follower_problem(follower); /* of LOST and UNREAD, NULL otherwise */
}

static void draw(struct follower *follower, enum follower_state state, struct top_state *top,
		 const struct request *request, bool has_colors_on) {
	struct top_page page = {.rows = (size_t)getmaxy(stdscr),
				.columns = (size_t)getmaxx(stdscr),
				.is_ascii = request->is_ascii};
	top_draw(&page, top, follower_report(follower), notice_of(follower, state));
	show(&page, has_colors_on);
	top_page_release(&page);
}

static void watch(struct follower *follower, const struct request *request) {
	struct top_state top = {0};
	bool has_colors_on = options_use_color(request->color, STDOUT_FILENO) && has_colors();
	uint64_t interval_ns = (uint64_t)(request->interval_seconds * 1e9);
	enum follower_state state = FOLLOWER_UNREAD;
	enum top_answer answer = TOP_REDRAW;
	uint64_t due_ns = 0;
	while (answer != TOP_QUIT) {
		uint64_t now = instant_monotonic_ns();
		if (now >= due_ns && !top.is_paused) {
			state = follower_look(follower, now);
			due_ns = now + interval_ns;
			answer = TOP_REDRAW;
		}
		if (answer == TOP_REDRAW)
			draw(follower, state, &top, request, has_colors_on);
		uint64_t left_ms = due_ns > now ? (due_ns - now) / 1000000 + 1 : 1;
		wtimeout(stdscr, top.is_paused ? -1 : (int)left_ms);
		int key = wgetch(stdscr);
		answer = key == KEY_RESIZE ? TOP_REDRAW
			: key == ERR       ? TOP_IGNORED
					   : top_take_key(&top, translate(key));
	}
}

/* ---- Options --------------------------------------------------------------------------------------------------- */

static bool take_interval(const char *text, struct request *request) {
	char *end;
	request->interval_seconds = strtod(text, &end);
	if (end != text && *end == '\0' && request->interval_seconds >= 0.1 &&
	    request->interval_seconds <= 3600)
		return true;
	options_error("--interval", "'%s' is not a number of seconds from 0.1 to 3600", text);
	return false;
}

static bool take_option(void *context, int option) {
	struct request *request = context;
	switch (option) {
	case OPTION_INTERVAL:
		return take_interval(optarg, request);
	case OPTION_ASCII:
		request->is_ascii = true;
		return true;
	case OPTION_COLOR:
		return options_parse_color(optarg, &request->color);
	default:
		return live_options_take(&request->live, option, optarg);
	}
}

static int top(const struct request *request, const char *path) {
	struct follower *follower = follower_open(path, &request->live.settings);
	int code = OPTIONS_EXIT_CANNOT;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		options_error("top", "needs a terminal; see pqlease status");
	else if (follower_look(follower, 1) == FOLLOWER_UNREAD)
		options_error(path, "%s", follower_problem(follower));
	else if (!open_terminal(request))
		options_error("top", "the terminal cannot be used; see pqlease status");
	else {
		watch(follower, request);
		endwin();
		code = OPTIONS_EXIT_OK;
	}
	follower_close(follower);
	return code;
}

static const struct options_syntax syntax = {"+:hV", top_options, help, take_option};

int cmd_top(int argc, char **argv) {
	struct request request = {.interval_seconds = 2};
	char newest[PATH_MAX];
	const char *ledger;
	int code;
	setlocale(LC_CTYPE, "");
	request.is_ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
	if (!options_parse(&syntax, &request, argc, argv, &code))
		return code;
	if (!options_take_ledger(argc, argv, &ledger))
		return OPTIONS_EXIT_USAGE;
	code = live_options_settle(&request.live);
	const char *path = code == OPTIONS_EXIT_OK ? ledger_search_meant(newest, ledger) : NULL;
	if (path != NULL)
		code = top(&request, path);
	else if (code == OPTIONS_EXIT_OK)
		code = OPTIONS_EXIT_CANNOT;
	live_options_release(&request.live);
	return code;
}
