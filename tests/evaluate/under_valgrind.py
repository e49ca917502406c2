#!/usr/bin/python3
"""Real programs under the shim and valgrind: memcheck sees no wrong access and no leak of ours, helgrind no race of
ours. What is not ours is suppressed by name, with the reason, in valgrind.supp."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from pqlease_test import *  # pylint: disable=wrong-import-position
from python_versions import *  # pylint: disable=wrong-import-position

cluster = Cluster()
ERRORS_FOUND = 99


def run_under(tool, program, db, *options, env=None):
    argv = ["valgrind", "--tool=" + tool, "--error-exitcode=%d" % ERRORS_FOUND, "--quiet", "--num-callers=30",
            "--suppressions=" + os.path.join(HERE, "valgrind.supp"), *options]
    run = run_with_shim(argv + program, db=db, env=env, timeout=300)
    check(run.status != ERRORS_FOUND, "%s found errors:\n%s" % (tool, run.stderr.decode("utf-8", "replace")))
    return run.check_status(0)


def check_counted(run, db):
    check_server_agrees(run.report(), db)


@test
def memcheck_of_every_way_to_connect():
    for program in ([fixture("leak_sites")], [fixture("threads"), "4", "20"], [fixture("forks"), "opens"]):
        db = cluster.fresh_database()
        run = run_under("memcheck", program, db, "--leak-check=no", "--trace-children=yes")
        check_counted(run, db)


@test
def memcheck_of_python():
    """Objects of the interpreter are freed as they are released, so that reading one too late is seen."""
    kinds = ["plain", "many_shapes", "recursion", "finalizer", "thread", "asyncio", "names", "freed_code", "freed_lines",
             "callback", "traced", "exit"]
    places = os.path.join(ROOT, "tests", "fixtures", "python", "places.py")
    for driver in ("psycopg2", "ctypes"):
        db = cluster.fresh_database()
        run = run_under("memcheck", [PYTHON, places, driver] + kinds, db, "--leak-check=no",
                        env={"PYTHONMALLOC": "malloc"})
        check_counted(run, db)


@test
def memcheck_of_daemon_threads():
    """Since 3.12 the interpreter frees the states of threads that are still in native code when it shuts down."""
    program = os.path.join(ROOT, "tests", "fixtures", "python", "daemons.py")
    for python in [PYTHON] + [OTHER_PYTHONS[version] for version in ("3.12", "3.13") if version in OTHER_PYTHONS]:
        run_under("memcheck", [python, program, fixture("connect_often.so"), "20"], None, "--leak-check=no",
                  env={"PYTHONMALLOC": "malloc"})
        print("# %s" % python)


@test
def helgrind_of_threads():
    db = cluster.fresh_database()
    run = run_under("helgrind", [fixture("threads"), "6", "20"], db)
    check_counted(run, db)


main()
