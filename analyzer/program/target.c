#include "analyzer/program/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "analyzer/program/elf_needed.h"

enum {
	INTERPRETER_LEVELS = 4,
	SCRIPT_LINE_BYTES = 256, /* what the kernel reads of a #! line */
	PROGRAM_HEADERS_MAX = 128
};

/* ---- Finding ---------------------------------------------------------------------------------- */

static int check_executable(const char *path) {
	struct stat file;
	if (stat(path, &file) != 0)
		return errno;
	if (!S_ISREG(file.st_mode))
		return EACCES;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

/* Joins one element of PATH and a name; an empty element is the current directory. */
static bool join_path(char path[PATH_MAX], const char *directory, size_t length, const char *name) {
	int written = length == 0 ? snprintf(path, PATH_MAX, "./%s", name)
				  : snprintf(path, PATH_MAX, "%.*s/%s", (int)length, directory, name);
	return written > 0 && written < PATH_MAX;
}

static int search(char path[PATH_MAX], const char *command, const char *search_path) {
	int first_refusal = ENOENT;
	for (const char *element = search_path;; element++) {
		size_t length = strcspn(element, ":");
		int error = join_path(path, element, length, command) ? check_executable(path) : ENAMETOOLONG;
		if (error == 0)
			return 0;
		if (error == EACCES)
			first_refusal = EACCES;
		element += length;
		if (*element == '\0')
			return first_refusal;
	}
}

int target_find_command(char path[PATH_MAX], const char *command, const char *search_path) {
	char default_path[256] = "/bin:/usr/bin";
	if (*command == '\0')
		return ENOENT;
	if (!strchr(command, '/')) {
		if (!search_path)
			confstr(_CS_PATH, default_path, sizeof default_path);
		return search(path, command, search_path ? search_path : default_path);
	}
	if (strlen(command) >= PATH_MAX)
		return ENAMETOOLONG;
	strcpy(path, command);
	return check_executable(path);
}

/* ---- Scripts ---------------------------------------------------------------------------------- */

/* Reads the start of a file; returns the number of bytes, 0 if it cannot be read. */
static size_t read_start(const char *path, char *bytes, size_t size_bytes) {
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return 0;
	ssize_t count = read(fd, bytes, size_bytes);
	close(fd);
	return count > 0 ? (size_t)count : 0;
}

/* `#!/usr/bin/env [-S] NAME` starts NAME, found by PATH. Other options of env are not followed. */
static void follow_env(char path[PATH_MAX], const char *argument, const char *search_path) {
	char name[SCRIPT_LINE_BYTES];
	char found[PATH_MAX];
	const char *base = strrchr(path, '/');
	if (strncmp(argument, "-S", 2) == 0)
		argument += 2 + strspn(argument + 2, " \t");
	size_t length = strcspn(argument, " \t");
	if (!base || strcmp(base, "/env") != 0 || length == 0 || *argument == '-')
		return;
	memcpy(name, argument, length);
	name[length] = '\0';
	if (!strchr(name, '=') && target_find_command(found, name, search_path) == 0)
		strcpy(path, found);
}

/* If `path` is a script, replaces it by its interpreter. */
static bool follow_script(char path[PATH_MAX], const char *search_path) {
	char line[SCRIPT_LINE_BYTES + 1];
	size_t length = read_start(path, line, SCRIPT_LINE_BYTES);
	line[length] = '\0';
	if (length == 0 || (length >= SELFMAG && memcmp(line, ELFMAG, SELFMAG) == 0))
		return false;
	if (strncmp(line, "#!", 2) != 0) {
		strcpy(path, "/bin/sh"); /* as execvp does with what the kernel does not know */
		return true;
	}
	char *interpreter = line + 2 + strspn(line + 2, " \t");
	interpreter[strcspn(interpreter, "\n")] = '\0';
	char *argument = interpreter + strcspn(interpreter, " \t");
	if (*argument != '\0')
		*argument++ = '\0';
	strcpy(path, interpreter);
	follow_env(path, argument + strspn(argument, " \t"), search_path);
	return true;
}

/* ---- Programs --------------------------------------------------------------------------------- */

struct program {
	ElfW(Ehdr) header;
	bool is_elf;
	bool has_interpreter;
	char interpreter[PATH_MAX];
};

static bool is_of_our_machine(const ElfW(Ehdr) * header) {
	ElfW(Ehdr) own;
	if (read_start("/proc/self/exe", (char *)&own, sizeof own) != sizeof own)
		return true;
	return header->e_ident[EI_CLASS] == own.e_ident[EI_CLASS] &&
		header->e_ident[EI_DATA] == own.e_ident[EI_DATA] && header->e_machine == own.e_machine;
}

static void read_interpreter(struct program *program, int fd) {
	ElfW(Phdr) segment;
	for (unsigned i = 0; i < program->header.e_phnum && i < PROGRAM_HEADERS_MAX; i++) {
		off_t offset = (off_t)(program->header.e_phoff + i * sizeof segment);
		if (pread(fd, &segment, sizeof segment, offset) != (ssize_t)sizeof segment)
			return;
		if (segment.p_type != PT_INTERP)
			continue;
		size_t length = segment.p_filesz < PATH_MAX ? segment.p_filesz : PATH_MAX - 1;
		program->has_interpreter = true;
		if (pread(fd, program->interpreter, length, (off_t)segment.p_offset) != (ssize_t)length)
			program->interpreter[0] = '\0';
		return;
	}
}

static void read_program(struct program *program, const char *path) {
	*program = (struct program){0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return;
	program->is_elf =
		pread(fd, &program->header, sizeof program->header, 0) == (ssize_t)sizeof program->header &&
		memcmp(program->header.e_ident, ELFMAG, SELFMAG) == 0;
	if (program->is_elf && is_of_our_machine(&program->header) &&
	    program->header.e_phentsize == sizeof(ElfW(Phdr)))
		read_interpreter(program, fd);
	close(fd);
}

/* The kernel's own conditions for secure execution (AT_SECURE), as far as files show them. */
static enum target_obstacle privilege_obstacle(const char *path) {
	struct stat file;
	struct statvfs mount;
	if (stat(path, &file) != 0 || statvfs(path, &mount) != 0 || (mount.f_flag & ST_NOSUID) ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return TARGET_PRELOADABLE;
	bool is_other_user = (file.st_mode & S_ISUID) && file.st_uid != getuid();
	bool is_other_group = (file.st_mode & S_ISGID) && (file.st_mode & S_IXGRP) && file.st_gid != getgid();
	if (is_other_user || is_other_group)
		return TARGET_SET_ID;
	if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
		return TARGET_CAPABILITIES;
	return TARGET_PRELOADABLE;
}

/* gcc links its AddressSanitizer as a library that insists on being the first of all; clang's is inside the program. */
static bool refuses_any_preload(const char *path) {
	const char *options = getenv("ASAN_OPTIONS");
	return elf_needed_names(path, "libasan.so") &&
		!(options && strstr(options, "verify_asan_link_order=0"));
}

static enum target_obstacle program_obstacle(const struct program *program, const char *path) {
	if (!program->is_elf)
		return privilege_obstacle(path);
	if (!is_of_our_machine(&program->header))
		return TARGET_OTHER_MACHINE;
	if (!program->has_interpreter)
		return TARGET_STATIC;
	if (strstr(program->interpreter, "ld-musl"))
		return TARGET_MUSL;
	enum target_obstacle obstacle = privilege_obstacle(path);
	return obstacle == TARGET_PRELOADABLE && refuses_any_preload(path) ? TARGET_SANITIZER : obstacle;
}

/* ---- Interface -------------------------------------------------------------------------------- */

int target_find(struct target *target, const char *command, const char *search_path) {
	struct program program;
	*target = (struct target){0};
	int error = target_find_command(target->path, command, search_path);
	if (error != 0)
		return error;
	strcpy(target->image, target->path);
	for (int level = 0; level < INTERPRETER_LEVELS && follow_script(target->image, search_path); level++)
		continue;
	read_program(&program, target->image);
	strcpy(target->interpreter, program.interpreter);
	target->obstacle = program_obstacle(&program, target->image);
	return 0;
}

bool target_is_preloadable_library(const char *path) {
	struct program program;
	read_program(&program, path);
	return program.is_elf && program.header.e_type == ET_DYN && is_of_our_machine(&program.header);
}

bool target_tolerates_preload(const struct target *target) {
	return target->obstacle != TARGET_MUSL && target->obstacle != TARGET_OTHER_MACHINE &&
		target->obstacle != TARGET_SANITIZER;
}

const char *target_explain(const struct target *target, char *text, unsigned size_bytes) {
	static const char *const sentences[TARGET_OBSTACLE_COUNT] = {
		[TARGET_STATIC] = "is statically linked: no dynamic loader takes the shim into it",
		[TARGET_SET_ID] = "is setuid or setgid: the dynamic loader ignores LD_PRELOAD",
		[TARGET_CAPABILITIES] = "has file capabilities: the dynamic loader ignores LD_PRELOAD",
		[TARGET_MUSL] =
			"uses musl's dynamic loader, which refuses the shim; it is started without it",
		[TARGET_OTHER_MACHINE] =
			"is built for another kind of processor than the shim; it is started without it",
		[TARGET_SANITIZER] =
			"is built with AddressSanitizer, which allows no preload; it is started without it",
	};
	if (target->obstacle == TARGET_PRELOADABLE)
		*text = '\0';
	else
		snprintf(text, size_bytes, "%s %s", target->image, sentences[target->obstacle]);
	return text;
}

const char *target_advice(const struct target *target) {
	static const char *const sentences[TARGET_OBSTACLE_COUNT] = {
		[TARGET_STATIC] = "Link it dynamically, with libpq as a shared library.",
		[TARGET_SET_ID] =
			"Record a copy of it without these bits, started as the user it would become.",
		[TARGET_CAPABILITIES] =
			"Record a copy of it without capabilities (setcap -r), or start it as root.",
		[TARGET_MUSL] = "Use a build of the program for glibc.",
		[TARGET_OTHER_MACHINE] = "Use a 64-bit build of the program for this machine.",
		[TARGET_SANITIZER] = "Set ASAN_OPTIONS=verify_asan_link_order=0, or build it with clang.",
	};
	return sentences[target->obstacle];
}
