#!/usr/bin/python3
"""Frames of Python: the report shows the stacks that the program itself saw, for every version that is here."""

import collections
import glob
import json
import os
import shutil

from pqlease_test import *
from python_versions import *
from report_checks import *

cluster = Cluster()

PLACES = os.path.join(ROOT, "tests", "fixtures", "python", "places.py")
KINDS = ["plain", "many_shapes", "recursion", "finalizer", "thread", "asyncio", "names", "freed_code", "freed_lines",
         "zip", "traced", "import", "callback", "exit", "fork"]


def expected_stacks(output, depth=64):
    """What places.py printed; its own stack() is not among the frames, the shim keeps `depth` of them."""
    stacks = collections.Counter()
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        stacks[tuple(tuple(frame) for frame in json.loads(line))[:depth]] += 1
    return stacks


def recorded_stacks(parsed):
    """Without the frames of psycopg2's own module, which the program cannot see from where it looks."""
    stacks = collections.Counter()
    for site in parsed["sites"]:
        frames = python_frames(site)
        while frames and "/psycopg2/" in frames[0][0]:
            frames = frames[1:]
        stacks[frames] += site["attempts"]
    return stacks


def check_stacks(run, parsed, depth=64):
    expected, recorded = expected_stacks(run.stdout, depth), recorded_stacks(parsed)
    check(sum(expected.values()) > 0, "the program took connections")
    missing, extra = expected - recorded, recorded - expected
    check(not missing and not extra, "missing: %r\nnot expected: %r" % (dict(missing), dict(extra)))


def take(python, driver, kinds, db, depth=64, options=(), **more):
    run = run_with_shim([python] + list(options) + [PLACES, driver] + kinds, db=db,
                        env=dict({"PQLEASE_SCRIPT_FRAMES": depth}, **more)).check_status(0)
    parsed = run.report()
    check_stacks(run, parsed, depth)
    check_equal([], [reason for reason in parsed["trust"]["reasons"] if "frames" in reason], "reasons")
    check_server_agrees(parsed, db)
    return run, parsed


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
def the_other_versions_that_are_here():
    for version in VERSIONS:
        if version not in OTHER_PYTHONS:
            print("# python %s is not here: not tested" % version)
            continue
        for driver in ("ctypes", "pydll"):
            db = cluster.fresh_database()
            take(OTHER_PYTHONS[version], driver, KINDS, db)
        print("# python %s: %s" % (version, OTHER_PYTHONS[version]))


@test
def sub_interpreters():
    """A state of its own: found while the interpreter's lock is held."""
    for version, python in [("system", PYTHON)] + sorted(OTHER_PYTHONS.items()):
        if version not in ("3.6", "3.7"): # without the module that makes them
            take(python, "pydll", ["plain", "sub_interpreter", "thread"], cluster.fresh_database())


@test
def who_released():
    """The facts of the moment of each release, of every version: only 3.6 does not show that its collector runs."""
    for version, python in [("system", PYTHON)] + sorted(OTHER_PYTHONS.items()):
        for how in ("free", "held"):
            db = cluster.fresh_database()
            program = os.path.join(ROOT, "tests", "fixtures", "python", "releases.py")
            parsed = run_with_shim([python, program, how], db=db).check_status(0).report()
            check_server_agrees(parsed, db)
            released = {python_frames(site)[1][2]: {who for who, count in site["released"].items() if count}
                        for site in parsed["sites"]}
            expected = {"by_close": {"by_program"}, "by_last_reference": {"by_program"},
                        "by_collector": {"by_program" if version == "3.6" else "collector"}, "<module>": {"at_exit"}}
            check_equal(expected, released, "python %s, %s" % (version, how))


def embedding_libraries():
    """{library: PYTHONHOME or None}"""
    found = {path: None for path in glob.glob("/usr/lib/*-linux-gnu/libpython3.11.so.1.0")}
    for python in OTHER_PYTHONS.values():
        home = os.path.dirname(os.path.dirname(python))
        found.update({path: home for path in glob.glob(os.path.join(home, "lib", "libpython3.*.so.1.0"))})
    return found


@test
def embedded_in_a_program():
    """Opened at run time: met at the first stack that leads through it. The program's own frames are outermost."""
    libraries = embedding_libraries()
    check(any(path.startswith("/usr/lib/") for path in libraries), "the system's libpython is here")
    for library, home in sorted(libraries.items()):
        for program in ("embed_python", "embed_python.O2"):
            db = cluster.fresh_database()
            environment = {"PQLEASE_SCRIPT_FRAMES": 64, "PQLEASE_STACK_DEPTH": 64}
            if home:
                environment["PYTHONHOME"] = home
            run = run_with_shim([fixture(program), library, PLACES, "ctypes", "plain", "recursion", "callback"], db=db,
                                env=environment).check_status(0)
            parsed = run.report()
            check_stacks(run, parsed)
            for site in parsed["sites"]:
                functions = [frame["function"] for frame in site["frames"]]
                last_script = max(i for i, frame in enumerate(site["frames"]) if frame["language"] == "python")
                check("main" in functions[last_script:], "%s: main behind the script: %r" % (library, functions))
                check("app::Engine::run(char const*)" in functions, "the C++ frame: %r" % functions)


@test
def a_callback_out_of_native_code():
    """Script, native code, script: the frames stand in this order."""
    for version, python in [("system", PYTHON)] + sorted(OTHER_PYTHONS.items()):
        db = cluster.fresh_database()
        run, parsed = take(python, "ctypes", ["callback"], db, PQLEASE_STACK_DEPTH=64)
        for site in parsed["sites"]:
            names = [frame["function"] for frame in site["frames"]]
            if "comparing" in names:
                between = site["frames"][names.index("comparing") + 1:names.index("kind_callback")]
                modules = [os.path.basename(frame["module"] or "") for frame in between]
                check("libc.so.6" in modules, "python %s: %r" % (version, names))


@test
def greenlets():
    db = cluster.fresh_database()
    take(PYTHON, "psycopg2", ["greenlet", "thread"], db)


@test
def without_site_and_environment():
    db = cluster.fresh_database()
    take(PYTHON, "ctypes", ["plain"], db, options=["-I", "-S"])


@test
def a_renamed_interpreter():
    for version, python in [("system", os.path.realpath(PYTHON))] + sorted(OTHER_PYTHONS.items()):
        if version != "system" and not os.path.exists(os.path.join(os.path.dirname(python), "..", "lib")):
            continue
        renamed = os.path.join(ledger_directory(), "worker")
        shutil.copy(os.path.realpath(python), renamed)
        home = {"PYTHONHOME": os.path.dirname(os.path.dirname(python))} if version != "system" else {}
        take(renamed, "ctypes", ["plain"], cluster.fresh_database(), **home)


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


def remarks_on(version, *states):
    """What is said of an interpreter that calls itself `version` and hands out such states."""
    db = cluster.fresh_database()
    run = same_behaviour([fixture("python_like"), version] + list(states), db=db).check_status(0)
    parsed = run.report()
    check_server_agrees(parsed, db)
    check(all(python_frames(site) == () for site in parsed["sites"]), "frames of what is no Python")
    check(all(site["frames"] for site in parsed["sites"]), "the native frames are there")
    return " ".join(reason for reason in parsed["trust"]["reasons"] if "script" in reason)


@test
def interpreters_that_are_not_known():
    """By what they say, and by what they are: fall back and say so, never guess, never fault."""
    for version in ("3.14.0 (main)", "3.5.2", "3.", "2.7.18 (default)", "4.0.1", "", "nonsense", "3.x", "3.4294967307"):
        check_in("frames of this version cannot be read", remarks_on(version, "thread", "hole"), version)
    for version in ("3.13.0 experimental free-threading build (main)", "3.13.2 free-threading build"):
        check_in("built in a way", remarks_on(version, "thread", "hole"), version)
    for minor in range(6, 14):
        version = "3.%d.1 (main)" % minor
        check_equal("", remarks_on(version, "none", "none"), version)
        for state in ("thread", "hole"):
            check_in("do not look like", remarks_on(version, "none", state, "none", state), "%s %s" % (version, state))


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
