#!/usr/bin/python3
"""Attempts, however they begin and end: their times, their phases, and what the server makes of them."""

import statistics

from delay_proxy import DelayProxy
from pqlease_test import *
from report_checks import *

cluster = Cluster("--tls")

DELAY_S = 0.25
WITHIN = 0.05
PHASES_WITHIN = 0.10
NO_TLS = {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


def connect(how, count, env=None):
    """Run connect_paths under the shim. Returns its run, database and report, and the times it measured itself."""
    db = cluster.fresh_database()
    run = run_with_shim([fixture("connect_paths"), how, str(count)], db=db, env=env).check_status(0)
    words = [line.split() for line in run.stdout.decode().split("\n")]
    measured = [int(line[1]) / 1e9 for line in words if line[:1] == ["attempt"]]
    return run, db, run.report(), measured


def check_within(expected, actual, part, what):
    check(abs(actual - expected) <= part * expected,
          "%s: expected %.6f within %d %%, got %.6f" % (what, expected, part * 100, actual))


def counted(report, *names):
    return tuple(report["totals"][name] for name in names)


# --- How long it takes -----------------------------------------------------------------------------------------


def check_latency(how):
    with DelayProxy(cluster, DELAY_S) as proxy:
        _, db, parsed, measured = connect(how, 7, dict(proxy.environment(), **NO_TLS))
    check(min(measured) >= DELAY_S, "the proxy should delay each of %r" % measured)
    times = parsed["connect_time"]
    check_within(statistics.median(measured), times["p50"], WITHIN, "connect_time.p50")
    check_within(statistics.mean(measured), times["mean"], WITHIN, "connect_time.mean")
    check_within(min(measured), times["min"], WITHIN, "connect_time.min")
    check_within(max(measured), times["max"], WITHIN, "connect_time.max")
    counts = check_clean(parsed, db)
    check_equal(counts.sessions, times["count"], "connect_time.count against the server's sessions")


@test
def latency_of_synchronous_connects():
    check_latency("sync")


@test
def latency_of_asynchronous_connects():
    check_latency("async")


@test
def latency_of_synchronous_resets():
    with DelayProxy(cluster, DELAY_S) as proxy:
        _, db, parsed, measured = connect("reset", 3, dict(proxy.environment(), **NO_TLS))
    check(min(measured) >= DELAY_S, "the proxy should delay each of %r" % measured)
    check_clean(parsed, db)


# --- Phases ----------------------------------------------------------------------------------------------------


def mean_sum(times):
    return times["mean"] * times["count"] if times and times["count"] else 0.0


def check_phases(parsed):
    phases = parsed["connect_phases"]
    check(phases is not None, "connect_phases is null")
    total = sum(mean_sum(phases[name]) for name in ("tcp", "tls", "auth"))
    check_within(mean_sum(parsed["connect_time"]), total, PHASES_WITHIN, "sum of the phases (%r)" % phases)
    return phases


def check_no_tls(phases):
    check(phases["tls"] is None or phases["tls"]["count"] == 0, "tls without TLS: %r" % phases["tls"])


def phases_over_tls(how):
    _, db, parsed, _ = connect(how, 20, {"PGHOST": "127.0.0.1", "PGSSLMODE": "require", "PGGSSENCMODE": "disable"})
    counts = check_clean(parsed, db)
    phases = check_phases(parsed)
    check_equal((counts.sessions, counts.sessions), (phases["tls"]["count"], phases["auth"]["count"]),
                "tls.count and auth.count against the server's sessions")


@test
def phases_of_synchronous_connects_over_tls():
    phases_over_tls("sync")


@test
def phases_of_asynchronous_connects_over_tls():
    phases_over_tls("async")


@test
def phases_without_tls():
    """The proxy holds back the start-up packet: what it costs is in the last phase."""
    with DelayProxy(cluster, DELAY_S) as proxy:
        _, db, parsed, _ = connect("sync", 5, dict(proxy.environment(), **NO_TLS))
    check_clean(parsed, db)
    phases = check_phases(parsed)
    check_no_tls(phases)
    check(phases["auth"]["p50"] >= DELAY_S, "auth should hold the delay: %r" % phases)


@test
def phases_on_a_unix_socket():
    _, db, parsed, _ = connect("async", 20, NO_TLS)
    check_clean(parsed, db)
    check_no_tls(check_phases(parsed))


# --- How it ends -----------------------------------------------------------------------------------------------


@test
def abandoned_attempts():
    """Finished before they were established: no lease, no session; a warning, for nothing was left behind."""
    with DelayProxy(cluster, DELAY_S) as proxy:
        _, db, parsed, _ = connect("abandoned", 5, dict(proxy.environment(), **NO_TLS))
    check_equal((5, 0, 0, 5, 0), counted(parsed, "attempts", "established", "failed", "abandoned", "open"),
                "attempts, established, failed, abandoned, open")
    check_equal([("abandoned-start", "warning", 5)],
                [(finding["kind"], finding["level"], finding["count"]) for finding in parsed["findings"]],
                "findings")
    evidence = parsed["findings"][0]["evidence"]
    check_equal((5, 0, 0), tuple(evidence[key] for key in ("given_up", "cut_short", "left")),
                "given_up, cut_short, left")
    check_server_agrees(parsed, db, abandoned=0)


def closed_port():
    with DelayProxy(cluster, 0) as proxy:
        return proxy.port


@test
def attempts_that_fail_while_polled():
    env = dict(NO_TLS, PGHOST="127.0.0.1", PGPORT=closed_port())
    _, db, parsed, _ = connect("refused", 5, env)
    check_equal((5, 0, 5, 0), counted(parsed, "attempts", "established", "failed", "abandoned"),
                "attempts, established, failed, abandoned")
    check_equal(5, parsed["failed_time"]["count"], "failed_time.count")
    check_equal([("refused", 5)], [(failure["class"], failure["count"]) for failure in parsed["failures"]],
                "failures")
    check_clean(parsed, db)


@test
def attempts_that_fail_at_once():
    """PQconnectStart itself may say CONNECTION_BAD: nothing is polled."""
    env = dict(NO_TLS, PGHOST="/nonexistent")
    _, db, parsed, _ = connect("refused", 5, env)
    check_equal((5, 0, 5, 0), counted(parsed, "attempts", "established", "failed", "abandoned"),
                "attempts, established, failed, abandoned")
    check_clean(parsed, db)


@test
def attempts_never_polled_to_the_end():
    with DelayProxy(cluster, DELAY_S) as proxy:
        _, db, parsed, _ = connect("unpolled", 3, dict(proxy.environment(), **NO_TLS))
    finding = check_one_finding(parsed, "abandoned-start", 3)
    check_equal("warning", finding["level"], "level")
    check_frame(parsed, finding, "connect_unpolled", "connect_paths.c",
                fixture_line("connect_paths.c", "site: unpolled"))
    check_equal((3, 0), counted(parsed, "attempts", "established"), "attempts, established")
    check_sessions(parsed, db)
    check_nothing_lost(parsed)


@test
def resets_never_polled_to_the_end():
    """PQresetStart ends the session in good order; what it leaves is an attempt that was abandoned, not a leak."""
    _, db, parsed, _ = connect("reset-lost", 3)
    counts = check_sessions(parsed, db)
    check_equal((3, 0), (counts.sessions, counts.sessions_abandoned), "the server's sessions, abandoned")
    finding = check_one_finding(parsed, "abandoned-start", 3)
    check_frame(parsed, finding, "reset_lost", "connect_paths.c",
                fixture_line("connect_paths.c", "site: reset-lost"))
    check_nothing_lost(parsed)


def check_resets(how, count, env=None):
    _, db, parsed, measured = connect(how, count, env)
    check_equal(count, len(measured), "resets that the program measured")
    check_equal((1, 1, count, count, 1), counted(parsed, "attempts", "established", "resets", "resets_succeeded",
                                                 "finished"),
                "attempts, established, resets, resets_succeeded, finished")
    check_equal(1, parsed["hold_time"]["count"], "hold_time.count")
    counts = check_clean(parsed, db)
    check_equal(1 + count, counts.sessions, "the server's sessions")


@test
def synchronous_resets_are_counted_apart():
    check_resets("reset", 3)


@test
def asynchronous_resets_are_counted_apart():
    check_resets("reset-async", 3)


@test
def reset_revives_a_failed_connection():
    """The first attempt fails; its PGconn becomes a lease by a reset once the server is there."""
    port = closed_port()
    db = cluster.fresh_database()
    child = start_with_shim([fixture("connect_paths"), "revived", "1"], db=db, stdin=-1, stdout=-1,
                            env=dict(NO_TLS, PGHOST="127.0.0.1", PGPORT=port))
    with child.stdin, child.stdout:
        check_equal(b"failed\n", child.stdout.readline(), "first line of the program")
        with DelayProxy(cluster, 0, port):
            child.stdin.close()
            check_equal(b"as expected\n", child.stdout.readline(), "second line of the program")
            check_equal(0, child.wait(timeout=30), "status")
    parsed = report(child.ledger)
    check_equal((1, 1, 1, 0), counted(parsed, "attempts", "failed", "resets_succeeded", "open"),
                "attempts, failed, resets_succeeded, open")
    check_equal([], parsed["findings"], "findings")
    check_sessions(parsed, db)
    check_nothing_lost(parsed)


main()
