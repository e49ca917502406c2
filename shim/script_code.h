/*
 * Functions of an interpreter by name: which of them is on a native stack?
 */
#ifndef PQLEASE_SHIM_SCRIPT_CODE_H
#define PQLEASE_SHIM_SCRIPT_CODE_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/stack.h"

#define SCRIPT_CODE_FUNCTIONS_MAX 8u

/* Where they lie; one that the object does not define lies nowhere. */
struct script_functions {
	uint32_t count;
	struct {
		uintptr_t start;
		uintptr_t end;
	} function[SCRIPT_CODE_FUNCTIONS_MAX];
};

/* `names` ends with NULL. The object's own hash table is read: no lock, no reference. */
void script_functions_find(struct script_functions *functions, const struct link_map *object,
			   const char *const *names);

/* Of a return address. */
bool script_functions_hold(const struct script_functions *functions, uintptr_t pc);

/* Index of the innermost frame of `native` in one of them; native->count if there is none. */
uint32_t script_functions_on(const struct script_functions *functions, const struct stack *native);

#endif
