#include "analyzer/symbols/elf_file.h"

#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (UINT64_C(4) << 30)
#define EXPANDED_MAX_BYTES (UINT64_C(2) << 30) /* of compressed sections together */
#define BUILD_ID_MIN_BYTES 2u                  /* shorter ones cannot be filed */

/* ---- Opening ------------------------------------------------------------------------------- */

static bool is_acceptable(int fd, uint64_t *file_bytes) {
	struct stat status;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0)
		return false;
	*file_bytes = (uint64_t)status.st_size;
	return *file_bytes <= FILE_MAX_BYTES;
}

static bool note_code_sections(struct elf_file *file) {
	Elf_Scn *section = NULL;
	GElf_Shdr header;

	while ((section = elf_nextscn(file->elf, section)) != NULL) {
		if (gelf_getshdr(section, &header) == NULL || (header.sh_flags & SHF_EXECINSTR) == 0)
			continue;
		if (header.sh_addr + header.sh_size < header.sh_addr)
			continue;
		if (!span_table_add(&file->code, header.sh_addr, header.sh_addr + header.sh_size, 0, 0))
			return false;
	}
	span_table_sort(&file->code);
	return true;
}

static struct elf_file *open_any(const char *path) {
	struct elf_file *file = calloc(1, sizeof *file);

	if (file == NULL)
		return NULL;
	elf_version(EV_CURRENT);
	/* O_NONBLOCK: a path may lead to a pipe, and nobody may hold up a report. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file->fd < 0 || !is_acceptable(file->fd, &file->file_bytes))
		goto failed;
	file->elf = elf_begin(file->fd, ELF_C_READ, NULL);
	if (file->elf == NULL || elf_kind(file->elf) != ELF_K_ELF || !note_code_sections(file))
		goto failed;
	return file;
failed:
	elf_file_close(file);
	return NULL;
}

void elf_file_close(struct elf_file *file) {
	if (file == NULL)
		return;
	elf_end(file->elf);
	if (file->fd >= 0)
		close(file->fd);
	span_table_release(&file->code);
	free(file);
}

/* ---- Identity ------------------------------------------------------------------------------ */

static size_t find_build_id(const struct elf_file *file, const uint8_t **build_id) {
	const void *bytes = NULL;
	ssize_t length = dwelf_elf_gnu_build_id(file->elf, &bytes);

	*build_id = bytes;
	return length > 0 ? (size_t)length : 0;
}

static bool has_build_id(const struct elf_file *file, const uint8_t *build_id, size_t length) {
	const uint8_t *own;

	return length > 0 && find_build_id(file, &own) == length && memcmp(own, build_id, length) == 0;
}

struct elf_file *elf_file_open_build_id(const char *path, const uint8_t *build_id, size_t length) {
	struct elf_file *file = open_any(path);

	if (file == NULL || has_build_id(file, build_id, length))
		return file;
	elf_file_close(file);
	return NULL;
}

struct elf_file *elf_file_open_size(const char *path, uint64_t file_bytes) {
	struct elf_file *file = open_any(path);

	if (file == NULL || (file_bytes != 0 && file->file_bytes == file_bytes))
		return file;
	elf_file_close(file);
	return NULL;
}

static uint32_t crc32_add(uint32_t crc, const uint8_t *bytes, size_t count) {
	for (size_t i = 0; i < count; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (UINT32_C(0xedb88320) & (0u - (crc & 1u)));
	}
	return crc;
}

/* The checksum of .gnu_debuglink, of the whole file. */
static bool has_crc(const struct elf_file *file, uint32_t expected) {
	uint8_t buffer[65536];
	uint32_t crc = UINT32_MAX;
	off_t offset = 0;
	ssize_t got;

	while ((got = pread(file->fd, buffer, sizeof buffer, offset)) > 0) {
		crc = crc32_add(crc, buffer, (size_t)got);
		offset += got;
	}
	return got == 0 && ~crc == expected;
}

/* ---- Separate debug files ------------------------------------------------------------------ */

struct elf_file *elf_file_debug_by_build_id(const char *debug_root, const uint8_t *build_id, size_t length) {
	char *path = NULL;
	size_t size = 0;
	struct elf_file *file = NULL;
	FILE *writer;

	if (length < BUILD_ID_MIN_BYTES)
		return NULL;
	writer = open_memstream(&path, &size);
	if (writer == NULL)
		return NULL;
	fprintf(writer, "%s/.build-id/%02x/", debug_root, build_id[0]);
	for (size_t i = 1; i < length; i++)
		fprintf(writer, "%02x", build_id[i]);
	fputs(".debug", writer);
	if (fclose(writer) == 0)
		file = elf_file_open_build_id(path, build_id, length);
	free(path);
	return file;
}

struct debug_link {
	const char *name;
	uint32_t crc;
};

static struct elf_file *open_linked(const struct elf_file *file, struct debug_link link, const char *path) {
	const uint8_t *build_id;
	size_t length = find_build_id(file, &build_id);
	struct elf_file *debug;

	if (length > 0)
		return elf_file_open_build_id(path, build_id, length);
	debug = open_any(path);
	if (debug == NULL || has_crc(debug, link.crc))
		return debug;
	elf_file_close(debug);
	return NULL;
}

static struct elf_file *open_linked_in(const struct elf_file *file, struct debug_link link, const char *root,
				       const char *directory) {
	struct elf_file *debug = NULL;
	char *path;

	if (asprintf(&path, "%s%s/%s", root, directory, link.name) < 0)
		return NULL;
	debug = open_linked(file, link, path);
	free(path);
	return debug;
}

static struct elf_file *follow_link(const struct elf_file *file, struct debug_link link,
				    const char *directory, const char *debug_root) {
	struct elf_file *debug = open_linked_in(file, link, directory, "");

	if (debug == NULL)
		debug = open_linked_in(file, link, directory, "/.debug");
	if (debug == NULL)
		debug = open_linked_in(file, link, debug_root, directory);
	return debug;
}

static bool read_link(const struct elf_file *file, struct debug_link *link) {
	GElf_Word crc = 0;

	link->name = dwelf_elf_gnu_debuglink(file->elf, &crc);
	link->crc = crc;
	return link->name != NULL && link->name[0] != '\0' && strchr(link->name, '/') == NULL;
}

struct elf_file *elf_file_debug_of(const struct elf_file *file, const char *path, const char *debug_root) {
	const uint8_t *build_id;
	size_t length = find_build_id(file, &build_id);
	struct elf_file *debug = elf_file_debug_by_build_id(debug_root, build_id, length);
	struct debug_link link;
	char *real;
	char *slash;

	if (debug != NULL || !read_link(file, &link))
		return debug;
	real = realpath(path, NULL);
	slash = real != NULL ? strrchr(real, '/') : NULL;
	if (slash != NULL) {
		*slash = '\0';
		debug = follow_link(file, link, real, debug_root);
	}
	free(real);
	return debug;
}

/* ---- Contents ------------------------------------------------------------------------------ */

static const char *name_of_section(const struct elf_file *file, const GElf_Shdr *header) {
	size_t names;
	const char *name;

	if (elf_getshdrstrndx(file->elf, &names) != 0)
		return "";
	name = elf_strptr(file->elf, names, header->sh_name);
	return name != NULL ? name : "";
}

static bool is_debug_info(const char *name) {
	return strcmp(name, ".debug_info") == 0 || strcmp(name, ".zdebug_info") == 0;
}

bool elf_file_has_dwarf(const struct elf_file *file) {
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	GElf_Chdr compressed;
	uint64_t expanded_bytes = 0;
	bool found = false;

	while ((section = elf_nextscn(file->elf, section)) != NULL) {
		if (gelf_getshdr(section, &header) == NULL || header.sh_type == SHT_NOBITS)
			continue;
		found = found || is_debug_info(name_of_section(file, &header));
		if ((header.sh_flags & SHF_COMPRESSED) == 0)
			continue;
		if (gelf_getchdr(section, &compressed) == NULL || compressed.ch_size > EXPANDED_MAX_BYTES)
			return false;
		expanded_bytes += compressed.ch_size;
	}
	return found && expanded_bytes <= EXPANDED_MAX_BYTES;
}

static bool is_string_section(const char *name) {
	return strcmp(name, ".debug_str") == 0 || strcmp(name, ".debug_line_str") == 0 ||
		strcmp(name, ".zdebug_str") == 0;
}

bool elf_file_has_whole_strings(const struct elf_file *file) {
	Elf_Scn *section = NULL;
	GElf_Shdr header;

	while ((section = elf_nextscn(file->elf, section)) != NULL) {
		const Elf_Data *text;
		if (gelf_getshdr(section, &header) == NULL ||
		    !is_string_section(name_of_section(file, &header)))
			continue;
		text = header.sh_type != SHT_NOBITS ? elf_getdata(section, NULL) : NULL;
		if (text == NULL || text->d_buf == NULL || text->d_size == 0)
			continue;
		if (((const char *)text->d_buf)[text->d_size - 1] != '\0')
			return false;
	}
	return true;
}

bool elf_file_is_code(const struct elf_file *file, uint64_t address) {
	size_t cursor = SPAN_TABLE_START;

	return file->code.count == 0 || span_table_next(&file->code, address, &cursor) != NULL;
}
