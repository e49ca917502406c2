/* Looking into objects before they are loaded: real ones, broken ones, and what is no file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/elf_needed.h"
#include "tests/unit/support/shim_support.h"

static unsigned char *own;
static size_t own_bytes;

static int set_up(void **state) {
	(void)state;
	shim_support_open();
	FILE *file = fopen("/proc/self/exe", "rb");
	assert_non_null(file);
	own = malloc(16u << 20);
	assert_non_null(own);
	own_bytes = fread(own, 1, 16u << 20, file);
	fclose(file);
	return own_bytes == 0;
}

static int tear_down(void **state) {
	(void)state;
	free(own);
	shim_support_close();
	return 0;
}

static const char *copy_of(const unsigned char *bytes, size_t length_bytes) {
	const char *path = shim_support_path("object");
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(length_bytes, fwrite(bytes, 1, length_bytes, file));
	assert_int_equal(0, fclose(file));
	return path;
}

static void test_what_this_program_needs(void **state) {
	(void)state;
	const char *path = copy_of(own, own_bytes);
	assert_true(elf_needs(path, "libcmocka.so"));
	assert_true(elf_needs(path, "libc."));
	assert_false(elf_needs(path, "libpq."));
	assert_false(elf_needs(path, "cmocka")); /* names begin with it */
}

static void test_what_is_no_object(void **state) {
	(void)state;
	const char *fifo = shim_support_path("fifo");
	assert_int_equal(0, mkfifo(fifo, 0600));
	const char *const paths[] = {"libc.so.6",
				     "",
				     "/",
				     "/nowhere/libpq.so.5",
				     "/dev/null",
				     fifo,
				     copy_of((const unsigned char *)"#!/bin/sh\n", 10)};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		assert_false(elf_needs(paths[i], "lib"));
}

/* Wherever it was cut, nothing is read that is not there. */
static void test_truncated_objects(void **state) {
	(void)state;
	for (size_t length_bytes = 0; length_bytes < own_bytes; length_bytes += 1 + length_bytes / 8)
		elf_needs(copy_of(own, length_bytes), "libcmocka.so");
	assert_false(elf_needs(copy_of(own, sizeof(Elf64_Ehdr) - 1), "libcmocka.so"));
	assert_false(elf_needs(copy_of(own, sizeof(Elf64_Ehdr)), "libcmocka.so"));
}

static void test_headers_of_other_kinds(void **state) {
	static const struct {
		size_t offset;
		unsigned char value;
	} changes[] = {{EI_MAG0, 'e'},
		       {EI_CLASS, ELFCLASS32},
		       {offsetof(Elf64_Ehdr, e_phentsize), 32},
		       {offsetof(Elf64_Ehdr, e_phnum), 200},
		       {offsetof(Elf64_Ehdr, e_phoff) + 7, 0x7f}};
	(void)state;
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		unsigned char before = own[changes[i].offset];
		own[changes[i].offset] = changes[i].value;
		assert_false(elf_needs(copy_of(own, own_bytes), "libcmocka.so"));
		own[changes[i].offset] = before;
	}
	assert_true(elf_needs(copy_of(own, own_bytes), "libcmocka.so"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_what_this_program_needs),
		TEST(test_what_is_no_object),
		TEST(test_truncated_objects),
		TEST(test_headers_of_other_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
