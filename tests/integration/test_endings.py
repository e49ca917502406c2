#!/usr/bin/python3
"""The ways in which a process begins or ends that libraries seldom think of, judged by the server's own count of
abandoned sessions."""

import os
import shutil
import signal
import subprocess
import tempfile

from pqlease_test import *
from report_checks import *

cluster = Cluster()


def unreleased(parsed):
    """Leases that the report says were left by processes."""
    return sum(finding["count"] for finding in findings_of(parsed, "never-finished") + findings_of(parsed, "killed"))


def check_counts(parsed, db, abandoned, unseen=0):
    """Connections and abandoned ones are the server's; `unseen` sessions are those of a program that nothing can be
    preloaded into. Nothing is lost, nothing stays open."""
    counts = db.sessions()
    check_equal(counts.sessions - unseen, counted_connections(parsed), "connections of %r: %r" % (counts, parsed["totals"]))
    check_equal((abandoned, abandoned), (counts.sessions_abandoned, unreleased(parsed)),
                "abandoned: the test's, the server's; %r" % parsed["findings"])
    check_equal(0, parsed["totals"]["open"], "open")
    check_nothing_lost(parsed)


def check_end(how, *program, abandoned, status=0, unseen=0):
    db = cluster.fresh_database()
    run = same_behaviour([fixture("endings"), how, "3"] + list(program), db=db).check_status(status)
    parsed = run.report()
    check_counts(parsed, db, abandoned, unseen)
    return parsed


def ends_of(parsed, exe="endings"):
    return sorted(process["how_ended"] for process in parsed["processes"] if os.path.basename(process["exe"]) == exe)


@test
def sigterm_that_nobody_handles():
    parsed = check_end("term", abandoned=3, status=128 + signal.SIGTERM)
    check_equal(["unknown"], ends_of(parsed), "how_ended")
    check_equal("suspicion", parsed["findings"][0]["certainty"], "certainty")


@test
def sigterm_under_run_is_a_fact():
    db = cluster.fresh_database()
    parsed = run_pqlease([fixture("endings"), "term", "3"], db=db).check_status(128 + signal.SIGTERM).report()
    check_counts(parsed, db, 3)
    check_equal(["killed"], ends_of(parsed), "how_ended")


@test
def exit_behind_the_back_of_the_c_library():
    parsed = check_end("exit-group", abandoned=3)
    check_equal(["unknown"], ends_of(parsed), "how_ended")


@test
def main_thread_that_ends_before_others():
    parsed = check_end("pthread_exit", abandoned=2)
    check_equal(["exit"], ends_of(parsed), "how_ended")


@test
def exec_with_an_empty_environment():
    """What comes after is out of reach; what was held is known to be gone."""
    parsed = check_end("exec-clean", fixture("connect_loop"), "2", abandoned=3, unseen=2)
    check("killed" not in ends_of(parsed), "nobody was killed: %r" % parsed["processes"])


@test
def exec_of_a_static_program():
    directory = tempfile.mkdtemp(prefix="pqlease-endings-", dir="/tmp")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    program = directory + "/static"
    subprocess.run(["gcc", "-static", "-xc", "-", "-o", program], input="int main(void) { return 7; }", text=True,
                   check=True)
    parsed = check_end("exec", program, abandoned=3, status=7)
    check("killed" not in ends_of(parsed), "nobody was killed: %r" % parsed["processes"])


@test
def children_that_leave_their_parent_alone():
    for how in ("vfork-exec", "spawn"):
        parsed = check_end(how, fixture("connect_loop"), "2", abandoned=0)
        check_equal((["exit"], ["exit"]), (ends_of(parsed), ends_of(parsed, "connect_loop")), "how_ended after " + how)
    parsed = check_end("system", fixture("connect_loop") + " 2", abandoned=0)
    check_equal((["exit"], ["exit"]), (ends_of(parsed), ends_of(parsed, "connect_loop")), "how_ended after system")


@test
def clone_by_the_system_call():
    parsed = check_end("clone", abandoned=0)
    check_equal(2, len(ends_of(parsed)), "processes: %r" % parsed["processes"])


# --- Before main ------------------------------------------------------------------------------------------------


@test
def connections_of_a_constructor_before_ours():
    """A linked library's constructor runs before those of what was preloaded."""
    directory = tempfile.mkdtemp(prefix="pqlease-endings-", dir="/tmp")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    program = directory + "/program"
    library = fixture("early_library.so")
    subprocess.run(["gcc", "-xc", "-", "-o", program, "-x", "none", "-Wl,--no-as-needed",
                    library], text=True, check=True,
                   input="int main(void) { return 0; }")
    db = cluster.fresh_database()
    order = run_with_shim([program], db=db, env={"LD_DEBUG": "libs"}).stderr.decode().split("calling init: ")[1:]
    names = [os.path.basename(line.split()[0]) for line in order]
    check("early_library.so" in names, "constructors: %r" % names)
    check(names.index("early_library.so") < names.index("libpqlease.so"), "order of constructors: %r" % names)
    db = cluster.fresh_database()
    for env in ({}, {"PQLEASE_OPEN": "early"}):
        db.count_from_here()
        run = same_behaviour([program], db=db, env=env).check_status(0)
        check_counts(run.report(), db, 1)


# --- Python's multiprocessing --------------------------------------------------------------------------------------

WORKERS = """
import multiprocessing, os, sys
import psycopg2

def work(number):
    conn = psycopg2.connect("application_name=worker")
    conn.cursor().execute("select 1")
    if number % 2:
        conn.close()
    else:
        os._exit(0)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    kept = psycopg2.connect("application_name=parent")
    children = [context.Process(target=work, args=(number,)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    kept.close()
    print(sorted(child.exitcode for child in children))
"""


@test
def multiprocessing_of_python():
    directory = tempfile.mkdtemp(prefix="pqlease-endings-", dir="/tmp")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    program = directory + "/workers.py"
    with open(program, "w", encoding="utf-8") as text:
        text.write(WORKERS)
    for method in ("fork", "forkserver", "spawn"):
        db = cluster.fresh_database()
        run = same_behaviour([PYTHON, program, method], db=db).check_status(0)
        check_equal(b"[0, 0, 0, 0]\n", run.stdout, "exit codes of " + method)
        parsed = wait_until(lambda: settled(run.report()), what="end of the workers of " + method)
        check_counts(parsed, db, 2)
        check_equal(5, len([one for one in parsed["processes"] if "python" in one["exe"]]), "processes of " + method)


def settled(parsed):
    """The report, once all processes have ended (a fork server lives a moment longer)."""
    return parsed if not parsed["run"]["live"] and parsed["totals"]["open"] == 0 else None


main()
