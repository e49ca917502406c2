#!/usr/bin/python3
"""A real pooler, pgbouncer, in between: who was refused by it, who waits behind it, and for how long."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

# pylint: disable=wrong-import-position,wildcard-import
from pqlease_test import *
from report_checks import *

cluster = Cluster()

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin") or "pgbouncer"
CONFIGURATION = """[databases]
* = host={host} port={port} user=postgres
[pgbouncer]
unix_socket_dir = {directory}
listen_port = 6432
auth_type = any
admin_users = postgres
logfile = {directory}/log
{settings}
"""

# Takes connections and one of them into use, says so, goes on when told.
PYTHON_HOLDER = """import psycopg2, sys
held = [psycopg2.connect('') for _ in range(%d)]
held[0].cursor().execute('SELECT 1')
print('held', flush=True)
sys.stdin.readline()
held[0].rollback()
for one in held:
    one.close()
"""
PERL_HOLDER = """use DBI; $| = 1;
my @held = map { DBI->connect('dbi:Pg:', '', '', {PrintError => 0}) } 1..%d;
print "held\\n";
<STDIN>;
$_->disconnect for @held;
"""
PERL_FIRST = """use DBI; $| = 1;
my $one = DBI->connect('dbi:Pg:', '', '', {PrintError => 0, AutoCommit => %d}) or exit 3;
print "connected\\n";
my $got = $one->selectall_arrayref('SELECT 17');
print defined $got ? $got->[0][0] : 'refused', "\\n";
$one->rollback if $got && !$one->{AutoCommit};
$one->disconnect;
"""


def unprivileged():
    """It refuses to run as root."""
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}


class Pooler:
    """A pgbouncer of its own on a unix socket in a directory of its own."""

    def __init__(self, db, **settings):
        self.db = db
        self.directory = tempfile.mkdtemp(prefix="pqlease-pooler-", dir="/tmp")
        cleanup(shutil.rmtree, self.directory, ignore_errors=True)
        os.chmod(self.directory, 0o777)
        ini = os.path.join(self.directory, "pgbouncer.ini")
        with open(ini, "w", encoding="utf-8") as text:
            text.write(CONFIGURATION.format(
                host=cluster.socket_directory, port=cluster.port, directory=self.directory,
                settings="\n".join("%s = %s" % pair for pair in settings.items())))
        self.process = subprocess.Popen([PGBOUNCER, ini], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, cwd="/", **unprivileged())
        cleanup(self.stop)
        wait_until(self.answers, 10, "pgbouncer to listen")

    def answers(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(os.path.join(self.directory, ".s.PGSQL.6432")) == 0

    def stop(self):
        self.process.kill()
        self.process.wait()

    def environment(self):
        return {"PGHOST": self.directory, "PGPORT": "6432", "PGUSER": "postgres", "PGDATABASE": self.db.name}

    def conninfo(self):
        return "host=%s port=6432 user=postgres dbname=%s" % (self.directory, self.db.name)

    def waiting(self):
        """What pgbouncer itself says of this database: clients that wait for a connection to the server."""
        run = run_plain([cluster.bin("psql"), "-XAt", "-F", " ", "-d", "pgbouncer", "-c", "SHOW POOLS"], db=self)
        rows = [row.split() for row in run.check_status(0).stdout.decode().splitlines()]
        return sum(int(row[3]) for row in rows if row[0] == self.db.name)


def script(name, text):
    """A file, so that lines have a name."""
    directory = tempfile.mkdtemp(prefix="pqlease-scripts-", dir="/tmp")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def start(argv, pooler, ledger, said):
    child = start_with_shim(argv, db=pooler, ledger=ledger, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check_equal(said, child.stdout.readline().decode().rstrip("\n"), "output of %s" % argv)
    return child


def end(child):
    rest = child.communicate(b"\n")[0].decode()
    check_equal(0, child.returncode, "status")
    return rest


def new_ledger():
    return os.path.join(ledger_directory(), "run.ledger")


def python_holder(pooler, ledger, count):
    return start([PYTHON, script("holder.py", PYTHON_HOLDER % count)], pooler, ledger, "held")


def holder_lines(parsed, snapshot):
    """Who held, by file and line of the place where each was taken."""
    frames = [site_of(parsed, holder)["application_frame"] for holder in snapshot["holders"]]
    return sorted((os.path.basename(frame["file"] or "?"), frame["line"]) for frame in frames)


def check_exhausted(parsed, count):
    """One class of failures, one finding, a pool that is called exhausted. Returns the first snapshot."""
    check_equal([("pooler_limit", count)], [(f["class"], f["count"]) for f in parsed["failures"]], "failures")
    finding = findings_of(parsed, "exhausted")
    check_equal([("error", "fact", count)], [(f["level"], f["certainty"], f["count"]) for f in finding], "exhausted")
    check("exhausted" in [pool["status"] for pool in parsed["pools"]], "status: %r" % parsed["pools"])
    check_equal(count, len(parsed["snapshots"]), "snapshots")
    return parsed["snapshots"][0]


@test
def whom_the_pooler_lets_not_in_is_told_who_is_in():
    pooler = Pooler(cluster.fresh_database(), max_client_conn=4)
    ledger = new_ledger()
    holders = [python_holder(pooler, ledger, 2),
               start(["/usr/bin/perl", script("holder.pl", PERL_HOLDER % 2)], pooler, ledger, "held")]
    refused = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=pooler, ledger=ledger)
    check_equal(2, refused.status, "status of psql")
    check_in("max_client_conn", refused.stderr.decode(), "what pgbouncer says")
    for holder in holders:
        end(holder)
    parsed = report(ledger)
    snapshot = check_exhausted(parsed, 1)
    check_equal([("holder.pl", 2)] * 2 + [("holder.py", 2)] * 2, holder_lines(parsed, snapshot), "holders")
    check_equal("psql", snapshot["role"], "who was refused")


@test
def who_waited_in_vain_with_a_first_command_was_refused():
    pooler = Pooler(cluster.fresh_database(), default_pool_size=1, query_wait_timeout=1)
    ledger = new_ledger()
    holder = python_holder(pooler, ledger, 1)
    late = start(["/usr/bin/perl", script("late.pl", PERL_FIRST % 1)], pooler, ledger, "connected")
    check_equal("refused\n", end(late), "output")
    end(holder)
    parsed = report(ledger)
    snapshot = check_exhausted(parsed, 1)
    check_in(("holder.py", 2), holder_lines(parsed, snapshot), "holders")
    check_equal(0, parsed["totals"]["failed"], "no connect failed")
    check_equal([], findings_of(parsed, "server-closed"), "it was no server that went away")


def waiting_of(ledger, *options):
    return [pool["waiting"] for pool in report(ledger, *options)["pools"] if pool["role"] == "late.pl"][0]


def pool_of(parsed, role):
    return [pool for pool in parsed["pools"] if pool["role"] == role][0]


@test
def who_waits_with_a_first_command_is_counted_and_timed():
    pooler = Pooler(cluster.fresh_database(), default_pool_size=1, query_wait_timeout=0)
    ledger = new_ledger()
    holder = python_holder(pooler, ledger, 1)
    late = start(["/usr/bin/perl", script("late.pl", PERL_FIRST % 0)], pooler, ledger, "connected")
    wait_until(lambda: pooler.waiting() == 1, what="pgbouncer to say that somebody waits")
    begun = time.monotonic()
    wait_until(lambda: waiting_of(ledger) == 1, what="somebody to wait")
    text = pqlease("status", ledger).stdout.decode()
    check_in("Pool 'late.pl': 1 active, 0 idle, 1 waiting", text)
    wait_until(lambda: time.monotonic() - begun > 2.1, what="a wait beyond the threshold")
    check_equal("exhausted", pool_of(report(ledger), "late.pl")["status"], "status while it waits")
    waited = time.monotonic() - begun
    end(holder)
    check_equal("17\n", end(late), "output")
    parsed = report(ledger)
    pool = pool_of(parsed, "late.pl")
    check(pool["first_command_time"]["max"] >= waited, "first command: %r" % pool["first_command_time"])
    check(pool["connect_time"]["max"] < waited, "connect: %r" % pool["connect_time"])
    check_equal("exhausted", pool["status"], "status")
    finding = findings_of(parsed, "exhausted")
    check_equal([(1, 0, 1)], [(f["count"], f["evidence"]["refused"], f["evidence"]["waited"]) for f in finding],
                "exhausted: %r" % finding)
    check_equal([], parsed["failures"], "failures")
    check_in("first command behind the pooler", pqlease("report", ledger).stdout.decode())


@test
def a_working_first_command_is_not_called_waiting():
    pooler = Pooler(cluster.fresh_database())
    ledger = new_ledger()
    slow = start_with_shim([cluster.bin("psql"), "-XAtc", "select pg_sleep(3)"], db=pooler, ledger=ledger)
    wait_until(lambda: os.path.exists(ledger), what="a ledger")
    wait_until(lambda: [pool["waiting"] for pool in report(ledger)["pools"]] == [None], what="a use of unknown kind")
    check_equal(0, pooler.waiting(), "clients that wait for pgbouncer")
    check_equal([0], [pool["waiting"] for pool in report(ledger, "--limit=5")["pools"]], "with a known capacity")
    slow.wait()
    parsed = report(ledger)
    check_equal([], findings_of(parsed, "exhausted"), "exhausted")


@test
def the_witness_says_that_a_pooler_is_in_between():
    pooler = Pooler(cluster.fresh_database(), default_pool_size=3)
    ledger = new_ledger()
    holder = python_holder(pooler, ledger, 2)
    server = report(ledger, "--server", pooler.conninfo())["server"]
    check_equal(([], None), (server["unmatched"], server["agrees"]), "unmatched, agrees: %r" % server)
    text = pqlease("report", "--server", pooler.conninfo(), ledger).check_status(0).stdout.decode()
    check_in("pooler", text)
    end(holder)


main()
