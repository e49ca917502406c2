/*
 * What is loaded at an address, as the loader knows it.
 */
#ifndef PQLEASE_SHIM_LOADED_OBJECT_H
#define PQLEASE_SHIM_LOADED_OBJECT_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>

struct loaded_object {
	uintptr_t start; /* what it occupies */
	uintptr_t end;
	uintptr_t bias;   /* what an ELF address is moved by */
	const char *name; /* the loader's: "" for the program, may be relative */
	const ElfW(Phdr) * segments;
	uint32_t segment_count; /* 0: the headers are not mapped */
};

/* False if nothing is loaded there. Without a lock, except where glibc is older than 2.35. What is pointed
 * to lives as long as the object stays loaded. */
bool loaded_object_find(uintptr_t address, struct loaded_object *object);

#endif
