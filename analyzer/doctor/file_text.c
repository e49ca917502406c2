#include "analyzer/doctor/file_text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_MAX_BYTES = 1 << 18 };

const char *file_text_read(struct arena *arena, const char *path) {
	char *text = arena_array(arena, TEXT_MAX_BYTES + 1, 1);
	struct stat file;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return "";
	ssize_t count = fstat(fd, &file) == 0 && S_ISREG(file.st_mode) ? read(fd, text, TEXT_MAX_BYTES) : 0;
	close(fd);
	text[count > 0 ? count : 0] = '\0';
	return text;
}
