#include "analyzer/render/text_page.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "analyzer/report/report.h"
#include "analyzer/text.h"

enum { LINE_BYTES = 4096, PARAGRAPH_WIDTH = 1000 };

static void print_styled(struct text_page *page, enum text_page_style style, const char *text) {
	static const char *const codes[TEXT_PAGE_STYLE_COUNT] = {
		[TEXT_PAGE_PLAIN] = NULL,      [TEXT_PAGE_HEADING] = "1", [TEXT_PAGE_BAD] = "1;31",
		[TEXT_PAGE_DOUBTFUL] = "1;33", [TEXT_PAGE_GOOD] = "1;32", [TEXT_PAGE_FAINT] = "2",
	};
	if (page->use_colors && codes[style] != NULL && *text != '\0')
		fprintf(page->stream, "\033[%sm%s\033[0m", codes[style], text);
	else
		fputs(text, page->stream);
}

/* Spaces at the end of a line say nothing and make diffs noisy. */
static const char *without_trailing_spaces(struct text_page *page, const char *text) {
	size_t length = strlen(text);
	while (length > 0 && text[length - 1] == ' ')
		length--;
	return arena_copy(&page->arena, text, length);
}

void text_page_line(struct text_page *page, enum text_page_style style, const char *head, const char *format,
		    ...) {
	char rest[LINE_BYTES];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(rest, sizeof rest, format, arguments);
	va_end(arguments);
	const char *shown_head =
		text_shorten_end(&page->arena, text_printable(&page->arena, head), TEXT_PAGE_WIDTH);
	size_t room = TEXT_PAGE_WIDTH - text_width(shown_head);
	const char *shown_rest = without_trailing_spaces(page, text_printable(&page->arena, rest));
	print_styled(page, style,
		     *shown_rest == '\0' ? without_trailing_spaces(page, shown_head) : shown_head);
	if (room >= 4)
		fputs(text_shorten_end(&page->arena, shown_rest, room), page->stream);
	fputc('\n', page->stream);
}

void text_page_blank(struct text_page *page) {
	fputc('\n', page->stream);
}

/* Bytes of `text` that go on a line of `width` columns: up to the last space that fits, or a hard cut. */
static size_t line_bytes(const char *text, size_t width) {
	size_t best = 0;
	size_t length = strlen(text);
	for (size_t end = 0; end <= length; end++) {
		if (text[end] != ' ' && text[end] != '\0')
			continue;
		char line[LINE_BYTES];
		snprintf(line, sizeof line, "%.*s", (int)end, text);
		if (text_width(line) > width)
			break;
		best = end;
		if (text[end] == '\0')
			break;
	}
	if (best > 0 || length == 0)
		return best;
	while (best < length && best < width)
		best++;
	while (best < length && ((unsigned char)text[best] >> 6) == 2)
		best++;
	return best;
}

void text_page_wrapped(struct text_page *page, enum text_page_style style, const char *head, size_t indent,
		       const char *text) {
	const char *rest =
		text_shorten_end(&page->arena, text_printable(&page->arena, text), PARAGRAPH_WIDTH);
	size_t used = text_width(head);
	print_styled(page, style, head);
	for (;;) {
		size_t length = line_bytes(rest, TEXT_PAGE_WIDTH - used);
		fprintf(page->stream, "%.*s\n", (int)length, rest);
		rest += length;
		while (*rest == ' ')
			rest++;
		if (*rest == '\0')
			return;
		fprintf(page->stream, "%*s", (int)indent, "");
		used = indent;
	}
}

const char *text_page_fit(struct text_page *page, const char *text, size_t width) {
	return text_shorten_middle(&page->arena, text_printable(&page->arena, text != NULL ? text : "?"),
				   width);
}

const char *text_page_cell(struct text_page *page, const char *text, size_t width) {
	const char *shown = text_page_fit(page, text, width);
	size_t used = text_width(shown);
	return arena_text(&page->arena, "%s%*s", shown, (int)(used < width ? width - used : 0), "");
}

const char *text_page_seconds(struct text_page *page, double seconds) {
	static const struct {
		double limit;
		double unit;
		const char *name;
	} units[] = {{1e-6, 1e-9, "ns"}, {1e-3, 1e-6, "us"}, {1, 1e-3, "ms"},
		     {120, 1, "s"},      {7200, 60, "min"},  {INFINITY, 3600, "h"}};
	size_t i = 0;
	if (!isfinite(seconds))
		return "-";
	while (seconds >= units[i].limit)
		i++;
	double value = seconds / units[i].unit;
	int decimals = units[i].unit == 1e-9 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
	return arena_text(&page->arena, "%.*f %s", decimals, value, units[i].name);
}

const char *text_page_count(struct text_page *page, int64_t count) {
	return count != REPORT_UNKNOWN ? arena_text(&page->arena, "%lld", (long long)count) : "-";
}

void text_page_end(struct text_page *page) {
	arena_release(&page->arena);
}
