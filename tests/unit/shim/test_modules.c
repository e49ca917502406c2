#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/ledger_writer.h"
#include "shim/modules.h"

/* ---- In place of the ledger: what was interned last ---------------------------------------------------- */

static struct {
	char path[PATH_MAX];
	uint8_t build_id[20];
	size_t build_id_length;
	uint64_t text_start;
	uint64_t text_end;
	uint64_t file_bytes;
} interned;

static atomic_uint intern_count;
static bool is_table_full;

/* The same path and build-id give the same number, as in a ledger. */
uint32_t ledger_intern_module(struct ledger_header *ledger, const struct ledger_module_facts *facts) {
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	uint32_t hash = 1;
	(void)ledger;
	pthread_mutex_lock(&lock);
	intern_count++;
	memset(&interned, 0, sizeof interned);
	strncpy(interned.path, facts->path, sizeof interned.path - 1);
	if (facts->build_id_length > 0)
		memcpy(interned.build_id, facts->build_id, facts->build_id_length);
	interned.build_id_length = facts->build_id_length;
	interned.text_start = facts->text_start;
	interned.text_end = facts->text_end;
	interned.file_bytes = facts->file_bytes;
	for (size_t i = 0; i < sizeof interned.build_id; i++)
		hash = hash * 31 + interned.build_id[i];
	for (const char *at = interned.path; *at; at++)
		hash = hash * 31 + (uint8_t)*at;
	pthread_mutex_unlock(&lock);
	return is_table_full ? 0 : hash | 1;
}

uint32_t ledger_intern_site(struct ledger_header *ledger, const struct ledger_frame *frames, uint32_t count,
			    uint16_t flags) {
	(void)ledger;
	(void)frames;
	(void)count;
	(void)flags;
	return LEDGER_SITE_NONE;
}

/* ---- Libraries made on the spot ---------------------------------------------------------------------------- */

static char folder[] = "/tmp/pqlease-modules-XXXXXX";

static void run(const char *format, ...) {
	char command[4096];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	assert_int_equal(system(command), 0);
}

static int make_libraries(void **state) {
	(void)state;
	assert_non_null(mkdtemp(folder));
	run("echo 'int answer(void) { return 42; }' > %s/one.c", folder);
	run("cd %s && cc -shared -fPIC -Wl,--build-id=0x0102030405060708090a0b0c0d0e0f1011121314 -o one.so "
	    "one.c",
	    folder);
	run("cd %s && cc -shared -fPIC -Wl,--build-id=0xa1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4 -o two.so "
	    "one.c",
	    folder);
	run("cd %s && cc -shared -fPIC -Wl,--build-id=none -o none.so one.c", folder);
	run("cd %s && cc -shared -fPIC -Wl,--build-id=0x0102 -o short.so one.c", folder);
	return 0;
}

static int remove_libraries(void **state) {
	(void)state;
	run("rm -r %s", folder);
	return 0;
}

static void *open_library(const char *name) {
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(handle);
	return handle;
}

/* A return address inside the library's only function. */
static uintptr_t answer_of(void *handle) {
	return (uintptr_t)dlsym(handle, "answer") + 4;
}

static uintptr_t bias_of(void *handle) {
	struct link_map *map;
	assert_int_equal(dlinfo(handle, RTLD_DI_LINKMAP, &map), 0);
	return map->l_addr;
}

static void assert_build_id_as_readelf_says(const char *path) {
	char command[PATH_MAX + 64], line[256] = "", ours[64] = "";
	snprintf(command, sizeof command, "readelf -n '%s' | sed -n 's/.*Build ID: //p'", path);
	FILE *output = popen(command, "r");
	if (!fgets(line, sizeof line, output))
		*line = '\0';
	pclose(output);
	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < interned.build_id_length; i++)
		snprintf(ours + 2 * i, 3, "%02x", interned.build_id[i]);
	assert_string_equal(ours, line);
}

static struct module_place locate(uintptr_t pc) {
	return modules_locate(NULL, pc);
}

static int forget(void **state) {
	(void)state;
	modules_forget();
	intern_count = 0;
	is_table_full = false;
	return 0;
}

/* ---- Tests ---------------------------------------------------------------------------------------------------- */

static void test_main_program(void **state) {
	char path[PATH_MAX];
	(void)state;
	struct module_place place = locate((uintptr_t)test_main_program + 4);
	assert_non_null(realpath("/proc/self/exe", path));
	assert_string_equal(interned.path, path);
	assert_build_id_as_readelf_says(path);
	assert_int_not_equal(place.module, 0);
	assert_in_range(place.address, interned.text_start, interned.text_end - 1);
	assert_int_equal(interned.file_bytes, 0);
}

static void test_library(void **state) {
	char path[PATH_MAX];
	void *handle = open_library("one.so");
	(void)state;
	struct module_place place = locate(answer_of(handle));
	snprintf(path, sizeof path, "%s/one.so", folder);
	assert_string_equal(interned.path, path);
	assert_int_equal(interned.build_id_length, 20);
	assert_build_id_as_readelf_says(path);
	assert_int_equal(place.address, answer_of(handle) - bias_of(handle));
	assert_in_range(place.address, interned.text_start, interned.text_end - 1);
	dlclose(handle);
}

static void test_libc_build_id(void **state) {
	Dl_info info;
	(void)state;
	assert_true(dladdr((void *)(uintptr_t)abort, &info));
	locate((uintptr_t)abort + 4);
	assert_string_equal(interned.path, info.dli_fname);
	assert_build_id_as_readelf_says(info.dli_fname);
}

static void test_executable_range_is_that_of_the_file(void **state) {
	char command[PATH_MAX + 128];
	unsigned long start = 0, size_bytes = 0;
	void *handle = open_library("one.so");
	(void)state;
	locate(answer_of(handle));
	snprintf(command, sizeof command,
		 "readelf -lW %s/one.so | awk '$1==\"LOAD\" && $8==\"E\" {print $3, $6}'", folder);
	FILE *output = popen(command, "r");
	assert_int_equal(fscanf(output, "%lx %lx", &start, &size_bytes), 2);
	pclose(output);
	assert_int_equal(interned.text_start, start);
	assert_int_equal(interned.text_end, start + size_bytes);
	dlclose(handle);
}

static void test_size_stands_in_for_a_missing_build_id(void **state) {
	char path[PATH_MAX];
	struct stat file;
	void *handle = open_library("none.so");
	(void)state;
	locate(answer_of(handle));
	snprintf(path, sizeof path, "%s/none.so", folder);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(interned.build_id_length, 0);
	assert_int_equal(interned.file_bytes, file.st_size);
	dlclose(handle);
}

static void test_short_build_id(void **state) {
	void *handle = open_library("short.so");
	(void)state;
	locate(answer_of(handle));
	assert_int_equal(interned.build_id_length, 2);
	assert_int_equal(interned.build_id[1], 2);
	dlclose(handle);
}

static void test_relative_name_becomes_absolute(void **state) {
	char before[PATH_MAX], expected[PATH_MAX];
	(void)state;
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(chdir(folder), 0);
	assert_non_null(getcwd(expected, sizeof expected - 8));
	strcat(expected, "/two.so");
	void *handle = dlopen("./two.so", RTLD_NOW);
	assert_non_null(handle);
	locate(answer_of(handle));
	assert_string_equal(interned.path, expected);
	assert_int_equal(chdir(before), 0);
	dlclose(handle);
}

static void test_vdso(void **state) {
	uintptr_t start = getauxval(AT_SYSINFO_EHDR);
	(void)state;
	if (start == 0 || locate(start + 1024).module == 0)
		skip();
	assert_string_equal(interned.path, "[vdso]");
}

static void test_no_module(void **state) {
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t nowhere[] = {0, 1, UINTPTR_MAX, (uintptr_t)page + 16, (uintptr_t)&page};
	(void)state;
	for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
		struct module_place place = locate(nowhere[i]);
		assert_int_equal(place.module, 0);
		assert_int_equal(place.address, nowhere[i]);
	}
	assert_int_equal(intern_count, 0);
	munmap(page, 4096);
}

static void test_the_last_instruction_of_a_module_may_be_a_call(void **state) {
	struct dl_find_object object;
	(void)state;
	assert_int_equal(_dl_find_object((void *)(uintptr_t)locate, &object), 0);
	assert_int_not_equal(locate((uintptr_t)object.dlfo_map_end).module, 0);
}

static void test_interned_once(void **state) {
	(void)state;
	uint32_t first = locate((uintptr_t)abort + 4).module;
	errno = 4711;
	assert_int_equal(locate((uintptr_t)getenv + 4).module, first);
	assert_int_equal(intern_count, 1);
	modules_forget();
	assert_int_equal(locate((uintptr_t)getenv + 4).module, first);
	assert_int_equal(intern_count, 2);
	assert_int_equal(errno, 4711);
}

static void test_full_table_is_asked_again(void **state) {
	(void)state;
	is_table_full = true;
	struct module_place place = locate((uintptr_t)abort + 4);
	assert_int_equal(place.module, 0);
	assert_int_equal(place.address, (uintptr_t)abort + 4);
	is_table_full = false;
	assert_int_not_equal(locate((uintptr_t)abort + 4).module, 0);
}

static void test_another_library_at_the_same_place(void **state) {
	char path[PATH_MAX];
	void *handle = open_library("one.so");
	uintptr_t first_pc = answer_of(handle);
	uint32_t first = locate(first_pc).module;
	(void)state;
	modules_forget();
	dlclose(handle);
	handle = open_library("two.so");
	assert_int_equal(answer_of(handle), first_pc); /* the hole fits */
	assert_int_not_equal(locate(first_pc).module, first);
	snprintf(path, sizeof path, "%s/two.so", folder);
	assert_string_equal(interned.path, path);
	assert_build_id_as_readelf_says(path);
	dlclose(handle);
}

static atomic_bool is_over;

static void *locate_all_the_time(void *argument) {
	uintptr_t expected = (uintptr_t)argument;
	while (!is_over)
		if (locate((uintptr_t)abort + 4).module != expected)
			return (void *)1;
	return NULL;
}

static void test_beside_dlopen_and_dlclose(void **state) {
	pthread_t threads[4];
	uint32_t libc = locate((uintptr_t)abort + 4).module;
	(void)state;
	is_over = false;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, locate_all_the_time, (void *)(uintptr_t)libc);
	for (int i = 0; i < 200; i++) {
		void *handle = open_library(i % 2 ? "one.so" : "two.so");
		locate(answer_of(handle));
		modules_forget();
		dlclose(handle);
	}
	is_over = true;
	for (int i = 0; i < 4; i++) {
		void *has_failed;
		pthread_join(threads[i], &has_failed);
		assert_null(has_failed);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_main_program, forget),
		cmocka_unit_test_setup(test_library, forget),
		cmocka_unit_test_setup(test_libc_build_id, forget),
		cmocka_unit_test_setup(test_executable_range_is_that_of_the_file, forget),
		cmocka_unit_test_setup(test_size_stands_in_for_a_missing_build_id, forget),
		cmocka_unit_test_setup(test_short_build_id, forget),
		cmocka_unit_test_setup(test_relative_name_becomes_absolute, forget),
		cmocka_unit_test_setup(test_vdso, forget),
		cmocka_unit_test_setup(test_no_module, forget),
		cmocka_unit_test_setup(test_the_last_instruction_of_a_module_may_be_a_call, forget),
		cmocka_unit_test_setup(test_interned_once, forget),
		cmocka_unit_test_setup(test_full_table_is_asked_again, forget),
		cmocka_unit_test_setup(test_another_library_at_the_same_place, forget),
		cmocka_unit_test_setup(test_beside_dlopen_and_dlclose, forget),
	};
	return cmocka_run_group_tests(tests, make_libraries, remove_libraries);
}
