#include "shim/stack_unwinder.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/loaded_object.h"
#include "shim/stack_memory.h"

/* ---- What we know of libunwind (libunwind-common.h and libunwind-<machine>.h, 1.3 to 1.8) ------------ */

struct address_space;

/* The beginning of unw_accessors_t. */
struct accessors {
	void (*find_proc_info)(void);
	void (*put_unwind_info)(void);
	void (*get_dyn_info_list_addr)(void);
	int (*access_mem)(struct address_space *space, uintptr_t address, uintptr_t *word, int is_write,
			  void *arg);
};

#define CACHE_NONE 0 /* UNW_CACHE_NONE */

#if defined(__x86_64__)
#define MACHINE "x86_64"
#define REGISTER_IP 16
#define JUMP_SLOT R_X86_64_JUMP_SLOT
#define GLOBAL_SLOT R_X86_64_GLOB_DAT
#define CONTEXT_BYTES 1024 /* ucontext_t: 968 */
#define CURSOR_WORDS 128   /* UNW_TDEP_CURSOR_LEN: 127 */
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#define REGISTER_IP 32
#define JUMP_SLOT R_AARCH64_JUMP_SLOT
#define GLOBAL_SLOT R_AARCH64_GLOB_DAT
#define CONTEXT_BYTES 4608 /* ucontext_t: 4560 */
#define CURSOR_WORDS 256   /* UNW_TDEP_CURSOR_LEN: 250 */
#else
#error "libunwind's names for this machine are not known"
#endif

struct machine_context { /* unw_context_t */
	_Alignas(16) char bytes[CONTEXT_BYTES];
};

struct cursor { /* unw_cursor_t */
	void *words[CURSOR_WORDS];
};

static struct {
	int (*backtrace)(void **addresses, int size);
	struct accessors *(*get_accessors)(struct address_space *space);
	struct address_space **local_space;
	int (*set_caching_policy)(struct address_space *space, int policy);
	int (*get_context)(struct machine_context *context);
	int (*init_local)(struct cursor *cursor, struct machine_context *context);
	int (*step)(struct cursor *cursor);
	int (*get_register)(struct cursor *cursor, int number, uintptr_t *value);
} libunwind;

static const struct {
	const char *name;
	void *pointer;
} symbols[] = {
	{"unw_backtrace", &libunwind.backtrace},
	{"_U" MACHINE "_get_accessors", &libunwind.get_accessors},
	{"_UL" MACHINE "_local_addr_space", &libunwind.local_space},
	{"_UL" MACHINE "_set_caching_policy", &libunwind.set_caching_policy},
	{"_U" MACHINE "_getcontext", &libunwind.get_context},
	{"_UL" MACHINE "_init_local", &libunwind.init_local},
	{"_UL" MACHINE "_step", &libunwind.step},
	{"_UL" MACHINE "_get_reg", &libunwind.get_register},
};

/* Whether the fast path of unw_backtrace checks what it reads (proved by try_fast_path). */
static bool is_fast_path_checked;

/* The address of a variable of the trace in progress on this thread, 0 if there is none. */
static _Thread_local volatile uintptr_t trace_in_progress;

/* ---- What libunwind calls instead of libc and of itself ------------------------------------------------ */

static volatile uint32_t read_count; /* only for try_fast_path */

/* Replaces access_mem of the local address space. The fast path keeps its table through writes. */
static int access_memory(struct address_space *space, uintptr_t address, uintptr_t *word, int is_write,
			 void *arg) {
	(void)space;
	(void)arg;
	if (!is_write)
		return stack_memory_read(address, word) ? 0 : -1;
	__builtin_memcpy((void *)address, word, sizeof *word);
	return 0;
}

static int count_reads(struct address_space *space, uintptr_t address, uintptr_t *word, int is_write,
		       void *arg) {
	if (!is_write && trace_in_progress != 0)
		read_count++;
	return access_memory(space, address, word, is_write, arg);
}

static int refuse_pipe(int descriptors[2]) {
	(void)descriptors; /* libunwind then keeps its -1, and never closes or uses them */
	errno = EMFILE;
	return -1;
}

static int refuse_pipe2(int descriptors[2], int flags) {
	(void)flags;
	return refuse_pipe(descriptors);
}

/* Unwind tables that are not mapped would be read from the file: not in a host's capture. The program's
 * own use of the same libunwind (names of functions) is left alone. */
static int open_outside_traces(const char *path, int flags) {
	if (trace_in_progress != 0) {
		errno = ENOENT;
		return -1;
	}
	return open(path, flags);
}

/*
 * Locks. A child that is forked while another thread holds one of libunwind's mutexes, or the loader's
 * lock inside dl_iterate_phdr, would wait for ever at its first capture (measured).
 *
 * The mutexes become words that name the process of their owner: in the child of a fork an owner of
 * another process is nobody. What they guard, free lists, changes with one store. Signals are blocked
 * by libunwind while it holds one.
 */
static int take_lock(pthread_mutex_t *mutex) {
	_Atomic int32_t *owner = (_Atomic int32_t *)mutex;
	int32_t own_pid = getpid();
	for (;;) {
		int32_t found = atomic_load_explicit(owner, memory_order_relaxed);
		if (found != own_pid &&
		    atomic_compare_exchange_weak_explicit(owner, &found, own_pid, memory_order_acquire,
							  memory_order_relaxed))
			return 0;
		sched_yield();
	}
}

static int drop_lock(pthread_mutex_t *mutex) {
	atomic_store_explicit((_Atomic int32_t *)mutex, 0, memory_order_release);
	return 0;
}

/* The structure that libunwind searches with begins with the address it wants; known for sure once an
 * object was found by it. */
static atomic_bool is_address_first;

static int find_object_without_lock(int (*callback)(struct dl_phdr_info *, size_t, void *), void *search) {
	struct loaded_object object;
	int status = 0;
	if (trace_in_progress == 0)
		return dl_iterate_phdr(callback, search);
	if (loaded_object_find(*(uintptr_t *)search, &object) && object.segment_count > 0) {
		struct dl_phdr_info info = {.dlpi_addr = object.bias,
					    .dlpi_name = object.name,
					    .dlpi_phdr = object.segments,
					    .dlpi_phnum = (ElfW(Half))object.segment_count};
		status = callback(&info, sizeof info, search);
	}
	if (status != 0)
		is_address_first = true;
	return is_address_first ? status : dl_iterate_phdr(callback, search);
}

/* Since 1.6 the lowest bit of a cursor's first word, a pointer to its context, says that every address
 * is to be checked. unw_backtrace leaves it clear, and would follow a broken frame pointer blindly. */
static int init_local_checked(struct cursor *cursor, struct machine_context *context) {
	int status = libunwind.init_local(cursor, context);
	if (status >= 0 && trace_in_progress != 0 && cursor->words[0] == context)
		cursor->words[0] = (char *)context + 1;
	return status;
}

/* ---- Slots of its global offset table -------------------------------------------------------------------- */

struct relocations {
	const ElfW(Rela) * table;
	size_t count;
};

/* The dynamic section of a loaded object, as far as slots are concerned. */
struct linkage {
	ElfW(Addr) bias;
	const ElfW(Sym) * symbols;
	const char *names;
	struct relocations relocations[2]; /* of calls; of everything else */
	uintptr_t relro_start;             /* read-only after relocation, page-aligned */
	uintptr_t relro_end;
};

/* glibc relocates these pointers in place, other loaders may not. */
static const void *dynamic_pointer(const struct link_map *object, ElfW(Addr) value) {
	return (const void *)(value < object->l_addr ? value + object->l_addr : value);
}

static void read_dynamic(const struct link_map *object, struct linkage *linkage) {
	linkage->bias = object->l_addr;
	for (const ElfW(Dyn) *entry = object->l_ld; entry->d_tag != DT_NULL; entry++) {
		const void *pointer = dynamic_pointer(object, entry->d_un.d_ptr);
		switch (entry->d_tag) {
		case DT_SYMTAB:
			linkage->symbols = pointer;
			break;
		case DT_STRTAB:
			linkage->names = pointer;
			break;
		case DT_JMPREL:
			linkage->relocations[0].table = pointer;
			break;
		case DT_PLTRELSZ:
			linkage->relocations[0].count = entry->d_un.d_val / sizeof(ElfW(Rela));
			break;
		case DT_RELA:
			linkage->relocations[1].table = pointer;
			break;
		case DT_RELASZ:
			linkage->relocations[1].count = entry->d_un.d_val / sizeof(ElfW(Rela));
			break;
		}
	}
}

/* The loader protects whole pages only. */
static int find_relro(struct dl_phdr_info *info, size_t size, void *argument) {
	struct linkage *linkage = argument;
	(void)size;
	if (info->dlpi_addr != linkage->bias)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
			uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
			linkage->relro_start = start & ~(uintptr_t)4095;
			linkage->relro_end = (start + info->dlpi_phdr[i].p_memsz) & ~(uintptr_t)4095;
		}
	return 1;
}

static bool read_linkage(const struct link_map *object, struct linkage *linkage) {
	*linkage = (struct linkage){0};
	read_dynamic(object, linkage);
	dl_iterate_phdr(find_relro, linkage);
	return linkage->symbols && linkage->names;
}

static bool write_slot(const struct linkage *linkage, uintptr_t slot, const void *function) {
	bool is_protected = slot >= linkage->relro_start && slot < linkage->relro_end;
	void *page = (void *)(slot & ~(uintptr_t)4095);
	if (is_protected && mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0)
		return false;
	__atomic_store_n((const void **)slot, function, __ATOMIC_RELEASE);
	if (is_protected)
		mprotect(page, 4096, PROT_READ);
	return true;
}

/* Returns whether libunwind's calls of `name` now reach `function`. */
static bool replace_call(const struct linkage *linkage, const char *name, const void *function) {
	bool was_replaced = false;
	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < linkage->relocations[i].count; j++) {
			const ElfW(Rela) *relocation = &linkage->relocations[i].table[j];
			uint32_t type = (uint32_t)ELF64_R_TYPE(relocation->r_info);
			const ElfW(Sym) *symbol = &linkage->symbols[ELF64_R_SYM(relocation->r_info)];
			if ((type == JUMP_SLOT || type == GLOBAL_SLOT) &&
			    strcmp(linkage->names + symbol->st_name, name) == 0)
				was_replaced |=
					write_slot(linkage, linkage->bias + relocation->r_offset, function);
		}
	return was_replaced;
}

/* ---- Opening -------------------------------------------------------------------------------------------------- */

/* The program's own copy is used if it has one: two would not fit one soname. */
static void *open_library(bool *is_programs) {
	void *handle = dlopen("libunwind.so.8", RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD | RTLD_NODELETE);
	*is_programs = handle != NULL;
	return handle ? handle : dlopen("libunwind.so.8", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
}

static bool find_symbols(void *handle) {
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		void *address = dlsym(handle, symbols[i].name);
		if (!address)
			return false;
		__builtin_memcpy(symbols[i].pointer, &address, sizeof address);
	}
	return true;
}

/* A pipe that could not be refused is the program's danger, not ours to add. */
static bool make_harmless(void *handle, bool is_programs) {
	struct link_map *object;
	struct linkage linkage;
	if (dlinfo(handle, RTLD_DI_LINKMAP, &object) != 0 || !read_linkage(object, &linkage))
		return false;
	if (!is_programs) {
		bool has_refused_pipe2 = replace_call(&linkage, "pipe2", refuse_pipe2);
		bool has_refused_pipe = replace_call(&linkage, "pipe", refuse_pipe);
		if (!has_refused_pipe2 && !has_refused_pipe)
			return false;
		/* Both or none. Not in the program's own libunwind, which may have one locked now. */
		if (replace_call(&linkage, "pthread_mutex_lock", take_lock) !=
		    replace_call(&linkage, "pthread_mutex_unlock", drop_lock))
			return false;
	}
	replace_call(&linkage, "dl_iterate_phdr", find_object_without_lock);
	replace_call(&linkage, "open", open_outside_traces);
	replace_call(&linkage, "open64", open_outside_traces);
	replace_call(&linkage, "_UL" MACHINE "_init_local", init_local_checked);
	return true;
}

/* The second trace finds everything in the table of the fast path: does it still ask before it reads?
 * Unchecked, it asks for two words only, whatever the number of frames. */
static void try_fast_path(struct accessors *accessors) {
	void *addresses[8];
	uint32_t count = 0;
	accessors->access_mem = count_reads;
	is_fast_path_checked = true;
	for (volatile int i = 0; i < 2; i++) { /* from one and the same address */
		read_count = 0;
		count = stack_unwinder_trace(addresses, sizeof addresses / sizeof *addresses);
	}
	is_fast_path_checked = count > 2 && read_count >= count;
	accessors->access_mem = access_memory;
}

enum stack_availability stack_unwinder_open(void) {
	bool is_programs;
	if (!stack_memory_is_known())
		return STACK_UNWINDER_UNSAFE;
	void *handle = open_library(&is_programs);
	if (!handle || !find_symbols(handle))
		return STACK_NO_LIBUNWIND;
	if (!make_harmless(handle, is_programs))
		return STACK_UNWINDER_UNSAFE;
	/* Asking for the accessors initialises libunwind. */
	struct accessors *accessors = libunwind.get_accessors(*libunwind.local_space);
	if (!accessors || !accessors->access_mem)
		return STACK_UNWINDER_UNSAFE;
	/* Its shared cache is locked while it searches tables: threads would wait for each other, and all of
	 * them keep what they find in tables of their own. */
	if (!is_programs)
		libunwind.set_caching_policy(*libunwind.local_space, CACHE_NONE);
	try_fast_path(accessors);
	return STACK_AVAILABLE;
}

/* ---- Tracing ---------------------------------------------------------------------------------------------------- */

/* All registers, every frame looked up anew: slow, but safe within another trace of the same thread. */
static uint32_t step_frames(void **addresses, uint32_t size) {
	struct machine_context context;
	struct cursor cursor;
	uint32_t count = 0;
	libunwind.get_context(&context);
	if (libunwind.init_local(&cursor, &context) < 0)
		return 0;
	while (count < size && libunwind.step(&cursor) > 0) {
		uintptr_t pc;
		if (libunwind.get_register(&cursor, REGISTER_IP, &pc) < 0)
			break;
		addresses[count++] = (void *)pc;
	}
	return count;
}

/* The table of the fast path must not be entered twice. A mark that was left by a signal handler's
 * siglongjmp out of a trace is recognised by a later, shallower caller on the same stack; until then the
 * slow path serves. */
static bool is_nested(uintptr_t here) {
	if (trace_in_progress == 0)
		return false;
	return here < trace_in_progress || !stack_memory_holds(trace_in_progress, here);
}

uint32_t stack_unwinder_trace(void **addresses, uint32_t size) {
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	bool is_own_stack = stack_memory_enter(here);
	int count = 0;
	if (is_nested(here)) {
		count = (int)step_frames(addresses, size);
	} else {
		trace_in_progress = here;
		count = is_fast_path_checked ? libunwind.backtrace(addresses, (int)size)
					     : (int)step_frames(addresses, size);
		trace_in_progress = 0;
	}
	if (!is_own_stack)
		stack_memory_leave();
	return count > 0 ? (uint32_t)count : 0;
}
