#!/usr/bin/python3
"""Who released a lease: the program, its interpreter, a destructor, nobody. Compared with the server's own counts."""

import os

from pqlease_test import *
from report_checks import *

cluster = Cluster("-c", "max_connections=150")
PYTHON = "/usr/bin/python3"


# How a lease ended: one of these, or nothing to blame. Other findings are about how it was used.
ENDS = ("never-finished", "owner-thread-gone", "exit-closed", "finalizer-closed", "pool-retained", "killed", "growing")


def check_one_end(parsed, kind, count):
    ends = [finding for finding in parsed["findings"] if finding["kind"] in ENDS]
    return check_one_finding(dict(parsed, findings=ends), kind, count)


def kinds(parsed):
    return sorted((finding["kind"], finding["level"], finding["count"]) for finding in parsed["findings"])


def released(parsed):
    """Sums over all sites of who released."""
    sums = {}
    for site in parsed["sites"]:
        for who, count in site["released"].items():
            sums[who] = sums.get(who, 0) + count
    return {who: count for who, count in sums.items() if count}


def run_cpp(*arguments):
    db = cluster.fresh_database()
    run = same_behaviour([fixture("releases")] + list(arguments), db=db).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_nothing_lost(parsed)
    abandoned = sum(site["released"]["never"] for site in parsed["sites"])
    check_equal(counts.sessions_abandoned, abandoned, "never released, against the server's abandoned sessions")
    check_equal(counts.sessions, sum(released(parsed).values()), "leases by who released them")
    return run, parsed, counts


@test
def a_static_destructor_is_no_release_by_the_program():
    _, parsed, counts = run_cpp("static", "3")
    check_equal({"at_exit": counts.sessions}, released(parsed), "released")
    finding = check_one_finding(parsed, "exit-closed", counts.sessions)
    check_equal("error", finding["level"], "level of several of one process")
    check_frame(parsed, finding, "Connection", "releases.cc", fixture_line("releases.cc", "site: object"))


@test
def one_of_a_handler_of_exit_is_a_warning():
    _, parsed, counts = run_cpp("handler")
    check_equal({"at_exit": counts.sessions}, released(parsed), "released")
    check_equal("warning", check_one_finding(parsed, "exit-closed", 1)["level"], "level of a single one")


@test
def a_destructor_of_a_local_object_is_the_programs_own_release():
    _, parsed, counts = run_cpp("scopes", "7")
    check_equal({"by_program": counts.sessions}, released(parsed), "released")
    check_equal([], parsed["findings"], "findings")


def forgotten_by(run):
    return int(run.stdout.split()[0])


@test
def forty_of_a_hundred_threads_leave_their_connection():
    run, parsed, counts = run_cpp("threads", "100")
    check_equal(counts.sessions_abandoned, forgotten_by(run), "the program's own log, against the server's count")
    finding = check_one_end(parsed, "owner-thread-gone", forgotten_by(run))
    check_equal("error", finding["level"], "level")
    check_frame(parsed, finding, "serve", "releases.cc", fixture_line("releases.cc", "site: request"))
    returned = counts.sessions - counts.sessions_abandoned
    line = fixture_line("releases.cc", "release: request")
    check("released %d of %d times at releases.cc:%d" % (returned, counts.sessions, line) in finding["message"],
          "the path around the release is not named: %s" % finding["message"])


@test
def what_is_returned_late_is_counted_and_not_blamed():
    run, parsed, counts = run_cpp("late", "10")
    check_equal({"by_program": counts.sessions}, released(parsed), "released")
    check_equal([], parsed["findings"], "findings")
    check_in(parsed["totals"]["returned_late"], (forgotten_by(run), None), "returned late")


def check_killed_in_any_call(parsed, db):
    """In the middle of a connect, perhaps: the server may have counted that session, and nobody could record it."""
    totals = parsed["totals"]
    sessions = db.sessions().sessions
    check(totals["established"] <= sessions <= totals["attempts"], "sessions %d of %r" % (sessions, totals))


@test
def what_grows_is_seen_though_all_is_closed_in_the_end():
    """The one forgets, the other fills what it then keeps: both have about as many open. Killed, live or over."""
    databases = {how: cluster.fresh_database() for how in ("grow", "fill", "killed")}
    children = {how: start_with_shim([fixture("releases"), "fill" if how == "fill" else "grow", "24"], db=db)
                for how, db in databases.items()}
    wait_until(lambda: len(databases["killed"].backends()) >= 22, 30, "connections left open")
    live = report(children["killed"].ledger)
    check_equal([], [finding["kind"] for finding in live["findings"] if finding["kind"] == "never-finished"], "live")
    children["killed"].kill()
    for how, child in children.items():
        child.wait(30)
        parsed = report(child.ledger)
        if how == "killed":
            check_killed_in_any_call(parsed, databases[how])
        else:
            check_sessions(parsed, databases[how])
        growing = findings_of(parsed, "growing")
        check_equal(0 if how == "fill" else 1, len(growing), "growing, %s: %r" % (how, kinds(parsed)))
        check_equal([], findings_of(parsed, "killed"), "the same leases blamed twice")
        for finding in growing:
            check_frame(parsed, finding, "take_for_long", "releases.cc",
                        fixture_line("releases.cc", "site: tick"))
            check(8 <= finding["count"] <= 24, "count %d of 24 forgotten ones, of which the last half is looked at" % finding["count"])


@test
def what_grows_is_seen_while_it_does():
    db = cluster.fresh_database()
    child = start_with_shim([fixture("releases"), "growing"], db=db)
    wait_until(lambda: os.path.exists(child.ledger), what="the ledger")
    wait_until(lambda: findings_of(report(child.ledger), "growing"), 60, "growth")
    parsed = report(child.ledger)
    check_equal(None, child.poll(), "the program goes on")
    check_equal([("growing", "error")], [kind[:2] for kind in kinds(parsed)], "findings")
    finding = findings_of(parsed, "growing")[0]
    check_frame(parsed, finding, "take_for_long", "releases.cc", fixture_line("releases.cc", "site: tick"))
    check(0 < finding["count"] <= len(db.backends()), "count %d of what the server has open" % finding["count"])
    check_equal("leak", parsed["verdict"]["cause"], "cause")


@test
def two_places_that_leak_are_two_findings():
    db = cluster.fresh_database()
    command = "for i in 1 2 3 4 5 6 7 8 9 10; do %s twosites 50 || exit; done" % fixture("releases")
    run = run_with_shim(["/bin/sh", "-c", command], db=db).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_equal(1000, counts.sessions_abandoned, "the test's own leaks, as the server saw them")
    check_equal([("never-finished", "error", 500)] * 2, kinds(parsed), "findings")
    lines = sorted(application_frame(parsed, finding)["line"] for finding in parsed["findings"])
    check_equal(sorted(fixture_line("releases.cc", "site: " + where) for where in ("here", "there")), lines, "lines")


main()
