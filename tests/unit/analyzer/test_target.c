/* What run knows about COMMAND before it starts, on files made for the purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/program/target.h"

static char directory[64];
static char path_text[256];
static struct target target;

static const char *in_directory(const char *name) {
	snprintf(path_text, sizeof path_text, "%s/%s", directory, name);
	return path_text;
}

static void write_file(const char *name, const void *bytes, size_t size_bytes, mode_t mode) {
	FILE *file = fopen(in_directory(name), "w");
	assert_non_null(file);
	assert_int_equal(size_bytes, fwrite(bytes, 1, size_bytes, file));
	assert_int_equal(0, fclose(file));
	assert_int_equal(0, chmod(in_directory(name), mode));
}

static void write_text(const char *name, const char *text, mode_t mode) {
	write_file(name, text, strlen(text), mode);
}

struct small_program {
	ElfW(Ehdr) header;
	ElfW(Phdr) segment;
	char interpreter[64];
};

/* A program of our own machine that asks for `interpreter`; NULL: static. */
static void write_program(const char *name, const char *interpreter, mode_t mode) {
	struct small_program program = {0};
	FILE *own = fopen("/proc/self/exe", "r");
	assert_non_null(own);
	assert_int_equal(1, fread(&program.header, sizeof program.header, 1, own));
	fclose(own);
	program.header.e_phoff = offsetof(struct small_program, segment);
	program.header.e_phnum = 1;
	program.segment.p_type = interpreter ? PT_INTERP : PT_NOTE;
	program.segment.p_offset = offsetof(struct small_program, interpreter);
	program.segment.p_filesz = interpreter ? strlen(interpreter) + 1 : 0;
	strcpy(program.interpreter, interpreter ? interpreter : "");
	write_file(name, &program, sizeof program, mode);
}

static int make_directory(void **state) {
	(void)state;
	strcpy(directory, "/tmp/pqlease-target-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state) {
	char command[128];
	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	return system(command);
}

static void assert_obstacle(enum target_obstacle expected, const char *name) {
	assert_int_equal(0, target_find(&target, in_directory(name), NULL));
	assert_int_equal(expected, target.obstacle);
}

static void a_name_is_looked_up_in_path_order(void **state) {
	char search_path[128];
	(void)state;
	write_text("twice", "not executable", 0644);
	snprintf(search_path, sizeof search_path, "/nonexistent:%s:/bin", directory);
	assert_int_equal(EACCES, target_find(&target, "twice", search_path));
	assert_int_equal(ENOENT, target_find(&target, "no-such-command", search_path));
	assert_int_equal(0, target_find(&target, "sh", search_path));
	assert_string_equal("/bin/sh", target.path);
}

static void an_empty_element_of_path_is_the_current_directory(void **state) {
	(void)state;
	write_program("here", "/lib64/ld-linux-x86-64.so.2", 0755);
	assert_int_equal(0, chdir(directory));
	assert_int_equal(0, target_find(&target, "here", "/nonexistent:"));
	assert_string_equal("./here", target.path);
	assert_int_equal(0, chdir("/"));
}

static void what_cannot_be_executed_is_refused(void **state) {
	(void)state;
	write_text("plain", "text", 0644);
	assert_int_equal(EACCES, target_find(&target, in_directory("plain"), NULL));
	assert_int_equal(EACCES, target_find(&target, directory, NULL));
	assert_int_equal(ENOENT, target_find(&target, in_directory("absent"), NULL));
	assert_int_equal(ENOENT, target_find(&target, "", "/bin"));
}

static void the_program_interpreter_decides(void **state) {
	(void)state;
	write_program("ordinary", "/lib64/ld-linux-x86-64.so.2", 0755);
	write_program("static", NULL, 0755);
	write_program("musl", "/lib/ld-musl-x86_64.so.1", 0755);
	assert_obstacle(TARGET_PRELOADABLE, "ordinary");
	assert_true(target_tolerates_preload(&target));
	assert_obstacle(TARGET_STATIC, "static");
	assert_true(target_tolerates_preload(&target));
	assert_obstacle(TARGET_MUSL, "musl");
	assert_false(target_tolerates_preload(&target));
}

static void another_machine_gets_no_preload(void **state) {
	ElfW(Ehdr) header;
	FILE *own = fopen("/proc/self/exe", "r");
	(void)state;
	assert_non_null(own);
	assert_int_equal(1, fread(&header, sizeof header, 1, own));
	fclose(own);
	header.e_ident[EI_CLASS] ^= ELFCLASS32 ^ ELFCLASS64;
	write_file("other", &header, sizeof header, 0755);
	assert_obstacle(TARGET_OTHER_MACHINE, "other");
	assert_false(target_tolerates_preload(&target));
}

static void a_damaged_program_is_no_crash(void **state) {
	struct small_program program = {0};
	FILE *own = fopen("/proc/self/exe", "r");
	(void)state;
	assert_non_null(own);
	assert_int_equal(1, fread(&program.header, sizeof program.header, 1, own));
	fclose(own);
	program.header.e_phoff = UINT64_MAX / 2;
	program.header.e_phnum = UINT16_MAX;
	write_file("damaged", &program, sizeof program, 0755);
	assert_obstacle(TARGET_STATIC, "damaged");
	write_file("short", &program, 9, 0755);
	assert_int_equal(0, target_find(&target, in_directory("short"), NULL));
}

static void setuid_to_somebody_else_is_seen(void **state) {
	(void)state;
	write_program("setuid", "/lib64/ld-linux-x86-64.so.2", 0755);
	assert_int_equal(0, chown(in_directory("setuid"), getuid(), getgid()));
	assert_int_equal(0, chmod(in_directory("setuid"), 04755));
	assert_obstacle(TARGET_PRELOADABLE, "setuid");
	if (getuid() != 0)
		return;
	assert_int_equal(0, chown(in_directory("setuid"), 65534, 65534));
	assert_int_equal(0, chmod(in_directory("setuid"), 04755));
	assert_obstacle(TARGET_SET_ID, "setuid");
	assert_int_equal(0, chmod(in_directory("setuid"), 02755));
	assert_obstacle(TARGET_SET_ID, "setuid");
}

static void scripts_are_followed_to_their_program(void **state) {
	char line[512];
	(void)state;
	write_program("static", NULL, 0755);
	snprintf(line, sizeof line, "#! %s -x\n", in_directory("static"));
	write_text("first", line, 0755);
	snprintf(line, sizeof line, "#!%s\necho\n", in_directory("first"));
	write_text("second", line, 0755);
	assert_obstacle(TARGET_STATIC, "second");
	assert_string_equal(in_directory("second"), target.path);
	assert_string_equal(in_directory("static"), target.image);
}

static void env_is_followed_by_path(void **state) {
	(void)state;
	write_program("static", NULL, 0755);
	write_text("script", "#!/usr/bin/env static\n", 0755);
	assert_int_equal(0, target_find(&target, in_directory("script"), directory));
	assert_int_equal(TARGET_STATIC, target.obstacle);
}

static void a_script_that_names_itself_ends(void **state) {
	char line[512];
	(void)state;
	snprintf(line, sizeof line, "#!%s\n", in_directory("loop"));
	write_text("loop", line, 0755);
	assert_obstacle(TARGET_PRELOADABLE, "loop");
}

static void the_explanation_names_the_program(void **state) {
	char text[512];
	(void)state;
	write_program("static", NULL, 0755);
	assert_obstacle(TARGET_STATIC, "static");
	assert_non_null(strstr(target_explain(&target, text, sizeof text), in_directory("static")));
	assert_non_null(strstr(text, "statically linked"));
	target.obstacle = TARGET_PRELOADABLE;
	assert_string_equal("", target_explain(&target, text, sizeof text));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_looked_up_in_path_order),
		cmocka_unit_test(an_empty_element_of_path_is_the_current_directory),
		cmocka_unit_test(what_cannot_be_executed_is_refused),
		cmocka_unit_test(the_program_interpreter_decides),
		cmocka_unit_test(another_machine_gets_no_preload),
		cmocka_unit_test(a_damaged_program_is_no_crash),
		cmocka_unit_test(setuid_to_somebody_else_is_seen),
		cmocka_unit_test(scripts_are_followed_to_their_program),
		cmocka_unit_test(env_is_followed_by_path),
		cmocka_unit_test(a_script_that_names_itself_ends),
		cmocka_unit_test(the_explanation_names_the_program),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
