#!/usr/bin/python3
"""What Python does with a connection that nobody closes: each way has a kind of its own."""

import glob
import os

from pqlease_test import *
from report_checks import *

cluster = Cluster("-c", "max_connections=150")
PYTHON = "/usr/bin/python3"
FOLDER = os.path.join(ROOT, "tests", "fixtures", "python")


def script(name):
    return os.path.join(FOLDER, name)


def line_of(name, marker):
    return fixture_line(os.path.join("python", name), marker)


# How a lease ended: one of these, or nothing to blame. Other findings are about how it was used.
ENDS = ("never-finished", "owner-thread-gone", "exit-closed", "finalizer-closed", "pool-retained", "killed", "growing")


def ends(parsed):
    return [finding for finding in parsed["findings"] if finding["kind"] in ENDS]


def kinds(parsed):
    return [(finding["kind"], finding["level"], finding["count"]) for finding in ends(parsed)]


def run_script(name, *arguments):
    db = cluster.fresh_database()
    run = same_behaviour([PYTHON, script(name)] + list(arguments), db=db).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_nothing_lost(parsed)
    check_equal(counts.sessions_abandoned, sum(site["released"]["never"] for site in parsed["sites"]),
                "never released, against the server's abandoned sessions")
    return run, parsed, counts


def check_ending(how, expected):
    _, parsed, counts = run_script("endings.py", how)
    check_equal([kind + (counts.sessions,) for kind in expected], kinds(parsed), "findings of %s" % how)
    if parsed["verdict"]["cause"] == "leak":
        check("PQfinish" not in parsed["verdict"]["advice"][0], "advice for Python: %r" % parsed["verdict"]["advice"])
    for finding in ends(parsed):
        check_frame(parsed, finding, "take", "endings.py", line_of("endings.py", "site: take"))


@test
def closing_is_right():
    check_ending("close", [])


@test
def dropping_the_last_reference_closes_at_once():
    check_ending("drop", [("finalizer-closed", "note")])


@test
def the_collector_closes_what_a_cycle_held():
    check_ending("cycle", [("finalizer-closed", "warning")])


@test
def the_shutdown_closes_what_was_kept():
    check_ending("fall", [("exit-closed", "error")])
    check_ending("once", [("exit-closed", "warning")])


@test
def nobody_closes_at__exit():
    check_ending("_exit", [("never-finished", "error")])


@test
def forty_of_a_hundred_request_threads_leave_theirs():
    run, parsed, counts = run_script("requests_in_threads.py", "100")
    left = int(run.stdout)
    check_equal(100, counts.sessions, "the test's own requests, as the server saw them")
    check_equal([("owner-thread-gone", "error", left)], kinds(parsed), "findings")
    finding = ends(parsed)[0]
    check_frame(parsed, finding, "__init__", "requests_in_threads.py", line_of("requests_in_threads.py", "site: request"))
    check_equal(counts.sessions - left, finding["evidence"]["released"], "released by the program")


@test
def a_pool_under_gunicorn_is_no_leak():
    directory = ledger_directory()
    db = cluster.fresh_database()
    argv = [PYTHON, script("serve_pooled.py"), directory]
    run = run_with_shim(argv, db=db, timeout=60).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check(counts.sessions >= 2, "both workers connected: %r" % counts)
    check_equal([("pool-retained", "note", counts.sessions)], kinds(parsed), "findings")


@test
def a_pool_that_was_left_is_said_to_be_one():
    _, parsed, counts = run_script("pooled_exit.py")
    check_equal(2, counts.sessions_abandoned, "the server's abandoned sessions")
    check_equal([("pool-retained", "note", 2)], kinds(parsed), "findings")
    check_equal("No leak found: of %d connections %d were left in a pool when the process ended."
                % (counts.sessions, counts.sessions_abandoned), parsed["verdict"]["message"], "headline")


@test
def tasks_of_asyncio_are_places_of_the_program():
    _, parsed, counts = run_script("tasks.py", "50")
    check_equal(50, counts.sessions, "sessions")
    check_equal(49, sum(site["released"]["by_program"] for site in parsed["sites"]), "closed by the tasks")
    check_equal([("exit-closed", "warning", 1)], kinds(parsed), "findings")
    check_frame(parsed, ends(parsed)[0], "task", "tasks.py", line_of("tasks.py", "site: task"))


@test
def an_embedded_interpreter_says_the_same():
    libraries = glob.glob("/usr/lib/*-linux-gnu/libpython3.11.so.1.0")
    check(libraries, "the system's libpython is here")
    for how, kind in (("close", None), ("fall", None), ("_exit", "never-finished")):
        db = cluster.fresh_database()
        argv = [fixture("embed_python"), libraries[0], script("endings.py"), how]
        run = same_behaviour(argv, db=db).check_status(0)
        parsed = run.report()
        counts = check_sessions(parsed, db)
        check_equal(counts.sessions_abandoned, sum(site["released"]["never"] for site in parsed["sites"]), "never")
        if kind or how == "close":
            check_equal([kind] if kind else [], [finding["kind"] for finding in ends(parsed)], how)


main()
