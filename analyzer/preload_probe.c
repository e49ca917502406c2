#include "analyzer/preload_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The loader is a program too: given LD_PRELOAD it would load the library for itself first. */
static FILE *start_loader(const struct target *target, const char *library, pid_t *pid) {
	int ends[2];
	posix_spawn_file_actions_t actions;
	char *const words[] = {(char *)target->interpreter, "--preload", (char *)library, "--list",
			       (char *)target->image,       NULL};
	if (pipe2(ends, O_CLOEXEC) != 0)
		return NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int error = posix_spawn(pid, target->interpreter, &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	FILE *list = error == 0 ? fdopen(ends[0], "r") : NULL;
	if (!list)
		close(ends[0]);
	return list;
}

/* A line is "\tPATH (ADDRESS)" or "\tNAME => PATH (ADDRESS)". */
static bool names_library(const char *line, const char *library) {
	const char *found = strstr(line, library);
	return found && found[strlen(library)] == ' ';
}

enum preload_probe preload_probe_ask(const struct target *target, const char *library) {
	enum preload_probe answer = PRELOAD_PROBE_REFUSED;
	char *line = NULL;
	size_t size_bytes = 0;
	pid_t pid = 0;
	FILE *list = *target->interpreter ? start_loader(target, library, &pid) : NULL;
	if (!list)
		return PRELOAD_PROBE_UNKNOWN;
	while (getline(&line, &size_bytes, list) > 0)
		if (names_library(line, library))
			answer = PRELOAD_PROBE_TAKEN;
	free(line);
	fclose(list);
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return answer == PRELOAD_PROBE_REFUSED && !WIFEXITED(status) ? PRELOAD_PROBE_UNKNOWN : answer;
}
