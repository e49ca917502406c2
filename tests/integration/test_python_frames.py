#!/usr/bin/python3
"""Frames of Python: the report shows the stacks that the program itself saw."""

import os

from pqlease_test import *
from python_versions import *
from report_checks import *

cluster = Cluster()


def check_order(parsed):
    """A stack reads from libpq's caller outwards to the script's main: no interpreter frame stands between them."""
    for site in parsed["sites"]:
        languages = [frame["language"] for frame in site["frames"]]
        check(languages[0] == "native", "the innermost frame is the driver's: %r" % languages)
        modules = [os.path.basename(frame["module"] or "") for frame in site["frames"] if frame["language"] == "native"]
        check(not any(module.startswith(("python3", "libpython")) for module in modules),
              "interpreter among %r" % modules)


@test
def psycopg2_on_the_systems_python():
    db = cluster.fresh_database()
    run, parsed = take(PYTHON, "psycopg2", [kind for kind in KINDS if kind != "fork"], db)
    check_order(parsed)


@test
def a_leak_is_reported_at_its_line():
    db = cluster.fresh_database()
    run, parsed = take(PYTHON, "ctypes", ["plain"], db)
    check(parsed["findings"], "nothing was finished")
    for finding in parsed["findings"]:
        site = [site for site in parsed["sites"] if site["id"] == finding["site"]][0]
        check_equal("python", site["language"], "language")
        check_equal(PLACES, site["application_frame"]["file"], "file of the application frame")
    lines = {frames[0][1]: frames[0][2] for frames in expected_stacks(run.stdout)}
    shown = pqlease("report", run.ledger).check_status(0).stdout.decode()
    for line, name in lines.items():
        check_in("places.py:%d %s" % (line, name), " ".join(shown.split()), "text report")


@test
def ctypes_on_the_systems_python():
    for driver in ("ctypes", "pydll"):
        db = cluster.fresh_database()
        run, parsed = take(PYTHON, driver, KINDS, db)
        check_order(parsed)


@test
def greenlets():
    db = cluster.fresh_database()
    take(PYTHON, "psycopg2", ["greenlet", "thread"], db)


@test
def without_site_and_environment():
    db = cluster.fresh_database()
    take(PYTHON, "ctypes", ["plain"], db, options=["-I", "-S"])


@test
def a_deep_recursion_is_cut_and_said():
    for depth in (1, 32, 64):
        db = cluster.fresh_database()
        run, parsed = take(PYTHON, "ctypes", ["deep"], db, depth=depth)
        cut = {python_frames(site)[0][2]: site["truncated"] for site in parsed["sites"]}
        check(cut["method"], "a stack of 1000 calls is marked as cut: %r" % cut)


@test
def depth_nought_reads_none_and_says_so():
    db = cluster.fresh_database()
    run = run_with_shim([PYTHON, PLACES, "ctypes", "plain"], db=db, env={"PQLEASE_SCRIPT_FRAMES": 0}).check_status(0)
    parsed = run.report()
    check(all(python_frames(site) == () for site in parsed["sites"]), "no script frames")
    check(any("PQLEASE_SCRIPT_FRAMES is 0" in reason for reason in parsed["trust"]["reasons"]), parsed["trust"])


@test
def without_native_frames():
    db = cluster.fresh_database()
    take(PYTHON, "ctypes", ["plain", "thread"], db, PQLEASE_STACK_DEPTH=0)


def remarks_on(db, version, *states):
    """What is said of an interpreter that calls itself `version` and hands out such states."""
    run = run_with_shim([fixture("python_like"), version] + list(states), db=db).check_status(0)
    check_equal("".join("%s 0\n" % state for state in states), run.stdout.decode(), "what the program prints")
    parsed = run.report()
    check(all(python_frames(site) == () for site in parsed["sites"]), "frames of what is no Python")
    check(all(site["frames"] for site in parsed["sites"]), "the native frames are there")
    return " ".join(reason for reason in parsed["trust"]["reasons"] if "script" in reason)


@test
def interpreters_that_are_not_known():
    """By what they say, and by what they are: fall back and say so, never guess, never fault."""
    db = cluster.fresh_database()
    for version in ("3.14.0 (main)", "3.5.2", "3.", "2.7.18 (default)", "4.0.1", "", "nonsense", "3.x", "3.4294967307"):
        check_in("frames of this version cannot be read", remarks_on(db, version, "thread", "hole"), version)
    for version in ("3.13.0 experimental free-threading build (main)", "3.13.2 free-threading build"):
        check_in("built in a way", remarks_on(db, version, "thread", "hole"), version)
    for minor in range(6, 14):
        version = "3.%d.1 (main)" % minor
        check_equal("", remarks_on(db, version, "none", "none"), version)
        for state in ("thread", "hole"):
            check_in("do not look like", remarks_on(db, version, "none", state, "none", state), "%s %s" % (version, state))


@test
def seen_again_is_the_same_site():
    """One place, many times: one site, whatever the interpreter did in between."""
    db = cluster.fresh_database()
    program = "import sys; sys.argv = ['x', 'ctypes']; exec(open(%r).read())\nfor _ in range(50): function()" % PLACES
    run = run_with_shim([PYTHON, "-c", program], db=db, env={"PQLEASE_SCRIPT_FRAMES": 64}).check_status(0)
    parsed = run.report()
    check_stacks(run, parsed)
    many = [site for site in parsed["sites"] if site["attempts"] == 50]
    check_equal(1, len(many), "sites with all of the 50 connections")


main()
