/* First words of commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/statement.h"

static void test_first_words(void **state) {
	static const struct {
		const char *text;
		enum statement kind;
	} cases[] = {
		{NULL, STATEMENT_UNKNOWN},
		{"", STATEMENT_OTHER},
		{"SELECT 1", STATEMENT_SELECT},
		{"select", STATEMENT_SELECT},
		{"selection", STATEMENT_OTHER},
		{"sel", STATEMENT_OTHER},
		{"begin;select 1", STATEMENT_BEGIN},
		{" \t\r\n\f;; commit", STATEMENT_COMMIT},
		{"(SELECT 1) UNION (SELECT 2)", STATEMENT_SELECT},
		{"((select 1))", STATEMENT_SELECT},
		{"-- a comment\nInsert into t", STATEMENT_INSERT},
		{"--select", STATEMENT_OTHER},
		{"/* one /* two */ three */ update t", STATEMENT_UPDATE},
		{"/* open", STATEMENT_OTHER},
		{"/**/delete", STATEMENT_DELETE},
		{"/*/ */ copy t to stdout", STATEMENT_COPY},
		{"- select", STATEMENT_OTHER},
		{"START_REPLICATION SLOT s", STATEMENT_START_REPLICATION},
		{"start transaction", STATEMENT_START},
		{"LISTEN a", STATEMENT_LISTEN},
		{"unlisten *", STATEMENT_UNLISTEN},
		{"\xc3\x84", STATEMENT_OTHER},
		{"abcdefghijklmnopqrstuvwxyz", STATEMENT_OTHER},
		{"1", STATEMENT_OTHER},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (statement_of(cases[i].text) != cases[i].kind)
			fail_msg("%s is %d", cases[i].text, (int)statement_of(cases[i].text));
}

/* A page that cannot be read lies behind the text. */
static void test_nothing_behind_the_end_is_read(void **state) {
	static const char *const texts[] = {"",     "-",    "--", "--x",    "/", "/*",
					    "/* *", "/*/*", "s",  "select", "(", ";"};
	(void)state;
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(MAP_FAILED, pages);
	assert_int_equal(0, mprotect(pages + 4096, 4096, PROT_NONE));
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char *text = pages + 4096 - strlen(texts[i]) - 1;
		memcpy(text, texts[i], strlen(texts[i]) + 1);
		statement_of(text);
	}
	munmap(pages, 8192);
}

static void test_the_search_is_bounded(void **state) {
	char *text = malloc(2000000);
	(void)state;
	memset(text, ' ', 2000000);
	memcpy(text + 1999980, "select", 7);
	assert_int_equal(STATEMENT_OTHER, statement_of(text));
	memcpy(text, "/*", 2);
	assert_int_equal(STATEMENT_OTHER, statement_of(text));
	free(text);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_words),
		cmocka_unit_test(test_nothing_behind_the_end_is_read),
		cmocka_unit_test(test_the_search_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
