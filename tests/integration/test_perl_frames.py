#!/usr/bin/python3
"""Frames of Perl: the report shows the stacks that caller() shows the program itself."""

import os
import re

from pqlease_test import *
from report_checks import *
from script_stacks import *

cluster = Cluster()

PERL = "/usr/bin/perl"
PLACES = os.path.join(ROOT, "tests", "fixtures", "perl", "places.pl")
DRIVERS = ("/DBI.pm", "/DBD/Pg.pm")


def kinds():
    with open(PLACES, encoding="utf-8") as text:
        return re.findall(r"^\t(\w+) => ", text.read(), flags=re.MULTILINE)


def take(names, db, **more):
    return take_places([PERL, PLACES] + names, db, "perl", DRIVERS, **more)


@test
def the_stacks_that_the_program_sees():
    db = cluster.fresh_database()
    run, parsed = take(kinds(), db)
    only_driver_above(parsed, "perl", ("perl", "libperl"))


@test
def one_at_a_time():
    """Whatever is seen first is what the layout has to prove itself on."""
    for kind in kinds():
        take([kind], cluster.fresh_database())


def run_perl(program, db, status=0, options=(), **env):
    """A program that prints nothing; the same with and without the shim."""
    return same_behaviour([PERL] + list(options) + ["-e", program], db=db, env=env).check_status(status)


CONNECT = "use DBI; sub order { return DBI->connect('dbi:Pg:', '', '', {RaiseError => 1}) }\n"


@test
def a_leak_is_reported_at_its_line():
    db = cluster.fresh_database()
    run = run_perl(CONNECT + "use POSIX (); our @kept;\npush @kept, order() for 1 .. 3;\nPOSIX::_exit(3);", db, 3)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    finding = check_one_finding(parsed, "never-finished", counts.sessions_abandoned)
    check_frame(parsed, finding, "main::order", "-e", 1)
    check_equal("perl", site_of(parsed, finding)["language"], "language")
    shown = pqlease("report", run.ledger).check_status(0).stdout.decode()
    check_in("-e:1 main::order", " ".join(shown.split()), "text report")


@test
def a_deep_recursion_is_cut_and_said():
    for depth in (1, 32, 64):
        run, parsed = take(["deep"], cluster.fresh_database(), depth=depth)
        check_equal([True], [site["truncated"] for site in parsed["sites"]], "truncated")


@test
def without_native_frames():
    """Whether Perl runs is not known then: every page is probed each time."""
    for depth in (0, 2):
        take(kinds(), cluster.fresh_database(), env={"PQLEASE_STACK_DEPTH": depth})


@test
def many_pages_of_code():
    """More code than fits a few pages, loaded and thrown away: contents decide, not addresses."""
    program = CONNECT + """
    for my $round (1 .. 40) {
        my $code = join "", map { "sub f$_ { my \\$n = shift; return \\$n ? f$_(\\$n - 1) : main::order()->disconnect }\\n" } 1 .. 50;
        eval "#line 1 \\"round$round.pl\\"\\npackage Round$round;\\n$code\\nf7(3); 1" or die $@;
        undef %{"Round${round}::"};
    }"""
    db = cluster.fresh_database()
    parsed = run_perl(program.replace("\\\\", "\\"), db).report()
    check_clean(parsed, db)
    seen = {frames[2] for frames in map(lambda site: frames_of(site, "perl"), with_order(parsed))}
    check_equal({("round%d.pl" % n, 8, "Round%d::f7" % n) for n in range(1, 41)}, seen, "places")


def with_order(parsed):
    """Sites without the frames of the driver."""
    for site in parsed["sites"]:
        frames = [frame for frame in site["frames"] if not any(d in (frame["file"] or "") for d in DRIVERS)]
        yield dict(site, frames=[{"language": "perl", "file": "", "line": 0, "function": ""}] + frames)


@test
def threads_of_perl():
    """Every thread has an interpreter of its own."""
    program = CONNECT + """
    use threads;
    my @threads = map { my $n = $_; threads->create(sub { for (1 .. 5) { order()->disconnect } }) } 1 .. 4;
    $_->join for @threads;"""
    db = cluster.fresh_database()
    parsed = run_perl(program, db).report()
    check_clean(parsed, db)
    check_equal([20], [site["attempts"] for site in parsed["sites"]], "attempts of the one site")


ENDINGS = (
    ("order()->disconnect", "by_program", 0),
    ("our $kept = order(); END { $kept->disconnect }", "by_program", 0),
    ("{ my $c = order(); undef $c }", "dropped", 0),
    ("sub f { my $c = order(); return 1 } f()", "dropped", 0),
    ("package Holder; sub new { bless { c => main::order() } } sub DESTROY {} package main; Holder->new", "dropped", 0),
    ("our $kept = order()", "at_exit", 0),
    ("my $kept = order(); print ''", "at_exit", 0),
    ("sub f { my $c = order(); exit 0 } f()", "at_exit", 0),
    ("our $kept = order(); POSIX::_exit(0)", "never", 1),
    ("our $kept = order(); exec '/bin/true'", "never", 1),
)


@test
def who_released_it():
    """Closed by a call, by dropping the last reference, by the end of the program, never."""
    for program, how, abandoned in ENDINGS:
        db = cluster.fresh_database()
        parsed = run_perl(CONNECT + "use POSIX ();\n" + program, db).report()
        check_released(parsed, db, program, how, abandoned)


main()
