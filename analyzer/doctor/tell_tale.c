#include "analyzer/doctor/tell_tale.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *bytes;
	struct tell_tale tells;
} tell_tales[] = {
#define TELL_TALE(bytes, kind, driver) {bytes, {kind, driver}},
#include "analyzer/doctor/tell_tale.def"
#undef TELL_TALE
};

enum {
	TELL_TALE_COUNT = sizeof tell_tales / sizeof tell_tales[0],
	BLOCK_BYTES = 1 << 20,
	OVERLAP_BYTES = 128, /* longer than any of the strings */
	BLOCKS_MAX = 1024
};

/* The first of the table that is in the block, if it comes before `best`. */
static size_t better_of(size_t best, const char *block, size_t length_bytes) {
	for (size_t i = 0; i < best; i++)
		if (memmem(block, length_bytes, tell_tales[i].bytes, strlen(tell_tales[i].bytes)))
			return i;
	return best;
}

struct tell_tale tell_tale_find(const char *path) {
	size_t best = TELL_TALE_COUNT;
	char *block = malloc(OVERLAP_BYTES + BLOCK_BYTES);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t kept_bytes = 0;
	for (int blocks = 0; block && fd >= 0 && blocks < BLOCKS_MAX; blocks++) {
		ssize_t count = read(fd, block + kept_bytes, BLOCK_BYTES);
		if (count <= 0)
			break;
		size_t length_bytes = kept_bytes + (size_t)count;
		best = better_of(best, block, length_bytes);
		kept_bytes = length_bytes < OVERLAP_BYTES ? length_bytes : OVERLAP_BYTES;
		memmove(block, block + length_bytes - kept_bytes, kept_bytes);
	}
	if (fd >= 0)
		close(fd);
	free(block);
	return best < TELL_TALE_COUNT ? tell_tales[best].tells : (struct tell_tale){TELL_TALE_NONE, NULL};
}
