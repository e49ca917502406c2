#include "analyzer/gate/git_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analyzer/text.h"

enum { ARGUMENTS_MAX = 12, COMMIT_DIGITS_SHOWN = 12 };

struct output {
	char *bytes;
	size_t length;
	int status; /* exit status; -1: it could not be run, or was killed */
	int error;  /* errno if it could not be run */
};

/* ---- Running git -------------------------------------------------------------------------------- */

static size_t read_pipe(struct arena *arena, int descriptor, char **bytes) {
	size_t size_bytes = 64 << 10;
	size_t length = 0;
	*bytes = arena_array(arena, size_bytes + 1, 1);
	for (;;) {
		ssize_t count = read(descriptor, *bytes + length, size_bytes - length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		length += (size_t)count;
		if (length < size_bytes)
			continue;
		if (size_bytes >= GATE_INPUT_MAX_BYTES)
			break;
		char *grown = arena_array(arena, 2 * size_bytes + 1, 1);
		memcpy(grown, *bytes, length);
		*bytes = grown;
		size_bytes *= 2;
	}
	return length;
}

static int spawn(pid_t *pid, char *const *arguments, const int pipe_ends[2]) {
	posix_spawn_file_actions_t actions;
	int error = posix_spawn_file_actions_init(&actions);
	if (error != 0)
		return error;
	error = posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
	if (error == 0)
		error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (error == 0)
		error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (error == 0)
		error = posix_spawnp(pid, arguments[0], &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static int wait_for(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs git in `directory` with the arguments up to a NULL. */
static struct output run_git(struct arena *arena, const char *directory, const char *const *arguments) {
	struct output output = {.status = -1};
	char *all[ARGUMENTS_MAX] = {"git", "-C", (char *)directory};
	int pipe_ends[2];
	pid_t pid;
	for (size_t i = 0; arguments[i] != NULL && i + 4 < ARGUMENTS_MAX; i++)
		all[i + 3] = (char *)arguments[i];
	if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
		output.error = errno;
		return output;
	}
	output.error = spawn(&pid, all, pipe_ends);
	close(pipe_ends[1]);
	if (output.error == 0) {
		output.length = read_pipe(arena, pipe_ends[0], &output.bytes);
		close(pipe_ends[0]);
		output.status = wait_for(pid);
		output.bytes[output.length] = '\0';
	} else {
		close(pipe_ends[0]);
	}
	return output;
}

/* ---- The file ----------------------------------------------------------------------------------- */

static bool refuse_git(struct gate_error *error, struct arena *arena, const struct output *output,
		       const char *what, const char *why) {
	if (output->error != 0)
		return gate_input_refuse(error, arena, "git", 0, 0, "%s", strerror(output->error));
	return gate_input_refuse(error, arena, what, 0, 0, "%s", why);
}

static bool find_merge_base(const char **commit, struct arena *arena, const char *directory, const char *ref,
			    struct gate_error *error) {
	const char *const arguments[] = {"merge-base", "HEAD", ref, NULL};
	struct output output = run_git(arena, directory, arguments);
	size_t length = output.bytes != NULL ? strspn(output.bytes, "0123456789abcdef") : 0;
	if (output.status != 0 || length < 40)
		return refuse_git(
			error, arena, &output, arena_text(arena, "--baseline-ref %s", ref),
			"git finds no common ancestor of it and HEAD; a shallow clone does not have it");
	*commit = arena_copy(arena, output.bytes, length);
	return true;
}

static bool read_at(struct gate_input *input, struct arena *arena, const char *directory, const char *file,
		    const char *commit, struct gate_error *error) {
	const char *object = arena_text(arena, "%s:./%s", commit, file);
	const char *name = arena_text(arena, "%s at %.*s", file, COMMIT_DIGITS_SHOWN, commit);
	const char *const list[] = {"ls-tree", "-z", "--name-only", commit, "--", file, NULL};
	const char *const show[] = {"show", object, NULL};
	struct output listed = run_git(arena, directory, list);
	if (listed.status != 0)
		return refuse_git(error, arena, &listed, name, "git cannot list it");
	if (listed.length == 0)
		return gate_input_of_bytes(input, arena, name, "", 0, error);
	struct output shown = run_git(arena, directory, show);
	if (shown.status != 0)
		return refuse_git(error, arena, &shown, name, "git cannot show it");
	return gate_input_of_bytes(input, arena, name, shown.bytes, shown.length, error);
}

bool git_file_read_at_merge_base(struct gate_input *input, struct arena *arena, const char *path,
				 const char *ref, struct gate_error *error) {
	const char *file = text_basename(path);
	const char *directory = file == path ? "." : arena_copy(arena, path, (size_t)(file - path));
	const char *commit = NULL;
	if (*ref == '-' || *ref == '\0') /* git would take it for an option */
		return gate_input_refuse(error, arena, "--baseline-ref", 0, 0, "'%s' is no name of a commit",
					 ref);
	return find_merge_base(&commit, arena, directory, ref, error) &&
		read_at(input, arena, directory, file, commit, error);
}
