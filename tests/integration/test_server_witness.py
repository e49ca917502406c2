#!/usr/bin/python3
"""The server as a witness: its counts and sessions beside the ledger's, its limits, and what stands in between."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

from pqlease_test import *
from pooler_proxy import PoolerProxy
from report_checks import *

cluster = Cluster()

HOLD = "import psycopg2, sys\nconns = [psycopg2.connect('') for _ in range(%d)]\nprint('held', flush=True)\nsys.stdin.read()\n"


def witness():
    """A login to another database than the one that is counted."""
    return "host=%s port=%s user=postgres dbname=postgres" % (cluster.socket_directory, cluster.port)


def hold(db, count):
    """A program that holds `count` leases until its input ends."""
    child = start_with_shim([PYTHON, "-c", HOLD % count], db=db, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check_equal(b"held\n", child.stdout.readline(), "output")
    return child


@test
def the_server_agrees_with_a_run_that_leaks():
    db = cluster.fresh_database()
    path = os.path.join(ledger_directory(), "report.json")
    run = run_pqlease([fixture("orders")], "--server", witness(), "--report=json",
                      "--report-file", path, db=db)
    check_equal(1, run.status, "status")
    counts = db.sessions()
    with open(path, encoding="utf-8") as text:
        server = json.load(text)["server"]
    check_equal((counts.sessions, counts.sessions_abandoned),
                (server["sessions_delta"], server["sessions_abandoned_delta"]), "deltas")
    check(counts.sessions_abandoned > 0, "this run leaks")
    check_equal(True, server["agrees"], "agrees: %r" % server)
    check_equal([], server["unmatched"], "unmatched")


def with_library(source):
    """An environment in which libpq.so.5 is what this C source makes."""
    directory = tempfile.mkdtemp()
    cleanup(shutil.rmtree, directory)
    path = os.path.join(directory, "libpq.so.5")
    subprocess.run(["gcc", "-shared", "-fPIC", "-xc", "-", "-o", path], input=source.encode(), check=True)
    return {"LD_LIBRARY_PATH": directory}, path


@test
def only_the_witness_needs_a_libpq():
    env, library = with_library("int PQclear;")
    run = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=cluster.fresh_database()).check_status(0)
    for words in (["--help"], ["--version"], ["report", run.ledger], ["check", run.ledger]):
        check_equal((0, b""), (lambda r: (r.status, r.stderr))(run_plain([PQLEASE] + words, env=env)), words)
    for words in (["report"], ["check"], ["who", "--", "1"]):
        words = words[:1] + ["--server", "dbname=x"] + words[1:] + [run.ledger]
        asked = run_plain([PQLEASE] + words, env=env)
        check_equal((2, b"", b"pqlease: --server: libpq.so.5: no function PQbackendPID in it\n"),
                    (asked.status, asked.stdout, asked.stderr), words)
    os.truncate(library, 10)
    asked = run_plain([PQLEASE, "report", "--server", "dbname=x", run.ledger], env=env)
    check_equal((2, b"", ("pqlease: --server: %s: file too short\n" % library).encode()),
                (asked.status, asked.stdout, asked.stderr), "a broken library")


@test
def its_own_sessions_are_not_counted():
    db = cluster.fresh_database()
    own = witness().replace("dbname=postgres", "dbname=" + db.name)
    run = run_pqlease([cluster.bin("psql"), "-XAtc", "select 1"], "--server", own, "--report=json", db=db)
    server = json.loads(run.stderr)["server"]
    check_equal((1, 0, True), (server["sessions_delta"], server["sessions_abandoned_delta"], server["agrees"]),
                "deltas and agreement")


@test
def limits_are_the_servers():
    db = cluster.fresh_database()
    cluster.query("ALTER DATABASE \"%s\" CONNECTION LIMIT 17" % db.name)
    run = run_pqlease([cluster.bin("psql"), "-XAtc", "select 1"], "--server", witness(), "--report=json", db=db)
    server = json.loads(run.stderr)["server"]
    check_equal([cluster.value("SHOW max_connections"), cluster.value("SHOW superuser_reserved_connections")],
                [str(server["max_connections"]), str(server["reserved"])], "max_connections, reserved")
    check_equal((17, None), (server["database_limit"], server["role_limit"]), "limits")
    check_equal(cluster.value("SHOW server_version"), server["version"], "version")


@test
def open_leases_are_sessions_and_other_sessions_are_named():
    db = cluster.fresh_database()
    child = hold(db, 3)
    other = subprocess.Popen([cluster.bin("psql"), "-XAt"], env=clean_environment(db), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    cleanup(other.communicate)
    wait_until(lambda: len(db.backends()) == 4, what="four sessions")
    server = report(child.ledger, "--server", witness())["server"]
    check_equal((True, None), (server["agrees"], server["sessions_delta"]), "agrees, delta: %r" % server)
    ours = {lease["backend_pid"] for lease in report(child.ledger)["open_leases"]}
    check_equal([(pid, "server", db.name) for pid in db.backends() if pid not in ours],
                [(row["backend_pid"], row["side"], row["database"]) for row in server["unmatched"]], "unmatched")


@test
def a_lease_without_a_session_is_named():
    db = cluster.fresh_database()
    child = hold(db, 2)
    victim = db.backends()[0]
    cluster.query("SELECT pg_terminate_backend(%d)" % victim)
    wait_until(lambda: victim not in db.backends(), what="end of the session")
    server = report(child.ledger, "--server", witness())["server"]
    check_equal((False, [("ledger", victim, child.pid)]),
                (server["agrees"], [(row["side"], row["backend_pid"], row["pid"]) for row in server["unmatched"]]),
                "agrees and unmatched")


@test
def a_session_that_outlived_its_client_is_named():
    db = cluster.fresh_database()
    child = hold(db, 1)
    backend = db.backends()[0]
    os.kill(backend, signal.SIGSTOP)
    try:
        child.kill()
        child.wait()
        server = report(child.ledger, "--server", witness())["server"]
    finally:
        os.kill(backend, signal.SIGCONT)
    check_equal((False, [("server", backend, child.pid)]),
                (server["agrees"], [(row["side"], row["backend_pid"], row["pid"]) for row in server["unmatched"]]),
                "agrees and unmatched")


@test
def a_holder_of_advisory_locks_is_dedicated():
    db = cluster.fresh_database()
    program = ("import psycopg2, sys\nc = psycopg2.connect('')\nc.autocommit = True\n"
               "c.cursor().execute('SELECT pg_advisory_lock(1)')\nprint('held', flush=True)\nsys.stdin.read()\n")
    child = start_with_shim([PYTHON, "-c", program], db=db, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check_equal(b"held\n", child.stdout.readline(), "output")
    check_equal([True], [lease["dedicated"] for lease in report(child.ledger, "--server", witness())["open_leases"]],
                "dedicated")


NO_TLS = {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


@test
def a_pooler_between_program_and_server_is_recognised():
    """The program's process ids are none of the server's."""
    db = cluster.fresh_database()
    with PoolerProxy(cluster) as pooler:
        child = start_with_shim([PYTHON, "-c", HOLD % 3], db=db, env=dict(pooler.environment(), **NO_TLS),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check_equal(b"held\n", child.stdout.readline(), "output")
        server = report(child.ledger, "--server", witness())["server"]
        child.communicate()
    check_equal((True, None, []), (server["pooled"], server["agrees"], server["unmatched"]), "pooled, agrees, unmatched")
    check_in("pooler", server["message"], "message")


@test
def a_pooler_before_the_witness_is_recognised():
    db = cluster.fresh_database()
    ended = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=db)
    with PoolerProxy(cluster) as pooler:
        run = pqlease("report", "--format=json", "--server", "host=127.0.0.1 port=%d user=postgres dbname=postgres" %
                      pooler.port, ended.ledger, env=NO_TLS).check_status(0)
    server = json.loads(run.stdout)["server"]
    check_equal((True, None), (server["pooled"], server["agrees"]), "pooled, agrees")


@test
def who_says_what_the_server_knows():
    db = cluster.fresh_database()
    child = hold(db, 1)
    backend = db.backends()[0]
    answer = json.loads(pqlease("who", "--json", "--server", witness(), str(backend), child.ledger).check_status(0).stdout)
    check_equal(("idle", "postgres", db.name), tuple(answer["session"][key] for key in ("state", "user", "database")),
                "session")
    child.communicate()
    db.sessions()
    check_in("has no such session now", pqlease("who", "--server", witness(), str(backend),
                                                child.ledger).check_status(0).stdout.decode(), "answer")


@test
def who_names_a_session_of_a_program_without_the_shim():
    db = cluster.fresh_database()
    ended = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=db)
    other = subprocess.Popen([cluster.bin("psql"), "-XAt"], env=clean_environment(db), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    cleanup(other.communicate)
    backend, = wait_until(db.backends, what="the session")
    failed = pqlease("who", "--server", witness(), str(backend), ended.ledger)
    check_equal((2, 1), (failed.status, failed.stderr.count(b"\n")), "status, lines")
    check_in("database %s, application 'psql'" % db.name, failed.stderr.decode(), "error")


@test
def no_server_costs_a_report_but_not_a_command():
    db = cluster.fresh_database()
    nowhere = "host=%s port=1" % cluster.socket_directory
    run = run_pqlease(["sh", "-c", "echo out; exit 3"], "--server", nowhere, "--report=none", db=db)
    check_equal((3, b"out\n"), (run.status, run.stdout), "status and output")
    check_equal(1, run.stderr.count(b"\n"), "lines of error: %r" % run.stderr)
    ended = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=db)
    failed = pqlease("report", "--server", nowhere, ended.ledger)
    check_equal((2, b""), (failed.status, failed.stdout), "status and output")
    check(failed.stderr.startswith(b"pqlease: --server: ") and failed.stderr.count(b"\n") == 1,
          "one line: %r" % failed.stderr)


@test
def a_password_on_the_command_line_is_refused_and_not_repeated():
    for conninfo in ("host=x password=hunter2", "postgresql://u:hunter2@x/db", "postgresql://x/db?password=hunter2",
                     "password=hunter2 nonsense"):
        failed = pqlease("report", "--server", conninfo)
        check_equal((64, b"", 1), (failed.status, failed.stdout, failed.stderr.count(b"\n")), "status and output")
        check(b"hunter2" not in failed.stderr, "the password is shown: %r" % failed.stderr)


main()
