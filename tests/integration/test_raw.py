#!/usr/bin/python3
"""Raw use, with no command of ours: LD_PRELOAD alone gives one ledger for a run, with every connection in it."""

import glob
import os
import re
import subprocess

from pqlease_test import *
from report_checks import *

cluster = Cluster()

PSQLS = 200
SMALL_CLIENTS = 1800
FORKED_CLIENTS = 3000


def in_namespace():
    """Can we give the program a /dev/shm of its own?"""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


class RawRun:
    """`LD_PRELOAD=shim ARGV` with no other setting. `ledgers` are the files it left at the default place."""

    def __init__(self, argv, db, timeout=60):
        if in_namespace():
            self.directory = ledger_directory()
            mount = ["unshare", "-m", "/bin/sh", "-c", 'mount --bind "$0" /dev/shm && LD_PRELOAD="$1" && shift && '
                     'export LD_PRELOAD && exec "$@"', self.directory, SHIM]
            self.run = run_plain(mount + argv, db=db, timeout=timeout)
            self.ledgers = glob.glob(self.directory + "/*")
        else:
            before = set(glob.glob("/dev/shm/pqlease.*"))
            self.run = run_plain(argv, db=db, env={"LD_PRELOAD": SHIM}, timeout=timeout)
            self.ledgers = sorted(set(glob.glob("/dev/shm/pqlease.*")) - before)
            cleanup(self.remove)

    def remove(self):
        for ledger in self.ledgers:
            os.unlink(ledger)

    def report(self):
        check_equal(1, len(self.ledgers), "ledgers of one run (%r)" % self.ledgers)
        name = os.path.basename(self.ledgers[0])
        check(re.fullmatch(r"pqlease\.%d\.\d+-\d+\.ledger" % os.geteuid(), name), "name of the ledger: " + name)
        status = os.stat(self.ledgers[0])
        check_equal((0o100600, os.geteuid()), (status.st_mode, status.st_uid), "mode and owner of the ledger")
        return report(self.ledgers[0])


def check_raw(argv, db, processes, timeout=60, told=()):
    """One ledger, everything in it, nothing lost; `processes` of them called libpq. Returns report and counts."""
    raw = RawRun(argv, db, timeout)
    raw.run.check_status(0)
    check_equal(b"", raw.run.stderr, "stderr")
    parsed = raw.report()
    counts = check_clean(parsed, db, told)
    check_equal(processes, parsed["trust"]["processes"], "trust.processes")
    return raw, parsed, counts


@test
def two_psql_of_one_shell_share_a_ledger():
    db = cluster.fresh_database()
    script = '"$0" -XAtc "select 1"; "$0" -XAtc "select 2"'
    raw, parsed, counts = check_raw(["/bin/sh", "-c", script, cluster.bin("psql")], db, 2)
    check_equal(b"1\n2\n", raw.run.stdout, "stdout")
    check_equal(2, counts.sessions, "the server's sessions")
    pids = {process["pid"] for process in parsed["processes"]}
    check_equal(2, len(pids), "processes: %r" % parsed["processes"])


@test
def prefork_server_whose_master_never_connects():
    db = cluster.fresh_database()
    _, parsed, counts = check_raw([fixture("prefork"), "4", "5"], db, 4)
    check_equal(20, counts.sessions, "the server's sessions")
    parents = {process["parent"] for process in parsed["processes"]}
    check_equal(1, len(parents), "parents of the children: %r" % parsed["processes"])
    check_equal({"exit"}, {process["how_ended"] for process in parsed["processes"]}, "how_ended")


@test
def two_runs_have_two_ledgers():
    db = cluster.fresh_database()
    runs = [RawRun([fixture("connect_loop"), "3"], db) for _ in range(2)]
    ids = {run.report()["run"]["id"] for run in runs}
    check_equal(2, len(ids), "ids of two runs: %r" % ids)


@test
def program_without_libpq_leaves_no_ledger():
    raw = RawRun(["/bin/sh", "-c", "ls / >/dev/null; true"], None)
    raw.run.check_status(0)
    check_equal([], raw.ledgers, "ledgers of a run without libpq")


@test
def five_thousand_processes_one_after_another():
    """psqls, clients as small as a client can be, and forked children of a server; two lanes, for two processors."""
    db = cluster.fresh_database()
    script = ('set -e; ("$0" %d "$1" 1 && "$0" %d "$2" -XAtqc "select 1") >/dev/null & "$3" %d; wait $!' %
              (SMALL_CLIENTS, PSQLS, FORKED_CLIENTS))
    argv = ["/bin/sh", "-c", script, fixture("spawn_loop"), fixture("connect_loop"), cluster.bin("psql"),
            fixture("fork_loop")]
    processes = PSQLS + SMALL_CLIENTS + FORKED_CLIENTS
    _, parsed, counts = check_raw(argv, db, processes, timeout=110, told=("churn",))
    check_equal(processes, counts.sessions, "the test's own connections, as the server saw them")
    lost = parsed["trust"]["lost"]
    check_equal({0}, set(lost.values()), "trust.lost (%r)" % lost)
    check_equal(counts.sessions, parsed["hold_time"]["count"], "hold_time.count")


main()
