#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <alloca.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "shim/stack.h"
#include "shim/stack_memory.h"

/* Keeps a call from becoming a jump. */
#define NO_TAIL_CALL() __asm__ volatile("")
#define NOINLINE __attribute__((noinline))

typedef void capture_function(struct stack *stack);

/* Found by dladdr, hence not static. */
capture_function never_seen, hook, inner, middle, outer, elsewhere, hook_unfound;
void deep(struct stack *stack, int levels);
void *thread_start(void *argument);
void coroutine_start(void);
void on_signal(int number);
void *capture_far_from_the_end(void *argument);
void raise_signal(int flags);
void call_generated(const uint8_t *page, capture_function *function, struct stack *stack);
int main(int argc, char **argv);

NOINLINE void hook(struct stack *stack) {
	stack_capture(stack, __builtin_return_address(0));
	NO_TAIL_CALL();
}

NOINLINE void hook_unfound(struct stack *stack) {
	stack_capture(stack, (const void *)(uintptr_t)12345);
	NO_TAIL_CALL();
}

NOINLINE void inner(struct stack *stack) {
	hook(stack);
	NO_TAIL_CALL();
}

NOINLINE void middle(struct stack *stack) {
	inner(stack);
	NO_TAIL_CALL();
}

NOINLINE void outer(struct stack *stack) {
	middle(stack);
	NO_TAIL_CALL();
}

NOINLINE void elsewhere(struct stack *stack) {
	inner(stack);
	NO_TAIL_CALL();
}

NOINLINE void deep(struct stack *stack, int levels) {
	if (levels > 1)
		deep(stack, levels - 1);
	else
		hook(stack);
	NO_TAIL_CALL();
}

/* ---- Support ----------------------------------------------------------------------------------------- */

static int is_in(uintptr_t pc, const void *function) {
	Dl_info info;
	return dladdr((const void *)(pc - 1), &info) != 0 && info.dli_saddr == function;
}

#define assert_in(pc, function) assert_true(is_in((pc), (const void *)(uintptr_t)(function)))

/* The number of the frame in `function`, or -1. */
static int find(const struct stack *stack, const void *function) {
	for (uint32_t i = 0; i < stack->count; i++)
		if (is_in(stack->pc[i], function))
			return (int)i;
	return -1;
}

#define assert_found(stack, function) assert_true(find((stack), (const void *)(uintptr_t)(function)) >= 0)

static void assert_nested_calls(const struct stack *stack) {
	assert_true(stack->count > 3);
	assert_in(stack->pc[0], inner);
	assert_in(stack->pc[1], middle);
	assert_in(stack->pc[2], outer);
}

static int open_stacks(void **state) {
	static int is_open;
	(void)state;
	if (!is_open)
		assert_int_equal(stack_open(STACK_FRAMES_MAX), STACK_AVAILABLE);
	is_open = 1;
	return 0;
}

#define CHILD_MILLISECONDS_MAX 20000

/* What changes the process happens in a child: 0 is success. */
static int status_of_child(int (*body)(void)) {
	int status;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(body());
	/* libunwind blocks signals where it waits, so no alarm would end a child that hangs. */
	for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		if (i == CHILD_MILLISECONDS_MAX)
			kill(pid, SIGKILL);
		usleep(1000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define CHECK(condition)                             \
	do {                                         \
		if (!(condition))                    \
			return __LINE__ % 100 + 100; \
	} while (0)

/* The open descriptors as bits; the one that lists them is left out. */
static uint64_t open_descriptors(void) {
	uint64_t descriptors = 0;
	DIR *directory = opendir("/proc/self/fd");
	for (struct dirent *entry; directory && (entry = readdir(directory));)
		if (atoi(entry->d_name) != dirfd(directory) && atoi(entry->d_name) < 64)
			descriptors |= UINT64_C(1) << atoi(entry->d_name);
	if (directory)
		closedir(directory);
	return descriptors;
}

/* ---- Generated code: called as code(function, argument) ------------------------------------------------ */

typedef void generated(capture_function *function, struct stack *stack);

static const uint8_t with_frame_pointer[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0xf8,
					     0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5d, 0xc3};
static const uint8_t without_frame_pointer[] = {0x48, 0x83, 0xec, 0x08, 0x48, 0x89, 0xf8, 0x48, 0x89,
						0xf7, 0xff, 0xd0, 0x48, 0x83, 0xc4, 0x08, 0xc3};
/* push %rbp; mov $VALUE, %rbp; mov %rdi, %rax; mov %rsi, %rdi; call *%rax; pop %rbp; ret */
static const uint8_t with_false_frame_pointer[] = {
	0x55, 0x48, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5d, 0xc3};
#define FALSE_FRAME_POINTER_OFFSET 3

/* Never unmapped: the fast path of the unwinder would take other code at the same address for this one. */
static uint8_t *generate(const uint8_t *code, size_t size_bytes) {
	uint8_t *page =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(page != MAP_FAILED);
	memcpy(page + 64, code, size_bytes);
	return page;
}

NOINLINE void call_generated(const uint8_t *page, capture_function *function, struct stack *stack) {
	((generated *)(uintptr_t)(page + 64))(function, stack);
	NO_TAIL_CALL();
}

static int is_in_page(uintptr_t pc, const uint8_t *page) {
	return pc >= (uintptr_t)page && pc < (uintptr_t)page + 4096;
}

/* ---- Order and identity ---------------------------------------------------------------------------------- */

static void test_frames_are_innermost_first(void **state) {
	struct stack stack;
	(void)state;
	outer(&stack);
	assert_nested_calls(&stack);
	assert_found(&stack, main);
	assert_false(stack.is_truncated);
}

static void test_a_caller_that_is_not_there_leaves_what_is_not_ours(void **state) {
	struct stack stack;
	(void)state;
	hook_unfound(&stack);
	/* Here all of the program is "ours". */
	Dl_info first, ours;
	assert_true(stack.count > 0);
	assert_true(dladdr((void *)stack.pc[0], &first) && dladdr((void *)(uintptr_t)hook, &ours));
	assert_string_not_equal(first.dli_fname, ours.dli_fname);
}

static void test_same_stack_same_hash(void **state) {
	struct stack stacks[3];
	(void)state;
	for (volatile int i = 0; i < 2; i++)
		outer(&stacks[i]);
	outer(&stacks[2]); /* another line */
	assert_int_equal(stacks[0].hash, stacks[1].hash);
	assert_int_not_equal(stacks[0].hash, 0);
	assert_int_equal(stacks[0].count, stacks[1].count);
	assert_int_not_equal(stacks[0].hash, stacks[2].hash);
	elsewhere(&stacks[1]);
	assert_int_not_equal(stacks[0].hash, stacks[1].hash);
}

static void test_deep_stacks_are_cut(void **state) {
	struct stack stack, shallow;
	(void)state;
	deep(&stack, 200);
	assert_int_equal(stack.count, STACK_FRAMES_MAX);
	assert_true(stack.is_truncated);
	assert_in(stack.pc[STACK_FRAMES_MAX - 1], deep);
	deep(&shallow, 3);
	assert_false(shallow.is_truncated);
}

static int cut_at_three(void) {
	struct stack stack;
	CHECK(stack_open(3) == STACK_AVAILABLE);
	outer(&stack);
	CHECK(stack.count == 3 && stack.is_truncated && is_in(stack.pc[2], (void *)(uintptr_t)outer));
	return 0;
}

static int capture_nothing_at_depth_0(void) {
	struct stack stack;
	CHECK(stack_open(0) == STACK_OFF);
	outer(&stack);
	CHECK(stack.count == 0 && !stack.is_truncated && stack.hash == 0);
	return 0;
}

static void test_depth_is_what_was_asked(void **state) {
	(void)state;
	assert_int_equal(status_of_child(cut_at_three), 0);
	assert_int_equal(status_of_child(capture_nothing_at_depth_0), 0);
}

static void test_errno_and_mask_are_untouched(void **state) {
	struct stack stack;
	sigset_t before, after;
	(void)state;
	sigemptyset(&before);
	sigemptyset(&after);
	sigprocmask(SIG_SETMASK, NULL, &before);
	errno = 4711;
	outer(&stack);
	uint8_t *page = generate(without_frame_pointer, sizeof without_frame_pointer);
	errno = 4711;
	call_generated(page, outer, &stack);
	assert_int_equal(errno, 4711);
	sigprocmask(SIG_SETMASK, NULL, &after);
	assert_memory_equal(&before, &after, sizeof(uint64_t)); /* what the kernel knows */
}

/* ---- Threads and stacks ------------------------------------------------------------------------------------ */

#define CAPTURES_PER_THREAD 2000

void *thread_start(void *argument) {
	struct stack *first = argument, again;
	outer(first);
	for (int i = 0; i < CAPTURES_PER_THREAD; i++) {
		outer(&again);
		if (again.count != first->count ||
		    memcmp(again.pc + 4, first->pc + 4, 8 * (again.count - 4)) != 0)
			first->count = 0;
	}
	return NULL;
}

static void run_thread(struct stack *stack, size_t stack_bytes) {
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, stack_bytes);
	assert_int_equal(pthread_create(&thread, &attributes, thread_start, stack), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attributes);
}

static void test_in_another_thread(void **state) {
	struct stack stack;
	(void)state;
	run_thread(&stack, 1 << 20);
	assert_nested_calls(&stack);
	assert_in(stack.pc[3], thread_start);
	assert_false(stack.is_truncated);
}

static void test_on_the_smallest_stack(void **state) {
	struct stack stack;
	(void)state;
	run_thread(&stack, (size_t)sysconf(_SC_THREAD_STACK_MIN));
	assert_nested_calls(&stack);
	assert_in(stack.pc[3], thread_start);
}

static void test_many_threads_at_once(void **state) {
	enum { THREADS = 16 };
	pthread_t threads[THREADS];
	static struct stack stacks[THREADS];
	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, thread_start, &stacks[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_nested_calls(&stacks[i]);
		assert_int_equal(stacks[i].hash, stacks[0].hash);
	}
}

void *capture_far_from_the_end(void *argument) {
	volatile char *large = alloca(600 << 10);
	large[0] = 1;
	for (int i = 0; i < 8; i++) /* learned in steps */
		outer(argument);
	return NULL;
}

static void test_across_a_large_frame(void **state) {
	struct stack stack;
	pthread_t thread;
	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, capture_far_from_the_end, &stack), 0);
	pthread_join(thread, NULL);
	assert_nested_calls(&stack);
	assert_in(stack.pc[3], capture_far_from_the_end);
	assert_true(stack.count >= 5);
}

static struct stack coroutine_stack;
static ucontext_t coroutine_caller;

void coroutine_start(void) {
	outer(&coroutine_stack);
	NO_TAIL_CALL();
}

#define COROUTINE_BYTES (64 << 10)

/* A stack between two holes, so that one step too far is a fault. */
static char *map_coroutine_stack(void) {
	char *area = mmap(NULL, COROUTINE_BYTES + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(mprotect(area + 4096, COROUTINE_BYTES, PROT_READ | PROT_WRITE), 0);
	return area + 4096;
}

static void unmap_coroutine_stack(char *stack) {
	munmap(stack - 4096, COROUTINE_BYTES + 8192);
}

static void run_on(char *stack, size_t stack_bytes, void (*start)(void)) {
	ucontext_t coroutine;
	getcontext(&coroutine);
	coroutine.uc_stack.ss_sp = stack;
	coroutine.uc_stack.ss_size = stack_bytes;
	coroutine.uc_link = &coroutine_caller;
	makecontext(&coroutine, start, 0);
	swapcontext(&coroutine_caller, &coroutine);
}

static void run_coroutine(void (*start)(void)) {
	char *stack = map_coroutine_stack();
	run_on(stack, COROUTINE_BYTES, start);
	unmap_coroutine_stack(stack);
}

static void test_on_a_coroutine_stack(void **state) {
	struct stack own;
	(void)state;
	for (int i = 0; i < 3; i++) {
		run_coroutine(coroutine_start);
		assert_nested_calls(&coroutine_stack);
		assert_in(coroutine_stack.pc[3], coroutine_start);
		outer(&own);
		assert_nested_calls(&own);
	}
}

static int is_on_own_stack;

static void enter_on_coroutine(void) {
	is_on_own_stack = stack_memory_enter((uintptr_t)__builtin_frame_address(0));
}

static void test_a_coroutine_stack_is_not_remembered(void **state) {
	uintptr_t word, here = (uintptr_t)__builtin_frame_address(0);
	(void)state;
	run_coroutine(enter_on_coroutine);
	assert_false(is_on_own_stack);
	stack_memory_leave();
	assert_true(stack_memory_enter(here));
	assert_true(stack_memory_holds(here, here));
	assert_true(stack_memory_read(here, &word));
}

/* ---- Signal handlers ------------------------------------------------------------------------------------------ */

static struct stack signal_stack;

void on_signal(int number) {
	(void)number;
	outer(&signal_stack);
	NO_TAIL_CALL();
}

NOINLINE void raise_signal(int flags) {
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	NO_TAIL_CALL();
}

static void test_in_a_signal_handler(void **state) {
	static char alternate[64 << 10];
	stack_t alternate_stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
	(void)state;
	raise_signal(0);
	assert_nested_calls(&signal_stack);
	assert_in(signal_stack.pc[3], on_signal);
	assert_found(&signal_stack, raise_signal);
	assert_int_equal(sigaltstack(&alternate_stack, NULL), 0);
	raise_signal(SA_ONSTACK);
	assert_nested_calls(&signal_stack);
	assert_in(signal_stack.pc[3], on_signal);
	assert_found(&signal_stack, raise_signal);
	alternate_stack.ss_flags = SS_DISABLE;
	sigaltstack(&alternate_stack, NULL);
}

static sigjmp_buf way_out;
static volatile sig_atomic_t signals_seen, may_jump, failures_in_handler;

static void interrupt(int number) {
	struct stack stack;
	(void)number;
	signals_seen++;
	outer(&stack);
	if (stack.count < 4 || !is_in(stack.pc[0], (void *)(uintptr_t)inner))
		failures_in_handler++;
	if (may_jump && signals_seen % 3 == 0)
		siglongjmp(way_out, 1);
}

static void signal_soon(void) {
	struct itimerval soon = {.it_value = {0, 1 + rand() % 100}};
	setitimer(ITIMER_REAL, &soon, NULL);
}

/* Signals fall into captures, and a third of them leaves by a long jump. */
static void capture_among_signals(int with_jumps) {
	struct sigaction action = {.sa_handler = interrupt};
	static struct stack stack;
	static volatile int failures;
	static volatile sig_atomic_t signals_ordered;
	failures = 0;
	signals_seen = 0;
	signals_ordered = 0;
	may_jump = with_jumps;
	sigaction(SIGALRM, &action, NULL);
	sigsetjmp(way_out, 1);
	while (signals_seen < 1000) {
		if (signals_seen == signals_ordered) {
			signals_ordered = signals_ordered + 1;
			signal_soon();
		}
		outer(&stack);
		if (stack.count < 4)
			failures = failures + 1;
	}
	assert_int_equal(failures, 0);
	assert_int_equal(failures_in_handler, 0);
	outer(&stack);
	assert_nested_calls(&stack);
}

static void test_captures_within_captures(void **state) {
	(void)state;
	capture_among_signals(0);
	capture_among_signals(1);
}

/* ---- Code without tables, and the program's descriptors -------------------------------------------------------- */

static void test_through_generated_code(void **state) {
	struct stack stack;
	uint64_t before = open_descriptors();
	uint8_t *framed = generate(with_frame_pointer, sizeof with_frame_pointer);
	uint8_t *frameless = generate(without_frame_pointer, sizeof without_frame_pointer);
	(void)state;
	for (int i = 0; i < 3; i++) {
		call_generated(framed, outer, &stack);
		assert_nested_calls(&stack);
		assert_true(is_in_page(stack.pc[3], framed));
		assert_found(&stack, call_generated);
		call_generated(frameless, outer, &stack);
		assert_nested_calls(&stack);
		assert_true(is_in_page(stack.pc[3], frameless));
	}
	assert_int_equal(open_descriptors(), before);
}

enum { SOCKET_PAIRS = 6 };

/* Every byte that goes in comes out of the other end, unchanged and alone. */
static int talk(int one, int other) {
	char heard[64];
	CHECK(write(one, "HELLO", 5) == 5 && write(other, "WORLD", 5) == 5);
	CHECK(recv(other, heard, sizeof heard, MSG_PEEK | MSG_DONTWAIT) == 5 &&
	      memcmp(heard, "HELLO", 5) == 0);
	return 0;
}

static int hear(int one, int other) {
	char heard[64];
	CHECK(read(other, heard, sizeof heard) == 5 && memcmp(heard, "HELLO", 5) == 0);
	CHECK(read(one, heard, sizeof heard) == 5 && memcmp(heard, "WORLD", 5) == 0);
	CHECK(recv(one, heard, sizeof heard, MSG_DONTWAIT) == -1 &&
	      recv(other, heard, sizeof heard, MSG_DONTWAIT) == -1);
	return 0;
}

static int capture_among_reused_descriptors(int is_opened_before) {
	struct stack stack;
	int pair[SOCKET_PAIRS][2];
	uint8_t *page = generate(without_frame_pointer, sizeof without_frame_pointer);
	uint8_t *framed = generate(with_frame_pointer, sizeof with_frame_pointer);
	if (is_opened_before) {
		CHECK(stack_open(STACK_FRAMES_MAX) == STACK_AVAILABLE);
		call_generated(page, outer, &stack);
		CHECK(stack.count > 3);
	}
	for (int i = 0; i < 1024; i++)
		close(i);
	for (int i = 0; i < SOCKET_PAIRS; i++)
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]) == 0 && talk(pair[i][0], pair[i][1]) == 0);
	uint64_t before = open_descriptors();
	if (!is_opened_before)
		CHECK(stack_open(STACK_FRAMES_MAX) == STACK_AVAILABLE);
	for (int i = 0; i < 100; i++) {
		call_generated(page, outer, &stack);
		CHECK(stack.count > 3 && is_in(stack.pc[0], (void *)(uintptr_t)inner));
		call_generated(framed, outer, &stack);
		CHECK(stack.count > 3 && is_in(stack.pc[0], (void *)(uintptr_t)inner));
	}
	CHECK(open_descriptors() == before);
	for (int i = 0; i < SOCKET_PAIRS; i++)
		CHECK(hear(pair[i][0], pair[i][1]) == 0);
	return 0;
}

static int capture_after_reuse(void) {
	return capture_among_reused_descriptors(0);
}

static int capture_before_and_after_reuse(void) {
	return capture_among_reused_descriptors(1);
}

static void test_reused_descriptors_lose_no_byte(void **state) {
	(void)state;
	assert_int_equal(status_of_child(capture_after_reuse), 0);
	assert_int_equal(status_of_child(capture_before_and_after_reuse), 0);
}

static int capture_without_free_descriptors(int is_opened_before) {
	struct stack stack;
	struct rlimit none = {3, 3};
	uint8_t *page = generate(without_frame_pointer, sizeof without_frame_pointer);
	if (is_opened_before)
		CHECK(stack_open(STACK_FRAMES_MAX) == STACK_AVAILABLE);
	for (int i = 3; i < 1024; i++)
		close(i);
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	if (!is_opened_before)
		CHECK(stack_open(STACK_FRAMES_MAX) == STACK_NO_LIBUNWIND);
	call_generated(page, outer, &stack);
	CHECK(is_opened_before ? stack.count > 3 : stack.count == 0);
	return 0;
}

static int capture_after_limit(void) {
	return capture_without_free_descriptors(0);
}

static int capture_before_limit(void) {
	return capture_without_free_descriptors(1);
}

static void test_without_free_descriptors(void **state) {
	(void)state;
	assert_int_equal(status_of_child(capture_after_limit), 0);
	assert_int_equal(status_of_child(capture_before_limit), 0);
}

/* The program uses libunwind itself, and has let it open its pipe. */
static int capture_beside_the_programs_libunwind(void) {
	struct stack stack;
	void *addresses[16];
	void *handle = dlopen("libunwind.so.8", RTLD_NOW | RTLD_GLOBAL);
	CHECK(handle != NULL);
	int (*backtrace_of_program)(void **, int) = (int (*)(void **, int))dlsym(handle, "unw_backtrace");
	int count = backtrace_of_program(addresses, 16);
	CHECK(count > 2);
	uint64_t before = open_descriptors();
	CHECK(stack_open(STACK_FRAMES_MAX) == STACK_AVAILABLE);
	outer(&stack);
	CHECK(stack.count > 3 && is_in(stack.pc[0], (void *)(uintptr_t)inner));
	CHECK(backtrace_of_program(addresses, 16) == count);
	CHECK(open_descriptors() == before);
	return 0;
}

static void test_beside_the_programs_libunwind(void **state) {
	(void)state;
	assert_int_equal(status_of_child(capture_beside_the_programs_libunwind), 0);
}

static int capture_in_child(void) {
	struct stack stack;
	outer(&stack);
	CHECK(stack.count > 3 && is_in(stack.pc[0], (void *)(uintptr_t)inner));
	return 0;
}

static void test_in_a_forked_child(void **state) {
	(void)state;
	assert_int_equal(status_of_child(capture_in_child), 0);
}

static pthread_barrier_t loader_is_locked;
static atomic_bool may_unlock_loader;

static int wait_with_lock(struct dl_phdr_info *info, size_t size, void *argument) {
	(void)info;
	(void)size;
	(void)argument;
	pthread_barrier_wait(&loader_is_locked);
	while (!may_unlock_loader)
		usleep(1000);
	return 1;
}

static void *lock_loader(void *argument) {
	dl_iterate_phdr(wait_with_lock, NULL);
	return argument;
}

/* Not captured before, so that tables have to be searched. */
NOINLINE void never_seen(struct stack *stack) {
	outer(stack);
	NO_TAIL_CALL();
}

static int capture_unseen_code(void) {
	struct stack stack;
	never_seen(&stack);
	CHECK(stack.count > 4 && is_in(stack.pc[3], (void *)(uintptr_t)never_seen));
	return 0;
}

/* Another thread was inside the loader when the child was forked: its lock stays locked there. */
static void test_in_a_child_forked_at_a_bad_moment(void **state) {
	pthread_t thread;
	(void)state;
	may_unlock_loader = false;
	pthread_barrier_init(&loader_is_locked, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, lock_loader, NULL), 0);
	pthread_barrier_wait(&loader_is_locked);
	int status = status_of_child(capture_unseen_code);
	may_unlock_loader = true;
	pthread_join(thread, NULL);
	assert_int_equal(status, 0);
}

/* ---- Broken stacks ------------------------------------------------------------------------------------------------ */

static char *hole_after_page; /* a readable page and one that is not */

static uintptr_t false_pointer(size_t number) {
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t page = (uintptr_t)hole_after_page;
	uintptr_t pointers[] = {0,
				1,
				8,
				4096,
				UINTPTR_MAX,
				UINTPTR_MAX - 7,
				page + 4096,
				page + 4088,
				page + 4092,
				page + 4081,
				page,
				UINT64_C(1) << 62,
				here,
				here + 3,
				here + 0x3ff8,
				here | 0xfff,
				here - 64,
				UINT64_C(0xffff800000000000)};
	return number < sizeof pointers / sizeof *pointers ? pointers[number] : 0;
}

#define FALSE_POINTERS 18u

static void make_hole(void) {
	hole_after_page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(hole_after_page + 4096, 4096, PROT_NONE);
	memset(hole_after_page, 0xa5, 4096);
}

static int capture_with_false_frame_pointers(void) {
	struct stack stack;
	uint8_t *page = generate(with_false_frame_pointer, sizeof with_false_frame_pointer);
	make_hole();
	for (size_t i = 0; i < FALSE_POINTERS * 3; i++) {
		uintptr_t pointer = false_pointer(i % FALSE_POINTERS);
		memcpy(page + 64 + FALSE_FRAME_POINTER_OFFSET, &pointer, sizeof pointer);
		call_generated(page, outer, &stack);
		CHECK(stack.count >= 3 && is_in(stack.pc[0], (void *)(uintptr_t)inner));
		CHECK(is_in(stack.pc[2], (void *)(uintptr_t)outer));
	}
	return 0;
}

static void test_false_frame_pointers_in_generated_code(void **state) {
	(void)state;
	assert_int_equal(status_of_child(capture_with_false_frame_pointers), 0);
}

static volatile size_t frame_bytes = 100;

/* alloca makes %rbp the base of the frame of this function, and of its caller. */
NOINLINE static void capture_with_saved_pointer(struct stack *stack, const uintptr_t *replacement) {
	volatile char *some = alloca(frame_bytes);
	uintptr_t volatile *frame = __builtin_frame_address(0);
	uintptr_t saved = frame[0];
	some[0] = 1;
	if (replacement)
		frame[0] = *replacement;
	outer(stack);
	frame[0] = saved;
}

NOINLINE static void call_with_saved_pointer(struct stack *stack, const uintptr_t *replacement) {
	volatile char *some = alloca(frame_bytes);
	some[0] = 1;
	capture_with_saved_pointer(stack, replacement);
	some[1] = 1;
}

/* The stack is broken after the unwinder has learned these frames. */
static int capture_with_overwritten_frames(void) {
	struct stack stack;
	uint32_t count;
	make_hole();
	for (int i = 0; i < 2; i++)
		call_with_saved_pointer(&stack, NULL);
	count = stack.count;
	for (size_t i = 0; i < FALSE_POINTERS; i++) {
		uintptr_t pointer = false_pointer(i);
		call_with_saved_pointer(&stack, &pointer);
		CHECK(stack.count >= 3 && is_in(stack.pc[0], (void *)(uintptr_t)inner));
	}
	call_with_saved_pointer(&stack, NULL);
	CHECK(stack.count == count);
	return 0;
}

static void test_overwritten_frames(void **state) {
	(void)state;
	assert_int_equal(status_of_child(capture_with_overwritten_frames), 0);
}

/* Generated code that began a coroutine whose stack ends at a hole. */
static uint8_t *coroutine_code;

static void start_in_generated_code(void) {
	call_generated(coroutine_code, outer, &coroutine_stack);
}

/* So deep that its stack pointer lies where the smaller stack will be. */
static void capture_far_down(void) {
	volatile char *large = alloca(COROUTINE_BYTES / 2);
	large[0] = 1;
	outer(&coroutine_stack);
	NO_TAIL_CALL();
}

static void test_unreadable_memory_above_the_stack(void **state) {
	(void)state;
	coroutine_code = generate(without_frame_pointer, sizeof without_frame_pointer);
	for (int i = 0; i < 3; i++) {
		run_coroutine(start_in_generated_code);
		assert_nested_calls(&coroutine_stack);
	}
}

/* The upper half of a coroutine's stack is gone when the next one runs on the lower half. */
static void test_a_smaller_coroutine_stack_at_the_same_place(void **state) {
	char *stack = map_coroutine_stack();
	uintptr_t in_the_hole = (uintptr_t)stack + COROUTINE_BYTES / 2 + 64;
	(void)state;
	coroutine_code = generate(with_false_frame_pointer, sizeof with_false_frame_pointer);
	memcpy(coroutine_code + 64 + FALSE_FRAME_POINTER_OFFSET, &in_the_hole, sizeof in_the_hole);
	run_on(stack, COROUTINE_BYTES, capture_far_down);
	assert_nested_calls(&coroutine_stack);
	mprotect(stack + COROUTINE_BYTES / 2, COROUTINE_BYTES / 2, PROT_NONE);
	run_on(stack, COROUTINE_BYTES / 2, start_in_generated_code);
	assert_nested_calls(&coroutine_stack);
	unmap_coroutine_stack(stack);
}

static void test_what_is_readable(void **state) {
	uintptr_t word = 0;
	(void)state;
	make_hole();
	uintptr_t page = (uintptr_t)hole_after_page;
	assert_true(stack_memory_is_known());
	assert_true(stack_memory_enter((uintptr_t)__builtin_frame_address(0)));
	assert_true(stack_memory_read(page, &word));
	assert_true(word == UINT64_C(0xa5a5a5a5a5a5a5a5));
	assert_true(stack_memory_read(page + 4088, &word));
	assert_false(stack_memory_read(page + 4089, &word)); /* reaches into the hole */
	assert_false(stack_memory_read(page + 4096, &word));
	assert_false(stack_memory_read(0, &word));
	assert_false(stack_memory_read(UINTPTR_MAX, &word));
	assert_false(stack_memory_read(UINTPTR_MAX - 3, &word)); /* wraps around */
	assert_false(stack_memory_read(UINTPTR_MAX - 7, &word));
	munmap(hole_after_page, 8192);
}

/* ---- Figures, for people --------------------------------------------------------------------------------------------- */

static double now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

NOINLINE static void time_at_depth(int levels, struct stack *stack) {
	if (levels > 1) {
		time_at_depth(levels - 1, stack);
		NO_TAIL_CALL();
		return;
	}
	double best = 1e9;
	for (int round = 0; round < 50; round++) {
		double begin = now_ns();
		for (int i = 0; i < 1000; i++)
			hook(stack);
		double each = (now_ns() - begin) / 1000;
		best = each < best ? each : best;
	}
	print_message("%u frames: %.0f ns\n", stack->count, best);
}

static void test_figures(void **state) {
	struct stack stack;
	(void)state;
	if (!getenv("PQLEASE_FIGURES"))
		return;
	time_at_depth(1, &stack);
	time_at_depth(20, &stack);
}

int main(int argc, char **argv) {
	(void)argc;
	stack_init(argv);
	const struct CMUnitTest tests[] = {
		/* These open libunwind in children of a process that has not. */
		cmocka_unit_test(test_reused_descriptors_lose_no_byte),
		cmocka_unit_test(test_without_free_descriptors),
		cmocka_unit_test(test_beside_the_programs_libunwind),
		cmocka_unit_test(test_depth_is_what_was_asked),
		cmocka_unit_test(test_what_is_readable),
		cmocka_unit_test_setup(test_frames_are_innermost_first, open_stacks),
		cmocka_unit_test_setup(test_a_caller_that_is_not_there_leaves_what_is_not_ours, open_stacks),
		cmocka_unit_test_setup(test_same_stack_same_hash, open_stacks),
		cmocka_unit_test_setup(test_deep_stacks_are_cut, open_stacks),
		cmocka_unit_test_setup(test_errno_and_mask_are_untouched, open_stacks),
		cmocka_unit_test_setup(test_in_another_thread, open_stacks),
		cmocka_unit_test_setup(test_on_the_smallest_stack, open_stacks),
		cmocka_unit_test_setup(test_many_threads_at_once, open_stacks),
		cmocka_unit_test_setup(test_across_a_large_frame, open_stacks),
		cmocka_unit_test_setup(test_on_a_coroutine_stack, open_stacks),
		cmocka_unit_test_setup(test_a_coroutine_stack_is_not_remembered, open_stacks),
		cmocka_unit_test_setup(test_in_a_signal_handler, open_stacks),
		cmocka_unit_test_setup(test_captures_within_captures, open_stacks),
		cmocka_unit_test_setup(test_through_generated_code, open_stacks),
		cmocka_unit_test_setup(test_in_a_forked_child, open_stacks),
		cmocka_unit_test_setup(test_in_a_child_forked_at_a_bad_moment, open_stacks),
		cmocka_unit_test_setup(test_false_frame_pointers_in_generated_code, open_stacks),
		cmocka_unit_test_setup(test_overwritten_frames, open_stacks),
		cmocka_unit_test_setup(test_unreadable_memory_above_the_stack, open_stacks),
		cmocka_unit_test_setup(test_a_smaller_coroutine_stack_at_the_same_place, open_stacks),
		cmocka_unit_test_setup(test_figures, open_stacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
