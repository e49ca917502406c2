#include <string.h>

#include "analyzer/top/top_page.h"

enum { PAGE_STEP = 10 };

static void move(struct top_state *state, int steps) {
	size_t *selected = &state->selected[state->list];
	if (steps < 0 && *selected < (size_t)-steps)
		*selected = 0;
	else
		*selected += (size_t)steps; /* drawing clamps it */
}

static enum top_answer type(struct top_state *state, int key) {
	size_t length = strlen(state->filter);
	if (key == TOP_KEY_ENTER || key == TOP_KEY_ESCAPE) {
		state->is_typing = false;
		if (key == TOP_KEY_ESCAPE)
			state->filter[0] = '\0';
	} else if (key == TOP_KEY_BACKSPACE) {
		if (length > 0)
			state->filter[length - 1] = '\0';
	} else if (key >= ' ' && key < 0x7f && length + 1 < TOP_FILTER_BYTES) {
		state->filter[length] = (char)key;
		state->filter[length + 1] = '\0';
	} else {
		return TOP_IGNORED;
	}
	return TOP_REDRAW;
}

static void filter(struct top_state *state) {
	state->is_typing = true;
	state->filter[0] = '\0';
}

static void clear_filter(struct top_state *state) {
	state->filter[0] = '\0';
	state->shows_help = false;
}

static void pause_or_go_on(struct top_state *state) {
	state->is_paused = !state->is_paused;
}

static void show_or_hide_help(struct top_state *state) {
	state->shows_help = !state->shows_help;
}

static void other_list(struct top_state *state) {
	state->list = (state->list + 1) % TOP_LIST_COUNT;
}

static void by_open(struct top_state *state) {
	state->sort = TOP_BY_OPEN;
}

static void by_used(struct top_state *state) {
	state->sort = TOP_BY_USED;
}

static void by_age(struct top_state *state) {
	state->sort = TOP_BY_AGE;
}

static void by_name(struct top_state *state) {
	state->sort = TOP_BY_NAME;
}

static void up(struct top_state *state) {
	move(state, -1);
}

static void down(struct top_state *state) {
	move(state, 1);
}

static void page_up(struct top_state *state) {
	move(state, -PAGE_STEP);
}

static void page_down(struct top_state *state) {
	move(state, PAGE_STEP);
}

static const struct {
	int key;
	void (*act)(struct top_state *state);
} keys[] = {
	{TOP_KEY_UP, up},
	{'k', up},
	{TOP_KEY_DOWN, down},
	{'j', down},
	{TOP_KEY_PAGE_UP, page_up},
	{TOP_KEY_PAGE_DOWN, page_down},
	{'\t', other_list},
	{'o', by_open},
	{'u', by_used},
	{'a', by_age},
	{'n', by_name},
	{'/', filter},
	{TOP_KEY_ESCAPE, clear_filter},
	{' ', pause_or_go_on},
	{'h', show_or_hide_help},
	{'?', show_or_hide_help},
};

enum top_answer top_take_key(struct top_state *state, int key) {
	if (state->is_typing)
		return type(state, key);
	if (key == 'q')
		return TOP_QUIT;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (keys[i].key == key) {
			keys[i].act(state);
			return TOP_REDRAW;
		}
	return TOP_IGNORED;
}
