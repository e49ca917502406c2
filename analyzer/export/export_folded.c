/*
 * Folded stacks, as flame graph tools read them: "outer;inner microseconds held".
 */
#include <inttypes.h>

#include "analyzer/export/export.h"

static void write_name(const char *name, FILE *stream) {
	for (; *name != '\0'; name++)
		fputc(*name == ';' ? ':' : *name, stream);
}

void export_folded(const struct export_run *run, FILE *stream) {
	for (size_t i = 0; i < run->site_count; i++) {
		const struct site_frames *frames = run->sites[i].site->frames;
		for (size_t frame = frames->count; frame-- > 0;) {
			write_name(export_frame_name(run->arena, &frames->frames[frame]), stream);
			fputc(frame > 0 ? ';' : ' ', stream);
		}
		fprintf(stream, "%" PRIu64 "\n", (run->sites[i].held_ns + 500) / 1000);
	}
}
