#!/usr/bin/python3
"""`pqlease drill`: waves, the first that fails, what grows; compared with the server's counts."""

import os
import re
import signal
import subprocess

from pqlease_test import *

cluster = Cluster()


def drill(*words, db=None, env=None):
    ledger = os.path.join(ledger_directory(), "run.ledger")
    run = pqlease("drill", "-o", ledger, *words, db=db, env=env)
    run.ledger = ledger
    return run


@test
def leaks_grow_from_wave_to_wave():
    db = cluster.fresh_database()
    run = drill("--waves", "4", "--parallel", "2", "--", "sh", "-c", fixture("orders") + " 2>/dev/null; true", db=db)
    run.check_status(0)
    counts = db.sessions()
    text = run.stderr.decode("utf-8")
    check_in("Before    0 open, 0 left behind", text, "health before")
    check_equal(["1", "2", "3", "4"], re.findall(r"^Wave (\d+) +2 ok, 0 failed; took min ", text, re.M), "waves")
    check_in("4 waves, 8 runs, 0 failed; first failing wave: none", text, "summary")
    per_wave = counts.sessions_abandoned / 4
    check_in("growing by %.3g per wave, %d now: " % (per_wave, counts.sessions_abandoned), text, "growth")
    check_in("charge_customer", text, "place")
    report = run.report()
    check_equal(counts.sessions, report["totals"]["established"], "established, against the server")
    check_equal(0, report["run"]["exit_code"], "exit code")
    check_in("%d left behind; " % counts.sessions_abandoned, text, "health after the last wave")


@test
def clean_commands_do_not_grow():
    db = cluster.fresh_database()
    run = drill("--runs", "5", "--parallel", "2", "--", cluster.bin("psql"), "-XAtc", "select 1", db=db)
    run.check_status(0)
    check_equal(b"1\n" * 5, run.stdout, "COMMAND's own output")
    text = run.stderr.decode("utf-8")
    check_in("growing nothing", text, "growth")
    check_in("3 waves, 5 runs, 0 failed", text, "summary")
    check_equal(5, db.sessions().sessions, "sessions")


@test
def first_failing_wave():
    directory = ledger_directory()
    script = 'n=$(cat "$0" 2>/dev/null || echo 0); echo $((n + 1)) >"$0"; [ "$n" -lt 2 ] || exit 7'
    run = drill("--waves", "4", "--", "sh", "-c", script, os.path.join(directory, "count"))
    run.check_status(7)
    check_in(b"4 runs, 2 failed; first failing wave: wave 3", run.stderr, "summary")


@test
def refused_connections_fail_a_wave():
    db = cluster.fresh_database()
    run = drill("--waves", "2", "--", "sh", "-c", "%s -c 'select 1' 2>/dev/null; true" % cluster.bin("psql"), db=db,
                env={"PGPORT": "1"})
    run.check_status(0)
    check_in(b"first failing wave: wave 1", run.stderr, "summary")


@test
def a_signal_ends_command_and_drill():
    ledger = os.path.join(ledger_directory(), "run.ledger")
    script = "echo ready; exec sleep 300"
    child = subprocess.Popen([PQLEASE, "drill", "-o", ledger, "--", "sh", "-c", script], env=clean_environment(),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
    check_equal(b"ready\n", child.stdout.readline(), "COMMAND's output")
    child.send_signal(signal.SIGTERM)
    _, stderr = child.communicate(timeout=30)
    check_equal(128 + signal.SIGTERM, child.returncode, "status")
    check_in(b"1 waves, 1 runs, 1 failed", stderr, "summary")


@test
def wrong_usage():
    for words in ([], ["--waves", "0", "true"], ["--parallel", "x", "true"], ["--delay", "-1", "true"], ["--nope"]):
        run = pqlease("drill", *words)
        check_equal((64, 1), (run.status, run.stderr.count(b"\n")), "status and lines of %r" % words)
    check_equal(127, pqlease("drill", "--", "/nonexistent").status, "status without a COMMAND")


main()
