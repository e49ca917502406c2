/* Where a script lies in its project: in folders made for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/symbols/project_root.h"

static char folder[] = "/tmp/pqlease-project-root-XXXXXX";
static char buffer[PATH_MAX];

static const char *below(const char *path) {
	static char whole[PATH_MAX + sizeof folder + 1];
	snprintf(whole, sizeof whole, "%s/%s", folder, path);
	return whole;
}

static void make_directory(const char *path) {
	assert_int_equal(0, mkdir(below(path), 0700));
}

static void make_file(const char *path) {
	FILE *file = fopen(below(path), "w");
	assert_non_null(file);
	fclose(file);
}

static int start(void **state) {
	(void)state;
	strcpy(folder, "/tmp/pqlease-project-root-XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int finish(void **state) {
	char command[PATH_MAX];
	(void)state;
	if (chdir("/") != 0)
		return -1;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static void test_each_marker_makes_a_root(void **state) {
	static const char *const markers[] = {
#define MARKER(name) name,
#include "analyzer/symbols/project_root.def"
#undef MARKER
	};
	(void)state;
	make_directory("shop");
	make_directory("shop/web");
	make_file("shop/web/views.py");
	for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++) {
		char marker[PATH_MAX];
		snprintf(marker, sizeof marker, "shop/%s", markers[i]);
		make_file(marker);
		assert_string_equal("web/views.py",
				    project_root_relative(buffer, below("shop/web/views.py")));
		unlink(below(marker));
	}
	assert_string_equal("views.py", project_root_relative(buffer, below("shop/web/views.py")));
}

static void test_the_nearest_root_counts(void **state) {
	(void)state;
	make_directory("shop");
	make_directory("shop/.git");
	make_directory("shop/api");
	make_directory("shop/api/lib");
	make_file("shop/api/composer.json");
	make_file("shop/api/lib/db.php");
	make_file("shop/api/index.php");
	make_file("shop/tool.php");
	assert_string_equal("lib/db.php", project_root_relative(buffer, below("shop/api/lib/db.php")));
	assert_string_equal("index.php", project_root_relative(buffer, below("shop/api/index.php")));
	assert_string_equal("tool.php", project_root_relative(buffer, below("shop/tool.php")));
}

static void test_a_moved_project_is_the_same(void **state) {
	char moved[PATH_MAX];
	(void)state;
	make_directory("one");
	make_directory("one/web");
	make_file("one/Gemfile");
	make_file("one/web/app.rb");
	assert_string_equal("web/app.rb", project_root_relative(buffer, below("one/web/app.rb")));
	snprintf(moved, sizeof moved, "%s/two", folder);
	assert_int_equal(0, rename(below("one"), moved));
	assert_null(project_root_relative(buffer, below("one/web/app.rb")));
	assert_string_equal("web/app.rb", project_root_relative(buffer, below("two/web/app.rb")));
}

static void test_names_that_are_not_exact(void **state) {
	(void)state;
	make_directory("shop");
	make_directory("shop/web");
	make_file("shop/package.json");
	make_file("shop/web/views.py");
	assert_int_equal(0, symlink("shop", below("current")));
	assert_string_equal("web/views.py", project_root_relative(buffer, below("current/web/views.py")));
	assert_string_equal("web/views.py",
			    project_root_relative(buffer, below("shop/web/../web/./views.py")));
	assert_int_equal(0, chdir(below("shop/web")));
	assert_string_equal("web/views.py", project_root_relative(buffer, "views.py"));
	assert_string_equal("web/views.py", project_root_relative(buffer, "../web/views.py"));
}

static void test_what_is_no_file_has_no_place(void **state) {
	static const char *const names[] = {"",  "<string>", "(eval 1)",  "/",
					    ".", "..",       "/dev/null", "/no/such.py"};
	char *endless = calloc(1, 3 * PATH_MAX);
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_null(project_root_relative(buffer, names[i]));
	memset(endless, 'x', 3 * PATH_MAX - 1);
	assert_null(project_root_relative(buffer, endless));
	free(endless);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void) {
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_each_marker_makes_a_root),     IN_FOLDER(test_the_nearest_root_counts),
		IN_FOLDER(test_a_moved_project_is_the_same),  IN_FOLDER(test_names_that_are_not_exact),
		IN_FOLDER(test_what_is_no_file_has_no_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
