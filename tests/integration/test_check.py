#!/usr/bin/python3
"""The gate: `check` and `run --check` on ledgers of real runs. What leaked is what the server counts as abandoned."""

import json
import os
import shutil
import subprocess
import tempfile

from pqlease_test import *
from report_checks import *

cluster = Cluster()

GREEN, RED, UNTRUSTED, USAGE = 0, 1, 2, 64


def scratch():
    directory = tempfile.mkdtemp(prefix="pqlease-check-")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def write(path, text):
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def check_gate(expected, *arguments, **options):
    """`pqlease check ARGUMENTS` has this exit code; returns its standard output and error as text."""
    run = pqlease("check", *arguments, **options).check_status(expected)
    return run.stdout.decode(), run.stderr.decode()


class Leaking:
    """One run that leaks and one that does not, shared by all tests that only read them."""

    runs = None

    @classmethod
    def get(cls):
        if cls.runs is None:
            db = cluster.fresh_database()
            leaking = run_with_shim([fixture("orders.O2")], db=db, ledger=os.path.join(cls.directory(), "leak"))
            cls.abandoned = db.sessions().sessions_abandoned
            cls.sessions = db.sessions().sessions
            check(cls.abandoned > 1, "the fixture leaks more than once")
            clean = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=cluster.fresh_database(),
                                  ledger=os.path.join(cls.directory(), "clean")).check_status(0)
            cls.runs = (leaking.ledger, clean.ledger)
        return cls.runs

    path = None

    @classmethod
    def directory(cls):
        if cls.path is None:
            cls.path = tempfile.mkdtemp(prefix="pqlease-check-", dir="/dev/shm")
            import atexit
            atexit.register(shutil.rmtree, cls.path, ignore_errors=True)
        return cls.path


def leaking_ledger():
    return Leaking.get()[0]


def clean_ledger():
    return Leaking.get()[1]


def leak_of(ledger):
    findings = [f for f in report(ledger)["findings"] if f["kind"] == "never-finished"]
    check_equal(1, len(findings), "leaks")
    return findings[0]


def baseline_line(fingerprint, count, kind="never-finished", site="orders.c charge_customer"):
    return "\t".join([fingerprint, kind, str(count), "2026-01-31", site, "known"]) + "\n"


HEADER = "# pqlease baseline 1: fields\n"

# --- The default gate ---------------------------------------------------------------------------------------------


@test
def a_leak_is_red_at_its_line():
    out, err = check_gate(RED, leaking_ledger())
    lines = out.split("\n")
    check_in("FAILED: %d connections seen in " % Leaking.sessions, lines[0], "first line")
    check_in(", %d leaks, run %s" % (Leaking.abandoned, report(leaking_ledger())["run"]["id"]), lines[0], "first line")
    check_in("tests/fixtures/orders.c:%d: error: never-finished %dx in charge_customer" %
             (fixture_line("orders.c", "/* leak */"), Leaking.abandoned), lines[1], "second line")
    check_equal("", err, "stderr")


@test
def a_clean_run_is_certified():
    out, _ = check_gate(GREEN, clean_ledger())
    run = report(clean_ledger())["run"]
    check_in("pqlease check: passed: 1 connection seen in ", out)
    check_in(", 0 leaks, run %s\n" % run["id"], out)


@test
def a_report_in_json_is_judged_like_its_ledger():
    path = write(os.path.join(scratch(), "report.json"), json.dumps(report(leaking_ledger())))
    from_ledger, _ = check_gate(RED, leaking_ledger())
    from_json, _ = check_gate(RED, path)
    check_equal(from_ledger, from_json, "verdict")


@test
def the_verdict_is_deterministic_and_may_go_to_a_file():
    path = os.path.join(scratch(), "verdict")
    out, _ = check_gate(RED, "-o", path, leaking_ledger())
    again, _ = check_gate(RED, leaking_ledger())
    check_equal(("", again), (out, read(path)), "verdict")


@test
def the_whole_report_carries_the_gate():
    out, err = check_gate(RED, "--format=json", leaking_ledger())
    parsed = json.loads(out)
    check_equal("red", parsed["gate"]["result"], "result")
    check_equal("error", parsed["gate"]["failures"][0]["item"], "item")
    check_equal(["new"], [f["state"] for f in parsed["gate"]["findings"]], "states")
    check_in("FAILED", err)


# --- Fails closed ---------------------------------------------------------------------------------------------------


@test
def nothing_recorded_is_never_green():
    run = run_pqlease(["/bin/true"], "--check").check_status(UNTRUSTED)
    check_in("CANNOT BE TRUSTED", run.stderr.decode())
    check("leaks" not in run.stderr.decode().split("CANNOT BE TRUSTED")[1].split("\n")[0], "no word of leaks")
    check_gate(UNTRUSTED, run.ledger)


@test
def lost_records_are_never_green():
    """More than a small ledger holds, some of it unseen: whatever else is found, 2."""
    run = run_pqlease([fixture("failed_connects"), "keep", "5000", "host=/nonexistent"], "--check",
                      env={"PQLEASE_LEDGER_SIZE": "1M"}).check_status(UNTRUSTED)
    lost = report(run.ledger)["trust"]["lost"]["leases"]
    check(lost > 0, "nothing was lost: the test shows nothing")
    check_in("trust: connections that found no room in the ledger and are counted nowhere: %d" % lost,
             run.stderr.decode())
    check_gate(UNTRUSTED, "--fail-on", "none", run.ledger)
    # Suppressed to the last finding it is still not green.
    generated, _ = check_gate(UNTRUSTED, "--gen-suppressions", run.ledger)
    check_gate(UNTRUSTED, "--suppressions", write(os.path.join(scratch(), "s.yaml"), generated), run.ledger)


@test
def what_is_no_ledger_cannot_be_judged():
    directory = scratch()
    for name, content in (("empty", ""), ("text", "hello\n" * 100), ("json", '{"schema": "other/1"}'),
                          ("cut.json", json.dumps(report(leaking_ledger()))[:-100])):
        out, err = check_gate(UNTRUSTED, write(os.path.join(directory, name), content))
        check_equal("", out, "stdout")
        check_equal(1, err.count("\n"), "lines of error: %r" % err)
    check_gate(UNTRUSTED, os.path.join(directory, "absent"))


@test
def a_torn_ledger_cannot_be_judged():
    path = os.path.join(ledger_directory(), "torn")
    with open(leaking_ledger(), "rb") as stream:
        content = stream.read()
    with open(path, "wb") as stream:
        stream.write(content[:len(content) // 2])
    check_gate(UNTRUSTED, path)


@test
def distrust_wins_over_a_failed_item():
    parsed = report(leaking_ledger())
    parsed["trust"]["ok"] = False
    parsed["trust"]["reasons"] = ["connections that found no room"]
    out, _ = check_gate(UNTRUSTED, write(os.path.join(scratch(), "r.json"), json.dumps(parsed)))
    check_in("CANNOT BE TRUSTED", out)
    check_in("never-finished", out)


# --- Items ------------------------------------------------------------------------------------------------------------


@test
def fail_on_chooses_what_is_red():
    ledger = leaking_ledger()
    leaks = Leaking.abandoned
    for words, code in (("error", RED), ("warning", RED), ("never-finished", RED), ("used-after-fork", GREEN),
                        ("never-finished:%d" % leaks, RED), ("never-finished:%d" % (leaks + 1), GREEN),
                        ("none", GREEN), ("new", RED), ("killed,never-finished", RED), ("stale", GREEN)):
        check_gate(code, "--fail-on", words, ledger)


@test
def budgets_are_of_the_run():
    ledger = leaking_ledger()
    parsed = report(ledger)
    peak, p95 = parsed["totals"]["peak_open"], parsed["connect_time"]["p95"]
    longest = parsed["hold_time"]["max"]
    milli = 1000.0
    for option, fine, small in (("--max-open", str(peak), str(peak - 1)),
                                ("--p95-acquire", "%.3fms" % (p95 * milli + 0.01), "%.6fms" % (p95 * milli / 2)),
                                ("--max-hold", "%.3fms" % (longest * milli + 0.01), "%.6fms" % (longest * milli / 2))):
        check_gate(GREEN, "--fail-on", "none", option, fine, ledger)
        out, _ = check_gate(RED, "--fail-on", "none", option, small, ledger)
        check_in("orders.c:", out, "the worst place")
        check_in("[%s, option]" % option[2:], out)


@test
def utilization_needs_a_capacity():
    ledger = clean_ledger()
    out, _ = check_gate(UNTRUSTED, "--max-utilization", "90%", ledger)
    check_in("its capacity is not known", out)
    check_gate(GREEN, "--max-utilization", "90%", "--limit", "100", ledger)


@test
def wrong_use_exits_64():
    for arguments in (["--fail-on", "never-finisched"], ["--fail-on", "never-finished:0"], ["--fail-on", ""],
                      ["--max-open", "many"], ["--p95-acquire", "100"], ["--max-utilization", "ninety"],
                      ["--nonsense"], ["--baseline-ref", "main"], ["--write-baseline", "a", "--update-baseline", "b"],
                      ["--reason", "x"]):
        out, err = check_gate(USAGE, *arguments, leaking_ledger())
        check_equal(("", 1), (out, err.count("\n")), "stdout, lines of error for %r" % arguments)
    run = pqlease("run", "--fail-on", "error", "--", "/bin/true").check_status(USAGE)
    check_in("--check", run.stderr.decode())


# --- Baselines: absent, empty, corrupt, same, new, fixed, shrunk, of another commit --------------------------------------


@test
def baseline_absent():
    _, err = check_gate(UNTRUSTED, "--baseline", os.path.join(scratch(), "none"), leaking_ledger())
    check_in("none: No such file or directory", err)


@test
def baseline_empty():
    path = write(os.path.join(scratch(), "b"), "")
    check_gate(RED, "--baseline", path, leaking_ledger())
    check_gate(GREEN, "--baseline", path, clean_ledger())


@test
def baseline_corrupt():
    fingerprint = leak_of(leaking_ledger())["fingerprint"]
    directory = scratch()
    for line, word in (("hello\n", "six fields"), (baseline_line(fingerprint[:-1], 3), "fingerprint"),
                       (baseline_line(fingerprint, -3), "count"), (baseline_line(fingerprint, 0), "count"),
                       (baseline_line(fingerprint, 3).replace("2026-01-31", "2026-02-31"), "date"),
                       ("<<<<<<< HEAD\n", "merge conflict marker"), ("=======\n", "merge conflict marker")):
        path = write(os.path.join(directory, "b"), HEADER + baseline_line(fingerprint, 9) + line)
        out, err = check_gate(UNTRUSTED, "--baseline", path, leaking_ledger())
        check_equal("", out, "stdout")
        check_in("%s:3: " % path, err)
        check_in(word, err)
    path = write(os.path.join(directory, "b"), "# pqlease baseline 2: later\n")
    check_in("another version", check_gate(UNTRUSTED, "--baseline", path, leaking_ledger())[1])


@test
def baseline_same():
    path = os.path.join(scratch(), "b")
    out, _ = check_gate(GREEN, "--write-baseline", path, "--reason", "known since long", leaking_ledger())
    check_in("1 finding accepted", out)
    leak = leak_of(leaking_ledger())
    check_in("%s\tnever-finished\t%d\t" % (leak["fingerprint"], Leaking.abandoned), read(path))
    check_in("\torders.c charge_customer\tknown since long\n", read(path))
    before = read(path)
    out, _ = check_gate(GREEN, "--baseline", path, leaking_ledger())
    check_in("%d leaks, %d of them accepted" % (Leaking.abandoned, Leaking.abandoned), out)
    check_in("baseline: 0 new, 0 worse, 1 same, 0 fixed, 0 stale", out)
    check_equal(before, read(path), "the baseline, which a gate never changes")


@test
def baseline_new_and_worse():
    fingerprint = leak_of(leaking_ledger())["fingerprint"]
    path = write(os.path.join(scratch(), "b"), baseline_line("0123456789abcdef", 5))
    out, _ = check_gate(RED, "--baseline", path, leaking_ledger())
    check_in("(new: not in the baseline)", out)
    write(path, baseline_line(fingerprint, Leaking.abandoned - 1))
    out, _ = check_gate(RED, "--baseline", path, "--fail-on", "new", leaking_ledger())
    check_in("(worse: the baseline allows %d)" % (Leaking.abandoned - 1), out)
    check_in("0 new, 1 worse", out)


@test
def baseline_fixed_and_stale():
    fixed = os.path.join(scratch(), "b")
    # A place that this run reached without the finding is fixed; one that it did not reach is not known to be.
    parsed = json.loads(check_gate(RED, "--format=json", leaking_ledger())[0])
    parsed["findings"] = []
    clean = write(os.path.join(scratch(), "clean.json"), json.dumps(parsed))
    check_gate(GREEN, "--write-baseline", fixed, leaking_ledger())
    with open(fixed, "a", encoding="utf-8") as stream:
        stream.write(baseline_line("0123456789abcdef", 5, site="other.c elsewhere"))
    out, _ = check_gate(GREEN, "--baseline", fixed, clean)
    check_in("0 new, 0 worse, 0 same, 1 fixed, 1 stale", out)
    check_in("never-finished at other.c elsewhere (%s:3)" % fixed, out)
    check_gate(RED, "--baseline", fixed, "--fail-on", "error,stale", clean)
    # An update takes out what is fixed and keeps what was not reached.
    check_gate(GREEN, "--update-baseline", fixed, clean)
    check_equal([baseline_line("0123456789abcdef", 5, site="other.c elsewhere")], read(fixed).splitlines(True)[1:],
                "lines")
    # Written anew it has what this run found.
    check_gate(GREEN, "--write-baseline", fixed, clean)
    check_equal(1, len(read(fixed).splitlines()), "lines")


@test
def baseline_shrunk():
    fingerprint = leak_of(leaking_ledger())["fingerprint"]
    path = write(os.path.join(scratch(), "b"), baseline_line(fingerprint, Leaking.abandoned + 2))
    out, _ = check_gate(GREEN, "--baseline", path, leaking_ledger())
    check_in("less   %s never-finished: %d of the %d" % (fingerprint, Leaking.abandoned, Leaking.abandoned + 2), out)
    check_gate(GREEN, "--update-baseline", path, leaking_ledger())
    check_in("%s\tnever-finished\t%d\t2026-01-31\torders.c charge_customer\tknown\n" %
             (fingerprint, Leaking.abandoned), read(path))


@test
def baselines_are_written_only_of_what_can_be_trusted():
    path = os.path.join(scratch(), "b")
    parsed = report(leaking_ledger())
    parsed["trust"]["ok"] = False
    untrusted = write(os.path.join(scratch(), "r.json"), json.dumps(parsed))
    check_gate(UNTRUSTED, "--write-baseline", path, untrusted)
    check(not os.path.exists(path), "no baseline of a run that cannot be trusted")
    parsed["trust"]["ok"] = parsed["run"]["live"] = True
    check_gate(UNTRUSTED, "--write-baseline", path, write(os.path.join(scratch(), "r.json"), json.dumps(parsed)))
    check(not os.path.exists(path), "no baseline of a run that goes on")
    write(path, "not ours\n")
    _, err = check_gate(UNTRUSTED, "--write-baseline", path, leaking_ledger())
    check_in("is no baseline", err)
    check_equal("not ours\n", read(path), "somebody's file")


# --- git ----------------------------------------------------------------------------------------------------------------

SHOP = r"""#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

static int serve(int customer) {
	PGconn *conn = PQconnectdb("");
	PGresult *result = PQexec(conn, customer %% 3 == 0 ? "select 1/0" : "select 1");
	int is_fine = PQresultStatus(result) == PGRES_TUPLES_OK;
	PQclear(result);
%s	PQfinish(conn);
	return is_fine;
}

int main(void) {
	int served = 0;
	for (int customer = 0; customer < 10; customer++)
		served += serve(customer);
	printf("%%d\n", served);
	return 0;
}
"""
EARLY_RETURN = "\tif (!is_fine)\n\t\treturn 0;\n"


class Repository:
    """A checkout with a program in it, and the gate's files."""

    def __init__(self):
        self.path = scratch()
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Somebody")
        self.git("config", "user.email", "somebody@example.org")

    def git(self, *arguments, expected=0):
        environment = dict(clean_environment(), GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
        run = subprocess.run(["git", "-C", self.path] + list(arguments), env=environment, capture_output=True,
                             check=False)
        check_equal(expected, run.returncode, "status of git %s (%s)" % (" ".join(arguments), run.stderr.decode()))
        return run.stdout.decode().strip()

    def write(self, name, text):
        return write(os.path.join(self.path, name), text)

    def commit(self, subject):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)

    def build(self):
        include = subprocess.run(["pg_config", "--includedir"], capture_output=True, check=True).stdout.decode().strip()
        program = os.path.join(self.path, "shop")
        subprocess.run(["cc", "-g", "-O1", "-I" + include, "-o", program, "shop.c", "-lpq"], cwd=self.path, check=True)
        return program

    def run(self, *options, db, expected):
        """`pqlease run --check` of the program that is checked out; its standard error."""
        run = run_pqlease([self.build()], "--check", *options, db=db, cwd=self.path)
        run.check_status(expected)
        return run.stderr.decode(), run.ledger


def shop_repository():
    repository = Repository()
    repository.write(".gitignore", "shop\n")
    repository.write("shop.c", SHOP % "")
    repository.commit("Serve")
    return repository


@test
def a_commit_that_leaks_on_an_error_path_is_red():
    repository = shop_repository()
    db = cluster.fresh_database()
    said, _ = repository.run("--report=none", db=db, expected=GREEN)
    check_equal("", said, "what a green run says with --report=none")
    check_equal(0, db.sessions().sessions_abandoned, "sessions abandoned")
    repository.write("shop.c", SHOP % EARLY_RETURN)
    repository.commit("Return early")
    db = cluster.fresh_database()
    said, ledger = repository.run("--report=none", db=db, expected=RED)
    leaks = db.sessions().sessions_abandoned
    check(leaks > 1, "the error path leaks")
    line = 1 + (SHOP % EARLY_RETURN).split("\n").index('\tPGconn *conn = PQconnectdb("");')
    check_in("shop.c:%d: error: never-finished %dx in " % (line, leaks), said)

    # With a reason it is green again, and the suppression says how often it was used.
    entry = "suppressions:\n  - reason: the payment team mends it\n    kind: never-finished\n    file: shop.c\n"
    repository.write("pqlease.yaml", entry + "    expires: 2999-12-31\n    max: %d\n" % leaks)
    out, _ = check_gate(GREEN, ledger, cwd=repository.path)
    check_in("pqlease.yaml:2: used %d times of %d: never-finished at file:shop.c (the payment team mends it)" %
             (leaks, leaks), out)
    repository.run("--report=none", db=cluster.fresh_database(), expected=GREEN)

    # When it has expired it silences nothing.
    repository.write("pqlease.yaml", entry + "    expires: 2024-02-29\n")
    out, _ = check_gate(RED, ledger, cwd=repository.path)
    check_in("pqlease.yaml:2: expired: the suppression of never-finished at file:shop.c expired on 2024-02-29", out)
    check_in("never-finished %dx" % leaks, out)
    # One leak more than allowed is not half silenced.
    repository.write("pqlease.yaml", entry + "    max: %d\n" % (leaks - 1))
    out, _ = check_gate(RED, ledger, cwd=repository.path)
    check_in("the suppression at pqlease.yaml:2 allows %d, it would match %d" % (leaks - 1, leaks), out)


@test
def the_baseline_of_the_merge_base_counts():
    repository = shop_repository()
    repository.write("shop.c", SHOP % EARLY_RETURN)
    _, ledger = repository.run("--report=none", db=cluster.fresh_database(), expected=RED)
    repository.git("checkout", "-q", "-b", "topic")
    # A change that brings its own baseline along is still judged by the one that was there before.
    check_gate(GREEN, "--write-baseline", "ci.baseline", ledger, cwd=repository.path)
    repository.commit("Leak, and say that it is fine")
    check_gate(GREEN, "--baseline", "ci.baseline", ledger, cwd=repository.path)
    out, _ = check_gate(RED, "--baseline", "ci.baseline", "--baseline-ref", "main", ledger, cwd=repository.path)
    check_in("(new: not in the baseline)", out)
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-edit", "topic")
    out, _ = check_gate(GREEN, "--baseline", "ci.baseline", "--baseline-ref", "topic", ledger, cwd=repository.path)
    check_in("1 same", out)
    for ref in ("nowhere", "--help", ""):
        _, err = check_gate(UNTRUSTED, "--baseline", "ci.baseline", "--baseline-ref", ref, ledger, cwd=repository.path)
        check_equal(1, err.count("\n"), "lines of error")
    check_gate(UNTRUSTED, "--baseline", os.path.join(scratch(), "b"), "--baseline-ref", "main", ledger)


def accepted(lines):
    return HEADER + "".join(sorted(lines))


def two_branches(before, ours, theirs, attributes=None):
    """A repository in which two branches changed a baseline, and the status of merging them."""
    repository = Repository()
    if attributes:
        repository.write(".gitattributes", attributes)
    repository.write("ci.baseline", accepted(before))
    repository.commit("Begin")
    for branch, lines in (("ours", ours), ("theirs", theirs)):
        repository.git("checkout", "-q", "-b", branch, "main")
        repository.write("ci.baseline", accepted(before + lines))
        repository.commit("Accept on " + branch)
    run = subprocess.run(["git", "-C", repository.path, "merge", "-q", "--no-edit", "ours"], capture_output=True,
                         check=False)
    return repository, run.returncode


def line_of(digit, count=1):
    return baseline_line(digit * 16, count, site="a.c f" + digit)


@test
def baselines_merge():
    # Different lines at different places merge by themselves, for the file is sorted by what looks random.
    repository, status = two_branches([line_of(d) for d in "147a"], [line_of("2")], [line_of("8")])
    check_equal(0, status, "git merge")
    check_equal(accepted([line_of(d) for d in "12478a"]), read(os.path.join(repository.path, "ci.baseline")), "merged")
    # Side by side they need the union driver; a conflict that was left is named.
    repository, status = two_branches([], [line_of("2")], [line_of("8")])
    check_equal(1, status, "git merge without the driver")
    _, err = check_gate(UNTRUSTED, "--baseline", "ci.baseline", clean_ledger(), cwd=repository.path)
    check_in("ci.baseline:2: a merge conflict marker", err)
    repository, status = two_branches([], [line_of("2", 3)], [line_of("8"), line_of("2", 5)],
                                      "*.baseline merge=union\n")
    check_equal(0, status, "git merge with the driver")
    out, _ = check_gate(GREEN, "--baseline", "ci.baseline", clean_ledger(), cwd=repository.path)
    check_in("2 stale", out)


# --- Suppressions: the same cases, and their forms -------------------------------------------------------------------------


@test
def suppressions_absent_empty_corrupt():
    directory = scratch()
    check_gate(UNTRUSTED, "--suppressions", os.path.join(directory, "none"), leaking_ledger())
    check_gate(RED, "--suppressions", write(os.path.join(directory, "s"), ""), leaking_ledger())
    check_gate(RED, "--suppressions", write(os.path.join(directory, "s"), "# nothing\n"), leaking_ledger())
    for text, place, word in (
            ("suppressions:\n  - kind: never-finished\n", ":2:5: ", "'reason' is missing"),
            ("suppressions:\n  - reason: x\n", ":2:5: ", "match everything"),
            ("suppressions:\n  - reason: x\n    kinds: y\n", ":3:5: ", "unknown key 'kinds'"),
            ("suppressions:\n  - reason: x\n    kind: y\n    kind: z\n", ":4:5: ", "given twice"),
            ("suppressions:\n  - reason: x\n    kind: y\n    max: some\n", ":4:10: ", "not a count"),
            ("suppressions:\n  - reason: x\n    kind: y\n    expires: soon\n", ":4:14: ", "not a day"),
            ("suppressions:\n  - reason: x\n    stack: [nonsense]\n", ":3:13: ", "a frame"),
            ("suppressions: {a: b\n", "", ""),
            ("suppressions:\n  - &a {reason: x}\n", ":2:5: ", "anchors"),
            ("leak:orders\nfunction:x y\nhello\n", ":3: ", "leak:pattern")):
        path = write(os.path.join(directory, "s"), text)
        out, err = check_gate(UNTRUSTED, "--suppressions", path, leaking_ledger())
        check_equal(("", 1), (out, err.count("\n")), "stdout, lines of error (%s)" % err)
        check_in(path + place, err)
        check_in(word, err)


def judge_with(code, entries, ledger=None):
    path = write(os.path.join(scratch(), "s.yaml"), entries)
    return check_gate(code, "--suppressions", path, ledger or leaking_ledger())[0]


@test
def suppressions_match_by_every_part():
    fingerprint = leak_of(leaking_ledger())["fingerprint"]
    role = report(leaking_ledger())["processes"][0]["role"]
    for entry, code in (
            ("function: charge_customer", GREEN), ("function: 'charge_*'", GREEN), ("function: harge", RED),
            ("file: orders.c", GREEN), ("file: 'orders.c:%d'" % fixture_line("orders.c", "/* leak */"), GREEN),
            ("file: 'orders.c:1'", RED), ("file: '*/fixtures/*'", GREEN), ("module: 'orders*'", GREEN),
            ("module: 'libssl*'", RED), ("kind: never-finished", GREEN), ("kind: killed", RED),
            ("role: '%s'" % role, GREEN), ("role: other", RED), ("fingerprint: '%s'" % fingerprint, GREEN),
            ("fingerprint: '0123456789abcdef'", RED),
            ("stack: ['function:charge_customer', 'function:main']", GREEN),
            ("stack: ['function:charge_customer', '...', 'function:*libc_start*']", GREEN),
            ("stack: ['function:main', '...', 'function:charge_customer']", RED)):
        out = judge_with(code, "suppressions:\n  - reason: known\n    %s\n" % entry)
        check_in("used %d times" % Leaking.abandoned if code == GREEN else "unused", out)


@test
def suppressions_unused_are_listed_and_may_fail():
    path = write(os.path.join(scratch(), "s.yaml"), "suppressions:\n  - {reason: old, function: gone}\n")
    out, _ = check_gate(GREEN, "--suppressions", path, clean_ledger())
    check_in("%s:2: unused: any finding at function:gone (old)" % path, out)
    check_gate(RED, "--suppressions", path, "--fail-on", "unused", clean_ledger())


@test
def only_what_is_listed_is_judged():
    judge_with(GREEN, "only:\n  - reason: our own code\n    file: 'nowhere/*'\n")
    judge_with(RED, "only:\n  - reason: our own code\n    file: 'orders.c'\n")


@test
def generated_suppressions_silence_exactly_their_finding():
    db = cluster.fresh_database()
    first = leaking_ledger()
    other = run_with_shim([fixture("leak_sites")], db=db).ledger
    for ledger, another in ((first, other), (other, first)):
        generated, verdict = check_gate(RED, "--gen-suppressions", ledger)
        check_in("FAILED", verdict)
        path = os.path.join(scratch(), "s.yaml")
        check_gate(RED, "--gen-suppressions", "-o", path, ledger)
        check_equal(generated, read(path), "the same into a file")
        check_gate(GREEN, "--suppressions", path, ledger)
        check_gate(RED, "--suppressions", path, another)
    # Pasted without its fingerprint it still names the place.
    pasted = "".join(line for line in generated.splitlines(True) if "fingerprint" not in line)
    check_gate(GREEN, "--suppressions", write(os.path.join(scratch(), "p.yaml"), pasted), other)
    check_gate(GREEN, "--gen-suppressions", clean_ledger())
    check_equal("", check_gate(GREEN, "--gen-suppressions", clean_ledger())[0], "nothing to silence")


@test
def files_of_leak_sanitizer_are_taken():
    directory = scratch()
    for line, code in (("leak:charge_customer", GREEN), ("leak:orders.c", GREEN), ("leak:charge*mer$", GREEN),
                       ("leak:^harge", RED), ("leak:libcrypto", RED), ("race:charge_customer", RED)):
        path = write(os.path.join(directory, "lsan.supp"), "# The payment team knows.\n%s\n" % line)
        out, _ = check_gate(code, "--suppressions", path, leaking_ledger())
        if code == GREEN:
            check_in("%s:2: used %d times" % (path, Leaking.abandoned), out)
            check_in("(The payment team knows.)", out)
    two = write(os.path.join(directory, "b.yaml"), "suppressions:\n  - {reason: x, function: charge_customer}\n")
    check_gate(GREEN, "--suppressions", path, "--suppressions", two, leaking_ledger())


# --- Configuration ------------------------------------------------------------------------------------------------------------


@test
def a_configuration_is_found_above_and_read_strictly():
    directory = scratch()
    below = os.path.join(directory, "a", "b")
    os.makedirs(below)
    path = write(os.path.join(directory, "pqlease.yaml"), "gate:\n  max-open: 0\n")
    out, _ = check_gate(RED, clean_ledger(), cwd=below)
    check_in("allowed 0 [max-open, %s:2]" % path, out)
    check_gate(GREEN, "--max-open", "1", clean_ledger(), cwd=below)
    other = write(os.path.join(directory, "other.yaml"), "gate: {fail-on: [none]}\n")
    check_gate(GREEN, "--config", other, leaking_ledger(), cwd=below)
    for text, place, word in (("gates: {}\n", ":1:1: ", "unknown key 'gates'"),
                              ("gate:\n  max-open: 1\n  max-open: 2\n", ":3:3: ", "given twice"),
                              ("gate:\n  max-open: one\n", ":2:13: ", "'one' is not a count"),
                              ("gate:\n  max-hold: 5\n", ":2:13: ", "a time"),
                              ("gate:\n  max-open: [1]\n", ":2:13: ", "not a list"),
                              ("gate:\n  fail-on: leaks\n", ":2:12: ", "'leaks'"),
                              ("gate:\n  max-utilization: 9 %%\n", ":2:20: ", "percentage"),
                              ("thresholds:\n  nonsense: 1\n", ":2:3: ", "unknown threshold"),
                              ("expectations:\n  - role: x\n", ":2:5: ", "'connections' is missing"),
                              ("budgets:\n  - max-open: 3\n", ":2:5: ", "budget of nobody"),
                              ("gate: *x\n", ":1:7: ", ""), ("a: b\n---\nc: d\n", "", "")):
        path = write(os.path.join(directory, "pqlease.yaml"), text)
        for command in (["check", clean_ledger()], ["report", clean_ledger()], ["run", "--", "/bin/echo", "ran"]):
            run = pqlease(*command, cwd=below).check_status(UNTRUSTED)
            check_equal((b"", 1), (run.stdout, run.stderr.count(b"\n")), "stdout, lines of error")
            check_in(path + place, run.stderr.decode())
            check_in(word, run.stderr.decode())
    check_gate(UNTRUSTED, "--config", os.path.join(directory, "absent.yaml"), clean_ledger())


@test
def budgets_expectations_and_reserves_are_of_roles():
    db = cluster.fresh_database()
    psql = cluster.bin("psql")
    script = ("PQLEASE_ROLE=automation; export PQLEASE_ROLE; %s -XAtc 'select 1'; "
              "PQLEASE_ROLE=web %s -XAtc 'select 1'" % (psql, psql))
    ledger = run_with_shim(["/bin/sh", "-c", script], db=db).check_status(0).ledger
    check_equal(2, db.sessions().sessions, "sessions")
    for entry, code in (
            ("budgets: [{role: web, max-open: 1}]", GREEN), ("budgets: [{role: web, max-open: 0}]", RED),
            ("budgets: [{role: 'w*', max-open: 0}]", RED), ("budgets: [{role: nobody, max-open: 0}]", GREEN),
            ("budgets: [{database: %s, max-open: 2}]" % db.name, GREEN),
            ("budgets: [{database: %s, max-open: 1}]" % db.name, RED),
            ("budgets: [{role: web, p95-acquire: 1us}]", RED), ("budgets: [{role: web, max-hold: 60 s}]", GREEN),
            ("expectations: [{role: worker, connections: 0}]", GREEN),
            ("expectations: [{role: web, connections: 0}]", RED), ("expectations: [{role: web, connections: 1}]", GREEN),
            ("expectations: [{role: listen, connections: 9}]", RED),
            ("reserved: [{role: automation, total: 60, free: 5}]", GREEN),
            ("reserved: [{role: automation, total: 5, free: 5}]", RED)):
        path = write(os.path.join(scratch(), "c.yaml"), entry + "\n")
        out, _ = check_gate(code, "--config", path, ledger)
        if code == RED:
            check_in("%s:1]" % path, out)


@test
def a_project_says_whose_code_frames_are():
    own = write(os.path.join(scratch(), "c.yaml"), "code:\n  framework: ['function:charge_customer']\n")
    out, _ = check_gate(RED, "--config", own, leaking_ledger())
    check_in(" in main: ", out)
    check("charge_customer" not in out, "the frame that is said to be a framework's is not blamed")


@test
def explain_says_where_everything_was_set():
    directory = scratch()
    write(os.path.join(directory, "known.baseline"), "")
    write(os.path.join(directory, "pqlease.yaml"),
          "gate:\n  fail-on: [error, killed:2]\n  max-open: 20\n  baseline: known.baseline\n"
          "thresholds:\n  long_held: 2 min\n")
    out, _ = check_gate(GREEN, "--explain", "--max-hold", "5 min", clean_ledger(), cwd=directory)
    for what, source in (("fail-on error", "pqlease.yaml:2"), ("fail-on killed:2", "pqlease.yaml:2"),
                         ("max-open 20: run", "pqlease.yaml:3"), ("max-hold 300 s: run", "option"),
                         ("baseline known.baseline: 0 findings accepted", "pqlease.yaml:4"),
                         ("threshold long_held", "pqlease.yaml:6")):
        lines = [line for line in out.split("\n") if line.strip().startswith(what)]
        check(len(lines) == 1 and lines[0].endswith(" " + source), "%r from %r in:\n%s" % (what, source, out))
    out, _ = check_gate(GREEN, "--explain", clean_ledger(), cwd=scratch())
    check_in("Configuration: none", out)
    check_in("fail-on error", out)


# --- What the README says -----------------------------------------------------------------------------------------


def readme_section():
    return read(os.path.join(ROOT, "README.md")).split("\n## Gate in CI\n", 1)[1].split("\n## ", 1)[0]


def blocks(language):
    return [part.split("```", 1)[0] for part in readme_section().split("```%s\n" % language)[1:]]


def recipes():
    """The commands of the README that run a program's tests, without what their CI systems put around them."""
    found = []
    for line in readme_section().split("Recipes;", 1)[1].split("\n"):
        if "pqlease run" in line:
            command = line[line.index("pqlease run"):].split(" # ")[0].split("//")[0].rstrip()
            found.append(command.rstrip("'").rstrip())
    return found


def check_recipe(repository, command, expected):
    db = cluster.fresh_database()
    environment = {"PATH": BUILD + ":" + clean_environment()["PATH"]}
    run = run_plain(["/bin/sh", "-c", command], db=db, env=environment, cwd=repository.path)
    if run.status != expected:
        check_equal(expected, run.status, "status of %s\n%s" % (command, run.stderr.decode()))
    for output in [word.split("=")[1] for word in command.split() if word.count("=") == 1 and "." in word]:
        check(os.path.getsize(os.path.join(repository.path, output)) > 0, "%s is written" % output)


@test
def the_recipes_of_the_readme_work():
    commands = recipes()
    check(len(commands) >= 5, "recipes: %r" % commands)
    repository = shop_repository()
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, check=True).stdout.decode().strip()
    repository.write("Makefile", "test: shop\n\t./shop\nshop: shop.c\n\tcc -g -I%s -o $@ $< -lpq\n" % include)
    repository.write("ci.baseline", "")
    repository.commit("Test by make")
    repository.git("update-ref", "refs/remotes/origin/main", "HEAD")
    for command in commands:
        check_recipe(repository, command, GREEN)
    repository.write("shop.c", SHOP % EARLY_RETURN)
    os.unlink(os.path.join(repository.path, "shop"))
    for command in commands:
        # make itself is done when the gate looks: its status is 0.
        check_recipe(repository, command, RED)


@test
def the_configurations_of_the_readme_are_read():
    configuration, suppressions = blocks("yaml")[:2]
    directory = scratch()
    write(os.path.join(directory, "ci.baseline"), "")
    check_gate(GREEN, "--config", write(os.path.join(directory, "c.yaml"), configuration), clean_ledger())
    check_gate(GREEN, "--suppressions", write(os.path.join(directory, "s.yaml"), suppressions), clean_ledger())


# --- run --check ----------------------------------------------------------------------------------------------------------------


@test
def the_gate_replaces_only_a_status_of_0():
    for status, is_leaking, expected in ((0, False, 0), (0, True, RED), (3, False, 3), (3, True, 3)):
        db = cluster.fresh_database()
        program = fixture("orders.O2") if is_leaking else cluster.bin("psql") + " -XAtc 'select 1'"
        run = run_pqlease(["/bin/sh", "-c", "%s >/dev/null 2>&1; exit %d" % (program, status)], "--check", db=db)
        run.check_status(expected)
        check_in("pqlease check: ", run.stderr.decode())
    run_pqlease(["/bin/sh", "-c", "kill -9 $$"], "--check").check_status(137)
    run_pqlease(["/nonexistent"], "--check").check_status(127)


@test
def what_cannot_be_judged_does_not_start():
    directory = scratch()
    mark = os.path.join(directory, "ran")
    for options in (["--baseline", os.path.join(directory, "none")], ["--suppressions", os.path.join(directory, "no")],
                    ["--config", os.path.join(directory, "none.yaml")]):
        run_pqlease(["/bin/touch", mark], "--check", *options).check_status(UNTRUSTED)
        check(not os.path.exists(mark), "COMMAND did not run")


@test
def inside_another_run_a_checked_run_is_judged_by_itself():
    db = cluster.fresh_database()
    inner = "%s run --check --report=none -- %s" % (PQLEASE, fixture("orders.O2"))
    run = run_pqlease(["/bin/sh", "-c", inner + " >/dev/null 2>&1"], db=db)
    run.check_status(RED)


main()
