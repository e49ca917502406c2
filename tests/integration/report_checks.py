"""What several integration tests ask of a JSON report."""

import os

from pqlease_test import check, check_equal, wait_until

__all__ = [
    "application_frame", "check_clean", "check_frame", "check_nothing_lost", "check_one_finding", "check_sessions",
    "check_trusted", "counted_connections", "findings_of", "is_gone", "pool_established", "site_of", "wait_gone"
]


def findings_of(report, kind):
    return [finding for finding in report["findings"] if finding["kind"] == kind]


def check_trusted(report):
    check(report["trust"]["ok"], "trust.ok is false: %r" % report["trust"])


def check_nothing_lost(report):
    lost = {reason: count for reason, count in report["trust"]["lost"].items() if count != 0}
    check_equal({}, lost, "trust.lost")
    check_trusted(report)


def counted_connections(report):
    """What the server calls sessions."""
    totals = report["totals"]
    return totals["established"] + totals["resets_succeeded"] + totals["probes_answered"]


def check_sessions(report, db):
    """The report's connections are the server's sessions of this database. Returns the server's counts."""
    counts = db.sessions()
    check_equal(counts.sessions, counted_connections(report),
                "connections against the server's sessions (%r, %r)" % (counts, report["totals"]))
    return counts


def check_clean(report, db, told=()):
    """Everything was seen, everything was given back; nothing is told but findings of the kinds `told`. Returns the server's
    counts."""
    counts = check_sessions(report, db)
    totals = report["totals"]
    check_equal([], [finding for finding in report["findings"] if finding["kind"] not in told], "findings")
    check_equal(totals["established"], totals["finished"], "finished of the established (%r)" % totals)
    check_equal(0, totals["open"], "open")
    check_equal(0, counts.sessions_abandoned, "the server's abandoned sessions")
    check_nothing_lost(report)
    return counts


def check_one_finding(report, kind, count):
    """There is exactly one finding, of this kind and count. Returns it."""
    summary = [(finding["kind"], finding["count"]) for finding in report["findings"]]
    check_equal([(kind, count)], summary, "findings")
    return report["findings"][0]


def site_of(report, finding):
    sites = [site for site in report["sites"] if site["id"] == finding["site"]]
    check_equal(1, len(sites), "sites of the finding %r" % finding)
    return sites[0]


def application_frame(report, finding):
    return site_of(report, finding)["application_frame"]


def check_frame(report, finding, function, source, line):
    """The finding's application frame is this function at this line. Returns the frame."""
    frame = application_frame(report, finding)
    site = site_of(report, finding)
    check(frame["function"] is not None and function in frame["function"],
          "function of the finding: expected %s, got %r (frames %r)" % (function, frame, site["frames"]))
    check_equal((source, line), (frame["file"] and os.path.basename(frame["file"]), frame["line"]),
                "place of the finding (frames %r)" % site["frames"])
    return frame


def pool_established(report, database):
    """Established attempts in the pools of one database."""
    return sum(pool["connect_time"]["count"] for pool in report["pools"] if pool["database"] == database)


def is_gone(pid):
    """The process has ended (a zombie has)."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_gone(pid):
    wait_until(lambda: is_gone(pid), what="end of process %d" % pid)
