#include "analyzer/judge/release_kind.h"

#include <stddef.h>
#include <string.h>

const char *release_kind_name(enum release_kind kind) {
	static const char *const names[RELEASE_KIND_COUNT] = {
		[RELEASE_EXPLICIT] = "explicit",   [RELEASE_DROPPED] = "dropped",
		[RELEASE_COLLECTOR] = "collector", [RELEASE_EXIT] = "exit",
		[RELEASE_UNKNOWN] = "unknown",     [RELEASE_OTHER_PROCESS] = "other_process"};
	return names[kind];
}

/* Handlers, static destructors and destructor functions of libraries all run inside exit(); a library that dlclose
 * unloads runs its own without. The outer ones have no name in a stripped C library, exit itself always has. */
static bool is_exit(const struct site_frame *frame) {
	static const char *const names[] = {"exit", "quick_exit", "__run_exit_handlers", "_dl_fini"};
	if (frame->language != MODEL_NATIVE || frame->function == NULL || frame->owner != SITE_FRAME_SYSTEM)
		return false;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(frame->function, names[i]) == 0)
			return true;
	return false;
}

static bool has_frame(const struct site_frames *frames, bool (*is_one)(const struct site_frame *frame)) {
	for (size_t i = 0; i < frames->count; i++)
		if (is_one(&frames->frames[i]))
			return true;
	return false;
}

static bool is_script(const struct site_frame *frame) {
	return frame->language != MODEL_NATIVE;
}

static bool is_interpreter(const struct site_frame *frame) {
	return frame->owner == SITE_FRAME_INTERPRETER;
}

static bool has_application(const struct site_frames *frames) {
	return frames->application != SITE_NO_FRAME && !frames->is_fallback;
}

enum release_kind release_kind_of(const struct site_frames *frames, uint32_t facts) {
	if (facts & MODEL_FACT_OTHER_PROCESS)
		return RELEASE_OTHER_PROCESS;
	if ((facts & MODEL_FACT_FINALIZING) || has_frame(frames, is_exit))
		return RELEASE_EXIT;
	if (facts & MODEL_FACT_COLLECTING)
		return RELEASE_COLLECTOR;
	if (facts & MODEL_FACT_DEALLOCATING)
		return RELEASE_DROPPED;
	/* A program that embeds an interpreter releases with its own code; an interpreter that runs nothing any more is
	 * cleaning up. */
	if ((facts & MODEL_FACT_NO_SCRIPT) && !has_application(frames) && has_frame(frames, is_interpreter))
		return RELEASE_EXIT;
	/* Native frames of an interpreter whose scripts could not be read say nothing of who called for it. */
	bool is_blind = has_frame(frames, is_interpreter) && !has_frame(frames, is_script);
	return frames->count == 0 || (is_blind && !has_application(frames)) ? RELEASE_UNKNOWN
									    : RELEASE_EXPLICIT;
}
