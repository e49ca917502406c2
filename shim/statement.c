#include "shim/statement.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A command that hides its word behind more than this is OTHER. */
#define SKIPPED_MAX 1024u
#define WORD_MAX 24u

static const struct {
	const char *text;
	uint32_t length;
} words[STATEMENT_COUNT] = {
#define STATEMENT(kind, word) {word, sizeof word - 1},
#include "shim/statement.def"
#undef STATEMENT
};

/* The end of a comment that begins at `text`; comments between stars nest. NULL beyond the bound. */
static const char *behind_comment(const char *text, const char *limit) {
	uint32_t depth = 0;
	if (text[0] == '-') {
		while (text < limit && *text && *text != '\n')
			text++;
		return text < limit ? text : NULL;
	}
	for (; text < limit && text[0]; text++) {
		if (text[0] == '/' && text[1] == '*') {
			depth++;
			text++;
		} else if (text[0] == '*' && text[1] == '/') {
			text++;
			if (--depth == 0)
				return text + 1;
		}
	}
	return NULL;
}

static bool is_comment(const char *text) {
	return (text[0] == '-' && text[1] == '-') || (text[0] == '/' && text[1] == '*');
}

static bool is_skipped(char c) {
	switch (c) {
	case ' ':
	case '\n':
	case '\t':
	case '\r':
	case '\f':
	case '(':
	case ';':
		return true;
	default:
		return false;
	}
}

/* NULL if there is none within the bound. */
static const char *find_word(const char *text) {
	const char *limit = text + SKIPPED_MAX;
	while (text && text < limit) {
		if (is_comment(text))
			text = behind_comment(text, limit);
		else if (is_skipped(*text))
			text++;
		else
			return text;
	}
	return NULL;
}

static char upper(char c) {
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static uint32_t read_word(const char *text, char word[WORD_MAX]) {
	uint32_t length = 0;
	for (; length < WORD_MAX; length++) {
		word[length] = upper(text[length]);
		if (!(word[length] >= 'A' && word[length] <= 'Z') && word[length] != '_')
			return length;
	}
	return 0;
}

/* Character by character, as the word was written: a wide load of what was stored in bytes just now has to wait for the
 * stores, which takes longer than all the rest. */
static bool is_word(int kind, const char *word, uint32_t length) {
	if (words[kind].length != length)
		return false;
	for (uint32_t i = 0; i < length; i++)
		if (words[kind].text[i] != word[i])
			return false;
	return true;
}

enum statement statement_of(const char *text) {
	char word[WORD_MAX];
	const char *begin = text ? find_word(text) : NULL;
	if (!begin)
		return text ? STATEMENT_OTHER : STATEMENT_UNKNOWN;
	uint32_t length = read_word(begin, word);
	if (length == 0)
		return STATEMENT_OTHER;
	for (int kind = STATEMENT_OTHER + 1; kind < STATEMENT_COUNT; kind++)
		if (is_word(kind, word, length))
			return (enum statement)kind;
	return STATEMENT_OTHER;
}
