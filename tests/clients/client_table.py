"""The table of clients, and what is asked of every one of them.

A test file lists clients, one line each, and calls `main_of(CLIENTS)`:

    CLIENTS = [Client("psycopg2, sync", [PYTHON, program("psycopg2_sync.py")], sessions=6, abandoned=1)]

Each is run four times against a database of its own: without the shim and with it (the same status and output, to the
byte; the server's sessions, clean closes and abandoned sessions are those of the report), and both once more under
the observer of tests/audit, which lists what the dynamic linker binds (nothing of libpq goes past the shim). What was
measured is kept for the table of clients in BUILD/clients.md.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

# pylint: disable=wrong-import-position,wildcard-import
import pqlease_test
from pqlease_test import *
from report_checks import *

OBSERVER = os.path.join(BUILD, "tests", "audit", "pq_audit.so")
RESULTS = os.path.join(BUILD, "clients", "results")
SHIM_NAME = os.path.basename(SHIM)

# By the bits of dlopen's flags.
FLAG_NAMES = [(0x1, "LAZY"), (0x2, "NOW"), (0x100, "GLOBAL"), (0x8, "DEEPBIND"), (0x1000, "NODELETE")]


def program(name):
    return os.path.join(HERE, "programs", name)


def built(name):
    """A compiled client."""
    return os.path.join(BUILD, "tests", "clients", "programs", name)


def temporary_directory(prefix="pqlease-clients-"):
    directory = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


class Sessions:
    """The oracle of most clients: pg_stat_database of the client's own database."""

    def __init__(self, db):
        self.db = db

    def begin(self):
        self.db.count_from_here()

    def counted(self):
        """Sessions, clean closes, abandoned: once they have all ended."""
        counts = self.db.sessions()
        clean = counts.sessions - counts.sessions_abandoned - counts.sessions_fatal - counts.sessions_killed
        return counts.sessions, clean, counts.sessions_abandoned


class ServerLog:
    """The oracle of replication clients, whose sessions belong to no database. Needs log_connections and
    log_disconnections."""

    AUTHORIZED = "LOG:  replication connection authorized:"
    ENDED = re.compile(r"LOG:  disconnection: .* database= ")
    LOST = re.compile(r"LOG:  (unexpected EOF on|could not (receive|send) data)")

    def __init__(self, db):
        self.path = os.path.join(db.cluster.socket_directory, "log")
        self.begin()

    def begin(self):
        self.origin = len(self.lines())
        return self.origin

    def lines(self):
        with open(self.path, encoding="utf-8") as text:
            return text.read().split("\n")

    def counted(self):
        def ended():
            since = self.lines()[self.origin:]
            begun = sum(self.AUTHORIZED in line for line in since)
            return begun == sum(bool(self.ENDED.search(line)) for line in since) and since

        since = wait_until(ended, what="replication connections to end")
        begun = sum(self.AUTHORIZED in line for line in since)
        lost = sum(bool(self.LOST.search(line)) for line in since)
        return begun, begun - lost, lost


@dataclass
class Client:
    """`argv` is a list, or a function of the database. `sessions` is how many there are at least; `abandoned` is how
    many the program leaves on purpose (None: as many as the server says); `handed_over` is how many it lets a child
    process finish: clean for the server, and a hazard that the report names. `prepare(db)` is called before each run;
    `hide` is a pattern of what a program measures and prints; `oracle` counts what the server saw."""

    name: str
    argv: object
    sessions: int = 1
    abandoned: int = 0
    handed_over: int = 0
    env: dict = field(default_factory=dict)
    stdin: str = None
    prepare: object = None
    hide: str = None
    status: int = 0
    tables: int = 0
    oracle: object = Sessions
    timeout: int = 60

    def command(self, db):
        return self.argv(db) if callable(self.argv) else self.argv

    def database(self, cluster):
        db = cluster.fresh_database()
        for number in range(self.tables):
            db.prepare("create table place_%d as select generate_series(1, 1000) as number; "
                       "create index on place_%d (number)" % (number, number))
        return db


# --- One client ----------------------------------------------------------------------------------------------


def shown(client, output):
    return re.sub(client.hide.encode(), b"(measured)", output, flags=re.MULTILINE) if client.hide else output


def run(client, db, runner, **env):
    if client.prepare:
        client.prepare(db)
    options = {"env": dict(client.env, PYTHONDONTWRITEBYTECODE="1", **env), "timeout": client.timeout}
    if client.stdin is not None:
        options["stdin"] = client.stdin
    command = client.command(db)
    check(os.path.exists(command[0]), "%s is not there: scripts/setup-clients and make build every client" % command[0])
    return runner(command, db=db, **options)


def check_unnoticed(client, plain, shimmed):
    plain.check_status(client.status)
    check_equal(plain.status, shimmed.status, "status (stderr: %r)" % shimmed.stderr)
    for what in ("stdout", "stderr"):
        check_equal(shown(client, getattr(plain, what)), shown(client, getattr(shimmed, what)), what)


def check_counts(client, parsed, counted):
    """The report's connections, closes and leaks are the server's sessions, clean ends and abandoned sessions."""
    sessions, clean, abandoned = counted
    totals = parsed["totals"]
    others = totals["resets_succeeded"] + totals["probes_answered"]
    recorded = (totals["established"] + others, totals["finished"] + others, totals["unreleased"])
    check_equal(counted, recorded, "connections, closes, abandoned: the server's against the report's %r" % totals)
    check(sessions >= client.sessions, "the client should make %d sessions, the server saw %d" %
          (client.sessions, sessions))
    if client.abandoned is not None:
        check_equal(client.abandoned, abandoned, "the server's abandoned sessions")
    left = sum(finding["count"] for finding in findings_of(parsed, "never-finished") + findings_of(parsed, "killed"))
    check_equal(abandoned, left, "connections in the findings %r" % parsed["findings"])
    if client.handed_over:
        check(findings_of(parsed, "used-after-fork"), "no used-after-fork: %r" % parsed["findings"])
    check_equal(0, totals["open"], "open")
    check_nothing_lost(parsed)
    return {"sessions": sessions, "clean": clean, "abandoned": abandoned}


def check_doctor_knows(client, db):
    """All of them are recorded: `pqlease doctor` must say so beforehand."""
    said = pqlease("doctor", "--", *client.command(db), db=db, env=client.env)
    check_equal(0, said.status, "status of doctor (%r %r)" % (said.stdout, said.stderr))


def check_client(client, cluster):
    db = client.database(cluster)
    check_doctor_knows(client, db)
    oracle = client.oracle(db)
    plain = run(client, db, run_plain)
    oracle.begin()
    shimmed = run(client, db, run_with_shim)
    check_unnoticed(client, plain, shimmed)
    measured = check_counts(client, shimmed.report(), oracle.counted())
    natural = observe(client, db, run_plain)
    measured["way"] = way_of(natural)
    measured["bindings"] = check_covered(
        natural, observe(client, db, run_with_shim, may_see_nothing=bool(opened_deepbind(natural))))
    return measured


# --- What the dynamic linker did -----------------------------------------------------------------------------


class Bindings:
    """What tests/audit/pq_audit.c saw: (from, to, name, kind), and the flags with which objects were opened."""

    def __init__(self, path):
        self.bound = set()
        self.opened = {}
        with open(path, encoding="utf-8") as text:
            for line in text:
                words = line.rstrip("\n").split("\t")
                if words[0] == "bind":
                    self.bound.add(tuple(words[1:]))
                elif words[0] == "open":
                    self.opened.setdefault(os.path.basename(words[1]), int(words[2], 16))

    def hooked(self):
        """Bindings of hooked names by a client: not by libpq itself, not by the shim."""
        names = hooked_names()
        return {entry for entry in self.bound if entry[2] in names and not is_libpq(entry[0]) and
                os.path.basename(entry[0]) != SHIM_NAME}


def hooked_names():
    with open(os.path.join(ROOT, "shim", "hooks.def"), encoding="utf-8") as text:
        return set(re.findall(r"^HOOK\((PQ\w+)", text.read(), flags=re.MULTILINE))


def is_libpq(path):
    return re.match(r"libpq[-.]", os.path.basename(path)) is not None


def observe(client, db, runner, may_see_nothing=False, **env):
    output = os.path.join(temporary_directory(), "bindings")
    run(client, db, runner, LD_AUDIT=OBSERVER, PQ_AUDIT_OUTPUT=output, **env)
    check(os.path.exists(output) or may_see_nothing, "the observer saw nothing")
    return Bindings(output if os.path.exists(output) else os.devnull)


def past_the_shim(observed):
    """Calls of hooked functions that lead straight into libpq. (The shim's own look-ups are what it forwards to.)"""
    return sorted(entry for entry in observed.hooked() if is_libpq(entry[1]))


def opened_deepbind(observed):
    return {path for path, flags in observed.opened.items() if flags & 0x8}


def check_covered(natural, shimmed):
    """Every hooked name that the client binds without us leads to us; returns how many there are. Calls of what was
    opened with RTLD_DEEPBIND are led to us behind the dynamic linker's back: the server's counts alone prove those."""
    hidden = opened_deepbind(natural)
    expected = {(entry[0], entry[2]) for entry in natural.hooked()
                if entry[3] == "plt" and os.path.basename(entry[0]) not in hidden}
    reached = {(entry[0], entry[2]) for entry in shimmed.hooked() if os.path.basename(entry[1]) == SHIM_NAME}
    asked = {entry[2] for entry in natural.hooked() if entry[3] == "dlsym"}
    answered = {entry[2] for entry in shimmed.bound
                if entry[3] == "dlsym" and os.path.basename(entry[0]) == SHIM_NAME}
    check_equal([], [entry for entry in past_the_shim(shimmed) if os.path.basename(entry[0]) not in hidden],
                "bindings past the shim")
    check_equal([], sorted(expected - reached), "bindings that the shim did not get")
    check_equal([], sorted(asked - answered), "names asked by dlsym that the shim did not answer")
    check(expected or asked or hidden, "the client binds no function of libpq")
    return len(expected) + len(asked)


def flags_text(flags):
    names = [name for bit, name in FLAG_NAMES if flags & bit]
    return " ".join(names if flags & 0x100 else names[:1] + ["LOCAL"] + names[1:])


def way_of_caller(natural, caller, kind):
    name = os.path.basename(caller)
    shown_name = re.sub(r"\.cpython-.*\.so", ".so", name)
    if kind == "dlsym":
        flags = [flags for opened, flags in natural.opened.items() if is_libpq(opened)]
        return "`dlsym` by %s, libpq opened %s" % (shown_name, flags_text(flags[0]) if flags else "before")
    if name in natural.opened:
        return "%s, `dlopen` %s" % (shown_name, flags_text(natural.opened[name]))
    return "linked" if caller == "main program" else "linked through %s" % shown_name


def way_of(natural):
    ways = {way_of_caller(natural, caller, kind) for caller, _, _, kind in natural.hooked()}
    return "; ".join(sorted(ways))


# --- The table -----------------------------------------------------------------------------------------------


def keep_result(client, order, measured):
    os.makedirs(RESULTS, exist_ok=True)
    name = re.sub(r"\W+", "_", client.name)
    kept = dict(measured or {}, client=client.name, is_passed=measured is not None, order=order,
                group=os.path.basename(sys.argv[0]))
    with open(os.path.join(RESULTS, name + ".json"), "w", encoding="utf-8") as text:
        json.dump(kept, text)


def tested(client, order, cluster):
    def check_one():
        measured = None
        try:
            measured = check_client(client, cluster)
        finally:
            keep_result(client, order, measured)

    check_one.__name__ = client.name
    return check_one


def main_of(clients, cluster):
    """One test for each client, then those that the file registered itself."""
    for order, client in enumerate(clients):
        test(tested(client, order, cluster))
    main()


__all__ = pqlease_test.__all__ + [
    "Client", "HERE", "ServerLog", "Sessions", "built", "check_clean", "check_covered", "check_nothing_lost",
    "check_sessions", "findings_of", "main_of", "observe", "past_the_shim", "program", "temporary_directory"
]
