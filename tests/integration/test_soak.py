#!/usr/bin/python3
"""Programs that leak, fork, exec, end in every way and are killed, side by side and again and again in one ledger, the
server restarted in between: at the end the ledger and the server have counted the same. PQLEASE_SOAK_SECONDS sets how
long."""

import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from pqlease_test import *
from report_checks import *

SECONDS = float(os.environ.get("PQLEASE_SOAK_SECONDS", "4"))
SEED = int(os.environ.get("PQLEASE_SOAK_SEED", "20240229"))
LANES = 4

cluster = Cluster()


# --- Programs ---------------------------------------------------------------------------------------------------


def programs():
    return [
        [fixture("connect_loop"), "10"],
        [fixture("leak_sites")],
        [fixture("endings"), "exec", "3", fixture("connect_loop"), "2"],
        [fixture("endings"), "spawn", "2", fixture("connect_loop"), "2"],
        [fixture("endings"), "_exit", "3"],
        [fixture("endings"), "quick_exit", "1"],
        [fixture("endings"), "abort", "2"],
        [fixture("forks"), "leaks"],
        [fixture("forks"), "raw"],
        [fixture("prefork"), "3", "4"],
        [fixture("threads"), "4", "5"],
    ]


class Lane:
    """Programs one after another; what they do is decided by the seed of the lane."""

    def __init__(self, number, db, ledger, until):
        self.random = random.Random(SEED * 1000 + number)
        self.db = db
        self.ledger = ledger
        self.until = until
        self.runs = 0
        self.kills = 0

    def start(self, argv):
        environment = clean_environment(self.db, LD_PRELOAD=SHIM, PQLEASE_LEDGER=self.ledger)
        return subprocess.Popen(argv, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True)

    def run_to_the_end(self):
        while time.monotonic() < self.until:
            self.start(self.random.choice(programs())).wait(timeout=60)
            self.runs += 1
        return self

    def kill_at_random(self):
        while time.monotonic() < self.until:
            argv = self.random.choice([[fixture("connect_loop"), "1000000"], [fixture("threads"), "3", "1000000"]])
            child = self.start(argv)
            time.sleep(self.random.uniform(0, 0.06))  # the instant is what is tried
            child.kill()
            child.wait()
            self.runs += 1
            self.kills += 3 if "threads" in argv[0] else 1
        return self


def hold(lane, count):
    """A program with `count` open connections, and the wait until the server has seen them."""
    child = lane.start([fixture("endings"), "hold", str(count)])
    wait_until(lambda: len(lane.db.backends()) >= count, 30, "connections to be held")
    return child


def soak(work, db, ledger):
    """Rounds of lanes; between them the server restarts under programs that hold connections."""
    end = time.monotonic() + SECONDS
    lanes = []
    while time.monotonic() < end or not lanes:
        until = min(end, time.monotonic() + max(1.0, SECONDS / 8))
        with ThreadPoolExecutor(LANES) as pool:
            lanes += list(pool.map(work, [Lane(len(lanes) + i, db, ledger, until) for i in range(LANES)]))
        db.sessions(30)
        holder = hold(lanes[0], 3)
        cluster.restart()
        holder.kill()
        holder.wait()
    return sum(lane.runs for lane in lanes), sum(lane.kills for lane in lanes)


def new_ledger(db):
    db.prepare("SELECT 1")
    return os.path.join(ledger_directory(), "soak.ledger")


def left_open(parsed):
    return sum(finding["count"] for kind in ("never-finished", "killed") for finding in findings_of(parsed, kind))


def vanished(counts):
    """Sessions that the client did not end: it was gone, or the server ended them while it shut down."""
    return counts.sessions_abandoned + counts.sessions_killed + counts.sessions_fatal


def check_between(low, value, high, what):
    check(low <= value <= high, "%s: %d is not between %d and %d" % (what, value, low, high))


@test
def what_ends_by_itself_is_counted_exactly():
    db = cluster.fresh_database()
    ledger = new_ledger(db)
    runs, _ = soak(Lane.run_to_the_end, db, ledger)
    parsed = report(ledger)
    counts = check_sessions(parsed, db)
    check_nothing_lost(parsed)
    check_equal(vanished(counts), left_open(parsed), "leases left open, against the server (%r)" % counts)
    print("# %d programs, %d sessions, %d left open, seed %d" % (runs, counts.sessions, left_open(parsed), SEED))


@test
def what_is_killed_is_counted_but_for_the_call_it_was_in():
    """The server counts a session before the call returns, so a call that was cut short may have been one; PQfinish
    is recorded before it closes, so a session may have been finished for us and abandoned for the server."""
    db = cluster.fresh_database()
    ledger = new_ledger(db)
    runs, kills = soak(Lane.kill_at_random, db, ledger)
    parsed = report(ledger)
    counts = db.sessions(30)
    totals, torn = parsed["totals"], parsed["trust"]["lost"]["torn"]
    what = " (%r, %r)" % (counts, totals)
    check_between(totals["established"], counts.sessions, totals["attempts"] + torn, "sessions" + what)
    check_between(totals["unreleased"], vanished(counts), totals["unreleased"] + totals["abandoned"] + torn + kills,
                  "sessions that vanished" + what)
    check_between(totals["finished"] + totals["unreleased"] - torn, totals["established"],
                  totals["finished"] + totals["unreleased"] + torn, "established" + what)
    check_between(0, torn, kills, "torn")
    check_equal((0, 0), (totals["open"], totals["in_progress"]), "open, in progress")
    print("# %d programs, %d killed calls, %d sessions, seed %d" % (runs, kills, counts.sessions, SEED))


main()
