#!/usr/bin/python3
"""Where commands write to: what must not be replaced is kept, and names of files cannot speak to a terminal."""

import json
import os
import resource

from pqlease_test import *

cluster = Cluster()


def recorded():
    run = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=cluster.fresh_database())
    return run.check_status(0).ledger


def content(path):
    with open(path, "rb") as file:
        return file.read()


@test
def an_output_never_replaces_a_ledger():
    ledger = recorded()
    other = ledger + ".link"
    os.symlink(ledger, other)
    pqlease("report", ledger)  # may keep symbols in it
    before = content(ledger)
    for path in (ledger, other):
        for words in (["report", "-o", path], ["report", "--format=json", "-o", path],
                      ["report", "--output", "json=" + path], ["check", "-o", path],
                      ["check", "--output", "junit=" + path], ["export", "--format=csv", "-o", path],
                      ["check", "--write-baseline", path]):
            run = pqlease(*words, ledger)
            check_equal(2, run.status, "status of %r" % words)
            check_equal(1, run.stderr.count(b"\n"), "lines of stderr: %r" % run.stderr)
            check(content(ledger) == before, "%r changed the ledger" % words)


@test
def a_run_does_not_write_its_report_over_its_ledger():
    directory = ledger_directory()
    path, marker = os.path.join(directory, "both"), os.path.join(directory, "marker")
    for words in (["--report-file", path], ["--output", "json=" + path]):
        run = pqlease("run", "-o", path, *words, "--", "touch", marker)
        check_equal((2, b"", ("pqlease: %s: is a ledger: not replaced\n" % path).encode()),
                    (run.status, run.stdout, run.stderr), words)
        check_equal([], os.listdir(directory), "COMMAND did not start, nothing was made")


@test
def an_error_line_does_not_speak_to_the_terminal():
    evil = b"/nonexistent/\x1b[2J\n\xc2\x9b2J\x9b2J\xe2\x80\xae"
    for words in (["report"], ["check"], ["check", "--config"], ["report", "-o"], ["run", "-o", evil, "--"],
                  ["report", b"--" + evil], ["report", b"--format=" + evil], ["status"], ["diff", evil], ["serve", "--listen"],
                  ["export", "--format=csv"], ["who", "1"], ["who"], [], ["advise", "--target"], ["doctor", "--"]):
        run = run_plain([PQLEASE] + words + [evil])
        check(run.status != 0, "status of %r" % words)
        check_equal(1, run.stderr.count(b"\n"), "lines of %r" % run.stderr)
        for part in (b"\x1b", b"\x9b", b"\xe2\x80\xae"):
            check(part not in run.stderr, "%r: %r in %r" % (words, part, run.stderr))


@test
def thousands_of_findings_at_one_place_fit_into_memory():
    """One line of code is behind many stacks where a helper connects for everybody."""
    run = run_with_shim([PYTHON, "-c", "import psycopg2; c = psycopg2.connect(''); raise SystemExit(1)"],
                        db=cluster.fresh_database())
    whole = report(run.ledger)
    check_equal((1, 1), (len(whole["sites"]), len(whole["findings"])), "sites and findings")
    for key in ("sites", "findings"):
        whole[key] = [dict(whole[key][0], fingerprint="%016x" % i) for i in range(8000)]
    for i in range(8000):
        whole["sites"][i]["id"] = whole["findings"][i]["site"] = i + 1
    path = os.path.join(ledger_directory(), "report.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(whole, file)
    limit = 1 << 30
    run = run_plain([PQLEASE, "check", "--format=junit", path],
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    check_equal(0, run.status, "status (%r)" % run.stderr[-200:])
    check(run.stdout.count(b"exit-closed") >= 8000, "every finding is there")


main()
