#include "shim/script_memory.h"

#include "shim/ledger_format.h"

#define PAGE_BYTES STACK_MEMORY_PAGE_BYTES

static bool is_known(const struct script_memory *memory, uintptr_t page) {
	return memory->page[page / PAGE_BYTES % SCRIPT_MEMORY_PAGES] == page;
}

static bool probe_page(struct script_memory *memory, uintptr_t page) {
	if (page == 0)
		return false;
	if (is_known(memory, page))
		return true;
	if (!stack_memory_is_readable(page))
		return false;
	memory->page[page / PAGE_BYTES % SCRIPT_MEMORY_PAGES] = page;
	return true;
}

bool script_memory_probe(struct script_memory *memory, uintptr_t address, size_t size_bytes) {
	uintptr_t last = address + size_bytes - 1;
	bool is_readable = address != 0 && size_bytes > 0 && last >= address;
	for (uintptr_t page = address & ~(PAGE_BYTES - 1); is_readable && page <= last; page += PAGE_BYTES)
		is_readable = probe_page(memory, page);
	memory->is_broken = memory->is_broken || !is_readable;
	return is_readable;
}

struct script_bytes script_memory_bytes(struct script_memory *memory, uintptr_t address,
					size_t length_bytes) {
	if (length_bytes > LEDGER_STRING_MAX_BYTES) {
		memory->is_broken = memory->is_broken || !memory->is_proved;
		length_bytes = LEDGER_STRING_MAX_BYTES;
	}
	if (length_bytes == 0 || !script_memory_holds(memory, address, length_bytes))
		return (struct script_bytes){"", 0};
	return (struct script_bytes){(const char *)address, length_bytes};
}

struct script_bytes script_memory_text(struct script_memory *memory, uintptr_t address) {
	size_t length_bytes = 0;
	while (length_bytes <= LEDGER_STRING_MAX_BYTES) {
		uintptr_t at = address + length_bytes;
		size_t left = PAGE_BYTES - at % PAGE_BYTES;
		if (!script_memory_holds(memory, at, 1))
			return (struct script_bytes){"", 0};
		size_t found = strnlen((const char *)at, left);
		length_bytes += found;
		if (found < left)
			break;
	}
	return script_memory_bytes(memory, address, length_bytes);
}

void script_memory_append(char *text, size_t size_bytes, struct script_bytes more) {
	size_t used = strnlen(text, size_bytes - 1);
	size_t room = size_bytes - 1 - used;
	size_t count = more.length_bytes < room ? more.length_bytes : room;
	if (count > 0)
		memcpy(text + used, more.bytes, count);
	text[used + count] = '\0';
}
