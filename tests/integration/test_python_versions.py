#!/usr/bin/python3
"""Frames of Python, of every version that is here: static, shared, embedded, renamed; in sub-interpreters, in callbacks,
and at releases."""

import glob
import os
import shutil

from pqlease_test import *
from python_versions import *

cluster = Cluster()


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
    for version, python in ALL_PYTHONS:
        if version not in ("3.6", "3.7"): # without the module that makes them
            take(python, "pydll", ["plain", "sub_interpreter", "thread"], cluster.fresh_database())


@test
def who_released():
    """The facts of the moment of each release, of every version: only 3.6 does not show that its collector runs."""
    for version, python in ALL_PYTHONS:
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
    for version, python in ALL_PYTHONS:
        db = cluster.fresh_database()
        run, parsed = take(python, "ctypes", ["callback"], db, PQLEASE_STACK_DEPTH=64)
        for site in parsed["sites"]:
            names = [frame["function"] for frame in site["frames"]]
            if "comparing" in names:
                between = site["frames"][names.index("comparing") + 1:names.index("kind_callback")]
                modules = [os.path.basename(frame["module"] or "") for frame in between]
                check("libc.so.6" in modules, "python %s: %r" % (version, names))


@test
def a_renamed_interpreter():
    for version, python in ALL_PYTHONS:
        if version != "system" and not os.path.exists(os.path.join(os.path.dirname(python), "..", "lib")):
            continue
        renamed = os.path.join(ledger_directory(), "worker")
        shutil.copy(os.path.realpath(python), renamed)
        home = {"PYTHONHOME": os.path.dirname(os.path.dirname(python))} if version != "system" else {}
        take(renamed, "ctypes", ["plain"], cluster.fresh_database(), **home)


main()
