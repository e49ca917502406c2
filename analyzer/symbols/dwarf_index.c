#include "analyzer/symbols/dwarf_index.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 512u /* of nested entries that are looked into */
#define UNITS_MAX (UINT32_C(1) << 22)
#define RANGE_STEPS_MAX (UINT32_C(1) << 24) /* of one file, read from range lists */
#define NO_SCOPE UINT32_MAX

/* A function or an inlined call. */
struct scope {
	Dwarf_Die die;
	uint32_t parent;      /* NO_SCOPE, or a number in scopes */
	uint32_t depth;       /* inlined calls around it, in its function */
	size_t inlined_first; /* of a function: its part of inlined[] */
	size_t inlined_end;
	bool is_inlined;
};

struct inlined_range {
	uint64_t low;
	uint64_t high;
	uint32_t scope;
};

struct unit {
	Dwarf_Die die; /* has the line table */
	bool is_indexed;
	struct scope *scopes;
	size_t scope_count;
	size_t scope_capacity;
	struct inlined_range *inlined; /* in the order of the entries */
	size_t inlined_count;
	size_t inlined_capacity;
	struct span_table functions; /* values are numbers in scopes */
};

struct dwarf_index {
	const struct elf_file *file;
	Dwarf *dwarf;
	struct unit *units;
	size_t unit_count;
	size_t unit_capacity;
	struct span_table spans; /* values are numbers in units */
	uint32_t range_steps_left;
};

/* Room for one more in an array that doubles. */
static bool grow(void **array, size_t *capacity, size_t count, size_t entry_bytes) {
	size_t wanted = *capacity == 0 ? 32 : *capacity * 2;
	void *grown;

	if (count < *capacity)
		return true;
	grown = reallocarray(*array, wanted, entry_bytes);
	if (grown == NULL)
		return false;
	*array = grown;
	*capacity = wanted;
	return true;
}

/* ---- Address ranges of an entry ------------------------------------------------------------- */

struct range_walk {
	ptrdiff_t offset;
	Dwarf_Addr base;
	Dwarf_Addr low;
	Dwarf_Addr high;
};

/* Functions that the linker dropped keep entries at addresses near zero: only code counts. */
static bool next_range(struct dwarf_index *index, Dwarf_Die *die, struct range_walk *walk) {
	while (index->range_steps_left > 0) {
		index->range_steps_left--;
		walk->offset = dwarf_ranges(die, walk->offset, &walk->base, &walk->low, &walk->high);
		if (walk->offset <= 0)
			return false;
		if (walk->low < walk->high && elf_file_is_code(index->file, walk->low))
			return true;
	}
	return false;
}

/* ---- Functions and inlined calls of a unit ---------------------------------------------------- */

static uint32_t add_scope(struct unit *unit, const Dwarf_Die *die, uint32_t parent, bool is_inlined) {
	if (unit->scope_count >= NO_SCOPE ||
	    !grow((void **)&unit->scopes, &unit->scope_capacity, unit->scope_count, sizeof *unit->scopes))
		return NO_SCOPE;
	unit->scopes[unit->scope_count] = (struct scope){
		.die = *die,
		.parent = parent,
		.depth = is_inlined && parent != NO_SCOPE ? unit->scopes[parent].depth + 1 : 0,
		.inlined_first = unit->inlined_count,
		.inlined_end = unit->inlined_count,
		.is_inlined = is_inlined,
	};
	return (uint32_t)unit->scope_count++;
}

static bool add_range(struct unit *unit, uint32_t scope, const struct range_walk *walk) {
	if (!unit->scopes[scope].is_inlined)
		return span_table_add(&unit->functions, walk->low, walk->high, scope, 0);
	if (!grow((void **)&unit->inlined, &unit->inlined_capacity, unit->inlined_count,
		  sizeof *unit->inlined))
		return false;
	unit->inlined[unit->inlined_count++] =
		(struct inlined_range){.low = walk->low, .high = walk->high, .scope = scope};
	return true;
}

/* The scope of this entry if it has code, else the one around it. */
static uint32_t enter_scope(struct dwarf_index *index, struct unit *unit, Dwarf_Die *die, uint32_t parent,
			    bool is_inlined) {
	struct range_walk walk = {0};
	uint32_t scope = NO_SCOPE;

	while (next_range(index, die, &walk)) {
		if (scope == NO_SCOPE)
			scope = add_scope(unit, die, parent, is_inlined);
		if (scope == NO_SCOPE || !add_range(unit, scope, &walk))
			break;
	}
	return scope != NO_SCOPE ? scope : parent;
}

static void walk_children(struct dwarf_index *index, struct unit *unit, Dwarf_Die *parent_die,
			  uint32_t parent, unsigned depth);

static void walk_function(struct dwarf_index *index, struct unit *unit, Dwarf_Die *die, uint32_t parent,
			  unsigned depth) {
	bool is_inlined = dwarf_tag(die) == DW_TAG_inlined_subroutine;
	uint32_t scope = enter_scope(index, unit, die, parent, is_inlined);

	walk_children(index, unit, die, scope, depth);
	if (scope != parent && !is_inlined)
		unit->scopes[scope].inlined_end = unit->inlined_count;
}

static void walk_entry(struct dwarf_index *index, struct unit *unit, Dwarf_Die *die, uint32_t parent,
		       unsigned depth) {
	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
	case DW_TAG_inlined_subroutine:
		walk_function(index, unit, die, parent, depth);
		break;
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_enumeration_type: /* of Rust, with methods */
	case DW_TAG_interface_type:
		walk_children(index, unit, die, parent, depth);
		break;
	default:
		break;
	}
}

static void walk_children(struct dwarf_index *index, struct unit *unit, Dwarf_Die *parent_die,
			  uint32_t parent, unsigned depth) {
	Dwarf_Die die;
	Dwarf_Off last = dwarf_dieoffset(parent_die);

	if (depth >= DEPTH_MAX || dwarf_child(parent_die, &die) != 0)
		return;
	do {
		Dwarf_Off here = dwarf_dieoffset(&die);
		if (here <= last) /* damaged sibling references must not lead round in circles */
			return;
		last = here;
		walk_entry(index, unit, &die, parent, depth + 1);
	} while (dwarf_siblingof(&die, &die) == 0);
}

/* With split DWARF the functions are in another file; the unit here only says where. */
static Dwarf_Die find_function_die(Dwarf_Die unit_die) {
	uint8_t type = 0;
	Dwarf_Die split;

	if (dwarf_cu_info(unit_die.cu, NULL, &type, NULL, &split, NULL, NULL, NULL) == 0 &&
	    type == DW_UT_skeleton && dwarf_tag(&split) == DW_TAG_compile_unit)
		return split;
	return unit_die;
}

static void index_unit(struct dwarf_index *index, struct unit *unit) {
	Dwarf_Die die = find_function_die(unit->die);

	if (unit->is_indexed)
		return;
	unit->is_indexed = true;
	walk_children(index, unit, &die, NO_SCOPE, 0);
	span_table_sort(&unit->functions);
}

static void release_unit(struct unit *unit) {
	free(unit->scopes);
	free(unit->inlined);
	span_table_release(&unit->functions);
}

/* ---- Units ---------------------------------------------------------------------------------- */

/* A unit that does not say where its code is has the ranges of its functions. */
static bool add_function_spans(struct dwarf_index *index, uint32_t number) {
	struct unit *unit = &index->units[number];

	index_unit(index, unit);
	for (size_t i = 0; i < unit->functions.count; i++) {
		const struct span *span = &unit->functions.spans[i];
		if (!span_table_add(&index->spans, span->low, span->high, number, 0))
			return false;
	}
	return true;
}

static bool add_unit_spans(struct dwarf_index *index, uint32_t number) {
	struct range_walk walk = {0};
	bool has_range = false;

	while (next_range(index, &index->units[number].die, &walk)) {
		has_range = true;
		if (!span_table_add(&index->spans, walk.low, walk.high, number, 0))
			return false;
	}
	return has_range || add_function_spans(index, number);
}

static bool add_unit(struct dwarf_index *index, const Dwarf_Die *die) {
	if (index->unit_count >= UNITS_MAX ||
	    !grow((void **)&index->units, &index->unit_capacity, index->unit_count, sizeof *index->units))
		return false;
	index->units[index->unit_count++] = (struct unit){.die = *die};
	return add_unit_spans(index, (uint32_t)index->unit_count - 1);
}

static bool is_code_unit(Dwarf_Die *die) {
	int tag = dwarf_tag(die);

	return tag == DW_TAG_compile_unit || tag == DW_TAG_skeleton_unit;
}

static void add_units(struct dwarf_index *index) {
	Dwarf_CU *cu = NULL;
	Dwarf_Die die;

	while (dwarf_get_units(index->dwarf, cu, &cu, NULL, NULL, &die, NULL) == 0) {
		if (is_code_unit(&die) && !add_unit(index, &die))
			break;
	}
	span_table_sort(&index->spans);
}

struct dwarf_index *dwarf_index_new(const struct elf_file *file) {
	struct dwarf_index *index;
	Dwarf *dwarf;

	if (!elf_file_has_dwarf(file))
		return NULL;
	dwarf = dwarf_begin_elf(file->elf, DWARF_C_READ, NULL);
	if (dwarf == NULL)
		return NULL;
	index = elf_file_has_whole_strings(file) ? calloc(1, sizeof *index) : NULL;
	if (index == NULL) {
		dwarf_end(dwarf);
		return NULL;
	}
	*index = (struct dwarf_index){.file = file, .dwarf = dwarf, .range_steps_left = RANGE_STEPS_MAX};
	add_units(index);
	return index;
}

void dwarf_index_free(struct dwarf_index *index) {
	if (index == NULL)
		return;
	for (size_t i = 0; i < index->unit_count; i++)
		release_unit(&index->units[i]);
	free(index->units);
	span_table_release(&index->spans);
	dwarf_end(index->dwarf);
	free(index);
}

/* ---- Names and lines -------------------------------------------------------------------------- */

struct place {
	const char *file;
	uint32_t line;
};

static bool holds_whole_string(const Elf_Data *section, const uint8_t *text) {
	const uint8_t *start = section->d_buf;

	if (start == NULL || text < start || text >= start + section->d_size)
		return false;
	return memchr(text, 0, section->d_size - (size_t)(text - start)) != NULL;
}

/* A string between the other values of an entry: libdw does not look where it ends. */
static bool is_terminated(const Dwarf_Attribute *attribute) {
	Elf *elf = dwarf_getelf(dwarf_cu_getdwarf(attribute->cu));
	Elf_Scn *section = NULL;
	size_t names;

	if (elf == NULL || elf_getshdrstrndx(elf, &names) != 0)
		return false;
	while ((section = elf_nextscn(elf, section)) != NULL) {
		GElf_Shdr header;
		const char *name = gelf_getshdr(section, &header) != NULL
			? elf_strptr(elf, names, header.sh_name)
			: NULL;
		const Elf_Data *bytes;
		if (name == NULL || strstr(name, "debug_info") == NULL)
			continue;
		bytes = elf_getdata(section, NULL);
		if (bytes != NULL && holds_whole_string(bytes, attribute->valp))
			return true;
	}
	return false;
}

static const char *read_text(Dwarf_Die *die, unsigned name) {
	Dwarf_Attribute attribute;

	/* Follows DW_AT_abstract_origin and DW_AT_specification, also into other units. */
	if (dwarf_attr_integrate(die, name, &attribute) == NULL)
		return NULL;
	if (dwarf_whatform(&attribute) == DW_FORM_string && !is_terminated(&attribute))
		return NULL;
	return dwarf_formstring(&attribute);
}

static uint64_t read_number(Dwarf_Die *die, unsigned name) {
	Dwarf_Attribute attribute;
	Dwarf_Word value;

	if (dwarf_attr(die, name, &attribute) == NULL || dwarf_formudata(&attribute, &value) != 0)
		return 0;
	return value;
}

static struct place find_line(struct unit *unit, uint64_t address) {
	struct place place = {0};
	Dwarf_Line *line = dwarf_getsrc_die(&unit->die, address);
	int number = 0;

	if (line == NULL || dwarf_lineno(line, &number) != 0)
		return place;
	place.file = dwarf_linesrc(line, NULL, NULL);
	place.line = number > 0 ? (uint32_t)number : 0;
	return place;
}

/* Where an inlined function was called. */
static struct place find_call(struct scope *scope) {
	struct place place = {0};
	Dwarf_Die unit_die;
	Dwarf_Files *files;
	size_t file_count;
	uint64_t file = read_number(&scope->die, DW_AT_call_file);
	uint64_t line = read_number(&scope->die, DW_AT_call_line);

	if (dwarf_diecu(&scope->die, &unit_die, NULL, NULL) == NULL)
		return place;
	place.line = line <= UINT32_MAX ? (uint32_t)line : 0;
	if (dwarf_getsrcfiles(&unit_die, &files, &file_count) == 0 && file < file_count)
		place.file = dwarf_filesrc(files, file, NULL, NULL);
	return place;
}

/* ---- Finding ---------------------------------------------------------------------------------- */

static uint32_t find_innermost(const struct unit *unit, uint32_t function, uint64_t address) {
	const struct scope *scope = &unit->scopes[function];
	uint32_t innermost = function;

	for (size_t i = scope->inlined_first; i < scope->inlined_end; i++) {
		const struct inlined_range *range = &unit->inlined[i];
		if (address >= range->low && address < range->high &&
		    unit->scopes[range->scope].depth >= unit->scopes[innermost].depth)
			innermost = range->scope;
	}
	return innermost;
}

static struct dwarf_frame describe(struct unit *unit, struct scope *scope, struct place place) {
	const char *linkage_name = read_text(&scope->die, DW_AT_linkage_name);

	return (struct dwarf_frame){
		.linkage_name =
			linkage_name != NULL ? linkage_name : read_text(&scope->die, DW_AT_MIPS_linkage_name),
		.name = read_text(&scope->die, DW_AT_name),
		.file = place.file,
		.directory = read_text(&unit->die, DW_AT_comp_dir),
		.line = place.line,
		.inlined = scope->is_inlined,
	};
}

static size_t describe_chain(struct unit *unit, uint32_t innermost, struct place place,
			     struct dwarf_frame *out, size_t max) {
	size_t count = 0;

	for (uint32_t number = innermost; number != NO_SCOPE; number = unit->scopes[number].parent) {
		struct scope *scope = &unit->scopes[number];
		if (count == max)
			count--;
		out[count++] = describe(unit, scope, place);
		if (!scope->is_inlined)
			break;
		place = find_call(scope);
	}
	return count;
}

static size_t describe_line(struct unit *unit, struct place place, struct dwarf_frame *out) {
	out[0] = (struct dwarf_frame){
		.file = place.file,
		.directory = read_text(&unit->die, DW_AT_comp_dir),
		.line = place.line,
	};
	return place.file != NULL;
}

/* The unit of the linker's choice is any of several that compiled the same inline function. */
size_t dwarf_index_find(struct dwarf_index *index, uint64_t address, struct dwarf_frame *out, size_t max) {
	size_t cursor = SPAN_TABLE_START;
	const struct span *span;
	struct unit *first = NULL;

	if (max == 0)
		return 0;
	while ((span = span_table_next(&index->spans, address, &cursor)) != NULL) {
		struct unit *unit = &index->units[span->value];
		size_t function_cursor = SPAN_TABLE_START;
		const struct span *function;
		index_unit(index, unit);
		function = span_table_next(&unit->functions, address, &function_cursor);
		if (function != NULL)
			return describe_chain(unit, find_innermost(unit, function->value, address),
					      find_line(unit, address), out, max);
		if (first == NULL)
			first = unit;
	}
	return first != NULL ? describe_line(first, find_line(first, address), out) : 0;
}
