/*
 * The frames of a site with their names, which of them is the application's own, and the fingerprint that
 * stays the same when addresses and lines change.
 *
 * The application frame is the innermost frame outside driver, pool, framework, interpreter, system and
 * shim, as site_frames.def knows them. When there is none, it is the outermost one that tells something,
 * and is_fallback says so.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_SITE_FRAMES_H
#define PQLEASE_ANALYZER_SYMBOLS_SITE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/model.h"

struct symbol_source;

enum { SITE_FINGERPRINT_BYTES = 17, SITE_FINGERPRINT_FRAMES = 5 };

enum site_frame_owner {
	SITE_FRAME_APPLICATION,
	SITE_FRAME_SHIM,
	SITE_FRAME_DRIVER,
	SITE_FRAME_POOL,
	SITE_FRAME_FRAMEWORK,
	SITE_FRAME_INTERPRETER,
	SITE_FRAME_SYSTEM
};

enum site_frames_where { SITE_FRAMES_MODULE, SITE_FRAMES_PATH, SITE_FRAMES_FUNCTION };

/* Whose code a frame is, as site_frames.def says it; a project's own ones come before those. */
struct site_frames_code {
	enum site_frame_owner owner;
	enum site_frames_where where;
	const char *pattern;
};

/* Strings are NULL where unknown, a line is 0. */
struct site_frame {
	enum model_language language;
	enum site_frame_owner owner;
	const char *function;
	const char *file;
	const char
		*in_project; /* the file below the root of its project; of scripts of the application only */
	uint32_t line;
	const char *module; /* path of the native module */
	uint64_t offset;    /* native only */
	bool is_inlined;
};

#define SITE_NO_FRAME SIZE_MAX

struct site_frames {
	struct site_frame *frames; /* innermost first */
	size_t count;
	size_t application; /* number of the application frame, SITE_NO_FRAME if there are no frames at all */
	bool is_fallback;
	bool is_truncated;
	char fingerprint[SITE_FINGERPRINT_BYTES]; /* 16 hex digits */
};

struct site_frames_known; /* frames named so far: the outer ones of most sites are the same */

/* Names frames. Everything is allocated from `arena`, but names that `symbols` gave live as long as it
 * does. Zero `known` before the first call; site_frames_namer_release() afterwards. */
struct site_frames_namer {
	struct arena *arena;
	const struct model *model;
	struct symbol_source *symbols; /* NULL: modules and offsets only */
	struct site_frames_known *known;
	const struct site_frames_code *code; /* of the project */
	size_t code_count;
};

void site_frames_resolve(struct site_frames *frames, struct site_frames_namer *namer, uint32_t site);
void site_frames_namer_release(struct site_frames_namer *namer);

/* Whose code each of the frames is, and which is the application's: for frames that have their names already. */
void site_frames_classify(struct site_frames *frames);

/* The fingerprint of a finding of `kind` at a site. */
void site_frames_finding_fingerprint(char fingerprint[SITE_FINGERPRINT_BYTES],
				     const struct site_frames *frames, const char *kind);

#endif
