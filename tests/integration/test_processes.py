#!/usr/bin/python3
"""Processes, and every way they begin and end; calls that are left in the middle."""

import os
import re
import signal
import subprocess

from pqlease_test import *
from report_checks import *

cluster = Cluster("--tcp")


def processes_of(parsed, exe):
    return [process for process in parsed["processes"] if os.path.basename(process["exe"]) == exe]


def how_ended(parsed, exe):
    return sorted(process["how_ended"] for process in processes_of(parsed, exe))


def totals_of(parsed, *names):
    return tuple(parsed["totals"][name] for name in names)


# --- Forks -----------------------------------------------------------------------------------------------------


def fork(how):
    db = cluster.fresh_database()
    run = same_behaviour([fixture("forks"), how], db=db).check_status(0)
    return db, run.report()


@test
def forked_child_that_exits_owns_nothing():
    for how in ("exits", "_exits"):
        db, parsed = fork(how)
        check_clean(parsed, db)


@test
def forked_child_with_connections_of_its_own():
    for how in ("opens", "raw"):
        db, parsed = fork(how)
        counts = check_clean(parsed, db)
        check_equal(3, counts.sessions, "the server's sessions (%s)" % how)
        pids = {process["pid"] for process in processes_of(parsed, "forks")}
        check_equal(2, len(pids), "processes in the report (%s): %r" % (how, parsed["processes"]))


@test
def forked_child_that_leaks():
    db, parsed = fork("leaks")
    counts = check_sessions(parsed, db)
    finding = check_one_finding(parsed, "never-finished", counts.sessions_abandoned)
    check_frame(parsed, finding, "open_two", "forks.c", fixture_line("forks.c", "site: child"))
    check_nothing_lost(parsed)


@test
def forked_child_that_finishes_its_parents_connection():
    """It ends the parent's session. Nothing stays open, and no connection is counted twice."""
    db, parsed = fork("finishes")
    counts = check_sessions(parsed, db)
    check_equal((counts.sessions, counts.sessions, 0), totals_of(parsed, "attempts", "established", "open"),
                "attempts, established, open against the server's sessions")
    check_equal([], findings_of(parsed, "never-finished"), "never-finished")
    check_equal([], findings_of(parsed, "double-finish"), "double-finish: two processes finished once each")
    check_nothing_lost(parsed)


# --- Ends ------------------------------------------------------------------------------------------------------


def check_held_leak(parsed, kind, count):
    finding = check_one_finding(parsed, kind, count)
    check_frame(parsed, finding, "take_connections", "endings.c", fixture_line("endings.c", "site: held"))
    return finding


def end(how, *program):
    db = cluster.fresh_database()
    run = same_behaviour([fixture("endings"), how, "3"] + list(program), db=db)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_nothing_lost(parsed)
    return run, parsed, counts


@test
def ends_that_the_program_chose():
    for how in ("return", "exit", "_exit", "quick_exit"):
        run, parsed, counts = end(how)
        check_equal(0, run.status, "status of " + how)
        finding = check_held_leak(parsed, "never-finished", counts.sessions_abandoned)
        check_equal("fact", finding["certainty"], "certainty of " + how)
        check_equal(["exit"], how_ended(parsed, "endings"), "how_ended after " + how)


@test
def connections_finished_after_main():
    """By an exit handler, a destructor function, a thread's destructor: nothing is judged before the very end. The end of
    its thread is no end of the process, so one of them was given back in time."""
    db = cluster.fresh_database()
    parsed = same_behaviour([fixture("late")], db=db).check_status(0).report()
    counts = check_clean(parsed, db, told=["exit-closed"])
    check_equal(3, counts.sessions, "the server's sessions")
    told = sorted((application_frame(parsed, finding)["function"], finding["level"], finding["count"])
                  for finding in parsed["findings"])
    check_equal([("before_main", "warning", 1), ("main", "warning", 1)], told, "what closed only at the end")
    check_equal("none", parsed["verdict"]["cause"], "cause")


@test
def ends_by_a_signal_of_its_own():
    """Nobody could see how the process ended: unknown, and a suspicion."""
    for how, number in (("abort", signal.SIGABRT), ("segfault", signal.SIGSEGV)):
        run, parsed, counts = end(how)
        check_equal(128 + number, run.status, "status of " + how)
        finding = check_held_leak(parsed, "killed", counts.sessions_abandoned)
        check_equal(("note", "suspicion"), (finding["level"], finding["certainty"]), "level, certainty of " + how)
        check_equal(["unknown"], how_ended(parsed, "endings"), "how_ended after " + how)


@test
def abort_under_run_is_seen():
    db = cluster.fresh_database()
    run = run_pqlease([fixture("endings"), "abort", "3"], db=db).check_status(128 + signal.SIGABRT)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    finding = check_held_leak(parsed, "killed", counts.sessions_abandoned)
    check_equal("fact", finding["certainty"], "certainty")
    check_equal(["killed"], how_ended(parsed, "endings"), "how_ended")
    check_equal(128 + signal.SIGABRT, parsed["run"]["exit_code"], "run.exit_code")


@test
def exec_while_holding():
    """libpq's sockets are closed by exec: the connections are gone, and nobody finished them."""
    run, parsed, counts = end("exec", fixture("connect_loop"), "2")
    check_equal(0, run.status, "status")
    check_equal((5, 3), (counts.sessions, counts.sessions_abandoned), "the server's sessions, abandoned")
    check_held_leak(parsed, "never-finished", counts.sessions_abandoned)
    check_equal(["exec"], how_ended(parsed, "endings"), "how_ended of the first image")
    check_equal(["exit"], how_ended(parsed, "connect_loop"), "how_ended of the second image")
    first, second = processes_of(parsed, "endings")[0], processes_of(parsed, "connect_loop")[0]
    check_equal(first["pid"], second["pid"], "pid of the two images")


@test
def exec_of_a_program_without_libpq_while_holding():
    run, parsed, counts = end("exec", "/bin/true")
    check_equal(0, run.status, "status")
    check_equal(3, counts.sessions_abandoned, "the server's abandoned sessions")
    unreleased = [finding for finding in parsed["findings"] if finding["kind"] in ("never-finished", "killed")]
    check_equal([counts.sessions_abandoned], [finding["count"] for finding in unreleased], "findings %r" %
                parsed["findings"])
    check("killed" not in how_ended(parsed, "endings"), "nobody was killed: %r" % parsed["processes"])


@test
def posix_spawn_while_holding():
    _, parsed, counts = end("spawn", fixture("connect_loop"), "2")
    check_equal((5, 0), (counts.sessions, counts.sessions_abandoned), "the server's sessions, abandoned")
    check_equal([], parsed["findings"], "findings")
    check_equal((["exit"], ["exit"]), (how_ended(parsed, "endings"), how_ended(parsed, "connect_loop")),
                "how_ended")


@test
def failed_exec_of_a_vfork_child():
    """The child borrowed its parent's memory and ended by _exit: that is not the parent's end."""
    _, parsed, counts = end("failed-exec")
    check_equal((3, 0), (counts.sessions, counts.sessions_abandoned), "the server's sessions, abandoned")
    check_equal([], parsed["findings"], "findings")
    check_equal(["exit"], how_ended(parsed, "endings"), "how_ended")
    check_equal(totals_of(parsed, "established"), totals_of(parsed, "finished"), "finished")


# --- Killed from outside ---------------------------------------------------------------------------------------


def start_holder(db):
    child = start_with_shim([fixture("endings"), "hold", "3"], db=db, stdout=-1)
    cleanup(child.stdout.close)
    check_equal(b"ready\n", child.stdout.readline(), "holder")
    return child


@test
def holder_is_live_and_open():
    db = cluster.fresh_database()
    child = start_holder(db)
    parsed = report(child.ledger)
    check_equal((3, 0), totals_of(parsed, "open", "finished"), "open, finished")
    check_equal((True, []), (parsed["run"]["live"], findings_of(parsed, "never-finished")), "live, never-finished")
    check_equal(["running"], how_ended(parsed, "endings"), "how_ended")
    backends = sorted(lease["backend_pid"] for lease in parsed["open_leases"])
    check_equal(db.backends(), backends, "backend_pid of the open leases against pg_stat_activity")
    check_equal({child.pid}, {lease["pid"] for lease in parsed["open_leases"]}, "pid of the open leases")


@test
def kill_9_of_a_holder_in_raw_use():
    db = cluster.fresh_database()
    child = start_holder(db)
    child.kill()
    child.wait(timeout=10)
    parsed = report(child.ledger)
    counts = check_sessions(parsed, db)
    check_equal(3, counts.sessions_abandoned, "the server's abandoned sessions")
    finding = check_held_leak(parsed, "killed", counts.sessions_abandoned)
    check_equal("suspicion", finding["certainty"], "certainty")
    check_equal(["unknown"], how_ended(parsed, "endings"), "how_ended")
    check_nothing_lost(parsed)


@test
def kill_9_of_a_holder_under_run():
    """Its parent is ours and saw it."""
    db = cluster.fresh_database()
    directory = ledger_directory()
    ledger = os.path.join(directory, "run.ledger")
    output = os.path.join(directory, "output")
    script = 'exec "$0" run -o "$1" -- "$2" hold 3 >"$3"'
    runner = start_with_shim(["/bin/sh", "-c", script, PQLEASE, ledger, fixture("endings"), output], db=db,
                             env={"LD_PRELOAD": None, "PQLEASE_LEDGER": None}, stderr=-1)
    cleanup(runner.stderr.close)

    def ready():
        check(runner.poll() is None, "pqlease run ended early")
        try:
            with open(output) as text:
                return text.read() == "ready\n"
        except FileNotFoundError:
            return False

    wait_until(ready, what="holder")
    holder = processes_of(report(ledger), "endings")[0]["pid"]
    os.kill(holder, signal.SIGKILL)
    check_equal(128 + signal.SIGKILL, runner.wait(timeout=20), "status of pqlease run")
    parsed = report(ledger)
    counts = check_sessions(parsed, db)
    check_equal(3, counts.sessions_abandoned, "the server's abandoned sessions")
    finding = check_held_leak(parsed, "killed", counts.sessions_abandoned)
    check_equal("fact", finding["certainty"], "certainty")
    check_equal(["killed"], how_ended(parsed, "endings"), "how_ended")


@test
def later_processes_are_recorded_after_a_kill():
    """The dead one's records are folded by whoever comes next; nothing is counted twice."""
    db = cluster.fresh_database()
    child = start_holder(db)
    child.kill()
    child.wait(timeout=10)
    for _ in range(3):
        run_with_shim([fixture("connect_loop"), "5"], db=db, ledger=child.ledger).check_status(0)
    parsed = report(child.ledger)
    counts = check_sessions(parsed, db)
    check_equal((18, 3), (counts.sessions, counts.sessions_abandoned), "the server's sessions, abandoned")
    check_held_leak(parsed, "killed", counts.sessions_abandoned)
    check_nothing_lost(parsed)


@test
def reports_while_it_runs():
    """They cost the program nothing, never go back, and never call what is open a leak."""
    db = cluster.fresh_database()
    child = start_with_shim([fixture("threads"), "4", "300"], db=db, stdout=-1)
    cleanup(child.stdout.close)
    wait_until(lambda: os.path.exists(child.ledger), what="ledger")
    seen = [0]
    while child.poll() is None:
        totals = report(child.ledger)["totals"]
        check(totals["finished"] <= totals["established"] <= totals["attempts"] and 0 <= totals["open"] <= 4,
              "totals of a running program: %r" % totals)
        check(totals["established"] >= seen[-1], "established goes back from %d: %r" % (seen[-1], totals))
        check_equal(0, totals["unreleased"], "unreleased of a running program")
        seen.append(totals["established"])
    check_equal(0, child.returncode, "status")
    check(len(seen) > 3, "too few reports while it ran: %r" % seen)
    counts = check_clean(report(child.ledger), db)
    check_equal(1200, counts.sessions, "the server's sessions")


@test
def holder_in_another_pid_namespace():
    """Its pid means nothing here: whether it lives cannot be known, and it is not taken for dead by those who can."""
    unshare = ["unshare", "-p", "-f"] if os.geteuid() == 0 else ["unshare", "-r", "-p", "-f"]
    if subprocess.run(unshare + ["true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        print("# no pid namespaces here: not shown")
        return
    db = cluster.fresh_database()
    child = start_with_shim(unshare + ["env", "LD_PRELOAD=" + SHIM, fixture("endings"), "hold", "3"], db=db,
                            stdout=-1, env={"LD_PRELOAD": None})
    cleanup(child.stdout.close)
    check_equal(b"ready\n", child.stdout.readline(), "holder")
    for _ in range(2):
        run_with_shim([fixture("connect_loop"), "5"], db=db, ledger=child.ledger).check_status(0)
    parsed = report(child.ledger)
    check_equal((13, 10, 3), totals_of(parsed, "established", "finished", "open"), "established, finished, open")
    check_equal(len(db.backends()), parsed["totals"]["open"], "open against pg_stat_activity")
    check_equal([], parsed["findings"], "findings")
    check(any("namespace" in reason for reason in parsed["trust"]["reasons"]), "reasons: %r" % parsed["trust"])


# --- Daemons ---------------------------------------------------------------------------------------------------


@test
def daemon_that_closed_all_descriptors():
    """Its connections are recorded, and not a byte of its descriptors is touched."""
    db = cluster.fresh_database()
    directory = ledger_directory()

    def run_daemon(run_it, name):
        result = os.path.join(directory, name)
        open(result, "w").close()
        run = run_it([fixture("daemon"), result], db=db)

        def text():
            with open(result) as file:
                return file.read()

        said = wait_until(text, what="the daemon's result")
        return run.check_status(0), said

    plain, plain_said = run_daemon(run_plain, "plain")
    db.count_from_here()
    run, said = run_daemon(run_with_shim, "shimmed")
    check_equal(plain_said, said, "what the daemon says")
    check_equal((plain.stdout, plain.stderr), (run.stdout, run.stderr), "output")
    check_equal("kept 0, first descriptor 0, connections 3, messages intact 32 of 32, appeared 0\n", said,
                "what the daemon says")
    counts = db.sessions()
    pids = [process["pid"] for process in processes_of(run.report(), "daemon")]
    for pid in pids:
        wait_gone(pid)
    parsed = run.report()
    check_clean(parsed, db)
    check_equal(4, counts.sessions, "the server's sessions")
    check_equal({"exit"}, set(how_ended(parsed, "daemon")), "how_ended")


# --- Calls left in the middle ----------------------------------------------------------------------------------

AFTER = 5


def check_after_cut(parsed, db, sessions):
    """What came after the cut is recorded exactly."""
    counts = db.sessions()
    check_equal(sessions, counts.sessions, "the test's own connections, as the server saw them")
    check_equal(counts.sessions, pool_established(parsed, db.name),
                "established against the server's sessions (%r)" % parsed["totals"])
    check_equal([], findings_of(parsed, "never-finished"), "never-finished")
    check_equal([], findings_of(parsed, "finish-unseen"), "finish-unseen")
    check_equal([], findings_of(parsed, "double-finish"), "double-finish")
    check_nothing_lost(parsed)


def cut(how):
    db = cluster.fresh_database()
    run = same_behaviour([fixture("cut_short"), how, str(AFTER)], db=db).check_status(0)
    return db, run.report()


def check_jumped(how):
    """The attempt that was left is known at the thread's next call: abandoned, and not in progress for ever."""
    db, parsed = cut(how)
    check_after_cut(parsed, db, 2 * AFTER)
    check_equal((2 * AFTER + 1, 2 * AFTER, 0, 1),
                totals_of(parsed, "attempts", "established", "failed", "abandoned"),
                "attempts, established, failed, abandoned")
    check_equal(2 * AFTER, parsed["totals"]["finished"], "finished")
    finding = check_one_finding(parsed, "abandoned-start", 1)
    check_equal((1, 0), (finding["evidence"]["cut_short"], finding["evidence"]["left"]), "cut_short, left")


@test
def longjmp_out_of_connect():
    check_jumped("longjmp-connect")


@test
def longjmp_out_of_connect_from_deep():
    check_jumped("longjmp-deep")


@test
def longjmp_out_of_a_query():
    db, parsed = cut("longjmp-exec")
    check_after_cut(parsed, db, 2 * AFTER + 1)
    check_clean(parsed, db)


@test
def cancelled_in_connect():
    db, parsed = cut("cancel-connect")
    check_after_cut(parsed, db, 2 * AFTER)
    check_equal((2 * AFTER, 0, 2 * AFTER), totals_of(parsed, "established", "failed", "finished"),
                "established, failed, finished")


@test
def cancelled_in_a_query():
    """The thread, the judge of its sleep, and those that came after."""
    db, parsed = cut("cancel-exec")
    check_after_cut(parsed, db, 2 * AFTER + 2)
    check_equal(totals_of(parsed, "established"), totals_of(parsed, "finished"), "finished")


def throw(how):
    db = cluster.fresh_database()
    other = cluster.fresh_database()
    argv = [fixture("cut_short_cpp"), how, str(AFTER), other.conninfo(options="'-c client_min_messages=debug5'")]
    run = same_behaviour(argv, db=db).check_status(0)
    check_in(b"thrown\n5 established afterwards\n", run.stdout, "what the program says")
    check(not re.match(b"not thrown", run.stdout), "nothing was thrown")
    parsed = run.report()
    check_after_cut(parsed, db, AFTER)
    check_equal(0, parsed["totals"]["open"], "open")
    return parsed


@test
def exception_through_a_query():
    parsed = throw("exec")
    check_equal((AFTER + 1, AFTER + 1), totals_of(parsed, "established", "finished"), "established, finished")


@test
def exception_through_reset():
    parsed = throw("reset")
    check_equal(AFTER + 1, parsed["totals"]["established"], "established")


@test
def exception_through_poll():
    """Left in the middle of PQconnectPoll, then finished: the attempt is abandoned."""
    parsed = throw("poll")
    check_equal((AFTER + 1, AFTER, 1), totals_of(parsed, "attempts", "established", "abandoned"),
                "attempts, established, abandoned")


@test
def coroutines_that_connect_at_once():
    """Several synchronous connects in progress on one thread, none of them left behind."""
    for tasks, count in ((2, 3), (5, 4), (20, 2)):
        db = cluster.fresh_database()
        run = same_behaviour([fixture("coroutines"), str(tasks), str(count)], db=db).check_status(0)
        check_equal(b"%d established, several at once\n" % (tasks * count), run.stdout, "what the program says")
        check_clean(run.report(), db)


# --- Finished twice, finished unseen -----------------------------------------------------------------------------


@test
def finished_twice_and_survived():
    db = cluster.fresh_database()
    run = same_behaviour([fixture("double_finish_kept"), "3"], db=db).check_status(0)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    finding = check_one_finding(parsed, "double-finish", 3)
    check_equal(("error", "fact"), (finding["level"], finding["certainty"]), "level and certainty")
    check_equal((counts.sessions, 0), totals_of(parsed, "finished", "open"), "finished, open")
    frame = application_frame(parsed, finding)
    check_equal("double_finish.c", frame["file"] and os.path.basename(frame["file"]), "file of %r" % frame)
    lines = [fixture_line("double_finish.c", marker) for marker in ("site: taken", "site: finished again")]
    check(frame["line"] in lines, "line of %r should be one of %r" % (frame, lines))
    check_nothing_lost(parsed)


@test
def finished_twice_and_died():
    """What the program did is in shared memory even when it dies of it."""
    db = cluster.fresh_database()
    run = run_with_shim([fixture("double_finish"), "1"], db=db)
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_equal([1], [finding["count"] for finding in findings_of(parsed, "double-finish")], "double-finish")
    check_equal((counts.sessions, 0), totals_of(parsed, "finished", "open"), "finished, open")
    check_equal([], findings_of(parsed, "never-finished") + findings_of(parsed, "killed"), "leaks")


@test
def finished_by_a_way_that_is_not_hooked():
    """The same pointer comes back: somebody finished it. Not a leak, and said so."""
    db = cluster.fresh_database()
    run = same_behaviour([fixture("unseen_finish"), "5"], db=db).check_status(0)
    came_back = int(run.stdout.split()[-1])
    check(came_back > 0, "no address came back: the test shows nothing")
    parsed = run.report()
    counts = check_sessions(parsed, db)
    check_equal((6, 0), (counts.sessions, counts.sessions_abandoned), "the server's sessions, abandoned")
    unseen = findings_of(parsed, "finish-unseen")
    check_equal([came_back], [finding["count"] for finding in unseen], "finish-unseen")
    check_equal("note", unseen[0]["level"], "level")
    check_frame(parsed, unseen[0], "main", "unseen_finish.c", fixture_line("unseen_finish.c", "site: taken"))
    # An address that did not come back is all that could look like a leak.
    left = sum(finding["count"] for finding in findings_of(parsed, "never-finished"))
    check_equal(counts.sessions - 1 - came_back, left, "never-finished (%r)" % parsed["findings"])
    check(any("finish" in reason for reason in parsed["trust"]["reasons"]), "trust.reasons: %r" % parsed["trust"])


main()
