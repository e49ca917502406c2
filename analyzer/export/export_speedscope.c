/*
 * Held seconds by stack, for speedscope.
 */
#include <stdlib.h>

#include <jansson.h>

#include "analyzer/export/export.h"
#include "analyzer/commands/options.h"
#include "analyzer/render/json_text.h"

static json_t *frame_of(struct arena *arena, const struct site_frame *frame) {
	json_t *object = json_pack("{s:o}", "name", json_text_value(export_frame_name(arena, frame)));
	if (frame->file != NULL)
		json_object_set_new(object, "file", json_text_printable(frame->file));
	if (frame->file != NULL && frame->line != 0)
		json_object_set_new(object, "line", json_integer(frame->line));
	return object;
}

/* Frames are numbered by what they show: `numbers` knows those that were there before. */
static json_t *number_of(struct arena *arena, json_t *frames, json_t *numbers,
			 const struct site_frame *frame) {
	json_t *object = frame_of(arena, frame);
	char *key = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	json_t *number = json_object_get(numbers, key);
	if (number == NULL) {
		number = json_integer((json_int_t)json_array_size(frames));
		json_object_set_new(numbers, key, number);
		json_array_append(frames, object);
	}
	json_decref(object);
	free(key);
	return json_incref(number);
}

static json_t *sample_of(const struct export_run *run, json_t *frames, json_t *numbers,
			 const struct site_frames *stack) {
	json_t *sample = json_array();
	for (size_t i = stack->count; i-- > 0;)
		json_array_append_new(sample, number_of(run->arena, frames, numbers, &stack->frames[i]));
	return sample;
}

void export_speedscope(const struct export_run *run, FILE *stream) {
	json_t *frames = json_array();
	json_t *numbers = json_object();
	json_t *samples = json_array();
	json_t *weights = json_array();
	uint64_t total_ns = 0;
	for (size_t i = 0; i < run->site_count; i++) {
		json_array_append_new(samples, sample_of(run, frames, numbers, run->sites[i].site->frames));
		json_array_append_new(weights, json_real((double)run->sites[i].held_ns / 1e9));
		total_ns += run->sites[i].held_ns;
	}
	json_t *profile = json_pack("{s:s, s:s, s:s, s:i, s:f, s:o, s:o}", "type", "sampled", "name",
				    "connections held", "unit", "seconds", "startValue", 0, "endValue",
				    (double)total_ns / 1e9, "samples", samples, "weights", weights);
	json_t *file = json_pack("{s:s, s:s, s:s, s:i, s:{s:o}, s:[o]}", "$schema",
				 "https://www.speedscope.app/file-format-schema.json", "exporter",
				 "pqlease " PQLEASE_VERSION, "name", "connections held", "activeProfileIndex",
				 0, "shared", "frames", frames, "profiles", profile);
	json_dumpf(file, stream, JSON_COMPACT | JSON_REAL_PRECISION(15));
	fputc('\n', stream);
	json_decref(file);
	json_decref(numbers);
}
