#!/usr/bin/python3
"""From the server's process id to the line of code: `pqlease who` against pg_stat_activity."""

import json
import subprocess

from pqlease_test import *
from report_checks import *

cluster = Cluster()


def who(pid, ledger, *options):
    run = pqlease("who", *options, str(pid), ledger).check_status(0)
    check_equal(b"", run.stderr, "stderr")
    return run.stdout.decode()


def matches(pid, ledger):
    return json.loads(who(pid, ledger, "--json"))["matches"]


def hold(db, count):
    child = start_with_shim([fixture("endings"), "hold", str(count)], db=db, stdout=subprocess.PIPE)
    check_equal(b"ready\n", child.stdout.readline(), "what the program says")
    return child


@test
def every_open_backend_has_its_line():
    db = cluster.fresh_database()
    child = hold(db, 3)
    backends = db.backends()
    check_equal(3, len(backends), "backends of the server")
    place = "endings.c:%d take_connections" % fixture_line("endings.c", "site: held")
    for pid in backends:
        text = who(pid, child.ledger)
        check(place in text, "%r is not in:\n%s" % (place, text))
        check("pid %d, role endings" % child.pid in text, "process and role are not in:\n%s" % text)
        found = matches(pid, child.ledger)
        check_equal([child.pid], [match["pid"] for match in found], "processes of the matches")
        check_in(found[0]["state"], ("idle", "open"), "state")
        check(0 < found[0]["age"] < 600, "age %r" % found[0]["age"])
        check_equal(None, found[0]["ended"], "end of an open one")


@test
def what_ended_tells_who_released_it():
    db = cluster.fresh_database()
    run = run_with_shim([fixture("releases"), "told", "3"], db=db).check_status(0)
    told = [int(line) for line in run.stdout.split()]
    check_equal(4, len(told), "server processes the program told")
    line = fixture_line("releases.cc", "release: object")
    for pid in told[:-1]:
        found = matches(pid, run.ledger)
        check_equal([("released", "explicit", line)],
                    [(match["state"], match["released_by"], match["released_at"]["line"]) for match in found], "matches")
        text = who(pid, run.ledger)
        check("releases.cc:%d" % line in text and "by the program" in text, "the release is not in:\n%s" % text)
    left = matches(told[-1], run.ledger)
    check_equal(["never finished"], [match["state"] for match in left], "the last one")
    check_equal(fixture_line("releases.cc", "site: told"), left[0]["taken_at"]["line"], "where it was taken")


@test
def an_unknown_number_is_one_line_and_status_2():
    run = run_with_shim([fixture("releases"), "scopes"], db=cluster.fresh_database()).check_status(0)
    said = pqlease("who", "2147483646", run.ledger).check_status(2)
    check_equal((b"", 1), (said.stdout, said.stderr.count(b"\n")), "output")
    check(said.stderr.startswith(b"pqlease: "), "stderr %r" % said.stderr)
    for wrong in ("x", "", "0", "99999999999", "12x"):
        pqlease("who", wrong, run.ledger).check_status(64)
    pqlease("who").check_status(64)
    pqlease("who", "1", run.ledger, "more").check_status(64)
    pqlease("who", "1", run.ledger + ".none").check_status(2)


main()
