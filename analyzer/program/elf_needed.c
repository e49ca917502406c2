#include "analyzer/program/elf_needed.h"

#include <fcntl.h>
#include <gelf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = 256 };

struct elf_input {
	int fd;
	Elf *elf;
	size_t segment_count;
};

static bool find_dynamic(const struct elf_input *input, GElf_Phdr *segment) {
	for (size_t i = 0; i < input->segment_count; i++)
		if (gelf_getphdr(input->elf, (int)i, segment) && segment->p_type == PT_DYNAMIC)
			return true;
	return false;
}

/* File offset of a virtual address; -1 if no segment holds it. */
static int64_t offset_of(const struct elf_input *input, uint64_t address) {
	GElf_Phdr segment;
	for (size_t i = 0; i < input->segment_count; i++)
		if (gelf_getphdr(input->elf, (int)i, &segment) && segment.p_type == PT_LOAD &&
		    address >= segment.p_vaddr && address - segment.p_vaddr < segment.p_filesz)
			return (int64_t)(address - segment.p_vaddr + segment.p_offset);
	return -1;
}

static bool find_string_table(Elf_Data *dynamic, uint64_t *address) {
	GElf_Dyn entry;
	for (int i = 0; gelf_getdyn(dynamic, i, &entry) && entry.d_tag != DT_NULL; i++)
		if (entry.d_tag == DT_STRTAB) {
			*address = entry.d_un.d_ptr;
			return true;
		}
	return false;
}

static bool has_prefix(int fd, uint64_t offset, const char *prefix) {
	char name[NAME_BYTES] = "";
	return offset <= INT64_MAX && pread(fd, name, sizeof name - 1, (off_t)offset) > 0 &&
		strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool names_library(struct elf_input *input, const char *prefix) {
	GElf_Phdr segment;
	uint64_t table;
	if (elf_getphdrnum(input->elf, &input->segment_count) != 0 || !find_dynamic(input, &segment))
		return false;
	Elf_Data *dynamic =
		elf_getdata_rawchunk(input->elf, (int64_t)segment.p_offset, segment.p_filesz, ELF_T_DYN);
	int64_t strings = dynamic && find_string_table(dynamic, &table) ? offset_of(input, table) : -1;
	GElf_Dyn entry;
	for (int i = 0; strings >= 0 && gelf_getdyn(dynamic, i, &entry) && entry.d_tag != DT_NULL; i++)
		if (entry.d_tag == DT_NEEDED &&
		    has_prefix(input->fd, (uint64_t)strings + entry.d_un.d_val, prefix))
			return true;
	return false;
}

bool elf_needed_names(const char *path, const char *prefix) {
	struct elf_input input = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
	if (input.fd < 0)
		return false;
	elf_version(EV_CURRENT);
	input.elf = elf_begin(input.fd, ELF_C_READ, NULL);
	bool is_named = input.elf && elf_kind(input.elf) == ELF_K_ELF && names_library(&input, prefix);
	elf_end(input.elf);
	close(input.fd);
	return is_named;
}
