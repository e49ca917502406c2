#include "analyzer/gate/suppression.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "analyzer/report/report.h"
#include "analyzer/text.h"

static const char *const part_names[] = {"function", "module", "file"};

bool suppression_parse_frame(struct suppression_frame *frame, const char *text) {
	if (strcmp(text, "...") == 0) {
		*frame = (struct suppression_frame){SUPPRESSION_REST, text};
		return true;
	}
	for (size_t i = 0; i < sizeof part_names / sizeof part_names[0]; i++) {
		size_t length = strlen(part_names[i]);
		if (strncmp(text, part_names[i], length) != 0 || text[length] != ':' ||
		    text[length + 1] == '\0')
			continue;
		*frame = (struct suppression_frame){(enum suppression_part)i, text + length + 1};
		return true;
	}
	return false;
}

/* ---- LeakSanitizer's form ----------------------------------------------------------------------- */

static const char *skip_blanks(const char *text) {
	return text + strspn(text, " \t");
}

/* The pattern behind "type:", NULL if the line is not of that form. YAML has a blank behind its colon. */
static const char *lsan_pattern(const char *line) {
	size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
	bool is_typed = length > 0 && line[length] == ':' && line[length + 1] > ' ';
	return is_typed ? line + length + 1 : NULL;
}

bool suppression_is_lsan(const struct gate_input *input) {
	struct arena arena = {0};
	const char *rest = input->text;
	const char *line;
	bool is_lsan = false;
	while ((line = gate_input_line(&arena, &rest)) != NULL) {
		line = skip_blanks(line);
		if (*line == '\0' || *line == '#')
			continue;
		is_lsan = lsan_pattern(line) != NULL;
		break;
	}
	arena_release(&arena);
	return is_lsan;
}

/* LeakSanitizer's patterns match anywhere in a name, ^ and $ bind them to its ends, and only the star is special. */
static const char *glob_of_lsan(struct arena *arena, const char *pattern) {
	size_t length = strlen(pattern);
	char *glob = arena_array(arena, 2 * length + 3, 1);
	char *to = glob;
	bool is_end_bound = length > 0 && pattern[length - 1] == '$';
	if (*pattern == '^')
		pattern++, length--;
	else
		*to++ = '*';
	length -= is_end_bound && length > 0;
	for (size_t i = 0; i < length; i++) {
		if (strchr("?[]\\", pattern[i]) != NULL)
			*to++ = '\\';
		*to++ = pattern[i];
	}
	if (!is_end_bound)
		*to++ = '*';
	*to = '\0';
	return glob;
}

struct lsan_reading {
	struct arena *arena;
	const struct gate_input *input;
	struct suppression *suppressions;
	size_t count;
	size_t capacity;
	const char *comment; /* right above, NULL without */
};

static void add_lsan(struct lsan_reading *reading, const char *pattern, size_t line) {
	struct suppression_frame *frame = arena_new(reading->arena, struct suppression_frame);
	if (reading->count == reading->capacity) {
		reading->capacity = 2 * reading->capacity + 16;
		struct suppression *grown = arena_array(reading->arena, reading->capacity, sizeof *grown);
		if (reading->count > 0)
			memcpy(grown, reading->suppressions, reading->count * sizeof *grown);
		reading->suppressions = grown;
	}
	*frame = (struct suppression_frame){SUPPRESSION_ANY, glob_of_lsan(reading->arena, pattern)};
	reading->suppressions[reading->count++] = (struct suppression){
		.frames = frame,
		.frame_count = 1,
		.is_leaks_only = true,
		.max = SUPPRESSION_NO_MAX,
		.reason = reading->comment != NULL ? reading->comment : "no comment above the line",
		.expires = INT64_MAX,
		.name = reading->input->name,
		.line = line};
}

bool suppression_parse_lsan(struct suppression **suppressions, size_t *count, struct arena *arena,
			    const struct gate_input *input, struct gate_error *error) {
	struct lsan_reading reading = {.arena = arena, .input = input};
	const char *rest = input->text;
	const char *text;
	for (size_t line = 1; (text = gate_input_line(arena, &rest)) != NULL; line++) {
		text = skip_blanks(text);
		const char *pattern = lsan_pattern(text);
		if (*text == '#' || *text == '\0') {
			const char *words = *text == '#' ? skip_blanks(text + strspn(text, "#")) : "";
			reading.comment = *words != '\0' ? words : NULL;
			continue;
		}
		if (pattern == NULL)
			return gate_input_refuse(error, arena, input->name, line, 0,
						 "not a line like leak:pattern");
		/* Sanitizers share such files; what is for another one is not for us. */
		if (strncmp(text, "leak:", 5) == 0)
			add_lsan(&reading, pattern, line);
	}
	*suppressions = reading.suppressions;
	*count = reading.count;
	return true;
}

/* ---- Frames ----------------------------------------------------------------------------------- */

static bool matches(const char *pattern, const char *subject) {
	return subject != NULL && fnmatch(pattern, subject, 0) == 0;
}

static bool matches_path(const char *pattern, const char *path) {
	if (path == NULL)
		return false;
	return matches(pattern, path) ||
		(strchr(pattern, '/') == NULL && matches(pattern, text_basename(path)));
}

static bool matches_file(const char *pattern, const struct site_frame *frame) {
	char with_line[4096];
	if (frame->file == NULL)
		return false;
	snprintf(with_line, sizeof with_line, "%s:%" PRIu32, frame->file, frame->line);
	return matches_path(pattern, frame->file) || (frame->line != 0 && matches_path(pattern, with_line));
}

static bool matches_frame(const struct suppression_frame *wanted, const struct site_frame *frame) {
	switch (wanted->part) {
	case SUPPRESSION_FUNCTION:
		return matches(wanted->pattern, frame->function);
	case SUPPRESSION_MODULE:
		return matches_path(wanted->pattern, frame->module);
	case SUPPRESSION_FILE:
		return matches_file(wanted->pattern, frame);
	case SUPPRESSION_ANY:
		return matches(wanted->pattern, frame->function) || matches(wanted->pattern, frame->file) ||
			matches(wanted->pattern, frame->module);
	default:
		return true;
	}
}

/* Whether the wanted frames stand at the beginning of `frames`; "..." takes the fewest that will do, which is enough
 * because nothing binds the end. */
static bool matches_stack_here(const struct suppression *suppression, const struct site_frame *frames,
			       size_t count) {
	size_t after_rest = SIZE_MAX; /* wanted frame behind the last "..." */
	size_t retry = 0;
	size_t wanted = 0;
	size_t at = 0;
	while (wanted < suppression->frame_count) {
		if (suppression->frames[wanted].part == SUPPRESSION_REST) {
			after_rest = ++wanted;
			retry = at;
		} else if (at < count && matches_frame(&suppression->frames[wanted], &frames[at])) {
			wanted++;
			at++;
		} else if (after_rest != SIZE_MAX && retry < count) {
			wanted = after_rest;
			at = ++retry;
		} else {
			return false;
		}
	}
	return true;
}

static bool matches_stack(const struct suppression *suppression, const struct site_frames *frames) {
	if (suppression->frame_count == 0)
		return true;
	for (size_t i = 0; frames != NULL && i < frames->count; i++)
		if (matches_stack_here(suppression, frames->frames + i, frames->count - i))
			return true;
	return false;
}

/* ---- Findings --------------------------------------------------------------------------------- */

static bool is_leak_kind(const char *kind) {
	static const char *const kinds[] = {
		"never-finished", "failed-not-finished", "abandoned-start", "finalizer-closed",
		"exit-closed",    "owner-thread-gone",   "growing",         "stranded",
		"never-used"};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kind, kinds[i]) == 0)
			return true;
	return false;
}

static const char *role_of_pid(const struct report *report, int64_t pid) {
	for (size_t i = 0; i < report->process_count; i++)
		if (report->processes[i].pid == pid)
			return report->processes[i].role;
	return NULL;
}

static bool are_all_processes_of(const char *pattern, const struct report *report) {
	for (size_t i = 0; i < report->process_count; i++)
		if (!matches(pattern, report->processes[i].role))
			return false;
	return report->process_count > 0 && (int64_t)report->process_count == report->trust.processes;
}

static bool matches_role(const char *pattern, const struct report *report,
			 const struct report_finding *from) {
	if (pattern == NULL)
		return true;
	if (from->pool >= 0 && (size_t)from->pool < report->pool_count)
		return matches(pattern, report->pools[from->pool].role);
	/* Examples are a few of the leases; a role for which only some of them speak is not sure. */
	if (from->example_count < from->finding->count)
		return are_all_processes_of(pattern, report);
	for (size_t i = 0; i < from->example_count; i++)
		if (!matches(pattern, role_of_pid(report, from->examples[i].pid)))
			return false;
	return from->example_count > 0;
}

bool suppression_matches(const struct suppression *suppression, const struct report *report,
			 const struct report_finding *from) {
	const struct finding *finding = from->finding;
	const struct report_site *site = report_find_site(report, from->site);
	if (suppression->is_leaks_only && !is_leak_kind(finding->kind))
		return false;
	if (suppression->kind != NULL && !matches(suppression->kind, finding->kind))
		return false;
	if (suppression->fingerprint != NULL && strcmp(suppression->fingerprint, finding->fingerprint) != 0)
		return false;
	return matches_stack(suppression, site != NULL ? site->frames : NULL) &&
		matches_role(suppression->role, report, from);
}

const char *suppression_describe(const struct suppression *suppression, struct arena *arena) {
	const char *text = suppression->kind != NULL ? suppression->kind : "any finding";
	if (suppression->is_leaks_only)
		text = "any leak";
	if (suppression->role != NULL)
		text = arena_text(arena, "%s of role %s", text, suppression->role);
	if (suppression->fingerprint != NULL)
		text = arena_text(arena, "%s %s", text, suppression->fingerprint);
	for (size_t i = 0; i < suppression->frame_count; i++) {
		const struct suppression_frame *frame = &suppression->frames[i];
		bool is_named = frame->part <= SUPPRESSION_FILE;
		text = arena_text(arena, "%s%s%s%s%s", text, i == 0 ? " at " : ", ",
				  is_named ? part_names[frame->part] : "", is_named ? ":" : "",
				  frame->pattern);
	}
	return text;
}

/* ---- Generating ------------------------------------------------------------------------------- */

/* A pattern that matches this text: quoted for fnmatch, then for YAML; what cannot stand in a line is a star. */
static void print_pattern(const char *prefix, const char *text, FILE *stream) {
	bool is_star = false;
	fprintf(stream, "      - '%s", prefix);
	for (; *text != '\0'; text++) {
		unsigned char byte = (unsigned char)*text;
		bool is_odd = byte < ' ' || byte >= 0x7f;
		if (strchr("*?[]\\", byte) != NULL)
			fprintf(stream, "\\%c", byte);
		else if (byte == '\'')
			fputs("''", stream);
		else if (!is_odd)
			fputc(byte, stream);
		else if (!is_star)
			fputc('*', stream);
		is_star = is_odd;
	}
	fputs("'\n", stream);
}

static void print_frame(const struct site_frame *frame, FILE *stream) {
	if (frame->function != NULL)
		print_pattern("function:", frame->function, stream);
	else if (frame->file != NULL)
		print_pattern("file:", text_basename(frame->file), stream);
	else if (frame->module != NULL)
		print_pattern("module:", text_basename(frame->module), stream);
	else
		fputs("      - '...'\n", stream);
}

/* The frames of the program itself, "..." for those between. */
static void print_stack(const struct site_frames *frames, FILE *stream) {
	size_t printed = 0;
	bool is_gap = false;
	fputs("    stack:\n", stream);
	for (size_t i = frames->application; i < frames->count && printed < SITE_FINGERPRINT_FRAMES; i++) {
		if (i != frames->application && frames->frames[i].owner != SITE_FRAME_APPLICATION) {
			is_gap = true;
			continue;
		}
		if (is_gap)
			fputs("      - '...'\n", stream);
		print_frame(&frames->frames[i], stream);
		is_gap = false;
		printed++;
	}
}

void suppression_generate(const struct report *report, const struct report_finding *from, FILE *stream) {
	const struct report_site *site = report_find_site(report, from->site);
	fprintf(stream,
		"  - reason: 'generated: say here why this is acceptable, and until when'\n"
		"    kind: %s\n"
		"    fingerprint: '%s' # without this line, whatever else the stack matches too\n"
		"    max: %" PRIu64 "\n",
		from->finding->kind, from->finding->fingerprint, from->finding->count);
	if (site != NULL && site->frames->application != SITE_NO_FRAME)
		print_stack(site->frames, stream);
}
