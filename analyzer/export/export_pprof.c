/*
 * A profile for pprof: leases and held nanoseconds by stack. The few messages needed are written by hand, as
 * github.com/google/pprof/proto/profile.proto numbers their fields.
 */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "analyzer/export/export.h"
#include "analyzer/hash_table.h"
#include "analyzer/text.h"

/* ---- Protocol buffers: varints, and what begins with its length ------------------------------------ */

struct message {
	FILE *stream;
	char *bytes;
	size_t length;
};

static void message_begin(struct message *message) {
	*message = (struct message){0};
	message->stream = open_memstream(&message->bytes, &message->length);
	if (message->stream == NULL)
		abort();
}

static void put_varint(struct message *message, uint64_t value) {
	for (; value >= 0x80; value >>= 7)
		fputc((int)(value & 0x7f) | 0x80, message->stream);
	fputc((int)value, message->stream);
}

static void put_number(struct message *message, unsigned field, uint64_t value) {
	put_varint(message, field << 3);
	put_varint(message, value);
}

static void put_bytes(struct message *message, unsigned field, const char *bytes, size_t length) {
	put_varint(message, field << 3 | 2);
	put_varint(message, length);
	fwrite(bytes, 1, length, message->stream);
}

/* Ends `part` and puts it into `message`. */
static void put_message(struct message *message, unsigned field, struct message *part) {
	fclose(part->stream);
	put_bytes(message, field, part->bytes, part->length);
	free(part->bytes);
}

/* ---- Numbered once: strings, functions, places ------------------------------------------------------- */

enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_TIME_NS = 9,
	PROFILE_DURATION_NS = 10,
	PROFILE_DEFAULT_TYPE = 14
};

struct numbered {
	uint64_t number;
	UT_hash_handle hh; /* by text */
};

struct profile {
	struct arena *arena;
	struct message message;
	struct numbered *strings;
	struct numbered *functions;
	struct numbered *locations;
};

/* `is_new` tells whether the text was not there before. */
static uint64_t number_of(struct profile *profile, struct numbered **table, const char *text, uint64_t first,
			  bool *is_new) {
	struct numbered *found = NULL;
	HASH_FIND_STR(*table, text, found);
	*is_new = found == NULL;
	if (*is_new) {
		found = arena_new(profile->arena, struct numbered);
		found->number = first + HASH_COUNT(*table);
		char *key = arena_copy(profile->arena, text, strlen(text));
		HASH_ADD_KEYPTR(hh, *table, key, strlen(key), found);
	}
	return found->number;
}

static uint64_t string_of(struct profile *profile, const char *text) {
	bool is_new;
	uint64_t number = number_of(profile, &profile->strings, text, 0, &is_new);
	if (is_new)
		put_bytes(&profile->message, PROFILE_STRING, text, strlen(text));
	return number;
}

static const char *printable(struct profile *profile, const char *text) {
	return text != NULL ? text_printable(profile->arena, text) : "";
}

static const char *function_name(struct profile *profile, const struct site_frame *frame) {
	return frame->function != NULL ? printable(profile, frame->function)
				       : export_frame_name(profile->arena, frame);
}

static uint64_t function_of(struct profile *profile, const struct site_frame *frame) {
	enum { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_SYSTEM_NAME, FUNCTION_FILE };
	struct message function;
	bool is_new;
	const char *name = function_name(profile, frame);
	const char *file = printable(profile, frame->file != NULL ? frame->file : frame->module);
	const char *key = arena_text(profile->arena, "%s\n%s", name, file);
	uint64_t number = number_of(profile, &profile->functions, key, 1, &is_new);
	if (!is_new)
		return number;
	message_begin(&function);
	put_number(&function, FUNCTION_ID, number);
	put_number(&function, FUNCTION_NAME, string_of(profile, name));
	put_number(&function, FUNCTION_SYSTEM_NAME, string_of(profile, name));
	put_number(&function, FUNCTION_FILE, string_of(profile, file));
	put_message(&profile->message, PROFILE_FUNCTION, &function);
	return number;
}

static uint64_t location_of(struct profile *profile, const struct site_frame *frame) {
	enum { LOCATION_ID = 1, LOCATION_LINE = 4, LINE_FUNCTION = 1, LINE_NUMBER = 2 };
	struct message location;
	struct message line;
	bool is_new;
	uint64_t function = function_of(profile, frame);
	const char *key = arena_text(profile->arena, "%llu:%u", (unsigned long long)function, frame->line);
	uint64_t number = number_of(profile, &profile->locations, key, 1, &is_new);
	if (!is_new)
		return number;
	message_begin(&location);
	message_begin(&line);
	put_number(&line, LINE_FUNCTION, function);
	put_number(&line, LINE_NUMBER, frame->line);
	put_number(&location, LOCATION_ID, number);
	put_message(&location, LOCATION_LINE, &line);
	put_message(&profile->message, PROFILE_LOCATION, &location);
	return number;
}

/* ---- The profile ---------------------------------------------------------------------------------------- */

static void put_type(struct profile *profile, const char *type, const char *unit) {
	struct message value_type;
	message_begin(&value_type);
	put_number(&value_type, 1, string_of(profile, type));
	put_number(&value_type, 2, string_of(profile, unit));
	put_message(&profile->message, PROFILE_SAMPLE_TYPE, &value_type);
}

static void put_sample(struct profile *profile, const struct export_site *site) {
	enum { SAMPLE_LOCATION = 1, SAMPLE_VALUE = 2 };
	const struct site_frames *frames = site->site->frames;
	struct message sample;
	message_begin(&sample);
	for (size_t i = 0; i < frames->count; i++)
		put_number(&sample, SAMPLE_LOCATION, location_of(profile, &frames->frames[i]));
	put_number(&sample, SAMPLE_VALUE, site->leases);
	put_number(&sample, SAMPLE_VALUE, site->held_ns);
	put_message(&profile->message, PROFILE_SAMPLE, &sample);
}

static void put_times(struct profile *profile, const struct export_run *run) {
	const struct model_run *from = &run->model->run;
	put_number(&profile->message, PROFILE_TIME_NS, from->created_realtime_ns);
	if (from->until_ns > from->created_ns)
		put_number(&profile->message, PROFILE_DURATION_NS, from->until_ns - from->created_ns);
	put_number(&profile->message, PROFILE_DEFAULT_TYPE, string_of(profile, "held"));
}

/* gzip without a time: the same run gives the same bytes. */
static void write_compressed(const char *bytes, size_t length, FILE *stream) {
	enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
	z_stream deflation = {0};
	if (deflateInit2(&deflation, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	size_t room = deflateBound(&deflation, length);
	unsigned char *compressed = malloc(room);
	if (compressed == NULL)
		abort();
	deflation.next_in = (unsigned char *)bytes;
	deflation.avail_in = (unsigned)length;
	deflation.next_out = compressed;
	deflation.avail_out = (unsigned)room;
	deflate(&deflation, Z_FINISH);
	fwrite(compressed, 1, deflation.total_out, stream);
	deflateEnd(&deflation);
	free(compressed);
}

void export_pprof(const struct export_run *run, FILE *stream) {
	struct profile profile = {.arena = run->arena};
	message_begin(&profile.message);
	string_of(&profile, ""); /* string 0 */
	put_type(&profile, "leases", "count");
	put_type(&profile, "held", "nanoseconds");
	for (size_t i = 0; i < run->site_count; i++)
		put_sample(&profile, &run->sites[i]);
	put_times(&profile, run);
	fclose(profile.message.stream);
	write_compressed(profile.message.bytes, profile.message.length, stream);
	free(profile.message.bytes);
	HASH_CLEAR(hh, profile.strings);
	HASH_CLEAR(hh, profile.functions);
	HASH_CLEAR(hh, profile.locations);
}
