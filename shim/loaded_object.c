#include "shim/loaded_object.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define HEADER_PAGE_BYTES 4096u

/* glibc 2.35; lock-free. Older ones are searched under the loader's lock. */
#pragma weak _dl_find_object

/* The ELF header begins the mapping of an ordinary object, and the program headers follow in its page. */
static void read_headers(struct loaded_object *object) {
	const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)object->start;
	if (object->end - object->start < HEADER_PAGE_BYTES ||
	    memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_phentsize != sizeof(ElfW(Phdr)) ||
	    header->e_phoff > HEADER_PAGE_BYTES ||
	    header->e_phnum > (HEADER_PAGE_BYTES - header->e_phoff) / sizeof(ElfW(Phdr)))
		return;
	object->segments = (const ElfW(Phdr) *)(object->start + header->e_phoff);
	object->segment_count = header->e_phnum;
}

struct search {
	uintptr_t address;
	struct loaded_object *object;
};

static int match_object(struct dl_phdr_info *info, size_t size, void *argument) {
	const struct search *search = argument;
	struct loaded_object found = {.start = UINTPTR_MAX,
				      .bias = info->dlpi_addr,
				      .name = info->dlpi_name,
				      .segments = info->dlpi_phdr,
				      .segment_count = info->dlpi_phnum};
	bool is_inside = false;
	(void)size;
	for (uint32_t i = 0; i < found.segment_count; i++) {
		uintptr_t start = found.bias + found.segments[i].p_vaddr;
		uintptr_t end = start + found.segments[i].p_memsz;
		if (found.segments[i].p_type != PT_LOAD)
			continue;
		is_inside = is_inside || (search->address >= start && search->address < end);
		found.start = start < found.start ? start & ~(uintptr_t)4095 : found.start;
		found.end = end > found.end ? end : found.end;
	}
	if (is_inside)
		*search->object = found;
	return is_inside;
}

bool loaded_object_find(uintptr_t address, struct loaded_object *object) {
	struct dl_find_object found;
	*object = (struct loaded_object){0};
	if (!_dl_find_object) {
		struct search search = {address, object};
		return dl_iterate_phdr(match_object, &search) != 0;
	}
	if (_dl_find_object((void *)address, &found) != 0)
		return false;
	object->start = (uintptr_t)found.dlfo_map_start;
	object->end = (uintptr_t)found.dlfo_map_end;
	object->bias = found.dlfo_link_map->l_addr;
	object->name = found.dlfo_link_map->l_name;
	read_headers(object);
	return true;
}
