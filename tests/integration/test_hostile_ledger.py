#!/usr/bin/python3
"""Foreign and damaged files at the ledger's path of a running program: the program is unharmed, and either nothing
is recorded, which is said, or what is recorded is right. PQLEASE_HOSTILE_COUNT sets how many are tried."""

import json
import os

from pqlease_test import *

HOSTILE = os.path.join(BUILD, "tests", "evaluate", "hostile")
COUNT = int(os.environ.get("PQLEASE_HOSTILE_COUNT", "40"))
CONNECTS = 3
REASONS = ("not a pqlease ledger, or a damaged one", "a ledger of another format version",
           "the ledger has no room for another process")
COUNT_LIMIT = 1 << 44  # what the analyzer believes at most

cluster = Cluster()


def good_ledger(db):
    run = run_with_shim([fixture("leak_sites")], db=db, env={"PQLEASE_LEDGER_SIZE": "1M"})
    run = run_with_shim([fixture("connect_loop"), "5"], db=db, ledger=run.ledger)
    run.check_status(0)
    return run.ledger


def totals(path):
    """None if the analyzer refuses the file; a crash fails the test."""
    run = pqlease("report", "--format=json", path)
    if run.status != 0:
        check_equal(2, run.status, "status of a report on a damaged ledger (%r)" % run.stderr)
        check_in(b"pqlease", run.stderr, "stderr")
        return None
    return json.loads(run.stdout)


def is_comparable(before, after):
    """Counts at their limit cannot grow; what got lost is not counted."""
    trusts = [report["trust"] for report in (before, after)]
    return before["totals"]["established"] < COUNT_LIMIT and trusts[0]["lost"] == trusts[1]["lost"]


def check_said(stderr, plain_stderr, seed):
    """Returns whether the program was told that nothing is recorded."""
    said = stderr[:len(stderr) - len(plain_stderr)].decode() if plain_stderr else stderr.decode()
    check(stderr.endswith(plain_stderr) and said.count("\n") <= 1, "seed %d: stderr %r" % (seed, stderr))
    check(said == "" or said.rstrip("\n").endswith(REASONS), "seed %d: %r" % (seed, said))
    return said != ""


def try_program(argv, db, seeds):
    """Runs of the program beside hostile ledgers; how many of them could record."""
    ledger = good_ledger(db)
    plain = run_plain(argv, db=db)
    recorded = 0
    for seed in seeds:
        path = os.path.join(ledger_directory(), "hostile.ledger")
        run_plain([HOSTILE, ledger, path, str(seed)]).check_status(0)
        before = totals(path)
        run = run_with_shim(argv, db=db, ledger=path, env={"PQLEASE_VERBOSE": "1"})
        check_equal((plain.status, plain.stdout), (run.status, run.stdout), "seed %d: status, stdout" % seed)
        is_off = check_said(run.stderr, plain.stderr, seed)
        after = totals(path)
        recorded += not is_off
        yield seed, is_off, before, after
    check(recorded > 0, "no ledger could be used: the test tries nothing")


@test
def program_that_connects():
    db = cluster.fresh_database()
    for seed, is_off, before, after in try_program([fixture("connect_loop"), str(CONNECTS)], db, range(COUNT)):
        if before is None or after is None:
            continue
        grown = after["totals"]["established"] - before["totals"]["established"]
        if is_off:
            check_equal(0, grown, "seed %d: established though recording was off" % seed)
        elif is_comparable(before, after):
            check_equal(CONNECTS, grown, "seed %d: established" % seed)


@test
def program_that_cannot_connect():
    argv = [fixture("failed_connects"), "finish", str(CONNECTS), "host=127.0.0.1 port=1"]
    for _ in try_program(argv, cluster.fresh_database(), range(COUNT, COUNT + COUNT // 3)):
        pass


main()
