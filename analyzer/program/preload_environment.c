#include "analyzer/program/preload_environment.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/program/shim_path.h"

bool preload_environment_is_shim_on(void) {
	const char *entry = getenv("LD_PRELOAD");
	while (entry && *entry) {
		size_t length = strcspn(entry, " :");
		if (shim_path_is_shim(entry, length))
			return true;
		entry += length;
		entry += strspn(entry, " :");
	}
	return false;
}

char *preload_environment_list(const char *shim_path) {
	const char *entry = getenv("LD_PRELOAD");
	size_t size_bytes = (entry ? strlen(entry) : 0) + PATH_MAX + 2;
	char *list = calloc(1, size_bytes);
	if (!list)
		return NULL;
	if (shim_path)
		strcpy(list, shim_path);
	while (entry && *entry) {
		size_t length = strcspn(entry, " :");
		if (length > 0 && !shim_path_is_shim(entry, length)) {
			strcat(list, *list ? ":" : "");
			strncat(list, entry, length);
		}
		entry += length;
		entry += strspn(entry, " :");
	}
	return list;
}

static const struct preload_variable *find_variable(const struct preload_variable *changes,
						    const char *entry) {
	for (; changes->name; changes++) {
		size_t length = strlen(changes->name);
		if (changes->value && strncmp(entry, changes->name, length) == 0 && entry[length] == '=')
			return changes;
	}
	return NULL;
}

char **preload_environment_changed(const struct preload_variable *changes) {
	size_t count = 1;
	size_t text_bytes = 0;
	for (char **entry = environ; entry && *entry; entry++)
		count++;
	for (const struct preload_variable *change = changes; change->name; change++, count++)
		text_bytes += strlen(change->name) + strlen(change->value ? change->value : "") + 2;
	char **environment = calloc(1, count * sizeof *environment + text_bytes);
	if (!environment)
		return NULL;
	char **at = environment;
	char *text = (char *)(environment + count);
	for (char **entry = environ; entry && *entry; entry++)
		if (!find_variable(changes, *entry))
			*at++ = *entry;
	for (; changes->name; changes++)
		if (changes->value && *changes->value) {
			*at++ = text;
			text += sprintf(text, "%s=%s", changes->name, changes->value) + 1;
		}
	return environment;
}

char **preload_environment_of(const char *shim_path, const char *ledger_path, const char *role) {
	char *preload = preload_environment_list(shim_path);
	const struct preload_variable changes[] = {{"LD_PRELOAD", preload},
						   {"PQLEASE_LEDGER", ledger_path},
						   {"PQLEASE_ROLE", role},
						   {NULL, NULL}};
	char **environment = preload_environment_changed(changes);
	free(preload);
	return environment;
}
