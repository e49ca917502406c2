#include "shim/proc.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

size_t proc_read_text(const char *path, char *text, size_t size_bytes) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, size_bytes - 1) : 0;
	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	return length > 0 ? (size_t)length : 0;
}

uint64_t proc_stat_field(const char *stat_line, int field) {
	const char *at = strrchr(stat_line, ')'); /* the command name may contain anything */
	for (int i = 2; at && i < field; i++) {
		at = strchr(at, ' ');
		if (at)
			at++;
	}
	uint64_t value = 0;
	for (; at && *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

uint64_t proc_start_ticks(int32_t pid) {
	char path[32] = "/proc/";
	char line[1024];
	char digits[12];
	size_t length = strlen(path);
	int count = 0;
	for (uint32_t rest = (uint32_t)pid; rest > 0; rest /= 10)
		digits[count++] = (char)('0' + rest % 10);
	while (count > 0)
		path[length++] = digits[--count];
	memcpy(path + length, "/stat", sizeof "/stat");
	proc_read_text(path, line, sizeof line);
	return proc_stat_field(line, 22);
}
