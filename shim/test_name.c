#include "shim/test_name.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "shim/ledger_writer.h"

enum { NAME_BYTES = 256 };

static const char variable[] = "PYTEST_CURRENT_TEST";
static const char hidden[] = "[...]";

static const char *fallback_name = "";
static char name_at_start[NAME_BYTES];
static _Atomic uint32_t last_name; /* string id that the main thread saw last */
static _Atomic bool has_looked;    /* the main thread has */

static bool may_hold_secret(const char *parameters) {
	return strpbrk(parameters, "=@") || strstr(parameters, "://");
}

/* Cuts what is too long between two characters of UTF-8. */
static void copy_name(char name[NAME_BYTES], const char *value) {
	size_t length = strnlen(value, NAME_BYTES);
	if (length == NAME_BYTES)
		for (length--; length > 0 && ((unsigned char)value[length] >> 6) == 2;)
			length--;
	memcpy(name, value, length);
	name[length] = '\0';
	const char *parameters = memchr(name, '[', length);
	size_t before = parameters ? (size_t)(parameters - name) : 0;
	if (parameters && may_hold_secret(value + before) && before + sizeof hidden <= NAME_BYTES)
		memcpy(name + before, hidden, sizeof hidden);
}

void test_name_init(char *const *environment, const char *fallback) {
	size_t length = sizeof variable - 1;
	fallback_name = fallback;
	for (; environment && *environment; environment++)
		if (strncmp(*environment, variable, length) == 0 && (*environment)[length] == '=')
			copy_name(name_at_start, *environment + length + 1);
}

static uint32_t intern_name(struct ledger_header *ledger, const char *name) {
	return ledger_intern_string(ledger, *name ? name : fallback_name);
}

uint32_t test_name_here(struct ledger_header *ledger, bool is_main_thread) {
	char name[NAME_BYTES] = "";
	if (!is_main_thread)
		return atomic_load_explicit(&has_looked, memory_order_acquire)
			? atomic_load_explicit(&last_name, memory_order_relaxed)
			: intern_name(ledger, name_at_start);
	const char *value = getenv(variable);
	if (value)
		copy_name(name, value);
	uint32_t id = intern_name(ledger, name);
	atomic_store_explicit(&last_name, id, memory_order_relaxed);
	atomic_store_explicit(&has_looked, true, memory_order_release);
	return id;
}
