#!/usr/bin/python3
"""Frames of PHP and Ruby: the report shows the stacks that the programs see themselves."""

import os
import re

from client_table import *
from report_checks import *
from script_stacks import *

cluster = Cluster()

PHP = "/usr/bin/php"
RUBY = "/usr/bin/ruby"
PHP_PLACES = os.path.join(ROOT, "tests", "fixtures", "php", "places.php")
RUBY_PLACES = os.path.join(ROOT, "tests", "fixtures", "ruby", "places.rb")
RUBY_DRIVERS = ("/pg/connection.rb", "/pg.rb")


def kinds_of(path, pattern):
    with open(path, encoding="utf-8") as text:
        return re.findall(pattern, text.read(), flags=re.MULTILINE)


RUBY_KINDS = kinds_of(RUBY_PLACES, r"^  (\w+): ->")
PHP_KINDS = kinds_of(PHP_PLACES, r"^\t'(\w+)' =>")


def take_ruby(names, **more):
    return take_places([RUBY, RUBY_PLACES] + names, cluster.fresh_database(), "ruby", RUBY_DRIVERS, **more)


def take_php(names, options=(), **more):
    return take_places([PHP] + list(options) + [PHP_PLACES] + names, cluster.fresh_database(), "php", (), **more)


# --- Ruby --------------------------------------------------------------------------------------------------------


@test
def ruby_sees_the_same_stacks():
    for environment in ({}, {"PLACES_SYNC": "1"}):
        run, parsed = take_ruby(RUBY_KINDS, env=environment)
        only_driver_above(parsed, "ruby", ("libruby",))


@test
def ruby_one_at_a_time():
    for kind in RUBY_KINDS:
        take_ruby([kind])


# --- PHP ---------------------------------------------------------------------------------------------------------


@test
def php_sees_the_same_stacks():
    run, parsed = take_php(PHP_KINDS)
    only_driver_above(parsed, "php", ("php",))


@test
def php_one_at_a_time():
    for kind in PHP_KINDS:
        take_php([kind])


@test
def php_with_opcache():
    for options in (["-d", "opcache.enable_cli=1"], ["-d", "opcache.enable_cli=1", "-d", "opcache.jit=tracing", "-d",
                    "opcache.jit_buffer_size=32M", "-d", "opcache.jit_hot_func=1"],
                    ["-d", "opcache.enable_cli=1", "-d", "opcache.jit=function", "-d", "opcache.jit_buffer_size=32M"]):
        take_php(PHP_KINDS, options)


# --- php-fpm -----------------------------------------------------------------------------------------------------


def ask_pages(directory):
    """The stacks that the pages print, from both workers: php-fpm is asked by the program that runs it."""
    return [PYTHON, program("fpm_places.py"), directory, PHP_PLACES, ",".join(PHP_KINDS)]


@test
def php_fpm_sees_the_same_stacks():
    """Workers with an emptied environment; connections end with the request."""
    db = cluster.fresh_database()
    run, parsed = take_places(ask_pages(temporary_directory()), db, "php", ())
    check_equal(0, parsed["totals"]["open"], "open")


# --- Where it says the same ------------------------------------------------------------------------------------------


LEAKS = {
    "ruby": (RUBY, "-e", "require 'pg'\ndef order = PG.connect\n$kept = 3.times.map { order }\nexit!(3)",
             "order", "-e", 2),
    "php": (PHP, "-r", "function order() {\nreturn pg_connect('', PGSQL_CONNECT_FORCE_NEW); }\n"
            "$kept = [order(), order(), order()];\nposix_kill(posix_getpid(), 9);", "order",
            "Command line code", 2),
}


def check_leak(language, kind, status):
    interpreter, option, text, function, source, line = LEAKS[language]
    db = cluster.fresh_database()
    run = same_behaviour([interpreter, option, text], db=db)
    run.check_status(status)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_equal(3, counts.sessions_abandoned, "the server's abandoned sessions")
    finding = check_one_finding(parsed, kind, counts.sessions_abandoned)
    check_frame(parsed, finding, function, source, line)
    check_equal(language, site_of(parsed, finding)["language"], "language")
    shown = " ".join(pqlease("report", run.ledger).check_status(0).stdout.decode().split())
    check_in("%s:%d %s" % (source, line, function), shown, "text report")


@test
def a_ruby_leak_is_reported_at_its_line():
    check_leak("ruby", "never-finished", 3)


@test
def a_php_leak_is_reported_at_its_line():
    check_leak("php", "killed", 137)


@test
def a_deep_recursion_is_cut_and_said():
    for depth in (1, 32, 64):
        for run, parsed in (take_ruby(["deep"], depth=depth), take_php(["deep"], depth=depth)):
            check_equal([True], [site["truncated"] for site in parsed["sites"]], "truncated")


@test
def without_native_frames():
    for depth in (0, 3):
        take_ruby(RUBY_KINDS, env={"PQLEASE_STACK_DEPTH": depth})
        take_php(PHP_KINDS, env={"PQLEASE_STACK_DEPTH": depth})


# --- Who released it -----------------------------------------------------------------------------------------------------


RUBY_ENDINGS = (
    ("order.finish", "by_program", 0),
    ("k = order; at_exit { k.finish }", "by_program", 0),
    ("def f = (order; nil)\n20.times { f }; GC.start; 100.times { +'x' }; GC.start", "collector", 0),
    ("$k = order", "at_exit", 0),
    ("k = order; exit(0)", "at_exit", 0),
    ("$k = order; exit!(0)", "never", 1),
    ("$k = order; $stdout.flush; exec('/bin/true')", "never", 1),
)
PHP_ENDINGS = (
    ("pg_close(order());", "by_program", 0),
    ("$k = order(); register_shutdown_function(function () { pg_close($GLOBALS['k']); });", "by_program", 0),
    ("class D { public $c; function __destruct() { pg_close($this->c); } } $d = new D; $d->c = order(); unset($d);",
     "by_program", 0),
    ("$p = new PDO('pgsql:'); $p = null;", "dropped", 0),
    ("function f() { $p = new PDO('pgsql:'); } f();", "dropped", 0),
    ("class K { public $k; public $p; } $a = new K; $a->k = $a; $a->p = new PDO('pgsql:'); unset($a); "
     "gc_collect_cycles();", "collector", 0),
    ("$k = order();", "at_exit", 0),
    ("$p = new PDO('pgsql:'); exit(0);", "at_exit", 0),
    ("pg_pconnect('');", "at_exit", 0),
    ("class D { public $c; function __destruct() { pg_close($this->c); } } $d = new D; $d->c = order();", "at_exit", 0),
    ("$k = order(); posix_kill(posix_getpid(), 9);", "never", 1),
    ("$k = order(); pcntl_exec('/bin/true');", "never", 1),
)


def check_ending(argv, program, how, abandoned):
    db = cluster.fresh_database()
    run = same_behaviour(argv, db=db)
    check_released(run.report(), db, program, how, abandoned)


@test
def ruby_tells_who_released_it():
    for text, how, abandoned in RUBY_ENDINGS:
        if how == "collector":
            continue
        check_ending([RUBY, "-e", "require 'pg'\ndef order = PG.connect\n" + text], text, how, abandoned)


@test
def ruby_tells_what_its_collector_released():
    """The last objects may still be seen on the stack: they live until the end."""
    text = [ending[0] for ending in RUBY_ENDINGS if ending[1] == "collector"][0]
    db = cluster.fresh_database()
    parsed = run_with_shim([RUBY, "-e", "require 'pg'\ndef order = PG.connect\n" + text], db=db).report()
    check_sessions(parsed, db)
    released = {name: sum(site["released"][name] for site in parsed["sites"]) for name in parsed["sites"][0]["released"]}
    check_equal(20, released["collector"] + released["at_exit"], "released: %r" % released)
    check(released["collector"] >= 10, "released: %r" % released)


@test
def php_tells_who_released_it():
    for text, how, abandoned in PHP_ENDINGS:
        check_ending([PHP, "-r", "function order() { return pg_connect('', PGSQL_CONNECT_FORCE_NEW); } " + text], text,
                     how, abandoned)


# --- Stress ------------------------------------------------------------------------------------------------------------


STRESS_S = float(os.environ.get("PQLEASE_STRESS_SECONDS", 3))


def stress(argv, language, functions):
    """Connects beside a busy collector: every site that has script frames has whole ones."""
    db = cluster.fresh_database()
    run = run_with_shim(argv + [str(STRESS_S)], db=db, timeout=60 + 10 * STRESS_S).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_equal((counts.sessions, 0), (parsed["totals"]["finished"], counts.sessions_abandoned), "finished, abandoned")
    check_nothing_lost(parsed)
    whole = sum(site["attempts"] for site in parsed["sites"] if site["language"] == language)
    print("# %d connections, %d with frames of %s" % (counts.sessions, whole, language))
    check(whole > 0, "no stack has script frames")
    for site in parsed["sites"]:
        names = {frame["function"] for frame in site["frames"] if frame["language"] == language}
        check(not names or functions & names, "a stack without its script's functions: %r" % site["frames"])


@test
def ruby_under_a_busy_collector():
    stress([RUBY, program("ruby_stress.rb")], "ruby", {"order"})


@test
def php_under_a_busy_collector():
    stress([PHP, program("php_stress.php")], "php", {"order"})


main()
