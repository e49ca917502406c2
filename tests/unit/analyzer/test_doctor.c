/* What doctor reads from command lines and scripts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "analyzer/doctor/drivers.h"
#include "analyzer/doctor/shell_text.h"
#include "analyzer/doctor/wrappers.h"

static struct arena arena;

static int release(void **state) {
	(void)state;
	arena_release(&arena);
	arena = (struct arena){NULL};
	return 0;
}

/* ---- Shells ------------------------------------------------------------------------------------------------ */

/* The commands of a text: words joined by '|', commands ended by ';'. */
static const char *commands_of(const char *text) {
	static const char *const arguments[] = {"NAME", "ONE", "TWO", NULL};
	static char joined[1024];
	struct shell_text shell = {.at = text, .arguments = arguments};
	const char *const *words;
	*joined = '\0';
	while ((words = shell_text_next(&shell, &arena)) != NULL) {
		for (; *words; words++) {
			strcat(joined, *words);
			strcat(joined, words[1] ? "|" : ";");
		}
	}
	return joined;
}

static void test_shell_commands(void **state) {
	static const struct {
		const char *text;
		const char *commands;
	} cases[] = {
		{"", ""},
		{"psql -c x", "psql|-c|x;"},
		{"a; b && c | d & e\nf", "a;b;c;d;e;f;"},
		{"# psql\na # b\nc#d", "a;c#d;"},
		{"a 'b c' \"d 'e'\" f\\ g ''", "a|b c|d 'e'|f g|;"},
		{"a 'b\nc'", "a|b\nc;"},
		{"a \\\n b", "a|b;"},
		{"if a; then b; else c; fi", "a;b;c;"},
		{"while ! a; do { b; }; done", "a;b;"},
		{"a >out 2>&1 <in &>all b", "a|b;"},
		{"$0 $1 \"${2}\" $3", "NAME|ONE|TWO;"},
		{"exec \"$@\"", "exec|ONE|TWO;"},
		{"x$1y $* z", "xONEy|ONE|TWO|z;"},
		{"$HOME/a \"$b\" ${c}", "$HOME/a|$b|${c};"},
		{"a $(b c) `d`", "a;b|c;d;"},
		{"a \"unended", "a|unended;"},
		{"a \\", "a|\\;"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(cases[i].commands, commands_of(cases[i].text));
}

static void test_long_words_and_commands_are_cut(void **state) {
	static char text[20000];
	(void)state;
	memset(text, 'x', sizeof text - 1);
	struct shell_text shell = {.at = text};
	const char *const *words = shell_text_next(&shell, &arena);
	assert_int_equal(4095, strlen(words[0]));
	for (size_t i = 1; i < sizeof text - 1; i += 2)
		text[i] = ' ';
	shell.at = text;
	words = shell_text_next(&shell, &arena);
	for (int i = 0; i < 64; i++)
		assert_string_equal("x", words[i]);
	assert_null(words[64]);
}

/* ---- Wrappers ----------------------------------------------------------------------------------------------- */

static struct wrappers_step follow(const char *text) {
	struct shell_text shell = {.at = text};
	struct wrappers_step step;
	wrappers_follow(&step, shell_text_next(&shell, &arena));
	return step;
}

static void test_wrappers_lead_to_their_command(void **state) {
	static const char *const texts[] = {
		"env psql",
		"/usr/bin/env A=1 -C / psql",
		"env -u A psql",
		"env LD_PRELOAD=/x/libpqlease.so psql",
		"env -i LD_PRELOAD=/x/libpqlease.so psql",
		"A=1 psql",
		"LD_PRELOAD=$LD_PRELOAD psql",
		"timeout -k 1 -s INT 5 psql",
		"timeout --kill-after=1 5 psql",
		"nice -n 5 psql",
		"nice -n5 psql",
		"exec -a name psql",
		"nohup -- psql",
		"xargs -0 -n 1 psql",
		"stdbuf -o L psql",
	};
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct wrappers_step step = follow(texts[i]);
		assert_true(step.is_wrapper);
		assert_null(step.barrier);
		assert_non_null(step.command);
		assert_string_equal("psql", step.command[0]);
	}
}

static void test_barriers(void **state) {
	static const char *const texts[] = {"env -i psql",
					    "env - psql",
					    "env -uLD_PRELOAD psql",
					    "env -u LD_PRELOAD x",
					    "LD_PRELOAD= psql",
					    "env LD_PRELOAD=/y.so x",
					    "sudo psql",
					    "ssh host psql",
					    "docker run image psql",
					    "su -c psql",
					    "PQLEASE_DISABLE=1 psql"};
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_non_null(follow(texts[i]).barrier);
	assert_false(follow("psql").is_wrapper);
	assert_false(follow("environment").is_wrapper);
	assert_null(follow("env").command);
	assert_null(follow("timeout 5").command);
	assert_null(follow("env -i").barrier);
}

/* ---- Languages -------------------------------------------------------------------------------------------------- */

static void test_interpreters_are_known_by_name(void **state) {
	(void)state;
	assert_int_equal(DRIVERS_PYTHON, drivers_language_of("/usr/bin/python3.11"));
	assert_int_equal(DRIVERS_PYTHON, drivers_language_of("python"));
	assert_int_equal(DRIVERS_PHP, drivers_language_of("/usr/sbin/php-fpm8.2"));
	assert_int_equal(DRIVERS_LUA, drivers_language_of("lua5.4"));
	assert_int_equal(DRIVERS_LANGUAGE_COUNT, drivers_language_of("python-config"));
	assert_int_equal(DRIVERS_LANGUAGE_COUNT, drivers_language_of("/opt/perl/bin/perldoc"));
}

static struct drivers_program read_words(enum drivers_language language, const char *text) {
	struct drivers_program program = {.language = language, .interpreter = "/nowhere/bin/x"};
	struct shell_text shell = {.at = text};
	drivers_read_words(&program, shell_text_next(&shell, &arena));
	return program;
}

static void test_where_the_program_is(void **state) {
	(void)state;
	assert_string_equal("a.py", read_words(DRIVERS_PYTHON, "-B -W ignore a.py -c x").script);
	assert_string_equal("x", read_words(DRIVERS_PYTHON, "-Bc x y").text);
	assert_string_equal("pgcli", read_words(DRIVERS_PYTHON, "-m pgcli").text);
	assert_string_equal("x", read_words(DRIVERS_PERL, "-we x").text);
	assert_string_equal("a.pl", read_words(DRIVERS_PERL, "-Mre -w a.pl").script);
	assert_string_equal("x", read_words(DRIVERS_PHP, "-d a=b -r x").text);
	assert_string_equal("x", read_words(DRIVERS_NODE, "--eval x").text);
	assert_null(read_words(DRIVERS_PYTHON, "-").script);
	assert_null(read_words(DRIVERS_PERL, "-e").text);
}

static void assert_named(enum drivers_language language, const char *text, const char *libpq,
			 const char *own) {
	const char *names[DRIVER_KIND_COUNT] = {NULL};
	struct drivers_program program = {.language = language, .text = text};
	drivers_named(names, &program, &arena);
	assert_string_equal(libpq, names[DRIVER_LIBPQ] ? names[DRIVER_LIBPQ] : "");
	assert_string_equal(own, names[DRIVER_OWN_PROTOCOL] ? names[DRIVER_OWN_PROTOCOL] : "");
}

static void test_named_drivers(void **state) {
	(void)state;
	assert_named(DRIVERS_PYTHON, "import psycopg2.pool", "psycopg2", "");
	assert_named(DRIVERS_PYTHON, "import psycopg", "psycopg", "");
	assert_named(DRIVERS_PYTHON, "x = psycopg2x", "", "");
	assert_named(DRIVERS_PYTHON, "create_engine('postgresql+asyncpg://')", "", "asyncpg");
	assert_named(DRIVERS_PYTHON, "import asyncpg\nimport psycopg2\n", "psycopg2", "asyncpg");
	assert_named(DRIVERS_PYTHON, "  # import psycopg2\n#psycopg2", "", "");
	assert_named(DRIVERS_PYTHON, "ctypes.CDLL('libpq.so.5')", "libpq itself", "");
	assert_named(DRIVERS_RUBY, "lib.PQconnectdb ''", "libpq itself", "");
	assert_named(DRIVERS_PERL, "DBI->connect('dbi:Pg:dbname=x')", "DBD::Pg", "");
	assert_named(DRIVERS_PERL, "DBI->connect('dbi:PgPP:dbname=x')", "", "DBD::PgPP");
	assert_named(DRIVERS_PHP, "new PDO('pgsql:host=x')", "PDO", "");
	assert_named(DRIVERS_NODE, "require('pg')", "", "pg");
	assert_named(DRIVERS_NODE, "require('pg-native')", "pg-native", "");
	assert_named(DRIVERS_RUBY, "require 'pg'", "pg", "");
	assert_named(DRIVERS_LUA, "-- luasql.postgres\nrequire 'pgmoon'", "", "pgmoon");
}

static void test_nothing_is_installed_nowhere(void **state) {
	const char *names[DRIVER_KIND_COUNT] = {NULL};
	struct drivers_program program = {.language = DRIVERS_LUA, .interpreter = "/nowhere/bin/lua"};
	(void)state;
	drivers_installed(names, &program, &arena);
	assert_null(names[DRIVER_LIBPQ]);
	assert_null(names[DRIVER_OWN_PROTOCOL]);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_shell_commands, release),
		cmocka_unit_test_teardown(test_long_words_and_commands_are_cut, release),
		cmocka_unit_test_teardown(test_wrappers_lead_to_their_command, release),
		cmocka_unit_test_teardown(test_barriers, release),
		cmocka_unit_test_teardown(test_interpreters_are_known_by_name, release),
		cmocka_unit_test_teardown(test_where_the_program_is, release),
		cmocka_unit_test_teardown(test_named_drivers, release),
		cmocka_unit_test_teardown(test_nothing_is_installed_nowhere, release),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
