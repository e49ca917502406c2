#include "shim/script_code.h"

#include "shim/loader.h"

void script_functions_find(struct script_functions *functions, const struct link_map *object,
			   const char *const *names) {
	functions->count = 0;
	for (; *names && functions->count < SCRIPT_CODE_FUNCTIONS_MAX; names++) {
		size_t size_bytes;
		uintptr_t start = (uintptr_t)loader_symbol_extent(object, *names, &size_bytes);
		if (start == 0)
			continue;
		functions->function[functions->count].start = start;
		functions->function[functions->count++].end = start + size_bytes;
	}
}

bool script_functions_hold(const struct script_functions *functions, uintptr_t pc) {
	for (uint32_t i = 0; i < functions->count; i++)
		if (pc - 1 >= functions->function[i].start && pc - 1 < functions->function[i].end)
			return true;
	return false;
}

uint32_t script_functions_on(const struct script_functions *functions, const struct stack *native) {
	uint32_t i = 0;
	while (i < native->count && !script_functions_hold(functions, native->pc[i]))
		i++;
	return i;
}
