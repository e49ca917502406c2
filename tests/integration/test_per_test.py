#!/usr/bin/python3
"""Which test leaked: pytest names its tests itself, ctest, prove and bats by PQLEASE_TEST."""

import os
import re
import shlex
import shutil

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


ONE_KEPT = '''
import psycopg2

kept = []

def test_clean():
    psycopg2.connect("").close()

def test_keeps_one():
    kept.append(psycopg2.connect(""))
'''


@test
def one_that_a_test_leaves_until_exit_fails_it():
    db = cluster.fresh_database()
    suite = write("test_suite.py", ONE_KEPT)
    junit = suite + ".xml"
    argv = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", os.path.basename(suite)]
    run = run_pqlease(argv, "--report=none", "--output", "junit=" + junit, db=db, cwd=os.path.dirname(suite),
                      env={"PYTHONDONTWRITEBYTECODE": "1"}).check_status(0)
    finding, = run.report()["findings"]
    check_equal(("exit-closed", "error", 1), (finding["kind"], finding["level"], finding["count"]), "the finding")
    check_equal([("test_suite", "test_keeps_one")], failed_names(junit)[1], "failed cases")


FIXTURE_KEPT = """
import psycopg2
import pytest

@pytest.fixture(scope="session")
def connection():
    return psycopg2.connect("")

def test_uses_it(connection):
    connection.cursor().execute("select 1")
"""


@test
def one_of_a_session_fixture_fails_no_test():
    db = cluster.fresh_database()
    suite = write("test_fixture.py", FIXTURE_KEPT)
    argv = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", os.path.basename(suite)]
    run = run_pqlease(argv, "--report=none", db=db, cwd=os.path.dirname(suite), env={"PYTHONDONTWRITEBYTECODE": "1"})
    errors = [finding for finding in run.check_status(0).report()["findings"] if finding["level"] == "error"]
    check_equal([], errors, "errors")


@test
def one_that_is_kept_outside_of_tests_is_a_habit():
    db = cluster.fresh_database()
    program = "import psycopg2\nkept = psycopg2.connect('')\n"
    for name, level in ((None, "warning"), ("named", "error")):
        run = run_pqlease([PYTHON, "-c", program], "--report=none", db=db, env={"PQLEASE_TEST": name})
        finding, = run.report()["findings"]
        check_equal(("exit-closed", level), (finding["kind"], finding["level"]), "the finding of %s" % name)


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


# --- The lines of the README ------------------------------------------------------------------------------------

PROJECT = {
    "test_shop.py": SUITE.replace("range(48)", "range(2)"),
    "named": 'PQLEASE_TEST=$1 exec perl "$@"\n',
    "t/clean.t": "print `psql -XAtqc \"select '1..1'\"`, \"ok 1\\n\";\n",
    "t/leak.t": "system 'orders >/dev/null 2>&1'; print \"1..1\\nok 1\\n\";\n",
    "suite.bats": 'setup() { export PQLEASE_TEST="$BATS_TEST_NAME"; }\n'
                  "@test \"clean\" { psql -XAtqc 'select 1'; }\n"
                  '@test "leak" { orders || true; }\n',
    "CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(shop NONE)\nenable_testing()\n"
                      "add_test(NAME clean COMMAND psql -XAtqc \"select 1\")\n"
                      "add_test(NAME leak COMMAND sh -c \"orders || true\")\n"
                      "set_tests_properties(clean PROPERTIES ENVIRONMENT PQLEASE_TEST=clean)\n"
                      "set_tests_properties(leak PROPERTIES ENVIRONMENT PQLEASE_TEST=leak)\n",
}

LEAKING = {"pytest": "test_leak", "prove": "t/leak.t", "ctest": "leak", "bats": "test_leak"}


def readme_lines():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        section = file.read().split("**Which test leaked?**", 1)[1].split("**Is it worse", 1)[0]
    return re.findall(r"^pqlease .*$", section, re.M)


def project():
    directory = ledger_directory()
    os.mkdir(os.path.join(directory, "t"))
    for name, text in PROJECT.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)
    programs = os.path.join(directory, "bin")
    os.mkdir(programs)
    for name, path in (("pqlease", PQLEASE), ("orders", fixture("orders")), ("psql", cluster.bin("psql")),
                       ("python3", PYTHON)):
        with open(os.path.join(programs, name), "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\nexec %s "$@"\n' % path)
        os.chmod(os.path.join(programs, name), 0o755)
    run_plain(["cmake", "-S", directory, "-B", directory]).check_status(0)
    shutil.rmtree(os.path.join(directory, "CMakeFiles"))
    return directory


@test
def lines_of_the_readme():
    lines = readme_lines()
    check_equal(len(LEAKING), len(lines), "lines")
    for line in lines:
        db = cluster.fresh_database()
        directory = project()
        path = "%s/bin:%s" % (directory, clean_environment()["PATH"])
        run = run_plain(["sh", "-c", line], db=db, cwd=directory, env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"})
        run.check_status(0)
        words = shlex.split(line, comments=True)
        tool = [name for name in LEAKING if name in words][0]
        _, failed = failed_names(os.path.join(directory, "pqlease.xml"))
        check_equal([LEAKING[tool]], [name for _, name in failed], "failed cases by %s" % tool)
        check(db.sessions().sessions_abandoned > 0, "the server saw sessions abandoned")


main()
