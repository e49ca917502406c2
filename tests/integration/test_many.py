#!/usr/bin/python3
"""Many threads and many processes at once: every connection is counted."""

from pqlease_test import *
from report_checks import *

cluster = Cluster()


@test
def eight_threads_of_a_thousand_connects():
    db = cluster.fresh_database()
    run = run_with_shim([fixture("threads"), "8", "1000"], db=db, timeout=100).check_status(0)
    parsed = run.report()
    counts = check_clean(parsed, db)
    check_equal(8000, counts.sessions, "the test's own connections, as the server saw them")
    check_equal(counts.sessions, parsed["connect_time"]["count"], "connect_time.count")
    check(1 <= parsed["totals"]["peak_open"] <= 8, "peak_open: %r" % parsed["totals"])


@test
def fifty_processes_of_twenty_connects():
    """Ten lanes at a time, all in one ledger."""
    db = cluster.fresh_database()
    script = ('lane() { for i in 1 2 3 4 5; do "$0" 20 || echo failed; done; }; '
              "for lane in 1 2 3 4 5 6 7 8 9 10; do lane & done; wait")
    run = run_with_shim(["/bin/sh", "-c", script, fixture("connect_loop")], db=db).check_status(0)
    check_equal(b"20 connections\n" * 50, run.stdout, "what the programs say")
    parsed = run.report()
    counts = check_clean(parsed, db)
    check_equal(1000, counts.sessions, "the test's own connections, as the server saw them")
    check_equal(50, parsed["trust"]["processes"], "trust.processes")


main()
