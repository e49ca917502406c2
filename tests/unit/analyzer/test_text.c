/* Text from a ledger in terminals and JSON, and on lines of limited width. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "analyzer/instant.h"
#include "analyzer/text.h"

static struct arena arena;

static int release_arena(void **state) {
	(void)state;
	arena_release(&arena);
	return 0;
}

static void test_printable(void **state) {
	(void)state;
	static const struct {
		const char *from;
		const char *to;
	} cases[] = {
		{"", ""},
		{"plain", "plain"},
		{"Gr\xc3\xb6\xc3\x9f"
		 "e",
		 "Gr\xc3\xb6\xc3\x9f"
		 "e"},
		{"\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac"},
		{"\x1b[31mred", "\\x1b[31mred"},
		{"a\nb\tc\r", "a\\x0ab\\x09c\\x0d"},
		{"\x7f", "\\x7f"},
		{"\xc2\x9b"
		 "31m",
		 "\\xc2\\x9b31m"}, /* C1 control as UTF-8 */
		{"\x9b"
		 "31m",
		 "\\x9b31m"}, /* and as a byte */
		{"\xe2\x80\xae"
		 "evil",
		 "\\xe2\\x80\\xae"
		 "evil"},                                     /* right-to-left override */
		{"\xe2\x80\x8b", "\\xe2\\x80\\x8b"},          /* zero width space */
		{"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
		{"\xe2\x82", "\\xe2\\x82"},                   /* cut */
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(cases[i].to, text_printable(&arena, cases[i].from));
}

/* No byte that a terminal obeys survives, whatever goes in. */
static void test_every_pair_of_bytes_is_safe(void **state) {
	(void)state;
	for (int a = 1; a < 256; a++)
		for (int b = 1; b < 256; b++) {
			char text[4] = {(char)a, (char)b, 'x', '\0'};
			const char *printable = text_printable(&arena, text);
			for (const char *c = printable; *c != '\0'; c++)
				assert_true((unsigned char)*c >= ' ' && *c != 0x7f);
			json_t *string = json_string(text_valid_utf8(&arena, text));
			assert_non_null(string);
			json_decref(string);
			if (b % 64 == 0)
				arena_release(&arena);
		}
}

static void test_valid_utf8(void **state) {
	(void)state;
	assert_string_equal("a\xef\xbf\xbd"
			    "b",
			    text_valid_utf8(&arena,
					    "a\xff"
					    "b"));
	assert_string_equal("\xc3\xb6\x1b", text_valid_utf8(&arena, "\xc3\xb6\x1b"));
	assert_string_equal("\xef\xbf\xbd\xef\xbf\xbd", text_valid_utf8(&arena, "\xc0\xaf"));
}

static void test_width(void **state) {
	(void)state;
	assert_int_equal(0, text_width(""));
	assert_int_equal(5,
			 text_width("Gr\xc3\xb6\xc3\x9f"
				    "e"));
	assert_int_equal(4, text_width("\xe6\x97\xa5\xe6\x9c\xac"));
}

static void test_shorten(void **state) {
	(void)state;
	assert_string_equal("/usr/src/a.c", text_shorten_middle(&arena, "/usr/src/a.c", 12));
	assert_string_equal("/u.../a.c", text_shorten_middle(&arena, "/usr/src/a.c", 9));
	assert_string_equal("/usr/s...", text_shorten_end(&arena, "/usr/src/a.c", 9));
	for (size_t width = 4; width < 40; width++) {
		const char *wide = "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e/"
				   "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5.py";
		assert_true(text_width(text_shorten_middle(&arena, wide, width)) <= width);
		assert_true(text_width(text_shorten_end(&arena, wide, width)) <= width);
		assert_true(text_width(text_shorten_middle(&arena, "abcdefghijklmnopqrstuvwxyz0123456789",
							   width)) == (width < 36 ? width : 36));
	}
}

static void test_basename(void **state) {
	(void)state;
	assert_string_equal("c", text_basename("/a/b/c"));
	assert_string_equal("c", text_basename("c"));
	assert_string_equal("", text_basename("/a/"));
}

static void test_instants(void **state) {
	(void)state;
	static const struct {
		uint64_t realtime_ns;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00.000000Z"},
		{UINT64_C(1709251199123456789), "2024-02-29T23:59:59.123456Z"},
		{UINT64_C(1709251199999999999), "2024-02-29T23:59:59.999999Z"},
		{UINT64_C(1709251200000000000), "2024-03-01T00:00:00.000000Z"},
		{UINT64_C(4102444800000000999), "2100-01-01T00:00:00.000000Z"},
	};
	char text[INSTANT_TEXT_BYTES];
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		instant_format(text, cases[i].realtime_ns);
		assert_string_equal(cases[i].text, text);
	}
	instant_format(text, UINT64_MAX);
	assert_true(strlen(text) < INSTANT_TEXT_BYTES);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_printable),  cmocka_unit_test(test_every_pair_of_bytes_is_safe),
		cmocka_unit_test(test_valid_utf8), cmocka_unit_test(test_width),
		cmocka_unit_test(test_shorten),    cmocka_unit_test(test_basename),
		cmocka_unit_test(test_instants),
	};
	return cmocka_run_group_tests(tests, NULL, release_arena);
}
