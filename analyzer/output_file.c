#include "analyzer/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/ledger/ledger_reader.h"

static int stream_of(struct output_file *file, int descriptor) {
	file->stream = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
	if (file->stream != NULL)
		return 0;
	int error = errno;
	if (descriptor >= 0)
		close(descriptor);
	return error;
}

/* A file made by mkstemp is private; this one shall be as if open had made it, or as it was before. */
static void give_usual_mode(int descriptor, const struct stat *old) {
	mode_t mask = umask(0);
	umask(mask);
	(void)fchmod(descriptor, old != NULL ? old->st_mode & 07777 : 0666 & ~mask);
}

static int open_beside(struct output_file *file, const struct stat *old) {
	const char *slash = strrchr(file->path, '/');
	int directory_length = slash != NULL ? (int)(slash - file->path + 1) : 0;
	int length = snprintf(file->temporary, sizeof file->temporary, "%.*s.pqlease.XXXXXX",
			      directory_length, file->path);
	if (length < 0 || (size_t)length >= sizeof file->temporary)
		return ENAMETOOLONG;
	int descriptor = mkostemp(file->temporary, O_CLOEXEC);
	if (descriptor >= 0)
		give_usual_mode(descriptor, old);
	int error = stream_of(file, descriptor);
	if (error != 0 && descriptor >= 0)
		unlink(file->temporary);
	return error;
}

bool output_file_is_ledger(const char *path) {
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool is_ledger = descriptor >= 0 && ledger_reader_is_beginning(descriptor);
	if (descriptor >= 0)
		close(descriptor);
	return is_ledger;
}

const char *output_file_error_text(int error) {
	return error == OUTPUT_FILE_IS_LEDGER ? "is a ledger: not replaced" : strerror(error);
}

int output_file_open(struct output_file *file, const char *path) {
	struct stat old;
	*file = (struct output_file){0};
	if (strlen(path) >= sizeof file->path)
		return ENAMETOOLONG;
	if (stat(path, &old) != 0) {
		strcpy(file->path, path);
		return errno == ENOENT ? open_beside(file, NULL) : errno;
	}
	if (S_ISDIR(old.st_mode))
		return EISDIR;
	if (!S_ISREG(old.st_mode))
		return stream_of(file, open(path, O_WRONLY | O_CLOEXEC));
	if (output_file_is_ledger(path))
		return OUTPUT_FILE_IS_LEDGER;
	if (access(path, W_OK) != 0 || realpath(path, file->path) == NULL)
		return errno;
	return open_beside(file, &old);
}

int output_file_close(struct output_file *file) {
	int error = 0;
	if (fflush(file->stream) != 0 || ferror(file->stream))
		error = errno != 0 ? errno : EIO;
	if (fclose(file->stream) != 0 && error == 0)
		error = errno;
	if (*file->temporary == '\0')
		return error;
	if (error == 0 && rename(file->temporary, file->path) != 0)
		error = errno;
	if (error != 0)
		unlink(file->temporary);
	return error;
}
