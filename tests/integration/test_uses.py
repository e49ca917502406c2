#!/usr/bin/python3
"""Uses: what programs do with their connections, judged by what they log themselves and by the server's own view."""

import re

from pqlease_test import *
from report_checks import findings_of

MAX_CONNECTIONS = 20

cluster = Cluster()
small = Cluster("-c", "max_connections=%d" % MAX_CONNECTIONS)

NOTHING_MISUSED = []
MISUSES = ("concurrent-use", "use-after-finish", "nested-lease", "server-closed")
STATES = {"active": "active", "idle": "idle", "idle in transaction": "in_transaction",
          "idle in transaction (aborted)": "in_transaction"}


def misuses_of(parsed):
    return sorted(finding["kind"] for finding in parsed["findings"] if finding["kind"] in MISUSES)


def check_time(logged_s, recorded_s, calls, what):
    """The program's clock stands outside ours; in between a busy machine may take the processor away."""
    slack = 0.02 * logged_s + 0.0005 * calls
    check(abs(recorded_s - logged_s) <= slack,
          "%s: the program measured %.6f s, the report says %.6f s" % (what, logged_s, recorded_s))


def check_way(way, count=20, env=None):
    db = cluster.fresh_database()
    run = run_with_shim([fixture("use_ways"), way, str(count)], db=db, env=env).check_status(0)
    logged = {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", run.stdout.decode())}
    parsed = run.report()
    check_equal(logged["uses"], parsed["totals"]["uses"], "uses")
    check_equal(logged["uses"], parsed["use_time"]["count"], "counted use times")
    check_time(logged["in_query"] / 1e9, parsed["held"]["in_query"], logged["commands"], "in queries")
    check_time(logged["idle_in_transaction"] / 1e9, parsed["held"]["idle_in_transaction"], logged["commands"],
               "idle in transactions")
    check_equal(NOTHING_MISUSED, misuses_of(parsed), "misuses")
    check_equal(1, parsed["totals"]["peak_in_use"], "peak in use")
    check_equal(0, parsed["totals"]["in_use"], "in use")
    held = sum(parsed["held"].values())
    check_time(parsed["hold_time"]["mean"] * parsed["hold_time"]["count"], held, 1, "all time held")
    check_server_agrees(parsed, db)


def make_way_test(way):
    def way_test():
        check_way(way)

    way_test.__name__ = "uses_by_" + way
    return test(way_test)


for name in ("sync", "error", "transaction", "async", "params", "prepared", "copy_out", "copy_in", "pipeline",
             "longjmp", "large_object"):
    make_way_test(name)


@test
def many_short_uses_are_all_counted():
    check_way("sync", 5000)


@test
def a_stack_for_every_use():
    check_way("sync", 2000, env={"PQLEASE_USES": "2"})


@test
def uses_switched_off_are_unknown():
    db = cluster.fresh_database()
    run = run_with_shim([fixture("use_ways"), "sync", "20"], db=db, env={"PQLEASE_USES": "0"}).check_status(0)
    parsed = run.report()
    for key in ("uses", "in_use", "peak_in_use"):
        check_equal(None, parsed["totals"][key], key)
    check_equal({"in_query": None, "idle_in_transaction": None, "idle": None}, parsed["held"], "held")
    check_server_agrees(parsed, db)


@test
def two_threads_in_one_connection():
    db = cluster.fresh_database()
    run = run_with_shim([fixture("use_ways"), "concurrent", "1"], db=db).check_status(0)
    check_in("concurrent-use", misuses_of(run.report()), "misuses")
    message = findings_of(run.report(), "concurrent-use")[0]["message"]
    check_in("on the same connection at use_ways.c:%d in misuse_concurrently" % fixture_line("use_ways.c", "PQputCopyData(conn, \"\", 0)"),
             message, "where the other thread was")


@test
def pgbench_counts_its_transactions():
    db = cluster.fresh_database()
    run_plain([cluster.bin("pgbench"), "-i", "-q"], db=db).check_status(0)
    command = [cluster.bin("pgbench"), "-n", "-c", "4", "-j", "2", "-t"]
    own = run_with_shim(command + ["1"], db=db).check_status(0).report()["totals"]["uses"] - 4
    parsed = run_with_shim(command + ["300"], db=db).check_status(0).report()
    check_equal(4 * 300 + own, parsed["totals"]["uses"], "uses, its own questions apart")
    check(1 <= parsed["totals"]["peak_in_use"] <= 4, "peak in use is %r" % parsed["totals"]["peak_in_use"])
    check(parsed["held"]["idle_in_transaction"] > 0, "time idle in transactions")
    check_equal(NOTHING_MISUSED, misuses_of(parsed), "misuses")


PSYCOPG2 = """
import psycopg2, sys
conn = psycopg2.connect("")
cursor = conn.cursor()
for i in range(50):
    cursor.execute("SELECT 1")
    cursor.execute("SELECT 2")
    conn.commit()
conn.autocommit = True
cursor.execute("LISTEN something")
conn.close()
"""


@test
def a_transaction_of_psycopg2_is_one_use():
    db = cluster.fresh_database()
    run = same_behaviour([PYTHON, "-c", PSYCOPG2], db=db)
    parsed = run.report()
    check_equal(50 + 1, parsed["totals"]["uses"], "uses")
    check_equal(NOTHING_MISUSED, misuses_of(parsed), "misuses")


TASKS = """
import asyncio, psycopg

async def task(others):
    async with await psycopg.AsyncConnection.connect("") as conn:
        for _ in range(5):
            await conn.execute("select 1")
            await others.wait()  # in a transaction, while they take connections and use theirs

async def main():
    others = asyncio.Barrier(8)
    await asyncio.gather(*(task(others) for _ in range(8)))

asyncio.run(main())
"""

POLLED = """
import psycopg2, select
from psycopg2.extensions import POLL_OK, POLL_READ

def wait(conn):
    while (state := conn.poll()) != POLL_OK:
        reads = state == POLL_READ
        select.select([conn] if reads else [], [] if reads else [conn], [], 10)

conns = [psycopg2.connect("", async_=1) for _ in range(8)]
for conn in conns:
    wait(conn)
cursors = [conn.cursor() for conn in conns]
for command in ("begin", "select 1", "select 2", "commit"):
    for conn, cursor in zip(conns, cursors):
        cursor.execute(command)
        wait(conn)  # the others are in their transactions
for conn in conns:
    conn.close()
"""

NESTED = """
import psycopg2
outer = psycopg2.connect("")
outer.cursor().execute("select 1")
inner = psycopg2.connect("")
inner.cursor().execute("select 1")
inner.close()
outer.close()
"""


@test
def coroutines_of_one_thread_do_not_nest():
    for script in (TASKS, POLLED):
        db = cluster.fresh_database()
        parsed = same_behaviour([PYTHON, "-c", script], db=db).check_status(0).report()
        check_equal(8, db.sessions().sessions, "sessions")
        check_equal(8, parsed["totals"]["peak_in_use"], "transactions at once")
        check_equal(NOTHING_MISUSED, misuses_of(parsed), "misuses")


@test
def who_waits_for_a_second_connection_nests():
    parsed = same_behaviour([PYTHON, "-c", NESTED], db=cluster.fresh_database()).check_status(0).report()
    check_in("nested-lease", misuses_of(parsed), "misuses")
    for finding in findings_of(parsed, "nested-lease"):
        check_in("a thread inside a transaction at <string>:4 in ", finding["message"], "where the transaction began")


# --- Live ----------------------------------------------------------------------------------------------------------


def hold(db, count, server=cluster, ledger=None, argv=None):
    child = start_with_shim(argv or [fixture("use_ways"), "hold", str(count)], db=db, ledger=ledger, stdin=-1, stdout=-1)
    check_equal(b"holding\n", child.stdout.readline(), "what the program says")
    return child


def server_states(server, db):
    rows = server.query("SELECT pid, state FROM pg_stat_activity WHERE datname = '%s'" % db.name)
    return {int(pid): STATES[state] for pid, state in rows}


def live_states(ledger):
    return {lease["backend_pid"]: lease["state"] for lease in report(ledger)["open_leases"]}


@test
def states_are_those_of_the_server():
    db = cluster.fresh_database()
    child = hold(db, 8)
    wait_until(lambda: len(server_states(cluster, db)) == 8, what="eight sessions")
    wait_until(lambda: server_states(cluster, db) == live_states(child.ledger), what="the same states")
    parsed = report(child.ledger)
    check_equal(6, parsed["totals"]["in_use"], "in use")
    for lease in parsed["open_leases"]:
        is_used = lease["state"] != "idle"
        check_equal(is_used, lease["last_use_site"] is not None, "a use site of the lease that is " + lease["state"])
        check_equal(False, lease["dedicated"], "dedicated")
    ids = {site["id"] for site in parsed["sites"]}
    check({lease["last_use_site"] for lease in parsed["open_leases"]} - {None} <= ids, "use sites are in the report")
    child.stdin.close()
    check_equal(0, child.wait(), "status")
    after = report(child.ledger)
    check_equal(0, after["totals"]["in_use"], "in use after the end")


@test
def uses_of_a_killed_process_are_folded():
    db = cluster.fresh_database()
    child = hold(db, 4)
    child.kill()
    child.wait()
    run_with_shim([cluster.bin("psql"), "-XAtc", "SELECT 1"], db=db, ledger=child.ledger).check_status(0)
    parsed = report(child.ledger)
    check_equal(0, parsed["totals"]["in_use"], "in use")
    check(parsed["held"]["in_query"] > 0 and parsed["held"]["idle_in_transaction"] > 0, "time held")


# --- Who held what ---------------------------------------------------------------------------------------------------

PYTHON_HOLDER = """
import psycopg2, sys
conns = [psycopg2.connect("") for _ in range(int(sys.argv[1]))]
conns[0].cursor().execute("SELECT 1")
print("holding", flush=True)
sys.stdin.read()
"""

PERL_HOLDER = """
use DBI; $| = 1;
my @conns = map { DBI->connect("dbi:Pg:", undef, undef, {AutoCommit => 1}) or die } 1 .. $ARGV[0];
$conns[0]->do("SELECT 1");
print "holding\\n"; my @rest = <STDIN>; $_->disconnect for @conns;
"""


@test
def a_refusal_shows_who_held_what():
    db = small.fresh_database()
    small.query("CREATE ROLE application LOGIN")
    ledger = ledger_directory() + "/run.ledger"
    limit = MAX_CONNECTIONS - int(small.value("SHOW superuser_reserved_connections"))
    parts = {"use_ways": 5, "python": 6, "perl": limit - 5 - 6}
    env = {"PGUSER": "application"}
    scripts = {"python": [PYTHON, "-c", PYTHON_HOLDER], "perl": ["/usr/bin/perl", "-e", PERL_HOLDER]}
    for role, count in parts.items():
        argv = scripts[role] + [str(count)] if role in scripts else [fixture("use_ways"), "hold", str(count)]
        child = start_with_shim(argv, db=db, ledger=ledger, stdin=-1, stdout=-1, env=dict(env, PQLEASE_ROLE=role))
        check_equal(b"holding\n", child.stdout.readline(), "what %s says" % role)
    refused = run_with_shim([small.bin("psql"), "-XAtc", "SELECT 1"], db=db, ledger=ledger, env=env)
    check_equal(2, refused.status, "psql's status")
    on_server = server_states(small, db)
    snapshots = report(ledger)["snapshots"]
    check_equal(1, len(snapshots), "snapshots")
    holders = snapshots[0]["holders"]
    check_equal("reserved_slots", snapshots[0]["failure"], "failure")
    check_equal("psql", snapshots[0]["role"], "who was refused")
    check_equal(on_server, {holder["backend_pid"]: holder["state"] for holder in holders}, "holders and states")
    check_equal(parts, {role: sum(holder["role"] == role for holder in holders) for role in parts}, "roles")
    check_equal(0, snapshots[0]["missing"], "missing")
    text = pqlease("report", ledger).check_status(0).stdout.decode()
    check_in("Refused   ", text)
    check_in("in_transaction", text)


main()
