"""What every integration test needs: a server to judge by, a way to run programs under the shim, TAP.

A test file is an executable `tests/integration/test_<what>.py`:

    #!/usr/bin/python3
    from pqlease_test import *

    cluster = Cluster()

    @test
    def psql_is_recorded_and_clean():
        db = cluster.fresh_database()
        run = same_behaviour([cluster.bin("psql"), "-XAtc", "select 1"], db=db)
        report = run.report()
        check_server_agrees(report, db)
        check_equal([], report["findings"], "findings")

    main()

Run one file with `/usr/bin/python3 tests/integration/test_x.py [NAME...]`; NAME picks tests by a part of their name.

Three rules. Numbers are judged by the server's own counts, never by numbers written by hand. Each test has a
database of its own and the judge connects to another one, so that nothing but the program under test is counted.
Nothing waits by sleeping: `wait_until` polls with a limit.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("PQLEASE_BUILD") or os.path.join(ROOT, "build"))
SHIM = os.path.join(BUILD, "libpqlease.so")
PQLEASE = os.path.join(BUILD, "pqlease")
PYTHON = "/usr/bin/python3"
COMMAND_TIMEOUT_S = 60

__all__ = [
    "ROOT", "BUILD", "SHIM", "PQLEASE", "PYTHON", "Cluster", "Database", "Run", "ServerCounts", "check",
    "check_equal", "check_in", "check_server_agrees", "clean_environment", "cleanup", "fixture", "fixture_line",
    "ledger_directory", "main", "pqlease", "report", "run_pqlease", "run_plain", "run_with_shim", "same_behaviour",
    "start_with_shim", "test", "wait_until"
]

# --- Checks -----------------------------------------------------------------------------------------------------


class Failure(AssertionError):
    pass


def check(claim, what):
    if not claim:
        raise Failure(what)


def check_equal(expected, actual, what="value"):
    if expected != actual:
        raise Failure("%s: expected %r, got %r" % (what, expected, actual))


def check_in(part, whole, what="text"):
    if part not in whole:
        raise Failure("%s: %r is not in:\n%s" % (what, part, whole))


def wait_until(predicate, timeout=10.0, what="condition"):
    """Poll until `predicate()` is true and return its value; a failed test when the time is up."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Failure("%s: not within %g s (last: %r)" % (what, timeout, value))
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


# --- Programs ---------------------------------------------------------------------------------------------------


def clean_environment(db=None, **extra):
    """The environment of every program under test: the same on every machine, no pqlease and no libpq settings
    but those of `db` and of `extra` (a value of None removes a name)."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }
    if db is not None:
        environment.update(db.environment())
    for name, value in extra.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = str(value)
    return environment


def fixture(name):
    """Path of a built tests/fixtures program: `fixture("orders")`, `fixture("orders.O2")`, `fixture("x.so")`."""
    path = os.path.join(BUILD, "tests", "fixtures", name)
    check(os.path.exists(path), "%s: not built" % path)
    return path


def fixture_line(source, marker):
    """The line number in tests/fixtures/`source` that holds `marker` (in a comment): tests do not count lines."""
    with open(os.path.join(ROOT, "tests", "fixtures", source), encoding="utf-8") as text:
        lines = [number for number, line in enumerate(text, 1) if marker in line]
    check_equal(1, len(lines), "lines of %s with %r" % (source, marker))
    return lines[0]


class Run:
    """What a program did. `status` is as the shell has it (128+N for signal N), output is bytes.
    `ledger` is the path the shim was told, whether or not it made the file; None for a run without the shim."""

    def __init__(self, argv, status, stdout, stderr, ledger=None, seconds=0.0):
        self.argv = argv
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.ledger = ledger
        self.seconds = seconds

    def report(self, *options):
        return report(self.ledger, *options)

    def check_status(self, expected=0):
        if self.status != expected:
            raise Failure("%s: status %d instead of %d\nstdout: %s\nstderr: %s" %
                          (" ".join(self.argv), self.status, expected, text_of(self.stdout), text_of(self.stderr)))
        return self


def text_of(output):
    return output.decode("utf-8", "replace")


def as_bytes(text):
    return text.encode() if isinstance(text, str) else text


def shell_status(status):
    return status if status >= 0 else 128 - status


def execute(argv, environment, stdin=None, timeout=COMMAND_TIMEOUT_S, cwd=None, ledger=None, **popen):
    """Run to the end; a program that exceeds `timeout` is killed with everything it started, and fails the test."""
    begun = time.monotonic()
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    child = subprocess.Popen(argv, env=environment, cwd=cwd or ROOT, stdin=source, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, start_new_session=True, **popen)
    try:
        stdout, stderr = child.communicate(as_bytes(stdin), timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_session(child)
        stdout, stderr = child.communicate()
        raise Failure("%s: still running after %g s\nstdout: %s\nstderr: %s" %
                      (" ".join(argv), timeout, text_of(stdout), text_of(stderr))) from None
    return Run(argv, shell_status(child.returncode), stdout, stderr, ledger, time.monotonic() - begun)


def kill_session(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_plain(argv, db=None, env=None, **options):
    """Run a program without the shim. Options: stdin, timeout, cwd, and those of Popen (user, preexec_fn...)."""
    return execute(argv, clean_environment(db, **(env or {})), **options)


def shim_environment(ledger):
    return {"LD_PRELOAD": SHIM, "PQLEASE_LEDGER": ledger}


def ledger_directory():
    """A fresh directory in shared memory, removed after the test."""
    directory = tempfile.mkdtemp(prefix="pqlease-test-", dir="/dev/shm")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def run_with_shim(argv, db=None, env=None, ledger=None, **options):
    """Run a program with the shim preloaded and a ledger of its own (raw use, no `pqlease run`)."""
    ledger = ledger or os.path.join(ledger_directory(), "run.ledger")
    environment = clean_environment(db, **dict(shim_environment(ledger), **(env or {})))
    return execute(argv, environment, ledger=ledger, **options)


def start_with_shim(argv, db=None, env=None, ledger=None, **popen):
    """Start a program under the shim and return its Popen, with `.ledger`; killed after the test if still there."""
    ledger = ledger or os.path.join(ledger_directory(), "run.ledger")
    environment = clean_environment(db, **dict(shim_environment(ledger), **(env or {})))
    popen.setdefault("stdin", subprocess.DEVNULL)
    popen.setdefault("start_new_session", True)
    popen.setdefault("cwd", ROOT)
    child = subprocess.Popen(argv, env=environment, **popen)
    child.ledger = ledger

    def end():
        kill_session(child)
        child.wait()

    cleanup(end)
    return child


def same_behaviour(argv, db=None, env=None, reset=None, **options):
    """Run without and then with the shim; the program must not notice. Returns the second run; the server's counts
    of `db` start between the two. `reset()` is called between them if the first run changed something."""
    plain = run_plain(argv, db=db, env=env, **options)
    if reset is not None:
        reset()
    if db is not None:
        db.count_from_here()
    shimmed = run_with_shim(argv, db=db, env=env, **options)
    check_equal(plain.status, shimmed.status, "status of %s (stderr: %s)" % (argv[0], text_of(shimmed.stderr)))
    check_equal(plain.stdout, shimmed.stdout, "stdout of %s" % argv[0])
    check_equal(plain.stderr, shimmed.stderr, "stderr of %s" % argv[0])
    return shimmed


# --- pqlease ----------------------------------------------------------------------------------------------------


def pqlease(*arguments, db=None, env=None, **options):
    """Run build/pqlease with these arguments."""
    return execute([PQLEASE] + list(arguments), clean_environment(db, **(env or {})), **options)


def run_pqlease(argv, *run_options, db=None, env=None, ledger=None, **options):
    """`pqlease run -o LEDGER RUN_OPTIONS -- ARGV`; the result's `ledger` is ready for `report()`."""
    ledger = ledger or os.path.join(ledger_directory(), "run.ledger")
    command = [PQLEASE, "run", "-o", ledger] + list(run_options) + ["--"] + list(argv)
    return execute(command, clean_environment(db, **(env or {})), ledger=ledger, **options)


def report(ledger, *options):
    """The JSON report of a ledger, parsed."""
    run = pqlease("report", "--format=json", *options, ledger).check_status(0)
    check_equal(b"", run.stderr, "stderr of pqlease report")
    parsed = json.loads(run.stdout)
    check_equal("pqlease/report-1", parsed["schema"], "schema")
    return parsed


def is_ended(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# --- The server -------------------------------------------------------------------------------------------------


class Cluster:
    """A throwaway server, started at its first use and gone with this process, however that ends.
    `options` are those of scripts/postgres, for example "--tcp" or "-c", "max_connections=20"."""

    def __init__(self, *options):
        self.options = options
        self.process = None
        self.settings = {}
        self.database_count = 0

    def start(self):
        if self.process is not None:
            return self
        # The server lives as long as our end of the pipe: even kill -9 of this test leaves nothing behind.
        names = "PGHOST PGPORT PGUSER PQLEASE_PG_DIR PQLEASE_PG_BINDIR"
        script = 'for name in %s; do eval "echo \\$$name"; done; exec cat >/dev/null' % names
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PGMAJOR")}
        self.process = subprocess.Popen(
            [os.path.join(ROOT, "scripts", "postgres"), "run", *self.options, "--", "/bin/sh", "-c", script],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        atexit.register(self.stop)
        for name in names.split():
            self.settings[name] = self.process.stdout.readline().decode().rstrip("\n")
            check(self.settings[name], "scripts/postgres did not start a server")
        return self

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(timeout=30)
            self.process.stdout.close()
            self.process = None

    def server_pid(self):
        """The server's process id, and whether it takes connections."""
        with open(os.path.join(self.settings["PQLEASE_PG_DIR"], "data", "postmaster.pid"), encoding="utf-8") as file:
            lines = file.read().split("\n")
        return int(lines[0]), len(lines) > 7 and lines[7].strip() == "ready"

    def is_ready(self):
        try:
            return self.server_pid()[1]
        except (OSError, ValueError):
            return False

    def restart(self):
        """A fast shutdown, which ends every session, and the same command line again. From the main thread only: the
        server ends with the thread that started it."""
        pid = self.server_pid()[0]
        with open("/proc/%d/cmdline" % pid, "rb") as cmdline:
            argv = cmdline.read().rstrip(b"\0").split(b"\0")
        owner = os.stat(os.path.join(self.settings["PQLEASE_PG_DIR"], "data"))
        os.kill(pid, signal.SIGINT)
        wait_until(lambda: is_ended(pid), 30, "the server to stop")
        prefix = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            prefix += ["--reuid", str(owner.st_uid), "--regid", str(owner.st_gid), "--init-groups"]
        subprocess.Popen(prefix + ["--"] + argv, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, cwd="/",
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         start_new_session=True)
        wait_until(self.is_ready, 30, "the server to start")

    @property
    def socket_directory(self):
        return self.start().settings["PGHOST"]

    @property
    def port(self):
        """The port, of the socket file and, with --tcp, of 127.0.0.1."""
        return int(self.start().settings["PGPORT"])

    def bin(self, program):
        """Path of a program of the server's own version (`psql` in PATH is Debian's Perl wrapper)."""
        return os.path.join(self.start().settings["PQLEASE_PG_BINDIR"], program)

    def environment(self):
        self.start()
        return {name: self.settings[name] for name in ("PGHOST", "PGPORT", "PGUSER")}

    def query(self, sql, database="postgres"):
        """Ask without the shim: the rows, each a list of strings (None for NULL)."""
        environment = clean_environment(None, **self.environment())
        argv = [self.bin("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-P", "null=\x01", "-F", "\x02", "-R", "\x03"]
        run = execute(argv + ["-d", database, "-c", sql], environment)
        run.check_status(0)
        output = text_of(run.stdout).rstrip("\n")
        if not output:
            return []
        rows = [row.split("\x02") for row in output.split("\x03")]
        return [[None if field == "\x01" else field for field in row] for row in rows]

    def value(self, sql, database="postgres"):
        """The single value of a query, as a string."""
        return self.query(sql, database)[0][0]

    def fresh_database(self):
        """A new empty database, never connected to, so that its counters are zero."""
        self.database_count += 1
        name = "t%d" % self.database_count
        self.query('CREATE DATABASE "%s"' % name)
        return Database(self, name)


class ServerCounts:
    """pg_stat_database of one database, since `count_from_here` (or its creation)."""

    NAMES = ("sessions", "sessions_abandoned", "sessions_fatal", "sessions_killed")

    def __init__(self, numbers):
        self.numbers = tuple(numbers)
        self.sessions, self.sessions_abandoned, self.sessions_fatal, self.sessions_killed = self.numbers

    def __sub__(self, other):
        return ServerCounts(now - before for now, before in zip(self.numbers, other.numbers))

    def __eq__(self, other):
        return isinstance(other, ServerCounts) and self.numbers == other.numbers

    def __repr__(self):
        return " ".join("%s=%d" % pair for pair in zip(self.NAMES, self.numbers))


class Database:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.origin = ServerCounts((0, 0, 0, 0))

    def environment(self):
        return dict(self.cluster.environment(), PGDATABASE=self.name)

    def conninfo(self, **extra):
        """A connection string for this database; `extra` adds or replaces keywords."""
        words = {"host": self.cluster.socket_directory, "port": self.cluster.port, "user": "postgres",
                 "dbname": self.name}
        words.update(extra)
        return " ".join("%s=%s" % pair for pair in words.items())

    def prepare(self, sql):
        """Change this database before the test; these sessions are not counted."""
        rows = self.cluster.query(sql, self.name)
        self.count_from_here()
        return rows

    def backends(self):
        """Server process ids of the sessions that are open in this database now."""
        rows = self.cluster.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
                                  "datname = '%s' ORDER BY pid" % self.name)
        return [int(row[0]) for row in rows]

    def read_counts(self):
        """The raw counters and the number of sessions still open, in one look."""
        columns = ", ".join(ServerCounts.NAMES)
        row = self.cluster.query(
            "SELECT %s, (SELECT count(*) FROM pg_stat_activity WHERE datname = '%s' AND backend_type = "
            "'client backend') FROM pg_stat_database WHERE datname = '%s'" % (columns, self.name, self.name))[0]
        numbers = [int(field) for field in row]
        return ServerCounts(numbers[:4]), numbers[4]

    def sessions(self, timeout=10.0):
        """The server's counts once all sessions here have ended and two looks in a row agree."""
        last = [None]

        def settled():
            counts, open_count = self.read_counts()
            is_settled = open_count == 0 and counts == last[0]
            last[0] = counts
            return is_settled

        wait_until(settled, timeout, "sessions in %s to end (%r)" % (self.name, last))
        return last[0] - self.origin

    def count_from_here(self):
        """Forget the sessions so far."""
        self.origin = ServerCounts((0, 0, 0, 0))
        self.origin = self.sessions()


def check_server_agrees(parsed_report, db, abandoned=None):
    """The report's connections are the server's sessions; with `abandoned`, leases never finished are too.
    Every probe of the run is taken to have been answered by this database."""
    totals = parsed_report["totals"]

    def counted():
        return totals["established"] + totals["resets"] + totals["probes"]

    counts = db.sessions()
    check_equal(counts.sessions, counted(), "connections in the report, against the server's sessions (%r, %r)" %
                (counts, totals))
    if abandoned is not None:
        check_equal(counts.sessions_abandoned, abandoned, "leases never finished, against the server's count")
    return counts


# --- Tests ------------------------------------------------------------------------------------------------------

_tests = []
_cleanups = []


def test(function):
    """Decorator: register a test; its name is the function's."""
    _tests.append(function)
    return function


def cleanup(function, *arguments, **keywords):
    """Call this after the running test, last registered first."""
    _cleanups.append((function, arguments, keywords))


def run_cleanups():
    while _cleanups:
        function, arguments, keywords = _cleanups.pop()
        function(*arguments, **keywords)


def explain(error):
    if isinstance(error, Failure):
        frame = [entry for entry in traceback.extract_tb(error.__traceback__) if entry.filename != __file__][-1:]
        place = "%s:%d: " % (os.path.relpath(frame[0].filename, ROOT), frame[0].lineno) if frame else ""
        return place + str(error)
    return "".join(traceback.format_exception(error))


def run_one(number, function):
    problems = []
    try:
        function()
    except Exception as error:  # pylint: disable=broad-except
        problems.append(explain(error))
    try:
        run_cleanups()
    except Exception as error:  # pylint: disable=broad-except
        problems.append("cleanup: " + explain(error))
    print("%s %d - %s" % ("not ok" if problems else "ok", number, function.__name__))
    for problem in problems:
        print("\n".join("# " + line for line in problem.rstrip("\n").split("\n")))
    sys.stdout.flush()
    return not problems


def end_on_signal(number, _frame):
    sys.exit(128 + number)


def main():
    """Run the registered tests, print TAP, exit."""
    signal.signal(signal.SIGTERM, end_on_signal)
    names = sys.argv[1:]
    chosen = [entry for entry in _tests if not names or any(name in entry.__name__ for name in names)]
    print("1..%d" % len(chosen), flush=True)
    try:
        results = [run_one(number, function) for number, function in enumerate(chosen, 1)]
    finally:
        run_cleanups()
    sys.exit(0 if chosen and all(results) else 1)
