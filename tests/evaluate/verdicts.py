"""Workloads whose trouble is known, and the verdict that each must get: the table, and how to run a line of it.

A step is (role, how it is started, arguments of the workload program); `later` steps start when the first ones have their
connections. `limit` is the connection limit of the database role; `foreign` sessions of programs without the shim hold slots
of it.
"""

import itertools
import json
import os
import subprocess
import threading
import time

from pqlease_test import (PQLEASE, PYTHON, ROOT, Failure, check, clean_environment, cleanup, fixture, ledger_directory,
                          wait_until)

QUICK = "SELECT pg_sleep(0.01)"
SLOW = "SELECT pg_sleep(0.6)"
LANGUAGES = {"c": lambda: [fixture("workload")],
             "python": lambda: [PYTHON, os.path.join(ROOT, "tests", "evaluate", "workload.py")]}

# name: (verdict, candidates, limit, foreign, [(role, arguments)...], [(role, arguments)... that start later])
SCENARIOS = {
    "leak": ("leak", None, 60, 0, [("web", ["leak", "2", "2", "1", "SELECT 1", "20"])], []),
    "undersized": ("undersized", None, None, 0, [("web", ["plain", "12", "3", "2", QUICK, "0"])], []),
    "slow_queries": ("slow_queries", None, None, 0, [("web", ["plain", "6", "2", "5", SLOW, "0"])], []),
    "held_idle": ("held_idle", None, None, 0, [("web", ["plain", "6", "2", "5", "SELECT 1", "500"])], []),
    "role_contention": ("role_contention", None, 8, 0, [("worker", ["plain", "7", "7", "4", "SELECT pg_sleep(0.3)", "0"])],
                        [("web", ["plain", "6", "6", "2", QUICK, "0"])]),
    "stampede": ("stampede", None, 6, 0, [("web", ["burst", "24", "2", "12.5", "SELECT pg_sleep(0.2)", "100"])], []),
    "external": ("external", None, 6, 6, [("web", ["plain", "3", "3", "1", QUICK, "0"])], []),
    "ambiguous": ("unsure", {"slow_queries", "held_idle"}, None, 0, [("web", ["mix", "6", "2", "6", SLOW, "600"])], []),
    "healthy": ("none", None, None, 0, [("web", ["plain", "3", "6", "1", QUICK, "0"])], []),
}

_numbers = itertools.count(1)
_one_at_a_time = threading.Lock()  # two GRANTs on a schema at once fail: "tuple concurrently updated"


def make_role(cluster, limit):
    name = "app%d" % next(_numbers)
    cluster.query("CREATE ROLE %s LOGIN CONNECTION LIMIT %d" % (name, -1 if limit is None else limit))
    with _one_at_a_time:
        cluster.query("GRANT ALL ON SCHEMA public TO %s" % name)
    return name


def hold_foreign(cluster, db, user, count):
    """Sessions of a program without the shim."""
    program = "import psycopg2, sys\nc = [psycopg2.connect('') for _ in range(%d)]\nprint('held', flush=True)\nsys.stdin.read()"
    child = subprocess.Popen([PYTHON, "-c", program % count], env=clean_environment(db, PGUSER=user),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check(child.stdout.readline() == b"held\n", "foreign sessions")
    return child


def sessions_of(cluster, user):
    return int(cluster.value("SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'" % user))


def start(ledger, db, user, role, language, arguments):
    preload = dict(LD_PRELOAD=os.path.join(os.path.dirname(PQLEASE), "libpqlease.so"), PQLEASE_LEDGER=ledger)
    environment = clean_environment(db, PGUSER=user, PQLEASE_ROLE=role, **preload)
    return subprocess.Popen(LANGUAGES[language]() + arguments, env=environment, stdin=subprocess.DEVNULL)


def run_scenario(cluster, db, name, language, options=(), ledger=None):
    """The report of one run."""
    _, _, limit, foreign, first, later = SCENARIOS[name]
    user = make_role(cluster, limit)
    ledger = ledger or os.path.join(ledger_directory(), name + ".ledger")
    holder = hold_foreign(cluster, db, user, foreign) if foreign else None
    children = [start(ledger, db, user, role, language, arguments) for role, arguments in first]
    if later:
        wait_until(lambda: sessions_of(cluster, user) >= limit - 1, what="the first ones' connections")
    children += [start(ledger, db, user, role, language, arguments) for role, arguments in later]
    for child in children:
        cleanup(child.kill)
    statuses = [child.wait(timeout=60) for child in children]
    check(statuses == [0] * len(statuses), "%s in %s: statuses %r" % (name, language, statuses))
    parsed = json.loads(subprocess.run([PQLEASE, "report", "--format=json", *options, ledger], stdout=subprocess.PIPE,
                                       env=clean_environment(), check=True).stdout)
    if holder:
        holder.communicate()
    return parsed


def judge(name, language, parsed):
    """What is wrong with the verdict; None if nothing is."""
    cause, candidates = SCENARIOS[name][:2]
    verdict = parsed["verdict"]
    if verdict["cause"] == cause and (candidates is None or set(verdict["candidates"]) == candidates):
        return None
    return "%s in %s: %s %r: %s\n%r" % (name, language, verdict["cause"], verdict["candidates"], verdict["message"],
                                     verdict["evidence"])
