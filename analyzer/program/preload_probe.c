#include "analyzer/program/preload_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The loader is a program too: given LD_PRELOAD it would load the library for itself first. It takes $ORIGIN from the
 * name it is given, where the kernel would follow links. */
static FILE *start_loader(const struct target *target, const char *library, pid_t *pid) {
	int ends[2];
	char image[PATH_MAX];
	posix_spawn_file_actions_t actions;
	char *const words[] = {
		(char *)target->interpreter, "--preload", (char *)library, "--list", image, NULL};
	if (!realpath(target->image, image) || pipe2(ends, O_CLOEXEC) != 0)
		return NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
	int error = posix_spawn(pid, target->interpreter, &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	FILE *list = error == 0 ? fdopen(ends[0], "r") : NULL;
	if (!list)
		close(ends[0]);
	return list;
}

/* ---- The list: a line is "\tPATH (ADDRESS)" or "\tNAME => PATH (ADDRESS)" -------------------------------------- */

/* The path of a line, cut out of it; NULL if there is none. */
static char *path_of(char *line) {
	char *arrow = strstr(line, " => ");
	char *path = arrow ? arrow + 4 : line + strspn(line, "\t ");
	char *address = strstr(path, " (0x");
	if (!address)
		return NULL;
	*address = '\0';
	return path;
}

/* The loader's last word on a program that it cannot start. */
static void take_failure(struct preload_probe_list *list, char *line) {
	static const char words[] = "error while loading shared libraries: ";
	const char *found = strstr(line, words);
	line[strcspn(line, "\n")] = '\0';
	if (found)
		snprintf(list->failure, sizeof list->failure, "%s", found + sizeof words - 1);
}

static void take_line(struct preload_probe_list *list, char *line, const char *library) {
	take_failure(list, line);
	const char *path = path_of(line);
	if (!path)
		return;
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t used = strlen(list->names);
	snprintf(list->names + used, sizeof list->names - used, "\n%s", base);
	if (strcmp(path, library) == 0)
		list->answer = PRELOAD_PROBE_TAKEN;
	if ((strncmp(base, "libpq.", 6) == 0 || strncmp(base, "libpq-", 6) == 0) && !*list->libpq)
		snprintf(list->libpq, sizeof list->libpq, "%s", path);
}

void preload_probe_read(struct preload_probe_list *list, const struct target *target, const char *library) {
	char *line = NULL;
	size_t size_bytes = 0;
	pid_t pid = 0;
	*list = (struct preload_probe_list){.answer = PRELOAD_PROBE_UNKNOWN};
	FILE *lines = *target->interpreter ? start_loader(target, library, &pid) : NULL;
	if (!lines)
		return;
	list->answer = PRELOAD_PROBE_REFUSED;
	while (getline(&line, &size_bytes, lines) > 0)
		take_line(list, line, library);
	free(line);
	fclose(lines);
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (list->answer == PRELOAD_PROBE_REFUSED && !WIFEXITED(status))
		list->answer = PRELOAD_PROBE_UNKNOWN;
}

enum preload_probe preload_probe_ask(const struct target *target, const char *library) {
	struct preload_probe_list list;
	preload_probe_read(&list, target, library);
	return list.answer;
}
