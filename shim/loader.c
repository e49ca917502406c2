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

loader_dlclose_function *loader_real_dlclose(void) {
	static loader_dlclose_function *_Atomic real;
	if (!real)
		real = (loader_dlclose_function *)find_real("dlclose");
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

/* ---- Symbols of one object ------------------------------------------------------------------------------ */

struct symbol_table {
	const ElfW(Sym) * symbols;
	const char *strings;
	const uint32_t *gnu_hash;
};

static bool symbol_table_of(const struct link_map *object, struct symbol_table *table) {
	*table = (struct symbol_table){0};
	for (const ElfW(Dyn) *entry = object->l_ld; entry && entry->d_tag != DT_NULL; entry++) {
		const void *pointer = pointer_of(object, entry->d_un.d_ptr);
		if (entry->d_tag == DT_SYMTAB)
			table->symbols = pointer;
		else if (entry->d_tag == DT_STRTAB)
			table->strings = pointer;
		else if (entry->d_tag == DT_GNU_HASH)
			table->gnu_hash = pointer;
	}
	return table->symbols && table->strings && table->gnu_hash;
}

static uint32_t gnu_hash_of(const char *name) {
	uint32_t hash = 5381;
	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

static bool is_defined_as(const struct symbol_table *table, uint32_t number, const char *name) {
	const ElfW(Sym) *symbol = &table->symbols[number];
	return symbol->st_shndx != SHN_UNDEF && strcmp(table->strings + symbol->st_name, name) == 0;
}

/* The layout of DT_GNU_HASH: four words, a Bloom filter (not needed here), buckets, one hash per symbol whose lowest
 * bit ends the chain. */
static const ElfW(Sym) * find_symbol(const struct link_map *object, const char *name) {
	struct symbol_table table;
	if (!symbol_table_of(object, &table))
		return NULL;
	uint32_t bucket_count = table.gnu_hash[0];
	uint32_t first_hashed = table.gnu_hash[1];
	const uint32_t *buckets = table.gnu_hash + 4 + table.gnu_hash[2] * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chains = buckets + bucket_count;
	uint32_t hash = gnu_hash_of(name);
	uint32_t number = bucket_count ? buckets[hash % bucket_count] : 0;
	for (; number >= first_hashed && number != 0; number++) {
		uint32_t chain = chains[number - first_hashed];
		if ((chain | 1) == (hash | 1) && is_defined_as(&table, number, name))
			return &table.symbols[number];
		if (chain & 1)
			break;
	}
	return NULL;
}

void *loader_symbol_extent(const struct link_map *object, const char *name, size_t *size_bytes) {
	const ElfW(Sym) *symbol = find_symbol(object, name);
	*size_bytes = symbol ? symbol->st_size : 0;
	return symbol ? (void *)(object->l_addr + symbol->st_value) : NULL;
}

void *loader_symbol(const struct link_map *object, const char *name) {
	size_t size_bytes;
	return loader_symbol_extent(object, name, &size_bytes);
}

/* ---- What was loaded before main ---------------------------------------------------------------------------- */

static const struct link_map *own_object;
static const struct link_map *last_startup_object;

void loader_remember_startup(void) {
	struct dl_find_object own;
	if (!loader_find((const void *)&own_object, &own))
		return;
	own_object = own.dlfo_link_map;
	last_startup_object = own_object;
	while (last_startup_object->l_next)
		last_startup_object = last_startup_object->l_next;
}

const struct link_map *loader_next_startup_object(const struct link_map *object) {
	if (!object)
		object = own_object;
	return !object || object == last_startup_object ? NULL : object->l_next;
}

const struct link_map *loader_program(void) {
	const struct link_map *object = own_object;
	while (object && object->l_prev)
		object = object->l_prev;
	return object;
}

/* ---- Relocations ---------------------------------------------------------------------------------------------- */

const char *loader_soname(const struct link_map *object) {
	const char *strings = NULL;
	ElfW(Xword) offset = 0;
	for (const ElfW(Dyn) *entry = object->l_ld; entry && entry->d_tag != DT_NULL; entry++) {
		if (entry->d_tag == DT_STRTAB)
			strings = pointer_of(object, entry->d_un.d_ptr);
		else if (entry->d_tag == DT_SONAME)
			offset = entry->d_un.d_val;
	}
	return strings && offset ? strings + offset : NULL;
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
