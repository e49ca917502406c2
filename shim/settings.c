#include "shim/settings.h"

#include <stddef.h>
#include <string.h>

#include "shim/ledger_format.h"
#include "shim/script.h"
#include "shim/stack.h"

struct setting;
typedef bool parse_function(struct settings *settings, const struct setting *setting, const char *value);

struct setting {
	const char *name;
	parse_function *parse;
	size_t offset;  /* of the field in struct settings */
	uint64_t limit; /* numbers: the highest; texts: size of the field */
};

static void *field_of(struct settings *settings, const struct setting *setting) {
	return (char *)settings + setting->offset;
}

static bool parse_text(struct settings *settings, const struct setting *setting, const char *value) {
	size_t length = strlen(value);
	if (length >= setting->limit)
		return false;
	memcpy(field_of(settings, setting), value, length + 1);
	return true;
}

/* Digits only; returns the first character behind them, NULL if there are none or too many. */
static const char *read_digits(const char *text, uint64_t *value) {
	const char *at = text;
	for (*value = 0; *at >= '0' && *at <= '9'; at++) {
		if (*value > UINT64_MAX / 16)
			return NULL;
		*value = *value * 10 + (uint64_t)(*at - '0');
	}
	return at != text ? at : NULL;
}

static bool parse_number(struct settings *settings, const struct setting *setting, const char *value) {
	uint64_t number;
	const char *end = read_digits(value, &number);
	if (!end || *end != '\0' || number > setting->limit)
		return false;
	*(uint64_t *)field_of(settings, setting) = number;
	return true;
}

static bool parse_size(struct settings *settings, const struct setting *setting, const char *value) {
	static const char suffixes[] = "KMG";
	uint64_t number;
	const char *end = read_digits(value, &number);
	const char *suffix = end && *end ? strchr(suffixes, *end) : NULL;
	if (!end || (*end && (!suffix || end[1])))
		return false;
	int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
	if (number > LEDGER_MAX_SIZE_BYTES >> shift || number << shift < LEDGER_MIN_SIZE_BYTES)
		return false;
	*(uint64_t *)field_of(settings, setting) = number << shift;
	return true;
}

static bool parse_open(struct settings *settings, const struct setting *setting, const char *value) {
	(void)setting;
	settings->opens_early = strcmp(value, "early") == 0;
	return settings->opens_early || strcmp(value, "lazily") == 0;
}

#define FIELD(name) offsetof(struct settings, name)

static const struct setting settings_table[] = {
	{"PQLEASE_LEDGER", parse_text, FIELD(ledger_path), sizeof((struct settings *)0)->ledger_path},
	{"PQLEASE_LEDGER_SIZE", parse_size, FIELD(ledger_size_bytes), 0},
	{"PQLEASE_ROLE", parse_text, FIELD(role), SETTINGS_TEXT_BYTES},
	{"PQLEASE_TEST", parse_text, FIELD(test), SETTINGS_TEXT_BYTES},
	{"PQLEASE_USES", parse_number, FIELD(uses), 2},
	{"PQLEASE_STACK_DEPTH", parse_number, FIELD(stack_depth), STACK_FRAMES_MAX},
	{"PQLEASE_SCRIPT_FRAMES", parse_number, FIELD(script_frames), SCRIPT_FRAMES_MAX},
	{"PQLEASE_DISABLE", parse_number, FIELD(is_disabled), 1},
	{"PQLEASE_VERBOSE", parse_number, FIELD(is_verbose), 1},
	{"PQLEASE_PID", parse_number, FIELD(preloaded_pid), INT32_MAX},
	{"PQLEASE_OPEN", parse_open, 0, 0},
};

static const char *value_of(const char *entry, const char *name) {
	size_t length = strlen(name);
	return strncmp(entry, name, length) == 0 && entry[length] == '=' ? entry + length + 1 : NULL;
}

static void append(char *text, size_t size_bytes, const char *more) {
	size_t length = strlen(text);
	size_t count = strnlen(more, size_bytes - 1 - length);
	memcpy(text + length, more, count);
	text[length + count] = '\0';
}

static void remember_problem(struct settings *settings, const struct setting *setting) {
	if (settings->problem[0])
		return;
	append(settings->problem, sizeof settings->problem, setting->name);
	append(settings->problem, sizeof settings->problem, " has a bad value, the default is used");
}

static void read_entry(struct settings *settings, const char *entry) {
	for (size_t i = 0; i < sizeof settings_table / sizeof *settings_table; i++) {
		const char *value = value_of(entry, settings_table[i].name);
		if (value && *value && !settings_table[i].parse(settings, &settings_table[i], value))
			remember_problem(settings, &settings_table[i]);
	}
}

void settings_read(struct settings *settings, char *const *environment) {
	*settings = (struct settings){.ledger_size_bytes = LEDGER_DEFAULT_SIZE_BYTES,
				      .uses = 1,
				      .stack_depth = 32,
				      .script_frames = 32};
	for (; environment && *environment; environment++)
		if (strncmp(*environment, "PQLEASE_", 8) == 0)
			read_entry(settings, *environment);
}

static void append_number(char *text, size_t size_bytes, uint64_t number) {
	char digits[24];
	size_t at = sizeof digits;
	digits[--at] = '\0';
	do
		digits[--at] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	append(text, size_bytes, digits + at);
}

void settings_name_ledger(struct settings *settings, uint32_t uid, int32_t pid, uint64_t started_us) {
	size_t size_bytes = sizeof settings->ledger_path;
	settings->ledger_path[0] = '\0';
	append(settings->ledger_path, size_bytes, "/dev/shm/pqlease.");
	append_number(settings->ledger_path, size_bytes, uid);
	append(settings->ledger_path, size_bytes, ".");
	append_number(settings->ledger_path, size_bytes, (uint64_t)pid);
	append(settings->ledger_path, size_bytes, "-");
	append_number(settings->ledger_path, size_bytes, started_us);
	append(settings->ledger_path, size_bytes, ".ledger");
}
