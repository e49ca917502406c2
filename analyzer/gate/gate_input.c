#include "analyzer/gate/gate_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool gate_input_refuse(struct gate_error *error, struct arena *arena, const char *name, size_t line,
		       size_t column, const char *why_format, ...) {
	char why[1024];
	va_list arguments;
	va_start(arguments, why_format);
	vsnprintf(why, sizeof why, why_format, arguments);
	va_end(arguments);
	error->why = arena_copy(arena, why, strlen(why));
	if (column > 0)
		error->place = arena_text(arena, "%s:%zu:%zu", name, line, column);
	else if (line > 0)
		error->place = arena_text(arena, "%s:%zu", name, line);
	else
		error->place = arena_text(arena, "%s", name);
	return false;
}

static size_t line_of(const char *bytes, size_t length) {
	size_t line = 1;
	for (size_t i = 0; i < length; i++)
		line += bytes[i] == '\n';
	return line;
}

bool gate_input_of_bytes(struct gate_input *input, struct arena *arena, const char *name, const char *bytes,
			 size_t length, struct gate_error *error) {
	static const char mark[] = "\xef\xbb\xbf"; /* which editors put in front of UTF-8 */
	const char *zero = length > 0 ? memchr(bytes, '\0', length) : NULL;
	if (zero != NULL)
		return gate_input_refuse(error, arena, name, line_of(bytes, (size_t)(zero - bytes)), 0,
					 "a zero byte: not a text file");
	size_t skipped =
		length >= sizeof mark - 1 && memcmp(bytes, mark, sizeof mark - 1) == 0 ? sizeof mark - 1 : 0;
	*input = (struct gate_input){name, arena_copy(arena, bytes + skipped, length - skipped),
				     length - skipped};
	return true;
}

/* Returns the bytes read, or -1 with errno. */
static ssize_t read_all(int descriptor, char *bytes, size_t size_bytes) {
	size_t filled = 0;
	while (filled < size_bytes) {
		ssize_t count = read(descriptor, bytes + filled, size_bytes - filled);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -1;
		if (count == 0)
			break;
		filled += (size_t)count;
	}
	return (ssize_t)filled;
}

static bool read_descriptor(struct gate_input *input, struct arena *arena, const char *path, int descriptor,
			    struct gate_error *error) {
	struct stat file;
	if (fstat(descriptor, &file) != 0)
		return gate_input_refuse(error, arena, path, 0, 0, "%s", strerror(errno));
	if (S_ISDIR(file.st_mode))
		return gate_input_refuse(error, arena, path, 0, 0, "%s", strerror(EISDIR));
	if (file.st_size > GATE_INPUT_MAX_BYTES)
		return gate_input_refuse(error, arena, path, 0, 0, "larger than %d MiB",
					 GATE_INPUT_MAX_BYTES >> 20);
	/* What tells no size (a pipe) may be as long as any. */
	size_t size_bytes = S_ISREG(file.st_mode) ? (size_t)file.st_size + 1 : GATE_INPUT_MAX_BYTES;
	char *bytes = arena_array(arena, size_bytes, 1);
	ssize_t length = read_all(descriptor, bytes, size_bytes);
	if (length < 0)
		return gate_input_refuse(error, arena, path, 0, 0, "%s", strerror(errno));
	return gate_input_of_bytes(input, arena, path, bytes, (size_t)length, error);
}

bool gate_input_read(struct gate_input *input, struct arena *arena, const char *path,
		     struct gate_error *error) {
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (descriptor < 0)
		return gate_input_refuse(error, arena, path, 0, 0, "%s", strerror(errno));
	bool is_read = read_descriptor(input, arena, path, descriptor, error);
	close(descriptor);
	return is_read;
}

const char *gate_input_line(struct arena *arena, const char **rest) {
	const char *begin = *rest;
	if (*begin == '\0')
		return NULL;
	size_t length = strcspn(begin, "\n");
	*rest = begin + length + (begin[length] == '\n');
	if (length > 0 && begin[length - 1] == '\r')
		length--;
	return arena_copy(arena, begin, length);
}
