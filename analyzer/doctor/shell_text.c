#include "analyzer/doctor/shell_text.h"

#include <stddef.h>
#include <string.h>

enum { WORDS_MAX = 64, WORD_BYTES = 4096 };

struct command {
	struct arena *arena;
	const char *words[WORDS_MAX + 1];
	int count;
};

/* One word while it is read; what does not fit is cut. */
struct word {
	char bytes[WORD_BYTES];
	size_t length;
	bool is_quoted; /* counts even if it is empty */
};

static void add_word(struct command *command, const char *word) {
	if (command->count < WORDS_MAX)
		command->words[command->count++] = word;
}

static void add_byte(struct word *word, char byte) {
	if (word->length < WORD_BYTES - 1)
		word->bytes[word->length++] = byte;
}

static void end_word(struct command *command, struct word *word) {
	if (word->length > 0 || word->is_quoted)
		add_word(command, arena_copy(command->arena, word->bytes, word->length));
	word->length = 0;
	word->is_quoted = false;
}

static const char *argument_of(const struct shell_text *text, int number) {
	for (int i = 0; text->arguments && text->arguments[i]; i++)
		if (i == number)
			return text->arguments[i];
	return "";
}

/* $@ and $* are words of their own. */
static void add_all_arguments(const struct shell_text *text, struct command *command, struct word *word) {
	word->is_quoted = false;
	end_word(command, word);
	for (int i = 1; *argument_of(text, i - 1) && *argument_of(text, i); i++)
		add_word(command, argument_of(text, i));
}

/* At a dollar sign. What is no argument of the script stays as it is written. */
static void read_expansion(struct shell_text *text, struct command *command, struct word *word) {
	bool is_braced = text->at[1] == '{';
	const char *name = text->at + 1 + is_braced;
	bool is_one_character = !is_braced || (*name && name[1] == '}');
	if (is_one_character && (*name == '@' || *name == '*')) {
		add_all_arguments(text, command, word);
	} else if (is_one_character && *name >= '0' && *name <= '9') {
		for (const char *byte = argument_of(text, *name - '0'); *byte; byte++)
			add_byte(word, *byte);
	} else {
		add_byte(word, *text->at++);
		return;
	}
	text->at = name + 1 + is_braced;
}

static void read_quoted(struct shell_text *text, struct command *command, struct word *word) {
	char quote = *text->at++;
	word->is_quoted = true;
	while (*text->at && *text->at != quote) {
		if (quote == '"' && *text->at == '$') {
			read_expansion(text, command, word);
			continue;
		}
		if (quote == '"' && *text->at == '\\' && text->at[1])
			text->at++;
		add_byte(word, *text->at++);
	}
	text->at += *text->at == quote;
}

/* The operator and the file's name behind it. */
static void skip_redirection(struct shell_text *text, struct word *word) {
	bool is_number = word->length == 1 && word->bytes[0] >= '0' && word->bytes[0] <= '9';
	if (is_number)
		word->length = 0;
	text->at += strspn(text->at, "<>&|-");
	text->at += strspn(text->at, " \t");
	text->at += strcspn(text->at, " \t\r\n;&|()<>");
}

/* Reads up to the end of one simple command. */
static void read_command(struct shell_text *text, struct command *command) {
	struct word word = {.length = 0};
	while (*text->at) {
		char c = *text->at;
		if (c == '\\' && text->at[1]) {
			if (text->at[1] != '\n')
				add_byte(&word, text->at[1]);
			text->at += 2;
		} else if (c == '\'' || c == '"') {
			read_quoted(text, command, &word);
		} else if (c == '$' && text->at[1] == '(') {
			text->at++; /* the parenthesis begins a command */
		} else if (c == '$') {
			read_expansion(text, command, &word);
		} else if (c == '<' || c == '>' || (c == '&' && text->at[1] == '>')) {
			skip_redirection(text, &word);
		} else if (c == '#' && word.length == 0 && !word.is_quoted) {
			text->at += strcspn(text->at, "\n");
		} else if (c == ' ' || c == '\t' || c == '\r') {
			end_word(command, &word);
			text->at++;
		} else if (strchr("\n;&|()`", c)) {
			text->at++;
			break;
		} else {
			add_byte(&word, c);
			text->at++;
		}
	}
	end_word(command, &word);
}

static bool is_keyword(const char *word) {
	static const char *const keywords[] = {"if", "then", "elif", "else", "while", "until", "do",
					       "!",  "{",    "}",    "fi",   "done",  "esac"};
	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
		if (strcmp(word, keywords[i]) == 0)
			return true;
	return false;
}

const char *const *shell_text_next(struct shell_text *text, struct arena *arena) {
	while (*text->at) {
		struct command command = {.arena = arena};
		read_command(text, &command);
		const char **first = command.words;
		while (*first && is_keyword(*first))
			first++;
		if (*first) {
			size_t count = (size_t)(command.words + command.count - first) + 1;
			const char **words = arena_array(arena, count, sizeof *words);
			memcpy(words, first, (count - 1) * sizeof *words);
			return words;
		}
	}
	return NULL;
}
