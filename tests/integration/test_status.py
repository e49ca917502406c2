#!/usr/bin/python3
"""`pqlease status`: words, exit codes as monitoring plugins have them, lines when something changes."""

import json
import os
import re
import signal
import subprocess

from pqlease_test import *
from live_service import Holder

cluster = Cluster()
HEALTHY, WARNING, CRITICAL, UNKNOWN = range(4)


def status(holder, *arguments):
    run = pqlease("status", *arguments, holder.ledger)
    check_equal(b"", run.stderr, "stderr")
    return run.status, run.stdout.decode()


def status_json(holder, *arguments):
    code, text = status(holder, "--json", *arguments)
    parsed = json.loads(text)
    check_equal(1, parsed["schema"], "schema")
    return code, parsed


def in_transaction(db):
    return int(cluster.value("select count(*) from pg_stat_activity where datname = '%s' and state = "
                             "'idle in transaction'" % db.name))


@test
def the_exit_code_is_the_level():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 10")
    for used, expected, word in ((2, HEALTHY, "healthy"), (8, WARNING, "warning"), (10, CRITICAL, "critical")):
        holder.tell("use %d" % used)
        check_equal(used, in_transaction(db), "the server's own number")
        code, parsed = status_json(holder, "--limit", "10")
        check_equal((expected, word, used), (code, parsed["status"], parsed["in_use"]), "status, word and in_use")
        check_equal(10 - used, parsed["available"], "available")
        code, text = status(holder, "--limit", "10")
        check_equal(expected, code, "status of the text")
        check_in("Pool 'main': %d%% utilized (%d/10 active, %d idle, 0 waiting)" % (used * 10, used, 10 - used)
                 if used < 10 else "Pool 'main': 100% utilized (10/10 active, 0 idle", text, "the text")
        check_in("In Use: %d/10" % used, text, "the block")
    holder.quit()


@test
def what_cannot_be_known_is_3():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 1")
    code, parsed = status_json(holder)
    check_equal((UNKNOWN, "unknown", None), (code, parsed["status"], parsed["usage_percent"]), "without capacity")
    run = pqlease("status", "/no/such.ledger")
    check_equal((UNKNOWN, b""), (run.status, run.stdout), "no ledger")
    check_equal(1, run.stderr.count(b"\n"), "lines on stderr")
    holder.quit()


@test
def wrong_usage_is_64():
    for arguments in (["--watch", "x"], ["--exec", "true"], ["--json", "--watch", "1"], ["--limit", "-3"], ["a", "b"]):
        run = pqlease("status", *arguments)
        check_equal((64, b""), (run.status, run.stdout), "status %s" % arguments)
        check_equal(1, run.stderr.count(b"\n"), "lines on stderr of status %s" % arguments)


class Watch:
    """`pqlease status --watch` and the lines it has written so far."""

    def __init__(self, holder, *arguments):
        self.path = os.path.join(ledger_directory(), "lines")
        with open(self.path, "wb") as file:
            self.process = subprocess.Popen([PQLEASE, "status", "--watch", "0.1", *arguments, holder.ledger],
                                            env=clean_environment(), stdout=file, stderr=subprocess.STDOUT)
        cleanup(self.end)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def lines(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read().splitlines()

    def wait_for(self, text):
        return wait_until(lambda: [line for line in self.lines() if text in line], timeout=20,
                          what="%r in %s" % (text, self.lines()))


@test
def watching_says_each_change_once():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 10")
    watch = Watch(holder, "--limit", "10")
    watch.wait_for("healthy: Pool 'main': 0% utilized")
    holder.tell("use 8")
    watch.wait_for("Connection pool usage high: 80.0% (8/10)")
    holder.tell("rest")
    wait_until(lambda: len([line for line in watch.lines() if "healthy: Pool" in line]) == 2, what="healthy again")
    holder.quit()
    watch.wait_for("the run has ended")
    check(watch.process.wait(timeout=20) in (HEALTHY, WARNING, UNKNOWN), "status at the end: the level of the whole run")
    check_equal(1, len([line for line in watch.lines() if "usage high" in line]), "lines of one crossing")
    for line in watch.lines():
        check(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (INFO|WARNING|CRITICAL) ", line), "line %r" % line)


@test
def a_command_is_run_at_a_change_and_not_in_a_storm():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 10")
    log = os.path.join(ledger_directory(), "log")
    command = 'echo "$PQLEASE_STATUS $PQLEASE_POOL $PQLEASE_MESSAGE" >>%s' % log
    watch = Watch(holder, "--limit", "10", "--exec", command)
    watch.wait_for("healthy")
    wait_until(lambda: os.path.exists(log) and os.path.getsize(log) > 0, what="the command ran")
    for _ in range(3):
        seen = len(watch.lines())
        holder.tell("use 9")
        wait_until(lambda seen=seen: len(watch.lines()) > seen, what="a line")
        seen = len(watch.lines())
        holder.tell("rest")
        wait_until(lambda seen=seen: len(watch.lines()) > seen, what="a line")
    with open(log, encoding="utf-8") as file:
        runs = file.read().splitlines()
    check_equal(1, len(runs), "runs in a minute: %r" % runs)
    check_in("INFO main healthy", runs[0], "what the command saw")
    holder.quit()


@test
def a_signal_ends_watching():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 1")
    watch = Watch(holder, "--limit", "10")
    watch.wait_for("healthy")
    watch.process.send_signal(signal.SIGINT)
    check_equal(HEALTHY, watch.process.wait(timeout=10), "status")
    holder.quit()


@test
def a_worker_that_crashed_and_came_back_is_a_restart():
    db = cluster.fresh_database()
    first = Holder(db, "worker")
    first.tell("open 1")
    first.kill()
    second = Holder(db, "worker", first.ledger)
    second.tell("open 1")
    _, parsed = status_json(second)
    check_equal(1, parsed["process_pool_restarts"], "process_pool_restarts")
    check_equal([(first.process.pid, second.process.pid)],
                [(entry["pid"], entry["new_pid"]) for entry in parsed["restart_history"]], "restart_history")
    _, text = status(second)
    check_in("role 'worker': process %d" % first.process.pid, text, "the text")
    second.quit()


main()
