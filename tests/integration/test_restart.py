#!/usr/bin/python3
"""PostgreSQL's own programs while the server restarts under them, at the same point of their work with and without the
shim: the same output and status, and the ledger has what the server counted.

A client is held at its point by a command that its script runs, or by a lock that the test holds; only then the server
restarts (a fast shutdown, which keeps its statistics)."""

import os
import pty
import re
import shutil
import subprocess
import tempfile
import tty

from pqlease_test import *
from report_checks import *

cluster = Cluster()

# What a client measures and prints.
MEASURED = re.compile(rb"^(latency|tps|average connection time|initial connection time|pgbench \().*$", re.MULTILINE)
HOLD = """#!/bin/sh
touch {0}/ready.$$
while [ ! -e {0}/go ]; do sleep 0.02; done
"""


class Gate:
    """A command for the scripts of clients: it says that they are there, and waits until the server is back."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="pqlease-restart-", dir="/tmp")
        cleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.command = self.directory + "/hold"
        with open(self.command, "w", encoding="utf-8") as text:
            text.write(HOLD.format(self.directory))
        os.chmod(self.command, 0o755)

    def script(self, text):
        path = self.directory + "/script"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("HOLD", self.command))
        return path

    def arrived(self):
        return len([name for name in os.listdir(self.directory) if name.startswith("ready.")])

    def restart_at(self, clients):
        wait_until(lambda: self.arrived() >= clients, 30, "clients at the gate")
        cluster.restart()
        with open(self.directory + "/go", "w", encoding="utf-8"):
            pass

    def close(self):
        for name in os.listdir(self.directory):
            if name == "go" or name.startswith("ready."):
                os.unlink(os.path.join(self.directory, name))


class Lock:
    """Tables that nobody else gets until the server restarts."""

    def __init__(self, db, tables):
        self.db = db
        self.tables = tables
        self.open()

    def open(self):
        """From another database's point of view: its session must not be counted among the clients'."""
        sql = "begin; lock table %s in access exclusive mode; select 'locked'; select pg_sleep(600)" % ", ".join(
            self.tables)
        argv = [cluster.bin("psql"), "-XAtq", "-d", self.db.name] + [word for one in sql.split("; ")
                                                                    for word in ("-c", one)]
        self.holder = subprocess.Popen(argv, env=clean_environment(self.db), stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        check_equal(b"locked\n", self.holder.stdout.readline(), "lock")

    def waiting(self):
        return int(cluster.value("select count(*) from pg_stat_activity where datname = '%s' and wait_event_type = "
                                 "'Lock'" % self.db.name))

    def restart_at(self, clients):
        wait_until(lambda: self.waiting() >= clients, 30, "clients that wait for the lock")
        cluster.restart()
        self.holder.wait(timeout=30)
        self.holder.stdout.close()

    def close(self):
        self.open()


def start(argv, db, env, on_terminal, typed):
    """The client, its standard files pipes or a terminal of its own, to which `typed` has been written."""
    environment = clean_environment(db, **env)
    if not on_terminal:
        return subprocess.Popen(argv, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE), None
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    child = subprocess.Popen(argv, env=environment, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
                             start_new_session=True)
    os.close(theirs)
    os.write(ours, typed.encode())
    return child, ours


def read_terminal(ours):
    output = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:
            block = b""
        if not block:
            os.close(ours)
            return output
        output += block


def run_through_restart(argv, db, gate, clients, env, typed):
    child, ours = start(argv, db, env, typed is not None, typed)
    try:
        gate.restart_at(clients)
        outputs = (read_terminal(ours), b"") if ours is not None else child.communicate(timeout=60)
        status = child.wait(timeout=60)
    finally:
        child.kill()
    return status, [MEASURED.sub(b"(measured)", output) for output in outputs]


def check_restart(argv, gate, db, clients=1, typed=None, in_order=True, others=0, expected_status=None):
    """`others` are sessions that the test itself opens in the client's database. With `in_order` false the lines of
    several workers may come in any order, and one may stand for all."""
    ledger = os.path.join(ledger_directory(), "run.ledger")
    plain = run_through_restart(argv, db, gate, clients, {}, typed)
    db.count_from_here()
    gate.close()
    shimmed = run_through_restart(argv, db, gate, clients, {"LD_PRELOAD": SHIM, "PQLEASE_LEDGER": ledger}, typed)
    check_equal(plain[0], shimmed[0], "status (%r, %r)" % (plain, shimmed))
    for before, now in zip(plain[1], shimmed[1]):
        if not in_order:
            before, now = set(before.split(b"\n")), set(now.split(b"\n"))
        check_equal(before, now, "output")
    if expected_status is not None:
        check_equal(expected_status, plain[0], "status, output %r" % plain[1])
    parsed = report(ledger)
    counts = db.sessions()
    check_equal(counts.sessions - others, counted_connections(parsed), "connections of %r: %r" %
                (counts, parsed["totals"]))
    left = sum(finding["count"] for kind in ("never-finished", "killed") for finding in findings_of(parsed, kind))
    # A client need not finish what the server has ended.
    check(counts.sessions_abandoned <= left <= counts.sessions_abandoned + counts.sessions_killed,
          "%d left, the server saw %r" % (left, counts))
    check_equal(0, parsed["totals"]["open"], "open")
    check_nothing_lost(parsed)
    return parsed, counts


@test
def psql_that_runs_a_script():
    """It ends when its connection is gone."""
    gate = Gate()
    script = gate.script("select 1;\n\\! HOLD\nselect 2;\nselect 3;\n")
    parsed, counts = check_restart([cluster.bin("psql"), "-XAtf", script], gate, cluster.fresh_database(),
                                   expected_status=2)
    check_equal((1, 1), (counts.sessions, counts.sessions_killed + counts.sessions_fatal), "sessions, ended by the server")
    check_equal([1], [finding["count"] for finding in findings_of(parsed, "never-finished")], "never-finished")


@test
def psql_on_a_terminal():
    """It resets its connection by itself, and takes another one by \\c."""
    gate = Gate()
    typed = "select 1;\n\\! %s\nselect 2;\nselect 3;\n\\c\nselect 4;\n\\q\n" % gate.command
    parsed, counts = check_restart([cluster.bin("psql"), "-XAtn", "-P", "pager=off"], gate, cluster.fresh_database(), typed=typed,
                                   expected_status=0)
    totals = parsed["totals"]
    check_equal((3, 2, 1), (counts.sessions, totals["established"], totals["resets_succeeded"]),
                "sessions, established, resets (%r)" % totals)


@test
def pgbench_that_keeps_its_connections():
    gate = Gate()
    script = gate.script("select 1;\n\\shell HOLD\nselect 2;\n")
    argv = [cluster.bin("pgbench"), "-n", "-c", "3", "-j", "3", "-t", "2", "-f", script]
    parsed, _ = check_restart(argv, gate, cluster.fresh_database(), clients=3, in_order=False, expected_status=2)
    check_equal(set(), {finding["kind"] for finding in parsed["findings"]} - {"server-closed"}, "kinds of findings")


@test
def pgbench_that_connects_for_each_transaction():
    """All go on as if nothing had been: those that lose a connection were about to close it."""
    gate = Gate()
    script = gate.script("select 1;\n\\shell HOLD\n")
    argv = [cluster.bin("pgbench"), "-n", "-C", "-c", "3", "-j", "3", "-t", "4", "-f", script]
    parsed, _ = check_restart(argv, gate, cluster.fresh_database(), clients=3, in_order=False, expected_status=0)
    check_equal(set(), {finding["kind"] for finding in parsed["findings"]} - {"server-closed"}, "kinds of findings")


def tables(db, count):
    names = ["place_%d" % number for number in range(count)]
    for name in names:
        db.prepare("create table %s as select generate_series(1, 100) as number; create index on %s (number)" %
                   (name, name))
    return names


def check_locked(program, *options, count=1, **expected):
    db = cluster.fresh_database()
    lock = Lock(db, tables(db, count))
    return check_restart([cluster.bin(program)] + list(options), lock, db, others=1, **expected)


@test
def pg_dump_that_waits_for_a_table():
    check_locked("pg_dump", expected_status=1)


@test
def vacuumdb_and_reindexdb_that_wait_for_a_table():
    for program in ("vacuumdb", "reindexdb"):
        check_locked(program, "-t", "place_0", expected_status=1)
        check_locked(program, "-j", "3", "-t", "place_0", "-t", "place_1", "-t", "place_2", count=3, clients=3,
                     in_order=False, expected_status=1)


@test
def pg_dump_with_workers_that_wait():
    """The workers are forked; the leader waits for its own lock first, so one of them is the point."""
    target = tempfile.mkdtemp(prefix="pqlease-restart-", dir="/tmp")
    cleanup(shutil.rmtree, target, ignore_errors=True)
    shutil.rmtree(target)
    check_locked("pg_dump", "-j", "2", "-Fd", "-f", target, in_order=False, expected_status=1)


main()
