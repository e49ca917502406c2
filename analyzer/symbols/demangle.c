#include "analyzer/symbols/demangle.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS (DMGL_PARAMS | DMGL_ANSI | DMGL_RET_DROP)

/* What compilers append to the name of a copy or a part of a function. */
static const char *const CLONE_MARKS[] = {
	".constprop.", ".isra.", ".part.", ".cold", ".lto_priv.", ".localalias", ".llvm.", ".ifunc",
};

struct output {
	char text[DEMANGLE_MAX_BYTES];
	size_t length;
	jmp_buf full;
};

/* A few hundred bytes of mangled name can stand for gigabytes, and the library offers no way to
 * stop. It keeps its state on the stack, so a jump out of it loses nothing. */
static void append(const char *text, size_t length, void *opaque) {
	struct output *output = opaque;
	size_t room = sizeof output->text - 1 - output->length;
	size_t taken = length < room ? length : room;

	memcpy(output->text + output->length, text, taken);
	output->length += taken;
	if (taken < length)
		longjmp(output->full, 1);
}

typedef int demangler_fn(const char *mangled, int options, demangle_callbackref callback, void *opaque);

/* Rust's older mangling is also valid C++, with a hash where the name ends: Rust goes first. */
static demangler_fn *const DEMANGLERS[] = {rust_demangle_callback, cplus_demangle_v3_callback};

static bool run_demangler(demangler_fn *demangler, const char *mangled, struct output *output) {
	output->length = 0;
	if (setjmp(output->full) != 0)
		return true;
	return demangler(mangled, OPTIONS, append, output) != 0 && output->length > 0;
}

static size_t length_without_clone_marks(const char *name) {
	size_t length = strlen(name);

	for (size_t i = 0; i < sizeof CLONE_MARKS / sizeof *CLONE_MARKS; i++) {
		const char *mark = strstr(name, CLONE_MARKS[i]);
		if (mark != NULL && mark != name && (size_t)(mark - name) < length)
			length = (size_t)(mark - name);
	}
	return length;
}

static bool looks_mangled(const char *name) {
	return strncmp(name, "_Z", 2) == 0 || strncmp(name, "_R", 2) == 0 || strncmp(name, "__Z", 3) == 0;
}

static char *cut(char *name) {
	if (strlen(name) >= DEMANGLE_MAX_BYTES)
		name[DEMANGLE_MAX_BYTES - 1] = '\0';
	return name;
}

char *demangle(const char *linkage_name) {
	char *plain = strndup(linkage_name, length_without_clone_marks(linkage_name));
	struct output output;

	if (plain == NULL)
		return NULL;
	for (size_t i = 0; looks_mangled(plain) && i < sizeof DEMANGLERS / sizeof *DEMANGLERS; i++) {
		if (!run_demangler(DEMANGLERS[i], plain, &output))
			continue;
		free(plain);
		return strndup(output.text, output.length);
	}
	return cut(plain);
}
