#!/usr/bin/python3
"""A program whose surroundings fail it, or that does to itself what programs do: its output and status are those of
a run without the shim, and the report has every connection or says that it has not. Each fault is a row of a table."""

import json
import os
import shutil
import tempfile

from fault_rows import *
from pqlease_test import *
from report_checks import *

cluster = Cluster()

COUNT = 3


class Fault:
    """`argv` is the program, or a function that returns it; it connects to the database of the environment. `all_seen` is whether everything must
    be recorded; None: as it comes. `knows` is whether what was not recorded is known: always, but for one."""

    def __init__(self, group, name, argv, all_seen=True, env=None, knows=True, user_root=False,
                 detail=""):
        self.group = group
        self.detail = detail
        self.name = name
        self.argv = argv
        self.all_seen = all_seen
        self.env = env or {}
        self.knows = knows
        self.user_root = user_root


def hampered(*how):
    return [fixture("hampered"), str(COUNT)] + list(how)


def shell(text, *arguments):
    return ["/bin/sh", "-c", text] + list(arguments)


GREENLET = """
import greenlet, psycopg2, psycopg2.extensions, select, sys
hub = greenlet.getcurrent()
def wait(conn):
    while True:
        state = conn.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        hub.switch()
        select.select([conn] if state == 1 else [], [conn] if state == 2 else [], [], 10)
psycopg2.extensions.set_wait_callback(wait)
def work():
    conn = psycopg2.connect("")
    hub.switch()
    conn.close()
workers = [greenlet.greenlet(work) for _ in range(5)]
while workers:
    for worker in workers:
        worker.switch()
    workers = [worker for worker in workers if not worker.dead]
print("done")
"""

DENIED = ["fallocate", "ftruncate", "getrandom", "kill", "linkat", "madvise", "memfd_create", "mincore",
          "process_vm_readv", "prlimit64", "readlink", "uname", "fstatfs", "fchmod"]
DENIED_STACKS = ["mprotect", "rt_sigprocmask"]
DENIED_LEDGER = ["openat", "mmap", "newfstatat"]


def seccomp_faults():
    for names, all_seen in ((DENIED, True), (DENIED_STACKS, True), (DENIED_LEDGER, False)):
        for name in names:
            for how in ("deny", "nosys"):
                yield Fault("4", "seccomp forbids", hampered("%s=%s" % (how, name)), all_seen, detail="`%s`" % name)


def faults():
    yield Fault("3", "`RLIMIT_NOFILE` 3 after the start", hampered("nofile=3"), False)
    yield Fault("3", "`RLIMIT_NOFILE` 4 after the start", hampered("nofile=4"))
    yield Fault("3", "`RLIMIT_AS`: nothing more can be mapped", hampered("as=0"), False)
    yield Fault("3", "`RLIMIT_FSIZE` 0, ledger made by `run`", hampered("fsize=0"))
    yield from seccomp_faults()
    yield Fault("5", "environment emptied by the program", hampered("environ=clear"))
    yield Fault("5", "chroot and another user before the first connect", lambda: hampered("chroot=" + empty_root()), False,
                user_root=True)
    yield Fault("5", "chroot and another user, `PQLEASE_OPEN=early`", lambda: hampered("chroot=" + empty_root()), user_root=True,
                env={"PQLEASE_OPEN": "early"})
    yield Fault("5", "thread with a stack of `PTHREAD_STACK_MIN`", hampered("stack=0"))
    yield Fault("6", "signals every 0.2 ms inside the hooks, handlers that connect", [fixture("signal_storm"), "100"])
    yield Fault("6", "`longjmp` out of a connect", [fixture("cut_short"), "longjmp-connect", "3"])
    yield Fault("6", "`longjmp` out of a query", [fixture("cut_short"), "longjmp-exec", "3"])
    yield Fault("6", "thread cancelled in a connect", [fixture("cut_short"), "cancel-connect", "3"])
    yield Fault("6", "C++ exception through a query", [fixture("cut_short_cpp"), "exec", "3", "application_name=thrower"])
    yield Fault("6", "coroutines (ucontext)", [fixture("coroutines"), "5", "3"])
    yield Fault("6", "coroutines (greenlet)", [PYTHON, "-c", GREENLET])
    yield Fault("7", "program sets `LD_PRELOAD` anew for all that connects",
                shell('LD_PRELOAD= "$0" %d' % COUNT, fixture("hampered")), False)
    yield Fault("7", "program sets `LD_PRELOAD` anew for one of its children",
                shell('"$0" 2; LD_PRELOAD= "$0" 2', fixture("hampered")), False, knows=False)


def empty_root():
    """A directory to chroot into, from which the server's socket can be reached, but not the ledger."""
    directory = tempfile.mkdtemp(prefix="pqlease-root-", dir="/tmp")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    os.chmod(directory, 0o755)
    inside = directory + os.path.dirname(cluster.socket_directory)
    os.makedirs(inside, exist_ok=True)
    sockets = directory + cluster.socket_directory
    os.makedirs(sockets)
    os.link(*[root + "/.s.PGSQL.%d" % cluster.port for root in (cluster.socket_directory, sockets)])
    return directory


def run_recorded(fault, db):
    """The program under `pqlease run`, whose report goes to a file."""
    ledger = os.path.join(ledger_directory(), "run.ledger")
    path = ledger + ".json"
    command = [PQLEASE, "run", "-o", ledger, "--report=json", "--report-file", path, "--"] + fault.argv
    run = run_plain(command, db=db, env=fault.env)
    with open(path, encoding="utf-8") as text:
        return run, json.load(text)


def describe(parsed, counts):
    program = fixture("hampered")
    reasons = [reason.replace(program, "the program").replace("in at least one process: hampered", "there")
               for reason in parsed["trust"]["reasons"] if "process called libpq" not in reason]
    reasons = [reason.replace("Function not implemented", "Operation not permitted") for reason in reasons]
    if not parsed["trust"]["ok"]:
        return "not trusted: " + "; ".join(reasons)
    if counted_connections(parsed) == counts.sessions:
        return "everything recorded" + "".join("; " + reason for reason in reasons[:1])
    return "what was preloaded is recorded; the other sessions only the server knows (`--server`)"


def check_fault(fault):
    db = cluster.fresh_database()
    fault.argv = fault.argv() if callable(fault.argv) else fault.argv
    plain = run_plain(fault.argv, db=db, env=fault.env)
    if b"ModuleNotFoundError" in plain.stderr:
        print("# %s: not shown" % plain.stderr.split(b"\n")[-2].decode())
        return
    db.count_from_here()
    run, parsed = run_recorded(fault, db)
    check_equal((plain.status, plain.stdout, plain.stderr), (run.status, run.stdout, run.stderr), "the program")
    counts = db.sessions()
    check(counts.sessions > 0 or b"Too many open files" in plain.stdout, "nothing was tried: %r" % plain.stdout)
    check(b"yes" in plain.stdout or "storm" not in fault.argv[0], "no storm: %r" % plain.stdout)
    seen = counted_connections(parsed)
    check_equal(fault.all_seen, seen == counts.sessions and parsed["trust"]["ok"],
                "all of %r recorded: %r %r" % (counts, parsed["totals"], parsed["trust"]))
    if fault.knows:
        check_equal(fault.all_seen, parsed["trust"]["ok"], "trust: %r" % parsed["trust"])
        check(fault.all_seen or parsed["trust"]["reasons"], "no reason is given: %r" % parsed["trust"])
    if fault.all_seen:
        totals = parsed["totals"]
        check_equal(totals["attempts"], totals["established"] + totals["failed"] + totals["abandoned"], "attempts")
        check(totals["attempts"] < 1000, "attempts: %r" % totals)
    keep_row(fault.group, fault.name, describe(parsed, counts), fault.detail)


def tested(fault):
    def check_one():
        check_fault(fault)

    check_one.__name__ = (fault.name + " " + fault.detail).strip()
    return check_one


for one in faults():
    if not one.user_root or os.geteuid() == 0:
        test(tested(one))
main()
