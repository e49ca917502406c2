#!/usr/bin/python3
"""A program leaks 4 of 100 connections at one of three places: the report says how many, and where."""

import os
import subprocess

from pqlease_test import *
from report_checks import *

cluster = Cluster()

TEXT_WIDTH = 100
FIRST_LINES = 15


def leak(program):
    """Run it; returns the run, its JSON report, and the one finding, which the server agrees with."""
    db = cluster.fresh_database()
    run = same_behaviour([fixture(program)], db=db).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_equal(100, counts.sessions, "the test's own connections, as the server saw them")
    check_equal(4, counts.sessions_abandoned, "the test's own leaks, as the server saw them")
    finding = check_one_finding(parsed, "never-finished", counts.sessions_abandoned)
    check_equal(("error", "fact"), (finding["level"], finding["certainty"]), "level and certainty")
    totals = parsed["totals"]
    check_equal(counts.sessions - counts.sessions_abandoned, totals["finished"], "finished (%r)" % totals)
    check_nothing_lost(parsed)
    return run, parsed, finding


def check_text_report(ledger, place):
    """The place is among the first lines, and every line fits."""
    shown = pqlease("report", ledger).check_status(0)
    lines = shown.stdout.decode().split("\n")
    check(any(place in line for line in lines[:FIRST_LINES]),
          "%r is not in the first %d lines:\n%s" % (place, FIRST_LINES, shown.stdout.decode()))
    wide = [line for line in lines if len(line) > TEXT_WIDTH]
    check_equal([], wide, "lines wider than %d columns" % TEXT_WIDTH)


def check_sites_are_three(parsed):
    """The other two places have their own sites, and nothing to be blamed for."""
    leases = sorted(site["leases"] for site in parsed["sites"] if site["leases"] > 0)
    check_equal([33, 33, 34], leases, "leases of the sites")


def check_leak_in_c(program):
    run, parsed, finding = leak(program)
    line = fixture_line("leak_sites.c", "site: orders")
    check_frame(parsed, finding, "book_order", "leak_sites.c", line)
    check_sites_are_three(parsed)
    check_text_report(run.ledger, "leak_sites.c:%d" % line)
    return parsed, finding


def symbols_of(program):
    return subprocess.run(["nm", "-C", program], capture_output=True, check=True).stdout.decode()


def check_is_inlined(program, function):
    """Else the test would prove nothing about inlined calls."""
    check(function not in symbols_of(fixture(program)), "%s is not inlined in %s" % (function, program))


def inlined_functions(parsed, finding):
    return [frame["function"] for frame in site_of(parsed, finding)["frames"] if frame["inlined"]]


@test
def leak_in_a_c_program():
    parsed, finding = check_leak_in_c("leak_sites")
    functions = [frame["function"] for frame in site_of(parsed, finding)["frames"]]
    check_in("main", functions, "functions of the frames")


@test
def leak_in_an_optimised_c_program():
    check_is_inlined("leak_sites.O2", "book_order")
    parsed, finding = check_leak_in_c("leak_sites.O2")
    check_in("book_order", inlined_functions(parsed, finding), "inlined functions")


@test
def leak_in_a_c_program_of_clang():
    check_is_inlined("leak_sites.clang", "book_order")
    parsed, finding = check_leak_in_c("leak_sites.clang")
    check_in("book_order", inlined_functions(parsed, finding), "inlined functions")


def check_leak_in_cpp(program):
    run, parsed, finding = leak(program)
    line = fixture_line("leak_sites_cpp.cc", "site: orders")
    frame = check_frame(parsed, finding, "shop::OrderBook::book", "leak_sites_cpp.cc", line)
    check("_ZN" not in frame["function"], "%r is not demangled" % frame["function"])
    check_text_report(run.ledger, "leak_sites_cpp.cc:%d" % line)


@test
def leak_in_a_cpp_program():
    check_leak_in_cpp("leak_sites_cpp")


@test
def leak_in_an_optimised_cpp_program():
    check_leak_in_cpp("leak_sites_cpp.O2")


@test
def leak_in_a_cpp_program_of_clang():
    check_leak_in_cpp("leak_sites_cpp.clang")


def place_by_addr2line(program, offset):
    argv = ["addr2line", "-e", program, hex(offset)]
    said = subprocess.run(argv, capture_output=True, check=True).stdout.decode()
    name, _, line = said.strip().split(" ")[0].rpartition(":")
    return os.path.basename(name), line


@test
def leak_in_a_stripped_program():
    """Module and offset; the same program with its symbols knows the line of that offset."""
    run, parsed, finding = leak("leak_sites.stripped")
    frame = application_frame(parsed, finding)
    check_equal((None, None), (frame["file"], frame["line"]), "place in a stripped program (%r)" % frame)
    check_equal(fixture("leak_sites.stripped"), frame["module"], "module")
    frames = site_of(parsed, finding)["frames"]
    first = next(entry for entry in frames if entry["module"] == frame["module"])
    offset = first["offset"] if isinstance(first["offset"], int) else int(first["offset"], 16)
    # A return address: the call is before it.
    expected = ("leak_sites.c", str(fixture_line("leak_sites.c", "site: orders")))
    check_equal(expected, place_by_addr2line(fixture("leak_sites"), offset - 1), "place of offset %#x" % offset)
    check_text_report(run.ledger, "leak_sites.stripped+0x")
    check_sites_are_three(parsed)


@test
def leaks_in_libraries_that_were_unloaded():
    """One after another, at the same address perhaps: each leak is where it was."""
    db = cluster.fresh_database()
    plugins = [fixture("plugin_cats.so"), fixture("plugin_dogs.so")]
    run = same_behaviour([fixture("plugins")] + plugins + plugins, db=db).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_equal(10, counts.sessions_abandoned, "the server's abandoned sessions")
    seen = {}
    for finding in findings_of(parsed, "never-finished"):
        frame = application_frame(parsed, finding)
        place = (frame["function"], frame["file"] and os.path.basename(frame["file"]), frame["line"])
        seen[place] = seen.get(place, 0) + finding["count"]
    expected = {("take_cat", "plugin_cats.c", fixture_line("plugin_cats.c", "site: cats")): 4,
                ("take_dog", "plugin_dogs.c", fixture_line("plugin_dogs.c", "site: dogs")): 6}
    check_equal(expected, seen, "leaks by place")
    check_nothing_lost(parsed)


def check_reloaded(*how):
    db = cluster.fresh_database()
    run = same_behaviour([fixture("reload_libpq"), "40", *how], db=db).check_status(0)
    parsed = run.report()
    check_server_agrees(parsed, db, abandoned=0)
    check_equal([], findings_of(parsed, "never-finished"), "never finished")
    check_nothing_lost(parsed)


@test
def libpq_is_loaded_again_and_again():
    """Each time at another address: more often than there are places for libraries that are there at once."""
    check_reloaded("early")


@test
def connections_outlive_their_libpq():
    """And are finished by the next one, which is the same but lies elsewhere."""
    check_reloaded()


@test
def leak_under_pqlease_run():
    """The text report comes on stderr when the program ends, with the line; the status is the program's."""
    db = cluster.fresh_database()
    run = run_pqlease([fixture("leak_sites.O2")], db=db).check_status(0)
    counts = db.sessions()
    place = "leak_sites.c:%d" % fixture_line("leak_sites.c", "site: orders")
    shown = run.stderr.decode().split("\n")[:FIRST_LINES]
    check(any(place in line for line in shown), "%r is not at the top of:\n%s" % (place, run.stderr.decode()))
    parsed = run.report()
    finding = check_one_finding(parsed, "never-finished", counts.sessions_abandoned)
    check_frame(parsed, finding, "book_order", "leak_sites.c", fixture_line("leak_sites.c", "site: orders"))
    check_equal((0, False), (parsed["run"]["exit_code"], parsed["run"]["live"]), "exit code and live")


@test
def reports_are_deterministic():
    db = cluster.fresh_database()
    run = run_with_shim([fixture("leak_sites")], db=db).check_status(0)
    db.sessions()
    for form in ("text", "json"):
        first, second = (pqlease("report", "--format=" + form, run.ledger).check_status(0).stdout for _ in range(2))
        check_equal(first, second, "two %s reports of one ledger" % form)


main()
