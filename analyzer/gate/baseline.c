#include "analyzer/gate/baseline.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/gate/quantity.h"
#include "analyzer/text.h"

enum { FIELD_FINGERPRINT, FIELD_KIND, FIELD_COUNT, FIELD_DATE, FIELD_SITE, FIELD_REASON, FIELDS };

struct reading {
	struct arena *arena;
	const struct gate_input *input;
	struct gate_error *error;
	size_t line;
	size_t capacity;
};

/* ---- Reading ---------------------------------------------------------------------------------- */

/* Cuts `line` at its tabs; returns how many fields it has. */
static size_t split(char *line, const char *fields[FIELDS]) {
	size_t count = 0;
	while (line != NULL && count < FIELDS) {
		fields[count++] = line;
		line = strchr(line, '\t');
		if (line != NULL)
			*line++ = '\0';
	}
	return line == NULL ? count : FIELDS + 1;
}

static bool is_conflict_marker(const char *line) {
	static const char *const markers[] = {"<<<<<<<", "=======", ">>>>>>>", "|||||||"};
	for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++)
		if (strncmp(line, markers[i], 7) == 0 && (line[7] == '\0' || line[7] == ' '))
			return true;
	return false;
}

static bool is_fingerprint(const char *text) {
	return strlen(text) == FINDING_FINGERPRINT_BYTES - 1 &&
		strspn(text, "0123456789abcdef") == FINDING_FINGERPRINT_BYTES - 1;
}

static bool is_kind(const char *text) {
	return *text != '\0' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* What is wrong with the fields of a line, NULL if nothing is. */
static const char *find_fault(const char *const fields[FIELDS], size_t count, struct baseline_entry *entry) {
	int64_t day;
	if (count != FIELDS)
		return "not six fields with tabs between: fingerprint, kind, count, date, site, reason";
	if (!is_fingerprint(fields[FIELD_FINGERPRINT]))
		return "the fingerprint is not 16 hexadecimal digits";
	if (!is_kind(fields[FIELD_KIND]))
		return "the kind is not a word";
	if (!quantity_parse_count(fields[FIELD_COUNT], &entry->count) || entry->count == 0)
		return "the count is not a number above 0";
	if (!quantity_parse_date(fields[FIELD_DATE], &day))
		return "the date is not a day like 2027-01-31";
	return NULL;
}

static void add_entry(struct reading *reading, struct baseline *baseline,
		      const struct baseline_entry *entry) {
	if (baseline->count == reading->capacity) {
		reading->capacity = 2 * reading->capacity + 64;
		struct baseline_entry *grown = arena_array(reading->arena, reading->capacity, sizeof *grown);
		if (baseline->count > 0)
			memcpy(grown, baseline->entries, baseline->count * sizeof *grown);
		baseline->entries = grown;
	}
	baseline->entries[baseline->count++] = *entry;
}

static bool refuse(struct reading *reading, const char *why) {
	return gate_input_refuse(reading->error, reading->arena, reading->input->name, reading->line, 0, "%s",
				 why);
}

static bool take_line(struct reading *reading, struct baseline *baseline, char *line) {
	const char *fields[FIELDS] = {NULL};
	struct baseline_entry entry = {.line = reading->line};
	if (is_conflict_marker(line))
		return refuse(reading,
			      "a merge conflict marker: keep the lines of both sides, without markers");
	size_t count = split(line, fields);
	const char *fault = find_fault(fields, count, &entry);
	if (fault != NULL)
		return refuse(reading, fault);
	strcpy(entry.fingerprint, fields[FIELD_FINGERPRINT]);
	entry.kind = fields[FIELD_KIND];
	entry.date = fields[FIELD_DATE];
	entry.site = fields[FIELD_SITE];
	entry.reason = fields[FIELD_REASON];
	add_entry(reading, baseline, &entry);
	return true;
}

static bool is_of_other_version(const char *line) {
	static const char beginning[] = "# pqlease baseline ";
	size_t length = sizeof BASELINE_FIRST_LINE - 1;
	if (strncmp(line, beginning, sizeof beginning - 1) != 0)
		return false;
	return strncmp(line, BASELINE_FIRST_LINE, length) != 0 ||
		(line[length] != '\0' && line[length] != ':');
}

bool baseline_parse(struct baseline *baseline, struct arena *arena, const struct gate_input *input,
		    struct gate_error *error) {
	struct reading reading = {.arena = arena, .input = input, .error = error};
	const char *rest = input->text;
	const char *line;
	*baseline = (struct baseline){.name = input->name};
	while ((line = gate_input_line(arena, &rest)) != NULL) {
		reading.line++;
		if (is_of_other_version(line))
			return refuse(&reading, "a baseline of another version of pqlease");
		if (*line != '\0' && *line != '#' && !take_line(&reading, baseline, (char *)line))
			return false;
	}
	baseline->count = baseline_sort(baseline->entries, baseline->count);
	return true;
}

/* ---- Entries ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
	const struct baseline_entry *left = a;
	const struct baseline_entry *right = b;
	int order = strcmp(left->fingerprint, right->fingerprint);
	return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

size_t baseline_sort(struct baseline_entry *entries, size_t count) {
	size_t kept = 0;
	if (count > 1)
		qsort(entries, count, sizeof *entries, compare);
	for (size_t i = 0; i < count; i++) {
		bool is_again =
			kept > 0 && strcmp(entries[kept - 1].fingerprint, entries[i].fingerprint) == 0;
		if (!is_again)
			entries[kept++] = entries[i];
		else if (entries[i].count > entries[kept - 1].count)
			entries[kept - 1] = entries[i];
	}
	return kept;
}

static int compare_fingerprint(const void *key, const void *element) {
	return strcmp(key, ((const struct baseline_entry *)element)->fingerprint);
}

const struct baseline_entry *baseline_find(const struct baseline *baseline, const char *fingerprint) {
	if (baseline->count == 0)
		return NULL;
	return bsearch(fingerprint, baseline->entries, baseline->count, sizeof *baseline->entries,
		       compare_fingerprint);
}

/* ---- Writing ---------------------------------------------------------------------------------- */

void baseline_write(const struct baseline *baseline, FILE *stream) {
	struct arena arena = {0};
	fputs(BASELINE_FIRST_LINE ": fingerprint, kind, count at most, date, site, reason; tabs between; "
				  "written by pqlease check\n",
	      stream);
	for (size_t i = 0; i < baseline->count; i++) {
		const struct baseline_entry *entry = &baseline->entries[i];
		fprintf(stream, "%s\t%s\t%" PRIu64 "\t%s\t%s\t%s\n", entry->fingerprint, entry->kind,
			entry->count, entry->date, text_printable(&arena, entry->site),
			text_printable(&arena, entry->reason));
	}
	arena_release(&arena);
}
