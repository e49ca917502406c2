/* The loader as we use it, on the objects of this very program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/loader.h"

static void test_objects_are_found_by_address(void **state) {
	struct dl_find_object found;
	int on_stack;
	(void)state;
	assert_true(loader_find((const void *)(uintptr_t)&test_objects_are_found_by_address, &found));
	assert_true((uintptr_t)found.dlfo_map_start <= (uintptr_t)&test_objects_are_found_by_address);
	assert_true((uintptr_t)found.dlfo_map_end > (uintptr_t)&test_objects_are_found_by_address);
	assert_true(loader_find(loader_dlsym(RTLD_DEFAULT, "getpid"), &found));
	assert_non_null(strstr(found.dlfo_link_map->l_name, "libc.so"));
	assert_false(loader_find(NULL, &found));
	assert_false(loader_find(&on_stack, &found));
}

static void test_symbols_are_looked_up(void **state) {
	(void)state;
	assert_non_null(loader_dlsym(RTLD_DEFAULT, "getpid"));
	assert_null(loader_dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere"));
}

/* A slot of this program that the linker bound holds the address that a call reaches. */
static void test_bound_slots_are_seen(void **state) {
	struct loader_relocations relocations;
	struct dl_find_object found;
	uint32_t slots = 0;
	bool is_seen = false;
	(void)state;
	(void)getppid(); /* bound now, if binding is lazy */
	assert_true(loader_find((const void *)(uintptr_t)&test_bound_slots_are_seen, &found));
	assert_true(loader_relocations_of(found.dlfo_link_map, &relocations));
	for (struct loader_slot slot; loader_next_slot(&relocations, &slot); slots++)
		if (strcmp(slot.name, "getppid") == 0)
			is_seen = *slot.address == (uintptr_t)loader_dlsym(RTLD_DEFAULT, "getppid");
	assert_true(slots > 10);
	assert_true(is_seen);
}

static int walk_object(struct dl_phdr_info *object, size_t size_bytes, void *argument) {
	struct loader_relocations relocations;
	struct dl_find_object found;
	(void)size_bytes;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		const void *start = (const void *)(object->dlpi_addr + segment->p_vaddr);
		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || !loader_find(start, &found) ||
		    !loader_relocations_of(found.dlfo_link_map, &relocations))
			continue;
		for (struct loader_slot slot; loader_next_slot(&relocations, &slot);)
			*(uint64_t *)argument += strlen(slot.name) + (*slot.address != 0);
	}
	return 0;
}

static void test_every_loaded_object_can_be_walked(void **state) {
	uint64_t seen = 0;
	(void)state;
	dl_iterate_phdr(walk_object, &seen);
	assert_true(seen > 100);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects_are_found_by_address),
		cmocka_unit_test(test_symbols_are_looked_up),
		cmocka_unit_test(test_bound_slots_are_seen),
		cmocka_unit_test(test_every_loaded_object_can_be_walked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
