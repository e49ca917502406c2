#!/usr/bin/python3
"""Ordinary clients under the shim: every session of the server is in the report, and the client notices nothing."""

import glob
import os
import re
import shutil
import tempfile

from pqlease_test import *
from report_checks import *

cluster = Cluster("--tcp")


def temporary_directory():
    directory = tempfile.mkdtemp(prefix="pqlease-clients-")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def check_recorded(run, db, at_least=1, told=()):
    """The client's connections are all there and all given back; and there were some. Returns the report. `told` are
    the kinds of what the report may say all the same."""
    parsed = run.report()
    counts = check_clean(parsed, db, told)
    check(counts.sessions >= at_least, "the test should open %d sessions, the server saw %r" % (at_least, counts))
    return parsed


# --- PostgreSQL's own programs ---------------------------------------------------------------------------------


@test
def psql_binary_is_recorded():
    db = cluster.fresh_database()
    run = same_behaviour([cluster.bin("psql"), "-XAtc", "select 1"], db=db)
    check_recorded(run, db)


@test
def psql_with_reconnects_and_errors_is_recorded():
    db = cluster.fresh_database()
    script = "select 1;\n\\c - - - -\nselect 1/0;\n\\c\nselect no_such_column;\n\\echo end\n"
    run = same_behaviour([cluster.bin("psql"), "-X"], db=db, stdin=script)
    check_recorded(run, db, at_least=2)


@test
def psql_of_the_distribution_is_recorded():
    """A Perl script that becomes the real program."""
    db = cluster.fresh_database()
    run = same_behaviour(["/usr/bin/psql", "-XAtc", "select 1"], db=db)
    check_recorded(run, db)


@test
def psql_over_tcp_is_recorded():
    db = cluster.fresh_database()
    run = same_behaviour([cluster.bin("psql"), "-XAtc", "select 1"], db=db, env={"PGHOST": "127.0.0.1"})
    parsed = check_recorded(run, db)
    places = [(pool["host"], str(pool["port"]), pool["database"], pool["user"]) for pool in parsed["pools"]]
    check_equal([("127.0.0.1", str(cluster.port), db.name, "postgres")], places, "pools")


@test
def several_psql_of_one_shell_are_recorded():
    db = cluster.fresh_database()
    psql = cluster.bin("psql")
    run = same_behaviour(["/bin/sh", "-c", 'for i in 1 2 3; do "$0" -XAtc "select $i"; done', psql], db=db)
    check_recorded(run, db, at_least=3)


def same_but_for_numbers(argv, db, names):
    """As same_behaviour, for a program that prints what it measured: `names` are the beginnings of such lines."""
    measured = re.compile(rb"^(%s).*$" % b"|".join(re.escape(name) for name in names), re.MULTILINE)
    plain = run_plain(argv, db=db)
    db.count_from_here()
    shimmed = run_with_shim(argv, db=db)
    for what in ("status", "stdout", "stderr"):
        before, after = getattr(plain, what), getattr(shimmed, what)
        if what != "status":
            before, after = measured.sub(rb"\1", before), measured.sub(rb"\1", after)
        check_equal(before, after, "%s of %s" % (what, argv[0]))
    return shimmed


def pgbench(db, *options):
    directory = temporary_directory()
    script = os.path.join(directory, "script.sql")
    with open(script, "w") as text:
        text.write("select 1;\n")
    argv = [cluster.bin("pgbench"), "-n", "-f", script] + list(options)
    names = [b"latency average", b"initial connection time", b"average connection time", b"tps", b"latency stddev"]
    return same_but_for_numbers(argv, db, names)


@test
def pgbench_with_threads_is_recorded():
    db = cluster.fresh_database()
    run = pgbench(db, "-c", "8", "-j", "2", "-t", "50")
    check_recorded(run.check_status(0), db, at_least=8)


@test
def pgbench_connecting_for_each_transaction_is_recorded():
    db = cluster.fresh_database()
    run = pgbench(db, "-C", "-c", "2", "-j", "2", "-t", "50")
    check_recorded(run.check_status(0), db, at_least=100)


def with_tables(count):
    db = cluster.fresh_database()
    for number in range(count):
        db.prepare("create table place_%d as select generate_series(1, 1000) as number" % number)
    return db


@test
def pg_dump_with_workers_is_recorded():
    db = with_tables(4)
    parent = temporary_directory()
    target = os.path.join(parent, "dump")
    run = same_behaviour([cluster.bin("pg_dump"), "-j3", "-Fd", "-f", target], db=db,
                         reset=lambda: shutil.rmtree(target))
    check(len(glob.glob(target + "/*")) > 4, "pg_dump wrote nothing")
    check_recorded(run.check_status(0), db, at_least=4)


@test
def vacuumdb_with_workers_is_recorded():
    db = with_tables(4)
    run = same_behaviour([cluster.bin("vacuumdb"), "-j3", "-z", "-d", db.name], db=db)
    check_recorded(run.check_status(0), db, at_least=3)


def sessions_elsewhere():
    """Sessions of all databases but the judge's, once their number stands still."""
    last = [None]

    def settled():
        row = cluster.query("SELECT (SELECT sum(sessions) FROM pg_stat_database WHERE datname <> 'postgres'), "
                            "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
                            "pid <> pg_backend_pid())")[0]
        is_settled = row[1] == "0" and row == last[0]
        last[0] = row
        return is_settled

    wait_until(settled, what="sessions to end")
    return int(last[0][0])


@test
def vacuumdb_of_all_databases_is_recorded():
    """It connects to every database; the judge's own is left out on both sides."""
    argv = [cluster.bin("vacuumdb"), "-j3", "--all", "--maintenance-db=template1"]
    plain = run_plain(argv, env=cluster.environment())
    before = sessions_elsewhere()
    run = run_with_shim(argv, env=cluster.environment())
    grown = sessions_elsewhere() - before
    check_equal((plain.status, plain.stdout, plain.stderr), (run.status, run.stdout, run.stderr), "vacuumdb --all")
    parsed = run.report()
    databases = {pool["database"] for pool in parsed["pools"]} - {"postgres"}
    check(len(databases) > 1, "vacuumdb should have seen several databases, not %r" % databases)
    check_equal(grown, sum(pool_established(parsed, name) for name in databases),
                "connections outside the judge's database, against the server's sessions")
    check_equal([], parsed["findings"], "findings")
    check_equal((parsed["totals"]["established"], 0), (parsed["totals"]["finished"], parsed["totals"]["open"]),
                "finished and open (%r)" % parsed["totals"])
    check_nothing_lost(parsed)


@test
def createdb_and_dropdb_are_recorded():
    db = cluster.fresh_database()
    dropped = [cluster.bin("dropdb"), "--maintenance-db", db.name, "made_by_createdb"]
    run = same_behaviour([cluster.bin("createdb"), "--maintenance-db", db.name, "made_by_createdb"], db=db,
                         reset=lambda: run_plain(dropped, db=db).check_status(0))
    check_recorded(run.check_status(0), db)
    db.count_from_here()
    check_recorded(run_with_shim(dropped, db=db).check_status(0), db)


@test
def createdb_that_fails_is_recorded():
    db = cluster.fresh_database()
    run = same_behaviour([cluster.bin("createdb"), "--maintenance-db", db.name, db.name], db=db)
    run.check_status(1)
    check_recorded(run, db)


@test
def pg_isready_is_a_probe():
    db = cluster.fresh_database()
    run = same_behaviour([cluster.bin("pg_isready"), "-d", db.name], db=db)
    parsed = check_recorded(run.check_status(0), db)
    totals = parsed["totals"]
    check_equal((1, 1, 0, 0),
                tuple(totals[name] for name in ("probes", "probes_answered", "attempts", "established")),
                "probes, probes_answered, attempts, established")


# --- Clients that load libpq at run time -----------------------------------------------------------------------

PSYCOPG2 = """
import select
import psycopg2

def wait(conn):
    while True:
        state = conn.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        read = [conn] if state == psycopg2.extensions.POLL_READ else []
        write = [] if read else [conn]
        select.select(read, write, [], 10)

with_statement = psycopg2.connect("")
with with_statement, with_statement.cursor() as cursor:
    cursor.execute("select 1")
    print(cursor.fetchone())
with_statement.close()

held = [psycopg2.connect("application_name=held") for _ in range(3)]
for conn in held:
    conn.autocommit = True
    try:
        conn.cursor().execute("select 1 / 0")
    except psycopg2.Error as error:
        print(type(error).__name__, error.pgcode)
    conn.close()

slow = psycopg2.connect("", async_=1)
wait(slow)
cursor = slow.cursor()
cursor.execute("select 2")
wait(slow)
print(cursor.fetchall())
slow.close()

psycopg2.connect("application_name=dropped")
try:
    psycopg2.connect("dbname=no_such_database_here")
except psycopg2.OperationalError:
    print("no such database")
"""

MULTIPROCESSING = """
import multiprocessing
import psycopg2

def square(number):
    conn = psycopg2.connect("")
    cursor = conn.cursor()
    cursor.execute("select %s * %s", (number, number))
    answer = cursor.fetchone()[0]
    conn.close()
    return answer

kept = psycopg2.connect("")
pool = multiprocessing.get_context("fork").Pool(3)
print(pool.map(square, range(12)))
pool.close()
pool.join()
kept.close()
"""

DBD_PG = """
use strict;
use warnings;
use DBI;

my @held = map { DBI->connect("dbi:Pg:", "", "", {RaiseError => 1, PrintError => 0}) } 1 .. 3;
print $_->selectrow_array("select 17"), "\\n" for @held;
eval { $held[0]->do("select 1 / 0") };
print "caught\\n" if $@;
$_->disconnect for @held;
{
	my $scoped = DBI->connect("dbi:Pg:", "", "", {RaiseError => 1});
	local $SIG{__WARN__} = sub { die "warned\\n" };
	eval { $scoped->do("do \\$\\$ begin raise warning 'out'; end \\$\\$") };
	print "left: $@";
}
my $after = DBI->connect("dbi:Pg:", "", "", {RaiseError => 1});
print $after->ping ? "alive\\n" : "dead\\n";
$after->disconnect;
"""


@test
def psycopg2_is_recorded():
    db = cluster.fresh_database()
    run = same_behaviour([PYTHON, "-c", PSYCOPG2], db=db).check_status(0)
    # Its last connection is not closed but dropped.
    parsed = check_recorded(run, db, at_least=6, told=("finalizer-closed",))
    check_equal(1, parsed["totals"]["failed"], "failed")


@test
def psycopg2_in_forked_workers_is_recorded():
    """The workers inherit a connection of their parent that they never use, and end by os._exit."""
    db = cluster.fresh_database()
    run = same_behaviour([PYTHON, "-c", MULTIPROCESSING], db=db).check_status(0)
    parsed = check_recorded(run, db, at_least=13)
    check_equal({"exit"}, {process["how_ended"] for process in parsed["processes"]}, "how_ended")


@test
def perl_dbd_pg_is_recorded():
    db = cluster.fresh_database()
    run = same_behaviour(["/usr/bin/perl", "-e", DBD_PG], db=db).check_status(0)
    # One goes out of scope.
    check_recorded(run, db, at_least=5, told=("finalizer-closed",))


main()
