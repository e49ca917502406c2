#include "shim/stack_memory.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE_BYTES STACK_MEMORY_PAGE_BYTES
/* Probed at most in one capture (0.1 us each); a deeper stack is learned over several. */
#define PAGES_PER_CAPTURE 64u

/* What lies between a capture and the deepest frame of the unwinder. */
#define LIVE_PAGES_MAX 4u

static uintptr_t main_stack_end;

_Thread_local volatile uint64_t stack_memory_known_pages;

void stack_memory_init(const void *argv) {
	main_stack_end = (uintptr_t)argv;
}

/* ---- Probe --------------------------------------------------------------------------------------- */

/* The kernel copies the eight bytes of the new mask before it looks at `how`: EFAULT for memory that
 * cannot be read, EINVAL for the rest. Anything else (a seccomp filter) proves nothing. */
static bool is_readable(uintptr_t address) {
	int saved_errno = errno;
	long result = syscall(SYS_rt_sigprocmask, ~0L, address, NULL, sizeof(uint64_t));
	bool was_copied = result == -1 && errno == EINVAL;
	errno = saved_errno;
	return was_copied;
}

bool stack_memory_is_readable(uintptr_t address) {
	return is_readable(address);
}

bool stack_memory_is_known(void) {
	uintptr_t here = 0;
	uintptr_t hole = UINTPTR_MAX - 2 * PAGE_BYTES + 1; /* the kernel's half of the address space */
	return is_readable((uintptr_t)&here) && !is_readable(hole);
}

/* ---- The thread's own stack ------------------------------------------------------------------------ */

struct page_range {
	uint64_t first;
	uint64_t end; /* the page behind the last; 0: empty range */
};

static struct page_range unpack(uint64_t word) {
	uint64_t end = word >> STACK_MEMORY_COUNT_BITS;
	return (struct page_range){end - (word & STACK_MEMORY_COUNT_MAX), end};
}

static uint64_t pack(const struct page_range *range) {
	uint64_t count = range->end - range->first;
	return count > STACK_MEMORY_COUNT_MAX ? 0 : range->end << STACK_MEMORY_COUNT_BITS | count;
}

/* Where a stack that began in this thread ends: argv for the main thread; for others glibc keeps the
 * thread's control block on top of the stack. Both are tried, as a thread's id says little after fork. */
static uint64_t own_stack_end_page(uintptr_t stack_pointer) {
	uintptr_t ends[] = {main_stack_end, (uintptr_t)pthread_self()};
	uintptr_t nearest = 0;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (ends[i] > stack_pointer && (nearest == 0 || ends[i] < nearest))
			nearest = ends[i];
	return nearest ? nearest / PAGE_BYTES + 1 : 0;
}

/* A stack grows downwards: pages between its new depth and what was known before. */
static bool extend_down(struct page_range *range, uint64_t page, uint32_t *budget) {
	if (range->end == 0 || page >= range->first || range->first - page > *budget)
		return false;
	for (uint64_t at = range->first - 1; at > page; at--, --*budget)
		if (!is_readable(at * PAGE_BYTES))
			return false;
	range->first = page;
	return true;
}

/* Returns false at a hole: the stack pointer is not on the stack that ends at `end`. */
static bool extend_up(struct page_range *range, uint64_t end, uint32_t budget) {
	for (; range->end < end && budget > 0; range->end++, budget--)
		if (!is_readable(range->end * PAGE_BYTES))
			return false;
	return true;
}

bool stack_memory_enter(uintptr_t stack_pointer) {
	struct page_range range = unpack(stack_memory_known_pages);
	uint64_t page = stack_pointer / PAGE_BYTES;
	uint64_t end = own_stack_end_page(stack_pointer);
	uint32_t budget = PAGES_PER_CAPTURE;
	bool is_inside = page >= range.first && page < range.end;
	if (is_inside && range.end == end)
		return true;
	/* The page of the caller's frame is mapped without asking. */
	if (!is_inside && !extend_down(&range, page, &budget))
		range = (struct page_range){page, page + 1};
	bool is_own = extend_up(&range, end, budget) && end != 0;
	stack_memory_known_pages = pack(&range);
	return is_own;
}

void stack_memory_leave(void) {
	stack_memory_known_pages = 0;
}

/* ---- Reading ----------------------------------------------------------------------------------------- */

/* A frame's words are read on purpose, wherever the sanitizer drew its borders. */
__attribute__((no_sanitize_address)) static uintptr_t load_word(uintptr_t address) {
	uintptr_t word;
	__builtin_memcpy(&word, (const void *)address, sizeof word);
	return word;
}

/* The unwinder's own frames lie below what stack_memory_enter saw; they are in use, hence mapped. */
static bool lies_in_live_frames(uintptr_t address) {
	struct page_range range = unpack(stack_memory_known_pages);
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uint64_t page = here / PAGE_BYTES;
	if (address < here || page >= range.first || range.first - page > LIVE_PAGES_MAX ||
	    address / PAGE_BYTES >= range.first)
		return false;
	range.first = page;
	stack_memory_known_pages = pack(&range);
	return true;
}

bool stack_memory_read_elsewhere(uintptr_t address, uintptr_t *word) {
	if (!lies_in_live_frames(address) && !is_readable(address))
		return false;
	*word = load_word(address);
	return true;
}
