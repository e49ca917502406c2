#include "analyzer/symbols/site_frames.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "analyzer/hash_table.h"
#include "analyzer/symbols/symbol_source.h"
#include "analyzer/text.h"

enum { INLINED_MAX = 32, IDENTITY_BYTES = 32768 }; /* five paths of PATH_MAX, and names */

/* ---- Whose code ------------------------------------------------------------------------------- */

static const struct site_frames_code known_code[] = {
#define CODE(owner, where, pattern) {SITE_FRAME_##owner, SITE_FRAMES_##where, pattern},
#include "analyzer/symbols/site_frames.def"
#undef CODE
};

static const char *subject_of(const struct site_frame *frame, enum site_frames_where where) {
	switch (where) {
	case SITE_FRAMES_MODULE:
		return frame->module != NULL ? text_basename(frame->module) : NULL;
	case SITE_FRAMES_PATH:
		return frame->language == MODEL_NATIVE ? frame->module : frame->file;
	default:
		return frame->function;
	}
}

/* The first of `code` that matches, NULL if none does. */
static const struct site_frames_code *find_code(const struct site_frame *frame,
						const struct site_frames_code *code, size_t count) {
	for (size_t i = 0; i < count; i++) {
		const char *subject = subject_of(frame, code[i].where);
		if (subject != NULL && fnmatch(code[i].pattern, subject, FNM_NOESCAPE) == 0)
			return &code[i];
	}
	return NULL;
}

static enum site_frame_owner owner_of(const struct site_frame *frame, const struct site_frames_code *own,
				      size_t own_count) {
	const struct site_frames_code *code = find_code(frame, own, own_count);
	if (code == NULL)
		code = find_code(frame, known_code, sizeof known_code / sizeof known_code[0]);
	return code != NULL ? code->owner : SITE_FRAME_APPLICATION;
}

static bool is_informative(const struct site_frame *frame) {
	return frame->owner != SITE_FRAME_SYSTEM && frame->owner != SITE_FRAME_SHIM &&
		(frame->function != NULL || frame->module != NULL);
}

static void find_application_frame(struct site_frames *frames) {
	frames->application = SITE_NO_FRAME;
	for (size_t i = 0; i < frames->count; i++)
		if (frames->frames[i].owner == SITE_FRAME_APPLICATION) {
			frames->application = i;
			return;
		}
	frames->is_fallback = frames->count > 0;
	for (size_t i = 0; i < frames->count; i++)
		if (frames->application == SITE_NO_FRAME || is_informative(&frames->frames[i]))
			frames->application = i;
}

/* ---- Names ------------------------------------------------------------------------------------ */

static const char *known(const char *text) {
	return text != NULL && *text != '\0' ? text : NULL;
}

static size_t resolve_native(const struct site_frames_namer *namer, const struct model_frame *from,
			     struct site_frame *to) {
	const struct model_module *module =
		from->module != MODEL_NO_MODULE ? &namer->model->modules[from->module] : NULL;
	struct symbol_frame resolved[INLINED_MAX];
	size_t count = 0;
	if (module != NULL && namer->symbols != NULL) {
		struct symbol_module wanted = {module->path, module->build_id, module->build_id_length,
					       module->file_bytes};
		count = symbol_source_resolve(namer->symbols, &wanted, from->address, SYMBOL_RETURN_ADDRESS,
					      resolved, INLINED_MAX);
	}
	for (size_t i = 0; i < count || i == 0; i++) {
		to[i] = (struct site_frame){.language = MODEL_NATIVE, .offset = from->address};
		to[i].module = module != NULL ? known(module->path) : NULL;
		if (i >= count)
			continue;
		to[i].function = known(resolved[i].function);
		to[i].file = known(resolved[i].file);
		to[i].line = resolved[i].line;
		to[i].is_inlined = resolved[i].inlined;
	}
	return count > 0 ? count : 1;
}

static size_t resolve_frame(const struct site_frames_namer *namer, const struct model_frame *from,
			    struct site_frame *to) {
	if (from->language == MODEL_NATIVE)
		return resolve_native(namer, from, to);
	*to = (struct site_frame){.language = from->language,
				  .function = known(from->function),
				  .file = known(from->file),
				  .line = from->line};
	return 1;
}

/* The model gives equal modules equal numbers, and equal strings of one ledger are one string. */
struct site_frames_known {
	struct known_key {
		uint64_t language;
		uint64_t module;
		uint64_t address;
		uint64_t line;
		const char *file;
		const char *function;
	} key;
	struct site_frame *frames;
	size_t count;
	UT_hash_handle hh;
};

/* Code of others lies elsewhere on the next machine. */
static void find_in_project(const struct site_frames_namer *namer, struct site_frame *frame) {
	if (frame->language != MODEL_NATIVE && frame->owner == SITE_FRAME_APPLICATION &&
	    frame->file != NULL && namer->symbols != NULL)
		frame->in_project = symbol_source_script(namer->symbols, frame->file);
}

static const struct site_frames_known *name_frame(struct site_frames_namer *namer,
						  const struct model_frame *from) {
	struct known_key key = {(uint64_t)from->language,
				from->module,
				from->address,
				from->line,
				from->file,
				from->function};
	struct site_frame resolved[INLINED_MAX];
	struct site_frames_known *entry = NULL;
	HASH_FIND(hh, namer->known, &key, sizeof key, entry);
	if (entry != NULL)
		return entry;
	entry = arena_new(namer->arena, struct site_frames_known);
	entry->key = key;
	entry->count = resolve_frame(namer, from, resolved);
	entry->frames = arena_array(namer->arena, entry->count, sizeof *entry->frames);
	memcpy(entry->frames, resolved, entry->count * sizeof *resolved);
	for (size_t i = 0; i < entry->count; i++) {
		entry->frames[i].owner = owner_of(&entry->frames[i], namer->code, namer->code_count);
		find_in_project(namer, &entry->frames[i]);
	}
	HASH_ADD(hh, namer->known, key, sizeof key, entry);
	return entry;
}

static void resolve_frames(struct site_frames *frames, struct site_frames_namer *namer,
			   const struct model_site *site) {
	for (size_t i = 0; i < site->frame_count; i++)
		frames->count += name_frame(namer, &site->frames[i])->count;
	frames->frames = arena_array(namer->arena, frames->count, sizeof *frames->frames);
	size_t filled = 0;
	for (size_t i = 0; i < site->frame_count; i++) {
		const struct site_frames_known *named = name_frame(namer, &site->frames[i]);
		memcpy(frames->frames + filled, named->frames, named->count * sizeof *named->frames);
		filled += named->count;
	}
}

/* ---- Fingerprints ----------------------------------------------------------------------------- */

static void print_hash(char fingerprint[SITE_FINGERPRINT_BYTES], const char *identity) {
	uint64_t hash = XXH64(identity, strlen(identity), 0);
	snprintf(fingerprint, SITE_FINGERPRINT_BYTES, "%016llx", (unsigned long long)hash);
}

/* Rust's older mangling ends every name in a hash that changes with each compiler. */
static size_t stable_length(const char *function) {
	enum { HASH_DIGITS = 16, SUFFIX = HASH_DIGITS + 3 };
	size_t length = strlen(function);
	if (length <= SUFFIX || strncmp(function + length - SUFFIX, "::h", 3) != 0)
		return length;
	for (const char *digit = function + length - HASH_DIGITS; *digit != '\0'; digit++)
		if (!isxdigit((unsigned char)*digit))
			return length;
	return length - SUFFIX;
}

static const char *place_of(const struct site_frame *frame) {
	const char *place = frame->language == MODEL_NATIVE ? frame->module : frame->file;
	return frame->in_project != NULL ? frame->in_project : place != NULL ? text_basename(place) : "?";
}

static size_t add_frame_identity(char *identity, size_t length, const struct site_frame *frame) {
	const char *function = frame->function != NULL ? frame->function : "?";
	int added = snprintf(identity + length, IDENTITY_BYTES - length, "\n%s:%.*s", place_of(frame),
			     (int)stable_length(function), function);
	length += added > 0 ? (size_t)added : 0;
	return length < IDENTITY_BYTES ? length : IDENTITY_BYTES - 1;
}

static void compute_fingerprint(struct site_frames *frames, uint32_t site) {
	char identity[IDENTITY_BYTES];
	size_t kept = 0;
	enum model_language language = MODEL_NATIVE;
	if (frames->application != SITE_NO_FRAME)
		language = frames->frames[frames->application].language;
	size_t length = (size_t)snprintf(identity, sizeof identity, "%s", model_language_name(language));
	if (frames->count == 0)
		snprintf(identity, sizeof identity, "no stack %u",
			 site == MODEL_SITE_LOST ? MODEL_SITE_LOST : MODEL_SITE_NONE);
	for (size_t i = 0; i < frames->count && kept < SITE_FINGERPRINT_FRAMES; i++) {
		const struct site_frame *frame = &frames->frames[i];
		bool counts =
			frames->is_fallback ? is_informative(frame) : frame->owner == SITE_FRAME_APPLICATION;
		if (!counts)
			continue;
		length = add_frame_identity(identity, length, frame);
		kept++;
	}
	print_hash(frames->fingerprint, identity);
}

void site_frames_finding_fingerprint(char fingerprint[SITE_FINGERPRINT_BYTES],
				     const struct site_frames *frames, const char *kind) {
	char identity[IDENTITY_BYTES];
	snprintf(identity, sizeof identity, "%s\n%s", kind, frames->fingerprint);
	print_hash(fingerprint, identity);
}

void site_frames_resolve(struct site_frames *frames, struct site_frames_namer *namer, uint32_t site) {
	const struct model_site *from = &namer->model->sites[site];
	*frames = (struct site_frames){.is_truncated = from->is_truncated};
	resolve_frames(frames, namer, from);
	find_application_frame(frames);
	compute_fingerprint(frames, site);
}

void site_frames_classify(struct site_frames *frames) {
	for (size_t i = 0; i < frames->count; i++)
		frames->frames[i].owner = owner_of(&frames->frames[i], NULL, 0);
	frames->is_fallback = false;
	find_application_frame(frames);
}

void site_frames_namer_release(struct site_frames_namer *namer) {
	HASH_CLEAR(hh, namer->known);
}
