#!/usr/bin/python3
"""How loaded pools of real programs are, against what the programs themselves log about them."""

import json
import os
import subprocess
import sys

from pqlease_test import *
from report_checks import *

cluster = Cluster()

# A program logs, by its own clock, when it had taken a connection and when it was about to give it back.
LOGGING = """
import json, sys, threading, time
log, lock = [], threading.Lock()
THREADS, SECONDS = %(threads)d, 3.0
%(pool)s
def work(number):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        conn = take()
        begun = time.monotonic()
        conn.cursor().execute('SELECT pg_sleep(0.1)')
        time.sleep(0.05)
        conn.rollback()
        ended = time.monotonic()
        give_back(conn)
        with lock:
            log.append((begun, ended))
        time.sleep(0.005)
threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
[t.start() for t in threads]; [t.join() for t in threads]
close()
json.dump(log, sys.stdout)
"""
PSYCOPG2 = """
import psycopg2.pool
pool = psycopg2.pool.ThreadedConnectionPool(3, 3, '')
slots = threading.Semaphore(3)
def take():
    slots.acquire()
    return pool.getconn()
def give_back(conn):
    pool.putconn(conn)
    slots.release()
close = pool.closeall
"""
PSYCOPG_POOL = """
import psycopg_pool
pool = psycopg_pool.ConnectionPool('', min_size=3, max_size=3)
pool.wait()
take, give_back, close = pool.getconn, pool.putconn, pool.close
"""
SQLALCHEMY = """
import psycopg2, sqlalchemy.pool
pool = sqlalchemy.pool.QueuePool(lambda: psycopg2.connect(''), pool_size=5, max_overflow=2)
take, close = pool.connect, pool.dispose
def give_back(conn):
    conn.close()
"""


def run_logging(pool, threads, *options):
    """The report, and what the program logged."""
    db = cluster.fresh_database()
    path = os.path.join(ledger_directory(), "report.json")
    run = run_pqlease([PYTHON, "-c", LOGGING % {"pool": pool, "threads": threads}], "--report=json", "--report-file",
                      path, *options, db=db).check_status(0)
    with open(path, encoding="utf-8") as text:
        return json.load(text), json.loads(run.stdout)


def check_close(expected, actual, what, within=0.02):
    check(abs(actual - expected) <= within * expected, "%s: expected %g, got %g" % (what, expected, actual))


def check_use(parsed, log, capacity):
    """Uses, their time and the mean in use are the program's own."""
    pool, = [entry for entry in parsed["pools"] if entry["peak_open"] > 0]
    check_equal((capacity, "inferred", capacity), (pool["capacity"], pool["capacity_source"], pool["peak_in_use"]),
                "capacity, source, peak")
    used = sum(ended - begun for begun, ended in log)
    check_close(used, pool["use_time"]["mean"] * pool["use_time"]["count"], "time in use")
    span = max(ended for _, ended in log) - min(begun for begun, _ in log)
    check_close(used / span / capacity, pool["utilization"], "utilization", within=0.1)
    return pool


@test
def pool_of_psycopg2():
    parsed, log = run_logging(PSYCOPG2, 9)
    check_equal(len(log), check_use(parsed, log, 3)["use_time"]["count"], "uses")


@test
def pool_of_psycopg3():
    parsed, log = run_logging(PSYCOPG_POOL, 9)
    check_use(parsed, log, 3)


@test
def queue_pool_with_overflow():
    parsed, log = run_logging(SQLALCHEMY, 20)
    check_use(parsed, log, 7)


# --- Taken from a pool and never given back ------------------------------------------------------------------------

TAKEN = {
    "sqlalchemy": """
import sqlalchemy as sa
pool = sa.create_engine('postgresql+psycopg2://', pool_size=3, max_overflow=0, pool_timeout=0.2)
take = pool.connect
def use(c): c.execute(sa.text('select 1'))
def give_back(c): c.close()
""",
    "psycopg_pool": """
import psycopg_pool
pool = psycopg_pool.ConnectionPool('', min_size=3, max_size=3, timeout=0.2)
pool.wait()
take, give_back = pool.getconn, pool.putconn
def use(c): c.execute('select 1')
""",
    "psycopg2": """
import psycopg2.pool
pool = psycopg2.pool.ThreadedConnectionPool(3, 3, '')
take, give_back = pool.getconn, pool.putconn
def use(c): c.cursor().execute('select 1')
""",
}
CHARGE = """
held = []
def charge(keep):
    c = take()
    use(c)
    if keep:
        held.append(c)
    else:
        give_back(c)
try:
    for _ in range(%(times)d):
        charge(%(keep)s)
except Exception as error:
    print(type(error).__name__)
%(end)s
"""


def run_taking(pool, keep, times=4, end=""):
    program = TAKEN[pool] + CHARGE % {"keep": keep, "times": times, "end": end}
    run = run_with_shim([PYTHON, "-c", program], db=cluster.fresh_database())
    line = program.split("def use", 1)[0].count("\n") + 1
    return run, line


def check_taken(pool, kind, end=""):
    run, line = run_taking(pool, True, end=end)
    check(run.stdout != b"", "%s: the pool has one too many" % pool)
    parsed = run.report()
    check_equal("leak", parsed["verdict"]["cause"], "%s: verdict" % pool)
    ends = [finding for finding in parsed["findings"] if finding["kind"] in
            ("never-finished", "exit-closed", "finalizer-closed", "pool-retained", "killed")]
    check_equal([(kind, "error", 3)], [(finding["kind"], finding["level"], finding["count"]) for finding in ends], pool)
    check_in("3 connections were checked out of a pool here and never given back", ends[0]["message"], pool)
    check_equal((line, "use"), tuple(site_of(parsed, ends[0])["application_frame"][key]
                                        for key in ("line", "function")), "%s: where it was used" % pool)
    check_equal(3, len(ends[0]["evidence"]["examples"]), "%s: examples" % pool)


@test
def a_pool_that_is_never_given_anything_back_leaks():
    for pool in TAKEN:
        check_taken(pool, "exit-closed")


@test
def and_so_it_does_when_nothing_is_closed():
    for pool in TAKEN:
        check_taken(pool, "never-finished", "import os; sys = __import__('sys'); sys.stdout.flush(); os._exit(0)")


ROLLS_BACK = """
class Keeper:
    def __init__(self):
        self.connection = take()
        use(self.connection)
    def __del__(self):
        self.connection.rollback()
kept = Keeper()
"""


@test
def a_rollback_at_the_end_gives_nothing_back():
    """SQLAlchemy does so, should its objects be destroyed in the right order."""
    for pool in ("psycopg2", "psycopg_pool"):
        parsed = run_with_shim([PYTHON, "-c", TAKEN[pool] + ROLLS_BACK], db=cluster.fresh_database()).report()
        check_equal([("exit-closed", "error", 1), ("pool-retained", "note", 2)],
                    [(finding["kind"], finding["level"], finding["count"]) for finding in parsed["findings"]], pool)


@test
def a_pool_that_is_given_all_back_does_not():
    for pool in TAKEN:
        for end in ("", "import os; os._exit(0)"):
            run, _ = run_taking(pool, False, times=8, end=end)
            parsed = run.report()
            check_equal([("pool-retained", "note")], [(finding["kind"], finding["level"])
                                                      for finding in parsed["findings"]], pool)
            check_equal("none", parsed["verdict"]["cause"], "%s: verdict" % pool)


@test
def one_of_three_is_not_given_back():
    run, _ = run_taking("psycopg2", False, times=2, end="charge(True)")
    parsed = run.report()
    check_equal([("exit-closed", 1), ("pool-retained", 2)], [(finding["kind"], finding["count"])
                                                             for finding in parsed["findings"]], "findings")


@test
def in_autocommit_nothing_tells_what_was_taken():
    program = TAKEN["psycopg2"] + "c = take()\nc.autocommit = True\nuse(c)\n"
    parsed = run_with_shim([PYTHON, "-c", program], db=cluster.fresh_database()).report()
    check_equal([("pool-retained", 3)], [(finding["kind"], finding["count"]) for finding in parsed["findings"]],
                "findings")


@test
def a_pool_with_room_has_no_inferred_capacity():
    parsed, _ = run_logging(PSYCOPG_POOL.replace("max_size=3", "max_size=8").replace("min_size=3", "min_size=8"), 4)
    pool, = parsed["pools"]
    check_equal((None, None, "unknown"), (pool["capacity"], pool["utilization"], pool["status"]), "capacity and status")
    check_equal("none", parsed["verdict"]["cause"], "verdict")


@test
def the_limit_is_the_capacity():
    parsed, log = run_logging(PSYCOPG2, 9, "--limit", "30")
    pool, = parsed["pools"]
    check_equal((30, "configured", "healthy"), (pool["capacity"], pool["capacity_source"], pool["status"]),
                "capacity and status")
    check_equal([], [finding for finding in parsed["findings"] if finding["level"] != "note"], "findings")


def holder(program, db):
    child = start_with_shim([PYTHON, "-c", program], db=db, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            env={"PQLEASE_ROLE": "main"})
    check_equal(b"ready\n", child.stdout.readline(), "output")
    return child


READY = "print('ready', flush=True)\nsys.stdin.read()\n"


@test
def a_live_pool_in_the_words_of_its_users():
    db = cluster.fresh_database()
    child = holder("import psycopg2, sys\nc = [psycopg2.connect('') for _ in range(10)]\n"
                   "[x.cursor().execute('SELECT 1') for x in c[:7]]\n" + READY, db)
    text = pqlease("report", "--limit", "30", child.ledger).stdout.decode()
    check_in("Pool 'main': 23% utilized (7/30 active, 23 idle, 0 waiting)", text, "report")


@test
def nine_listeners_are_nobodys_fault():
    """All in use for ever, and so they should be."""
    db = cluster.fresh_database()
    child = holder("import psycopg2, sys\nc = [psycopg2.connect('') for _ in range(9)]\nfor x in c:\n"
                   "    x.autocommit = True\n    x.cursor().execute('LISTEN x')\n" + READY, db)
    parsed = report(child.ledger, "--limit", "9")
    check_equal([], parsed["findings"], "findings")
    check_equal([True] * 9, [lease["dedicated"] for lease in parsed["open_leases"]], "dedicated")
    check_equal("none", parsed["verdict"]["cause"], "verdict")


@test
def a_long_query_is_no_leak():
    db = cluster.fresh_database()
    child = start_with_shim([cluster.bin("psql"), "-XAtc", "SELECT pg_sleep(30)"], db=db)
    wait_until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND "
                                     "datname = '" + db.name + "' AND state = 'active'") == "1", what="the query")
    parsed = wait_until(lambda: [r for r in [report(child.ledger)] if findings_of(r, "slow-query")], what="a note")[0]
    check_equal(["slow-query"], [finding["kind"] for finding in parsed["findings"]], "findings")
    check_equal("none", parsed["verdict"]["cause"], "verdict")


@test
def a_transaction_that_waits_is_told_and_where():
    db = cluster.fresh_database()
    child = holder("import psycopg2, sys\nc = psycopg2.connect('')\nc.cursor().execute('SELECT 1')\n" + READY, db)
    parsed = wait_until(lambda: [r for r in [report(child.ledger)] if findings_of(r, "idle-in-transaction")],
                        what="a note")[0]
    finding, = findings_of(parsed, "idle-in-transaction")
    check_equal(("note", "fact", 1), (finding["level"], finding["certainty"], finding["count"]), "the finding")


@test
def healthy_pgbench_has_no_finding():
    db = cluster.fresh_database()
    run_plain([cluster.bin("pgbench"), "-i", "-q"], db=db).check_status(0)
    db.count_from_here()
    run = run_with_shim([cluster.bin("pgbench"), "-S", "-c", "5", "-t", "400"], db=db).check_status(0)
    parsed = run.report()
    check_clean(parsed, db)
    check_equal("none", parsed["verdict"]["cause"], "verdict")


def check_refused(failure, role, prepare):
    """A role that takes connections until it is refused one: the class, the finding, who held, the level."""
    db = cluster.fresh_database()
    cluster.query("CREATE ROLE %s LOGIN" % role)
    cluster.query(prepare % {"role": role, "database": db.name})
    program = ("import psycopg2\nc = []\ntry:\n    while True:\n        c.append(psycopg2.connect(''))\n"
               "except psycopg2.OperationalError:\n    print(len(c))\n[x.close() for x in c]\n")
    run = run_with_shim([PYTHON, "-c", program], db=db, env={"PGUSER": role}).check_status(0)
    parsed, held = run.report(), int(run.stdout)
    check_equal([(failure, 1)], [(f["class"], f["count"]) for f in parsed["failures"]], "failures")
    finding, = findings_of(parsed, "exhausted")
    check_equal(("error", "fact", 1, held), (finding["level"], finding["certainty"], finding["count"],
                                             finding["evidence"]["held_then"]), "the finding")
    check_equal("exhausted", parsed["pools"][finding["pool"]]["status"], "status of the pool")
    snapshot, = parsed["snapshots"]
    check_equal((failure, held), (snapshot["failure"], len(snapshot["holders"])), "snapshot")
    places = {(frame["file"], frame["line"])
              for frame in (site_of(parsed, holder)["application_frame"] for holder in snapshot["holders"])}
    check_equal({("<string>", 5)}, places, "where they were taken")


@test
def a_role_at_its_limit_is_a_fact_with_its_holders():
    check_refused("role_limit", "narrow", "ALTER ROLE %(role)s CONNECTION LIMIT 3")


@test
def a_database_at_its_limit_is_a_fact_with_its_holders():
    check_refused("database_limit", "crowded", "ALTER DATABASE \"%(database)s\" CONNECTION LIMIT 2")


@test
def reserved_slots_are_a_fact_with_the_holders_of_the_rest():
    check_refused("reserved_slots", "ordinary", "SELECT 1 AS \"%(role)s %(database)s\"")


main()
