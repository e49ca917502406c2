#include "shim/loader.h"

#include <stdatomic.h>
#include <string.h>

bool loader_find(const void *address, struct dl_find_object *found) {
	return _dl_find_object((void *)address, found) == 0;
}

/* By version, because the plain name would lead to our own hook: 2.34 moved both into libc. */
static void *find_real(const char *name) {
	static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
	void *real = NULL;
	for (size_t i = 0; !real && i < sizeof versions / sizeof *versions; i++)
		real = dlvsym(RTLD_NEXT, name, versions[i]);
	return real;
}

loader_dlsym_function *loader_real_dlsym(void) {
	static loader_dlsym_function *_Atomic real;
	if (!real)
		real = (loader_dlsym_function *)find_real("dlsym");
	return real;
}

loader_dlopen_function *loader_real_dlopen(void) {
	static loader_dlopen_function *_Atomic real;
	if (!real)
		real = (loader_dlopen_function *)find_real("dlopen");
	return real;
}

void *loader_dlsym(void *handle, const char *name) {
	return loader_real_dlsym()(handle, name);
}

/* glibc relocates the addresses of the dynamic section in place; other loaders (and the vDSO) leave them
 * relative to the load address. */
static const void *pointer_of(const struct link_map *object, ElfW(Addr) value) {
	return (const void *)(value < object->l_addr ? value + object->l_addr : value);
}

bool loader_relocations_of(const struct link_map *object, struct loader_relocations *relocations) {
	*relocations = (struct loader_relocations){.object = object};
	for (const ElfW(Dyn) *entry = object->l_ld; entry && entry->d_tag != DT_NULL; entry++) {
		const void *pointer = pointer_of(object, entry->d_un.d_ptr);
		switch (entry->d_tag) {
		case DT_SYMTAB:
			relocations->symbols = pointer;
			break;
		case DT_STRTAB:
			relocations->strings = pointer;
			break;
		case DT_JMPREL:
			relocations->table[0] = pointer;
			break;
		case DT_PLTRELSZ:
			relocations->count[0] = entry->d_un.d_val / sizeof(ElfW(Rela));
			break;
		case DT_RELA:
			relocations->table[1] = pointer;
			break;
		case DT_RELASZ:
			relocations->count[1] = entry->d_un.d_val / sizeof(ElfW(Rela));
			break;
		default:
			break;
		}
	}
	return relocations->symbols && relocations->strings;
}

static bool holds_address(const ElfW(Rela) * relocation) {
	switch (ELF64_R_TYPE(relocation->r_info)) {
#if defined(__x86_64__)
	case R_X86_64_JUMP_SLOT:
	case R_X86_64_GLOB_DAT:
	case R_X86_64_64:
#elif defined(__aarch64__)
	case R_AARCH64_JUMP_SLOT:
	case R_AARCH64_GLOB_DAT:
	case R_AARCH64_ABS64:
#endif
		return ELF64_R_SYM(relocation->r_info) != 0;
	default:
		return false;
	}
}

bool loader_next_slot(struct loader_relocations *relocations, struct loader_slot *slot) {
	size_t total = relocations->count[0] + relocations->count[1];
	while (relocations->position < total) {
		size_t at = relocations->position++;
		bool is_second = at >= relocations->count[0];
		const ElfW(Rela) *table = relocations->table[is_second];
		if (!table)
			continue;
		const ElfW(Rela) *relocation = &table[is_second ? at - relocations->count[0] : at];
		if (!holds_address(relocation))
			continue;
		const ElfW(Sym) *symbol = &relocations->symbols[ELF64_R_SYM(relocation->r_info)];
		slot->name = relocations->strings + symbol->st_name;
		slot->address = (uintptr_t *)(relocations->object->l_addr + relocation->r_offset);
		return true;
	}
	return false;
}
