#include "shim/elf_needed.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define SEGMENTS_MAX 32
#define DYNAMIC_MAX 256
#define NAME_BYTES 64

struct elf_dynamic {
	int fd;
	ElfW(Ehdr) header;
	ElfW(Phdr) segments[SEGMENTS_MAX];
	ElfW(Dyn) entries[DYNAMIC_MAX];
	size_t entry_count;
};

static bool read_at(int fd, void *to, size_t length_bytes, uint64_t offset) {
	return pread(fd, to, length_bytes, (off_t)offset) == (ssize_t)length_bytes;
}

static bool read_segments(struct elf_dynamic *elf) {
	return read_at(elf->fd, &elf->header, sizeof elf->header, 0) &&
		memcmp(elf->header.e_ident, ELFMAG, SELFMAG) == 0 &&
		elf->header.e_ident[EI_CLASS] == ELFCLASS64 &&
		elf->header.e_phentsize == sizeof *elf->segments && elf->header.e_phnum <= SEGMENTS_MAX &&
		read_at(elf->fd, elf->segments, elf->header.e_phnum * sizeof *elf->segments,
			elf->header.e_phoff);
}

static bool read_dynamic(struct elf_dynamic *elf) {
	for (int i = 0; i < elf->header.e_phnum; i++) {
		if (elf->segments[i].p_type != PT_DYNAMIC)
			continue;
		elf->entry_count = elf->segments[i].p_filesz / sizeof *elf->entries;
		if (elf->entry_count > DYNAMIC_MAX)
			elf->entry_count = DYNAMIC_MAX;
		return read_at(elf->fd, elf->entries, elf->entry_count * sizeof *elf->entries,
			       elf->segments[i].p_offset);
	}
	return false;
}

/* File offset of a virtual address; 0 if no segment holds it. */
static uint64_t offset_of(const struct elf_dynamic *elf, uint64_t address) {
	for (int i = 0; i < elf->header.e_phnum; i++) {
		const ElfW(Phdr) *segment = &elf->segments[i];
		if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
		    address - segment->p_vaddr < segment->p_filesz)
			return address - segment->p_vaddr + segment->p_offset;
	}
	return 0;
}

static bool names_library(const struct elf_dynamic *elf, const char *prefix) {
	uint64_t strings = 0;
	for (size_t i = 0; i < elf->entry_count; i++)
		if (elf->entries[i].d_tag == DT_STRTAB)
			strings = offset_of(elf, elf->entries[i].d_un.d_ptr);
	for (size_t i = 0; strings && i < elf->entry_count && elf->entries[i].d_tag != DT_NULL; i++) {
		char name[NAME_BYTES] = "";
		if (elf->entries[i].d_tag == DT_NEEDED &&
		    pread(elf->fd, name, sizeof name - 1, (off_t)(strings + elf->entries[i].d_un.d_val)) >
			    0 &&
		    strncmp(name, prefix, strlen(prefix)) == 0)
			return true;
	}
	return false;
}

bool elf_needs(const char *path, const char *prefix) {
	struct elf_dynamic elf = {.fd = -1};
	if (strchr(path, '/'))
		elf.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (elf.fd < 0)
		return false;
	bool is_needed = read_segments(&elf) && read_dynamic(&elf) && names_library(&elf, prefix);
	close(elf.fd);
	return is_needed;
}
