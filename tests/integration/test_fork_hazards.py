#!/usr/bin/python3
"""A connection that crosses a fork: harmless when the child leaves it alone, a finding with both places when not."""

from pqlease_test import *

cluster = Cluster()
PROGRAM = "fork_hazards"
SOURCE = "fork_hazards.c"


def run_child_that(what):
    db = cluster.fresh_database()
    run = run_with_shim([fixture(PROGRAM), what], db)
    check_equal(0, run.status, "status")
    return db, run.report()


def check_hazard(parsed, marker, finished):
    findings = parsed["findings"]
    check_equal([("used-after-fork", "error", "fact", 1)],
                [(finding["kind"], finding["level"], finding["certainty"], finding["count"]) for finding in findings],
                "findings")
    sites = {site["id"]: site["application_frame"] for site in parsed["sites"]}
    check_equal(fixture_line(SOURCE, "/* %s */" % marker), sites[findings[0]["site"]]["line"], "line of the use")
    example = findings[0]["evidence"]["examples"][0]
    check_equal(fixture_line(SOURCE, "/* opened */"), sites[example["taken_site"]]["line"], "line where it was opened")
    check_equal(finished, findings[0]["evidence"]["finished_here"], "finished_here")
    check_equal(1, parsed["totals"]["inherited_use"], "inherited_use")


@test
def used_by_the_child():
    _, parsed = run_child_that("uses")
    check_hazard(parsed, "used", 0)


@test
def finished_by_the_child():
    """It ends the parent's session: the server saw one session, ended in order."""
    db, parsed = run_child_that("finishes")
    check_hazard(parsed, "finished", 1)
    check_equal(1, db.sessions().sessions, "sessions")
    check_equal(0, db.sessions().sessions_abandoned, "abandoned")


@test
def reset_by_the_child():
    """It ends the parent's session; the one that it gets instead is its own."""
    db, parsed = run_child_that("resets")
    check_hazard(parsed, "reset", 1)
    check_equal(1, parsed["totals"]["uses"], "uses")
    check_equal(0, parsed["totals"]["resets"], "resets")
    check_server_agrees(parsed, db, abandoned=0)


@test
def left_alone_by_the_child():
    db, parsed = run_child_that("ignores")
    check_equal([], parsed["findings"], "findings")
    check_server_agrees(parsed, db, abandoned=0)


main()
