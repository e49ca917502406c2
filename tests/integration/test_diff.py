#!/usr/bin/python3
"""`pqlease diff`: findings and times of two runs, or of several on each side.

PQLEASE_DIFF_COMPARISONS: how many runs are compared with their like, and with slower ones (4; `make evaluate`: 50)."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from delay_proxy import DelayProxy
from pqlease_test import *

cluster = Cluster()
COMPARISONS = int(os.environ.get("PQLEASE_DIFF_COMPARISONS", "4"))
DELAY_S = 0.050
CONNECTS = 40


def diff(*arguments):
    run = pqlease("diff", "--format=json", *arguments)
    check_equal(b"", run.stderr, "stderr of diff")
    return run.status, json.loads(run.stdout)


def clients(db, delay, count=CONNECTS):
    """A run of `count` connects through a proxy that makes each take `delay` longer."""
    with DelayProxy(cluster, delay) as proxy:
        return run_pqlease(["sh", "-c", "for i in $(seq %d); do %s -XAtc 'select 1' >/dev/null; done" %
                            (count, cluster.bin("psql"))], "--report=none", db=db, env=proxy.environment()).ledger


def side_by_side(db, *delays):
    """Runs at the same time: what else the machine does is the same for all."""
    with ThreadPoolExecutor(len(delays)) as pool:
        return list(pool.map(lambda delay: clients(db, delay), delays))


def as_json(ledger):
    path = ledger + ".json"
    pqlease("report", "--format=json", "-o", path, ledger).check_status(0)
    return path


@test
def leaks_are_new_and_fixed():
    db = cluster.fresh_database()
    clean = run_pqlease([cluster.bin("psql"), "-XAtc", "select 1"], "--report=none", db=db).ledger
    leaking = run_pqlease([fixture("orders")], "--report=none", db=db).ledger
    leaks = db.sessions().sessions_abandoned
    status, result = diff(clean, leaking)
    check_equal(1, status, "status")
    check_equal([("new", "never-finished", 0, leaks)],
                [(f["state"], f["kind"], f["base"], f["new"]) for f in result["findings"]], "findings")
    status, result = diff(leaking, clean)
    check_equal(0, status, "status the other way round")
    check_equal(["gone"], [f["state"] for f in result["findings"]], "a place that was not reached is not fixed")
    status, result = diff(leaking, leaking)
    check_equal((0, ["same"]), (status, [f["state"] for f in result["findings"]]), "a run against itself")
    check(not result["worse"] and all(t["p"] == 1 for t in result["times"]), "times against themselves")


@test
def ledgers_and_reports_say_the_same():
    db = cluster.fresh_database()
    a, b = (run_pqlease([fixture("orders")], "--report=none", db=db).ledger for _ in range(2))
    status, from_ledgers = diff(a, b)
    other_status, from_reports = diff(as_json(a), as_json(b))
    for result in (from_ledgers, from_reports):
        for side in ("base", "new"):
            for run in result[side]:
                del run["path"]
    check_equal(status, other_status, "status")
    check_equal(from_ledgers, from_reports, "comparison of ledgers and of their reports")
    check_equal(db.sessions().sessions, sum(time["base_n"] + time["new_n"] for time in from_ledgers["times"]
                                            if time["measure"] == "connect" and time["fingerprint"] is None),
                "values compared, against the server's sessions")


@test
def unequal_delays_are_found_and_equal_ones_are_not():
    db = cluster.fresh_database()
    false_alarms = misses = 0
    alarms, missed = [], []
    base = side_by_side(db, DELAY_S, DELAY_S, DELAY_S)[0]
    for _ in range(COMPARISONS):
        median = diff(base, base)[1]["times"][0]["base_p50"]  # of runs under the same load
        base, like, slower = side_by_side(db, DELAY_S, DELAY_S, DELAY_S + 0.2 * median)
        status, result = diff(base, like)
        false_alarms += status != 0
        alarms += ["%s %.4f -> %.4f" % (time["measure"], time["base_p50"], time["new_p50"])
                   for time in result["times"] if time["state"] == "worse"]
        status, result = diff(base, slower)
        is_missed = status != 1 or result["times"][0]["state"] != "worse"
        misses += is_missed
        missed += [tuple("%.4g" % result["times"][0][key] for key in ("base_p50", "new_p50", "p"))] if is_missed else []
    print("# %d of %d equal runs called worse, %d of %d runs slower by 20 %% missed" %
          (false_alarms, COMPARISONS, misses, COMPARISONS))
    allowed = COMPARISONS // 20 if COMPARISONS >= 20 else 1
    check(false_alarms <= allowed, "false alarms: %d, %r" % (false_alarms, alarms))
    check(misses <= allowed, "missed: %d, %r" % (misses, missed))


@test
def several_runs_on_each_side():
    db = cluster.fresh_database()
    base = [clients(db, DELAY_S, 12) for _ in range(2)]
    slow = [clients(db, 2 * DELAY_S + 0.01, 12) for _ in range(2)]
    for words in ([*base, "--", *slow], ["--base", base[0], "--base", base[1], *slow], ["--", *base, "--", *slow]):
        status, result = diff(*words)
        check_equal((1, 2, 2), (status, len(result["base"]), len(result["new"])), "status and runs of %r" % words)
        check_equal((24, 24), (result["times"][0]["base_n"], result["times"][0]["new_n"]), "values")
    text = pqlease("diff", *base, "--", *slow)
    check_equal(1, text.status, "status")
    check_in(b"pqlease: worse: findings 0 new", text.stdout, "first line")
    check_in(b"connect          24/24", text.stdout, "n")


@test
def what_cannot_be_compared():
    ledger = run_pqlease(["true"], "--report=none").ledger
    check_equal(2, pqlease("diff", ledger, ledger).status, "nothing was recorded: not to be trusted")
    directory = ledger_directory()
    for name, text in (("empty", ""), ("half.json", '{"schema": "pqlease/report-1", "si'), ("other.json", "{}")):
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        for words in ([path, ledger], [ledger, path], [ledger, os.path.join(directory, "absent")]):
            run = pqlease("diff", *words)
            check_equal((2, 1), (run.status, run.stderr.count(b"\n")), "status and lines of %r" % words)
    for words in ([], [ledger], [ledger, ledger, ledger], ["--format=yaml", ledger, ledger], ["--", ledger, "--"]):
        run = pqlease("diff", *words)
        check_equal((64, 1), (run.status, run.stderr.count(b"\n")), "status and lines of %r" % words)


main()
