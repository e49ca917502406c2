#!/usr/bin/python3
"""Which test leaked: pytest names its tests itself, ctest, prove and bats by PQLEASE_TEST."""

import os

import junitparser

from pqlease_test import *

cluster = Cluster()

SUITE = '''
import ctypes, os, threading
import psycopg2, pytest

kept = []

@pytest.mark.parametrize("number", range(48))
def test_clean(number):
    psycopg2.connect("").close()

def test_leak():
    connection = psycopg2.connect("")
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # nobody will ever finish it

class TestThreads:
    def test_other_thread(self):
        psycopg2.connect("").close()  # the main thread sees the name
        thread = threading.Thread(target=lambda: psycopg2.connect("").close())
        thread.start()
        thread.join()
'''


def write(name, text):
    path = os.path.join(ledger_directory(), name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def failed_names(path):
    cases = [case for suite in junitparser.JUnitXml.fromfile(path) for case in suite]
    return cases, [(case.classname, case.name) for case in cases if case.result and
                   any(isinstance(result, junitparser.Failure) for result in case.result)]


@test
def one_of_fifty_pytest_tests_leaks():
    db = cluster.fresh_database()
    suite = write("test_suite.py", SUITE)
    junit = suite + ".xml"
    argv = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", os.path.basename(suite)]
    run = run_pqlease(argv, "--report=none", "--output", "junit=" + junit, db=db, cwd=os.path.dirname(suite),
                      env={"PYTHONDONTWRITEBYTECODE": "1"})
    run.check_status(0)
    check_equal(1, db.sessions().sessions_abandoned, "sessions that the server saw abandoned")
    cases, failed = failed_names(junit)
    check_equal([("test_suite", "test_leak")], failed, "failed cases")
    check_equal(50, len([case for case in cases if case.classname.startswith("test_suite")]), "cases of the suite")
    report = run.report()
    check_equal(["test_suite.py::test_leak"], [example["test"] for finding in report["findings"]
                                               for example in finding["evidence"]["examples"]], "test of the example")
    attempts = {entry["name"]: entry["attempts"] for entry in report["tests"]}
    check_equal(2, attempts["test_suite.py::TestThreads::test_other_thread"], "attempts, one on another thread")
    check_equal(db.sessions().sessions, sum(attempts.values()), "attempts of all tests, against the server's sessions")


@test
def pqlease_test_names_other_tests():
    db = cluster.fresh_database()
    psql = cluster.bin("psql")
    script = ("PQLEASE_TEST=first %s -XAtc 'select 1' >/dev/null\n"
              "PQLEASE_TEST=second %s 2>/dev/null\n" % (psql, fixture("orders")))
    junit = os.path.join(ledger_directory(), "out.xml")
    run_pqlease(["sh", "-c", script], "--report=none", "--output", "junit=" + junit, db=db)
    cases, failed = failed_names(junit)
    names = [case.name for case in cases if case.classname == "pqlease.test"]
    check_equal(["first", "second"], names, "cases")
    check_equal([("pqlease.test", "second")], failed, "failed cases")


main()
