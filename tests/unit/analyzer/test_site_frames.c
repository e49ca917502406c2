/* Which frame is the application's, and fingerprints that survive a rebuild. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/symbols/site_frames.h"
#include "analyzer/symbols/symbol_source.h"

/*
 * Symbols without files: address N of any module is function N % 100 of the table below, the hundreds are
 * the line. (Takes the place of the real module, which reads files.)
 */
static const char *const functions[] = {NULL,
					"PQconnectdb",
					"main",
					"_start",
					"take",
					"shop::serve(int)",
					"helper",
					"std::thread::_Invoker::operator()",
					"sell::h0123456789abcdef",
					"sell::hfedcba9876543210",
					"pqxx::connection::connection",
					"outer"};
enum { NAMELESS, PQCONNECTDB, MAIN, START, TAKE, SERVE, HELPER, STD, RUST_OLD, RUST_NEW, PQXX, OUTER };

size_t symbol_source_resolve(struct symbol_source *source, const struct symbol_module *module,
			     uint64_t address, enum symbol_address_kind kind, struct symbol_frame *out,
			     size_t max) {
	(void)source;
	(void)module;
	(void)kind;
	assert_true(max > 0);
	if (functions[address % 100] == NULL)
		return 0;
	out[0] = (struct symbol_frame){functions[address % 100], "src/shop.c", (uint32_t)(address / 100),
				       false};
	return 1;
}

/* Projects without files, too: a checkout is what lies below /srv/NAME or /home/NAME/NAME. */
const char *symbol_source_script(struct symbol_source *source, const char *file) {
	int depth = strncmp(file, "/srv/", 5) == 0 ? 2 : strncmp(file, "/home/", 6) == 0 ? 3 : 0;
	(void)source;
	for (int i = 0; i < depth && file != NULL; i++)
		file = strchr(file + 1, '/');
	return depth > 0 && file != NULL ? file + 1 : NULL;
}

static struct model model;
static struct model_module modules[16];
static struct model_frame frames[64];
static struct model_site site;
static struct site_frames result;

static int start(void **state) {
	(void)state;
	static const char *const paths[] = {
		"/opt/shop/bin/shop",
		"/usr/lib/x86_64-linux-gnu/libpq.so.5.15",
		"/usr/lib/x86_64-linux-gnu/libc.so.6",
		"/usr/bin/python3.11",
		"/usr/lib/python3/dist-packages/psycopg2/_psycopg.cpython-311-x86_64-linux-gnu.so",
		"/usr/lib/x86_64-linux-gnu/perl5/5.36/auto/DBD/Pg/Pg.so",
		"/usr/lib/x86_64-linux-gnu/perl5/5.36/auto/DBI/DBI.so",
		"/usr/bin/perl",
		"/usr/lib/postgresql/15/bin/psql",
		"/opt/shop/lib/libshop.so",
		"/usr/local/lib/libpqlease.so"};
	model = (struct model){.modules = modules, .sites = &site, .site_count = 1};
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		modules[i] = (struct model_module){.path = paths[i]};
		model.module_count++;
	}
	site = (struct model_site){.frames = frames};
	return 0;
}

static int finish(void **state) {
	(void)state;
	arena_release(&model.arena);
	return 0;
}

enum { SHOP, LIBPQ, LIBC, PYTHON, PSYCOPG2, DBD_PG, DBI, PERL, PSQL, LIBSHOP, SHIM };

static void add_native(uint32_t module, unsigned function, unsigned line) {
	frames[site.frame_count++] = (struct model_frame){.language = MODEL_NATIVE,
							  .module = module,
							  .address = line * 100 + function,
							  .file = "",
							  .function = ""};
}

static void add_script(const char *file, const char *function, uint32_t line) {
	frames[site.frame_count++] = (struct model_frame){.language = MODEL_PYTHON,
							  .module = MODEL_NO_MODULE,
							  .file = file,
							  .function = function,
							  .line = line};
}

static void resolve(void) {
	struct site_frames_namer namer = {
		.arena = &model.arena, .model = &model, .symbols = (struct symbol_source *)&model};
	site_frames_resolve(&result, &namer, 0);
	site_frames_namer_release(&namer);
}

static const struct site_frame *application(void) {
	resolve();
	assert_true(result.application != SITE_NO_FRAME);
	return &result.frames[result.application];
}

static void test_first_frame_outside_the_libraries(void **state) {
	(void)state;
	add_native(SHIM, NAMELESS, 1);
	add_native(LIBPQ, PQCONNECTDB, 1);
	add_native(SHOP, STD, 3);
	add_native(SHOP, PQXX, 3);
	add_native(LIBSHOP, TAKE, 42);
	add_native(SHOP, MAIN, 50);
	add_native(LIBC, START, 1);
	const struct site_frame *frame = application();
	assert_string_equal("take", frame->function);
	assert_int_equal(42, frame->line);
	assert_string_equal("/opt/shop/lib/libshop.so", frame->module);
	assert_false(result.is_fallback);
}

static void test_a_tool_of_the_system_is_an_application(void **state) {
	(void)state;
	add_native(PSQL, MAIN, 5);
	add_native(LIBC, START, 1);
	assert_string_equal("main", application()->function);
	assert_false(result.is_fallback);
}

static void test_start_is_never_the_application(void **state) {
	(void)state;
	add_native(LIBPQ, PQCONNECTDB, 1);
	add_native(SHOP, START, 5);
	assert_string_equal("PQconnectdb", application()->function);
	assert_true(result.is_fallback);
}

static void test_script_frames_beat_the_interpreter(void **state) {
	(void)state;
	add_native(PSYCOPG2, NAMELESS, 1);
	add_native(PYTHON, HELPER, 1);
	add_native(PYTHON, MAIN, 1);
	add_script("/usr/lib/python3/dist-packages/psycopg2/__init__.py", "connect", 122);
	add_script("/usr/lib/python3/dist-packages/psycopg2/pool.py", "_connect", 60);
	add_script("/usr/lib/python3.11/contextlib.py", "__enter__", 137);
	add_script("/srv/shop/sell.py", "sell", 12);
	add_script("/srv/shop/app.py", "<module>", 3);
	const struct site_frame *frame = application();
	assert_string_equal("sell", frame->function);
	assert_string_equal("/srv/shop/sell.py", frame->file);
	assert_int_equal(MODEL_PYTHON, frame->language);
}

static void test_interpreters_without_script_frames(void **state) {
	(void)state;
	add_native(DBD_PG, TAKE, 1);
	add_native(DBI, HELPER, 1);
	add_native(PERL, OUTER, 1);
	add_native(LIBC, MAIN, 1);
	add_native(PERL, START, 1);
	assert_string_equal("outer", application()->function);
	assert_true(result.is_fallback);
}

static void test_no_stack(void **state) {
	(void)state;
	resolve();
	assert_int_equal(SITE_NO_FRAME, result.application);
	assert_int_equal(16, strlen(result.fingerprint));
}

/* ---- Fingerprints ------------------------------------------------------------------------------------ */

static char *fingerprint_of(void) {
	resolve();
	return strdup(result.fingerprint);
}

static void check_same(bool is_same, char *before, char *after) {
	if (is_same)
		assert_string_equal(before, after);
	else
		assert_string_not_equal(before, after);
	free(before);
	free(after);
}

static void test_lines_and_addresses_do_not_matter(void **state) {
	(void)state;
	unsigned seed = 7;
	for (int round = 0; round < 200; round++) {
		static const unsigned pool[] = {TAKE, SERVE, HELPER, MAIN, OUTER, NAMELESS};
		unsigned chosen[8];
		size_t depth = 1 + (size_t)rand_r(&seed) % 8;
		for (size_t i = 0; i < depth; i++)
			chosen[i] = pool[(size_t)rand_r(&seed) % 6];
		char *prints[2];
		for (int build = 0; build < 2; build++) {
			site.frame_count = 0;
			add_native(LIBPQ, PQCONNECTDB, (unsigned)rand_r(&seed) % 5000);
			for (size_t i = 0; i < depth; i++)
				add_native(SHOP, chosen[i], (unsigned)rand_r(&seed) % 5000);
			modules[SHOP].path = build ? "/home/builder/2/shop" : "/opt/shop/bin/shop";
			prints[build] = fingerprint_of();
		}
		check_same(true, prints[0], prints[1]);
	}
}

static void test_functions_and_modules_matter(void **state) {
	(void)state;
	add_native(SHOP, TAKE, 1);
	char *take = fingerprint_of();
	site.frame_count = 0;
	add_native(SHOP, HELPER, 1);
	check_same(false, take, fingerprint_of());
	site.frame_count = 0;
	add_native(SHOP, TAKE, 1);
	take = fingerprint_of();
	site.frame_count = 0;
	add_native(LIBSHOP, TAKE, 1);
	check_same(false, take, fingerprint_of());
}

static void test_only_five_application_frames_matter(void **state) {
	(void)state;
	for (int i = 0; i < 5; i++)
		add_native(SHOP, TAKE, 1);
	char *before = fingerprint_of();
	add_native(SHOP, HELPER, 1);
	add_native(SHOP, MAIN, 1);
	check_same(true, before, fingerprint_of());
	before = fingerprint_of();
	frames[4].address = OUTER;
	check_same(false, before, fingerprint_of());
}

static void test_libraries_between_do_not_matter(void **state) {
	(void)state;
	add_native(SHOP, TAKE, 1);
	add_native(SHOP, MAIN, 1);
	char *before = fingerprint_of();
	site.frame_count = 0;
	add_native(SHOP, TAKE, 1);
	add_native(LIBC, HELPER, 1);
	add_native(SHOP, MAIN, 1);
	check_same(true, before, fingerprint_of());
}

static void test_hashes_of_a_compiler_do_not_matter(void **state) {
	(void)state;
	add_native(SHOP, RUST_OLD, 1);
	char *before = fingerprint_of();
	site.frame_count = 0;
	add_native(SHOP, RUST_NEW, 1);
	check_same(true, before, fingerprint_of());
}

static void test_script_directories_do_not_matter(void **state) {
	(void)state;
	add_script("/srv/shop/sell.py", "sell", 12);
	char *before = fingerprint_of();
	site.frame_count = 0;
	add_script("/home/ci/checkout/sell.py", "sell", 99);
	check_same(true, before, fingerprint_of());
}

static void test_two_directories_of_one_project_are_two_places(void **state) {
	(void)state;
	add_script("/srv/shop/orders/views.py", "index", 12);
	char *before = fingerprint_of();
	site.frame_count = 0;
	add_script("/srv/shop/carts/views.py", "index", 12);
	check_same(false, before, fingerprint_of());
}

/* Nobody knows where the project began: the name alone is the same everywhere. */
static void test_without_a_project_the_name_counts(void **state) {
	(void)state;
	add_script("/opt/a/views.py", "index", 12);
	char *before = fingerprint_of();
	site.frame_count = 0;
	add_script("/opt/b/views.py", "index", 12);
	check_same(true, before, fingerprint_of());
}

/* Frames of others count where the program has none of its own, and lie elsewhere on each machine. */
static void test_directories_of_others_never_matter(void **state) {
	(void)state;
	add_script("/srv/shop/venv/lib/python3.11/site-packages/celery/app/trace.py", "trace", 1);
	char *before = fingerprint_of();
	site.frame_count = 0;
	add_script("/srv/shop/.tox/lib/python3.12/site-packages/celery/app/trace.py", "trace", 1);
	check_same(true, before, fingerprint_of());
}

static void test_kinds_have_fingerprints_of_their_own(void **state) {
	(void)state;
	char one[SITE_FINGERPRINT_BYTES];
	char other[SITE_FINGERPRINT_BYTES];
	add_native(SHOP, TAKE, 1);
	resolve();
	site_frames_finding_fingerprint(one, &result, "never-finished");
	site_frames_finding_fingerprint(other, &result, "killed");
	assert_string_not_equal(one, other);
	assert_string_not_equal(one, result.fingerprint);
}

/* Baselines in people's repositories hold these: a change here breaks them. */
static void test_fingerprints_are_for_ever(void **state) {
	(void)state;
	add_native(SHOP, TAKE, 1);
	add_native(SHOP, NAMELESS, 1);
	resolve();
	assert_string_equal("839e417c11845f45", result.fingerprint);
}

#define WITH_SITE(test) cmocka_unit_test_setup_teardown(test, start, finish)

/* ---- Whose code ------------------------------------------------------------------------------------------ */

static void test_known_packages(void **state) {
	(void)state;
	static const struct {
		const char *path;
		enum site_frame_owner owner;
	} known[] = {
		{"/usr/lib/python3/dist-packages/psycopg2/__init__.py", SITE_FRAME_DRIVER},
		{"/srv/venv/lib/python3.11/site-packages/psycopg/connection.py", SITE_FRAME_DRIVER},
		{"/usr/lib/python3/dist-packages/psycopg2/pool.py", SITE_FRAME_POOL},
		{"/srv/venv/lib/python3.12/site-packages/psycopg_pool/pool.py", SITE_FRAME_POOL},
		{"/usr/lib/python3/dist-packages/sqlalchemy/pool/impl.py", SITE_FRAME_POOL},
		{"/srv/checkout/sqlalchemy/engine/base.py", SITE_FRAME_FRAMEWORK},
		{"/usr/lib/python3/dist-packages/django/db/backends/base/base.py", SITE_FRAME_FRAMEWORK},
		{"/usr/lib/python3/dist-packages/gunicorn/workers/sync.py", SITE_FRAME_FRAMEWORK},
		{"/srv/venv/lib/python3.11/site-packages/flask/app.py", SITE_FRAME_FRAMEWORK},
		{"/srv/venv/lib/python3.11/site-packages/celery/app/trace.py", SITE_FRAME_FRAMEWORK},
		{"/srv/shop/vendor/laravel/framework/src/Illuminate/Database/Connection.php",
		 SITE_FRAME_FRAMEWORK},
		{"/var/lib/gems/3.1.0/gems/activerecord-7.0/lib/active_record/connection_adapters/abstract/"
		 "connection_pool.rb",
		 SITE_FRAME_POOL},
		{"/var/lib/gems/3.1.0/gems/pg-1.4.5/lib/pg/connection.rb", SITE_FRAME_DRIVER},
		{"/usr/share/perl5/DBI.pm", SITE_FRAME_DRIVER},
		{"/usr/share/perl5/Rose/DB.pm", SITE_FRAME_FRAMEWORK},
		{"/usr/lib/python3.11/threading.py", SITE_FRAME_INTERPRETER},
		/* The program's own, whatever its folder is called. */
		{"/srv/flask/app.py", SITE_FRAME_APPLICATION},
		{"/srv/celery/tasks.py", SITE_FRAME_APPLICATION},
		{"/srv/django/views.py", SITE_FRAME_APPLICATION},
		{"/srv/shop/pool.py", SITE_FRAME_APPLICATION},
		{"/srv/shop/db/connection_pool_config.py", SITE_FRAME_APPLICATION},
		{"orders.py", SITE_FRAME_APPLICATION},
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		site.frame_count = 0;
		add_script(known[i].path, "call", 1);
		resolve();
		if (result.frames[0].owner != known[i].owner)
			fail_msg("%s is taken for owner %d, not %d", known[i].path,
				 (int)result.frames[0].owner, (int)known[i].owner);
	}
}

/* ---- Properties of fingerprints --------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;

static unsigned random_below(unsigned limit) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 11) % limit);
}

static const char *const scripts[] = {"orders/views.py", "carts/views.py", "views.py", "tasks.py"};
static const char *const names[] = {"book", "charge", "index", "take", "run", "<module>"};
static const char *const others[] = {"/usr/lib/python3/dist-packages/psycopg2/__init__.py",
				     "/usr/lib/python3.11/threading.py",
				     "/usr/lib/python3/dist-packages/sqlalchemy/pool/base.py"};

struct walk {
	unsigned script[8];
	unsigned name[8];
	unsigned count;
};

static struct walk random_walk(void) {
	struct walk walk = {.count = 1 + random_below(8)};
	for (unsigned i = 0; i < walk.count; i++) {
		walk.script[i] = random_below(4);
		walk.name[i] = random_below(6);
	}
	return walk;
}

/* The stack of a walk as one build of the program shows it: with its lines, its place, and frames of others between. */
static const char *fingerprint_of_walk(const struct walk *walk, const char *folder, unsigned shift,
				       unsigned strangers) {
	static char copy[SITE_FINGERPRINT_BYTES];
	static char paths[8][64];
	site.frame_count = 0;
	add_native(PSYCOPG2, NAMELESS, 1 + shift);
	for (unsigned i = 0; i < walk->count; i++) {
		snprintf(paths[i], sizeof paths[i], "%s/%s", folder, scripts[walk->script[i]]);
		for (unsigned j = 0; j < strangers; j++)
			add_script(others[(i + j) % 3], "between", 1 + shift);
		add_script(paths[i], names[walk->name[i]], 10 * i + shift + 1);
	}
	add_native(PYTHON, NAMELESS, 7 + shift);
	resolve();
	memcpy(copy, result.fingerprint, sizeof copy);
	return copy;
}

static bool is_same_to_depth(const struct walk *a, const struct walk *b) {
	unsigned depth_a = a->count < SITE_FINGERPRINT_FRAMES ? a->count : SITE_FINGERPRINT_FRAMES;
	unsigned depth_b = b->count < SITE_FINGERPRINT_FRAMES ? b->count : SITE_FINGERPRINT_FRAMES;
	for (unsigned i = 0; i < depth_a && i < depth_b; i++)
		if (a->script[i] != b->script[i] || a->name[i] != b->name[i])
			return false;
	return depth_a == depth_b;
}

static void test_a_fingerprint_outlives_edits_and_moves(void **state) {
	(void)state;
	for (int round = 0; round < 500; round++) {
		struct walk walk = random_walk();
		char before[SITE_FINGERPRINT_BYTES];
		memcpy(before, fingerprint_of_walk(&walk, "/srv/shop", 0, 1), sizeof before);
		assert_string_equal(before, fingerprint_of_walk(&walk, "/srv/shop", 20, 1));
		assert_string_equal(before,
				    fingerprint_of_walk(&walk, "/home/ci/build-4711", random_below(5000), 1));
		assert_string_equal(before, fingerprint_of_walk(&walk, "/srv/shop", 0, 2));
	}
}

static void test_other_functions_have_other_fingerprints(void **state) {
	(void)state;
	for (int round = 0; round < 1000; round++) {
		struct walk walk = random_walk();
		struct walk other = random_walk();
		char before[SITE_FINGERPRINT_BYTES];
		memcpy(before, fingerprint_of_walk(&walk, "/srv/shop", 0, 1), sizeof before);
		bool is_equal = strcmp(before, fingerprint_of_walk(&other, "/srv/shop", 0, 1)) == 0;
		assert_int_equal(is_same_to_depth(&walk, &other), is_equal);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		WITH_SITE(test_first_frame_outside_the_libraries),
		WITH_SITE(test_a_tool_of_the_system_is_an_application),
		WITH_SITE(test_start_is_never_the_application),
		WITH_SITE(test_script_frames_beat_the_interpreter),
		WITH_SITE(test_interpreters_without_script_frames),
		WITH_SITE(test_no_stack),
		WITH_SITE(test_lines_and_addresses_do_not_matter),
		WITH_SITE(test_functions_and_modules_matter),
		WITH_SITE(test_only_five_application_frames_matter),
		WITH_SITE(test_libraries_between_do_not_matter),
		WITH_SITE(test_hashes_of_a_compiler_do_not_matter),
		WITH_SITE(test_script_directories_do_not_matter),
		WITH_SITE(test_two_directories_of_one_project_are_two_places),
		WITH_SITE(test_without_a_project_the_name_counts),
		WITH_SITE(test_directories_of_others_never_matter),
		WITH_SITE(test_kinds_have_fingerprints_of_their_own),
		WITH_SITE(test_fingerprints_are_for_ever),
		WITH_SITE(test_known_packages),
		WITH_SITE(test_a_fingerprint_outlives_edits_and_moves),
		WITH_SITE(test_other_functions_have_other_fingerprints),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
