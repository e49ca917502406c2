#!/usr/bin/python3
"""`pqlease export`: every format read by somebody else's reader, or by its own definition, and compared with the report."""

import csv
import gzip
import io
import json
import os
import shutil
import subprocess

from pqlease_test import *

cluster = Cluster()


def recorded(db):
    return run_pqlease([fixture("orders")], "--report=none", db=db).ledger


def export(form, ledger):
    run = pqlease("export", "--format=" + form, ledger).check_status(0)
    again = pqlease("export", "--format=" + form, ledger)
    check_equal(run.stdout, again.stdout, "the same ledger gives the same bytes")
    return run.stdout


def held_seconds(report):
    """Of all leases: their mean number over the run."""
    return report["totals"]["mean_open"] * report["run"]["duration"]


def check_close(expected, actual, tolerance, what):
    check(abs(expected - actual) <= tolerance, "%s: expected %r, got %r" % (what, expected, actual))


# --- Protocol buffers, read without a schema -------------------------------------------------------------------------


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        check(key & 7 in (0, 2), "wire type %d" % (key & 7))
        value, at = varint(data, at)
        if key & 7 == 2:
            check(at + value <= len(data), "a length beyond the end")
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def all_of(message, field):
    return [value for number, value in fields(message) if number == field]


@test
def pprof_is_a_profile():
    db = cluster.fresh_database()
    ledger = recorded(db)
    parsed = report(ledger)
    data = export("pprof", ledger)
    profile = gzip.decompress(data)
    strings = [text.decode("utf-8") for text in all_of(profile, 6)]
    check_equal("", strings[0], "string 0")
    functions = {dict(fields(function))[1]: strings[dict(fields(function))[2]] for function in all_of(profile, 5)}
    check_in("charge_customer", functions.values(), "functions")
    locations = {dict(fields(location))[1] for location in all_of(profile, 4)}
    samples = all_of(profile, 2)
    check(all(place in locations for sample in samples for place in all_of(sample, 1)), "locations exist")
    leases, held = (sum(all_of(sample, 2)[i] for sample in samples) for i in range(2))
    check_equal(db.sessions().sessions, leases, "leases, against the server's sessions")
    check_close(held_seconds(parsed), held / 1e9, 1e-6, "held seconds")


@test
def go_reads_the_profile():
    if shutil.which("go") is None:
        return  # pprof_is_a_profile has read it
    db = cluster.fresh_database()
    path = os.path.join(ledger_directory(), "run.pb.gz")
    pqlease("export", "--format=pprof", "-o", path, recorded(db)).check_status(0)
    top = subprocess.run(["go", "tool", "pprof", "-top", "-cum", path], stdout=subprocess.PIPE, check=True,
                         env=dict(os.environ, HOME="/tmp", GOFLAGS="-mod=mod", GOTOOLCHAIN="local")).stdout
    check_in(b"charge_customer", top, "top")
    check_in(b"Type: held", top, "top")


@test
def folded_stacks_sum_to_the_time_held():
    db = cluster.fresh_database()
    ledger = recorded(db)
    total = 0
    lines = export("folded", ledger).decode("utf-8").splitlines()
    for line in lines:
        stack, weight = line.rsplit(" ", 1)
        check(stack.split(";")[0].startswith("_start") or "main" in stack, "outermost first: %r" % stack)
        total += int(weight)
    check_close(held_seconds(report(ledger)), total / 1e6, 1e-6 * (1 + len(lines)), "held seconds")


@test
def speedscope_profile():
    ledger = recorded(cluster.fresh_database())
    profile = json.loads(export("speedscope", ledger))
    frames = profile["shared"]["frames"]
    sampled = profile["profiles"][0]
    check_equal(len(sampled["samples"]), len(sampled["weights"]), "weights")
    check(all(0 <= number < len(frames) for sample in sampled["samples"] for number in sample), "frames exist")
    check_close(sampled["endValue"], sum(sampled["weights"]), 1e-9, "endValue")
    check_close(held_seconds(report(ledger)), sampled["endValue"], 1e-6, "held seconds")
    names = [frame["name"] for frame in frames]
    check_equal(len(frames), len({json.dumps(frame, sort_keys=True) for frame in frames}), "each frame once")
    check(any(name.startswith("charge_customer (orders.c:") for name in names), "names: %r" % names)


@test
def trace_spans_begin_and_end():
    db = cluster.fresh_database()
    events = json.loads(export("trace", recorded(db)))["traceEvents"]
    begun = {}
    spans = []
    for event in events:
        key = (event.get("cat"), event.get("id"))
        if event["ph"] == "b":
            check(key not in begun, "one beginning")
            begun[key] = event
        elif event["ph"] == "e":
            begin = begun.pop(key)
            check(event["ts"] >= begin["ts"], "ends after it began")
            spans.append(begin)
    check_equal({}, begun, "spans without an end")
    sessions = db.sessions()
    leases = [span for span in spans if span["cat"] == "lease"]
    check_equal(sessions.sessions, len(leases), "leases, against the server's sessions")
    check_equal(sessions.sessions_abandoned, len([span for span in leases if span["args"]["end"] == "left"]), "left")


@test
def csv_has_a_line_for_each_lease():
    db = cluster.fresh_database()
    ledger = recorded(db)
    rows = list(csv.DictReader(io.StringIO(export("csv", ledger).decode("utf-8"), newline="")))
    sessions = db.sessions()
    check_equal(sessions.sessions, len(rows), "lines, against the server's sessions")
    check_equal(sessions.sessions_abandoned, len([row for row in rows if row["end"] == "left"]), "left")
    check_close(held_seconds(report(ledger)), sum(float(row["hold_seconds"]) for row in rows), 1e-6, "held")
    check(all(row["taken_at"] and row["begun"] <= row["established"] <= row["ended"] for row in rows), "instants")


@test
def open_leases_are_exported():
    db = cluster.fresh_database()
    child = start_with_shim([PYTHON, "-c", "import psycopg2, time; c = psycopg2.connect(''); time.sleep(300)"], db=db)
    wait_until(lambda: db.backends(), what="a session")
    wait_until(lambda: b",open" in pqlease("export", "--format=csv", child.ledger).stdout, what="an open lease")
    weights = [int(line.rsplit(b" ", 1)[1]) for line in
               pqlease("export", "--format=folded", child.ledger).check_status(0).stdout.splitlines()]
    check(len(weights) == 1 and weights[0] > 0, "held so far: %r" % weights)


@test
def wrong_usage():
    ledger = run_pqlease(["true"], "--report=none").ledger
    for words in ([], ["--format=yaml", ledger], ["--format=csv", ledger, ledger]):
        run = pqlease("export", *words)
        check_equal((64, 1), (run.status, run.stderr.count(b"\n")), "status and lines of %r" % words)
    for words in (["--format=csv", "/nonexistent"], ["--format=csv", "-o", "/nonexistent/x", ledger]):
        run = pqlease("export", *words)
        check_equal((2, 1), (run.status, run.stderr.count(b"\n")), "status and lines of %r" % words)


main()
