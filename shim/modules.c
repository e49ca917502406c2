#include "shim/modules.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/id_cache.h"
#include "shim/ledger_writer.h"
#include "shim/loaded_object.h"

#define CACHE_PLACES 256u
#define BUILD_ID_MAX_BYTES 20u

static struct id_cache_place cache_places[CACHE_PLACES];
static struct id_cache cache = {.places = cache_places, .count = CACHE_PLACES};

/* ---- Facts --------------------------------------------------------------------------------------------- */

static const uint8_t *find_build_id_note(const uint8_t *at, size_t left, size_t *length) {
	ElfW(Nhdr) note;
	while (left > sizeof note) {
		memcpy(&note, at, sizeof note);
		size_t name_bytes = (note.n_namesz + (size_t)3) & ~(size_t)3;
		at += sizeof note;
		left -= sizeof note;
		if (name_bytes > left || note.n_descsz > left - name_bytes)
			return NULL;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(at, "GNU", 4) == 0) {
			*length = note.n_descsz < BUILD_ID_MAX_BYTES ? note.n_descsz : BUILD_ID_MAX_BYTES;
			return at + name_bytes;
		}
		size_t note_bytes = name_bytes + ((note.n_descsz + (size_t)3) & ~(size_t)3);
		if (note_bytes > left) /* the last one need not be padded */
			return NULL;
		at += note_bytes;
		left -= note_bytes;
	}
	return NULL;
}

static bool is_mapped_readable(const struct loaded_object *object, const ElfW(Phdr) * wanted) {
	for (uint32_t i = 0; i < object->segment_count; i++) {
		const ElfW(Phdr) *segment = &object->segments[i];
		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_R) &&
		    wanted->p_vaddr >= segment->p_vaddr && wanted->p_filesz <= segment->p_filesz &&
		    wanted->p_vaddr - segment->p_vaddr <= segment->p_filesz - wanted->p_filesz)
			return true;
	}
	return false;
}

static void find_build_id(const struct loaded_object *object, struct ledger_module_facts *facts) {
	for (uint32_t i = 0; i < object->segment_count && !facts->build_id; i++) {
		const ElfW(Phdr) *segment = &object->segments[i];
		if (segment->p_type == PT_NOTE && is_mapped_readable(object, segment))
			facts->build_id =
				find_build_id_note((const uint8_t *)(object->bias + segment->p_vaddr),
						   segment->p_filesz, &facts->build_id_length);
	}
}

/* Without segments: all that the object occupies. */
static void find_text(const struct loaded_object *object, struct ledger_module_facts *facts) {
	facts->text_start = object->segments ? UINT64_MAX : object->start - object->bias;
	facts->text_end = object->segments ? 0 : object->end - object->bias;
	for (uint32_t i = 0; object->segments && i < object->segment_count; i++) {
		const ElfW(Phdr) *segment = &object->segments[i];
		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X))
			continue;
		if (segment->p_vaddr < facts->text_start)
			facts->text_start = segment->p_vaddr;
		if (segment->p_vaddr + segment->p_memsz > facts->text_end)
			facts->text_end = segment->p_vaddr + segment->p_memsz;
	}
}

/* Writes the absolute form of a relative name; "" if it does not fit. */
static void make_absolute(const char *name, char *path, size_t size_bytes) {
	if (strncmp(name, "./", 2) == 0)
		name += 2;
	size_t name_bytes = strlen(name) + 1;
	if (name_bytes >= size_bytes || !getcwd(path, size_bytes - name_bytes)) {
		*path = '\0';
		return;
	}
	size_t length = strlen(path);
	if (path[length - 1] != '/')
		path[length++] = '/';
	memcpy(path + length, name, name_bytes);
}

/* `path` serves where the loader's own name does not. */
static const char *path_of(const struct loaded_object *object, char *path, size_t size_bytes) {
	if (object->start == getauxval(AT_SYSINFO_EHDR))
		return "[vdso]";
	if (object->name[0] == '/')
		return object->name;
	if (object->name[0] != '\0') {
		make_absolute(object->name, path, size_bytes);
		return path;
	}
	ssize_t length = readlink("/proc/self/exe", path, size_bytes - 1);
	path[length > 0 ? length : 0] = '\0';
	return path;
}

/* Not inlined: the path would take its 4 KiB from every look-up. */
__attribute__((noinline)) static uint32_t intern_object(struct ledger_header *ledger,
							struct loaded_object *object) {
	char path[PATH_MAX];
	struct ledger_module_facts facts = {0};
	struct stat file;
	find_build_id(object, &facts);
	find_text(object, &facts);
	facts.path = path_of(object, path, sizeof path);
	if (!facts.build_id && stat(facts.path, &file) == 0)
		facts.file_bytes = (uint64_t)file.st_size;
	return ledger_intern_module(ledger, &facts);
}

/* ---- Look-up ----------------------------------------------------------------------------------------------- */

/* Distinct starts have distinct keys: multiplication by an odd number and rotation lose nothing. */
static uint64_t key_of(uintptr_t start) {
	uint64_t product = (uint64_t)start * UINT64_C(0x9e3779b97f4a7c15);
	return product >> 32 | product << 32;
}

static uint32_t module_of(struct ledger_header *ledger, struct loaded_object *object) {
	uint32_t generation = id_cache_generation(&cache);
	uint64_t key = key_of(object->start);
	uint32_t module;
	if (id_cache_find(&cache, key, &module))
		return module;
	int saved_errno = errno;
	module = intern_object(ledger, object);
	errno = saved_errno;
	if (module != 0)
		id_cache_put(&cache, generation, key, module);
	return module;
}

struct module_place modules_locate(struct ledger_header *ledger, uintptr_t pc) {
	struct module_place place = {0, pc};
	struct loaded_object object;
	/* A call may be the last instruction of an object. */
	if (pc == 0 || !loaded_object_find(pc - 1, &object))
		return place;
	place.module = module_of(ledger, &object);
	if (place.module != 0)
		place.address = pc - object.bias;
	return place;
}

void modules_forget(void) {
	id_cache_forget(&cache);
}
