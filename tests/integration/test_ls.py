#!/usr/bin/python3
"""`pqlease ls`: this user's ledgers, and the removal of the ended ones and of nothing else."""

import contextlib
import os
import shutil
import signal
import subprocess

from pqlease_test import *


def own_name(directory, label):
    return os.path.join(directory, "pqlease.%d.%s.ledger" % (os.getuid(), label))


def make_ended(directory, label, *words):
    path = own_name(directory, label)
    run_pqlease(["true", *words], "--report=none", ledger=path).check_status(0)
    return path


def start_live(directory, label):
    path = own_name(directory, label)
    child = subprocess.Popen([PQLEASE, "run", "-o", path, "--report=none", "--", "sh", "-c", "echo ready; exec sleep 300"],
                             env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             start_new_session=True)

    def end():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    cleanup(end)
    check_equal(b"ready\n", child.stdout.readline(), "first line of COMMAND")
    return path


def listing(directory):
    """[(state, path, the rest of the line)], as listed."""
    run = pqlease("ls", "--dir", directory).check_status(0)
    check_equal(b"", run.stderr, "stderr")
    rows = [line.split(None, 5) for line in run.stdout.decode().splitlines()[1:]]
    return [(row[1], row[4], row[5] if len(row) > 5 else "") for row in rows]


@test
def an_empty_directory_prints_nothing():
    run = pqlease("ls", "--dir", ledger_directory()).check_status(0)
    check_equal((b"", b""), (run.stdout, run.stderr), "output")


@test
def a_directory_that_cannot_be_read_is_2():
    run = pqlease("ls", "--dir", "/no/such/directory")
    check_equal((2, b""), (run.status, run.stdout), "status and output")
    check_equal(b"pqlease: /no/such/directory: No such file or directory\n", run.stderr, "stderr")


@test
def wrong_usage_is_64():
    for arguments in (["ls", "extra"], ["ls", "--nonsense"], ["ls", "--dir"]):
        check_equal(64, pqlease(*arguments).status, "status of %r" % arguments)


@test
def ledgers_are_listed_newest_first_with_state_and_command():
    directory = ledger_directory()
    oldest = make_ended(directory, "9", "-x", "password=hunter2")
    middle = start_live(directory, "1")
    newest = make_ended(directory, "5")
    check_equal([("ended", newest, "true"), ("live", middle, "sh -c ***"), ("ended", oldest, "true -x ***")],
                listing(directory), "listing")


@test
def the_size_is_what_the_ledger_takes_not_its_length():
    directory = ledger_directory()
    path = make_ended(directory, "1")
    row = pqlease("ls", "--dir", directory).stdout.decode().splitlines()[1].split()
    check_equal("%dK" % (os.stat(path).st_blocks * 512 // 1024), row[2], "size")
    check_equal("0", row[3], "connections")


@test
def other_names_are_not_listed():
    directory = ledger_directory()
    path = make_ended(directory, "1")
    for name in ("pqlease.%d.1.ledger" % (os.getuid() + 1), "pqlease.%d.ledger" % os.getuid(), "run.ledger",
                 "pqlease.%d.1.ledger.bak" % os.getuid()):
        shutil.copy(path, os.path.join(directory, name))
    check_equal([path], [row[1] for row in listing(directory)], "paths")


def make_strangers(directory):
    """Everything that has a ledger's name and must survive, with what it is."""
    target = os.path.join(directory, "target")
    shutil.move(make_ended(directory, "target"), target)
    strangers = {own_name(directory, "link"): "symbolic link", own_name(directory, "text"): "text",
                 own_name(directory, "folder"): "directory", own_name(directory, "fifo"): "fifo",
                 own_name(directory, "short"): "truncated ledger", own_name(directory, "twice"): "second name"}
    os.symlink(target, own_name(directory, "link"))
    with open(own_name(directory, "text"), "w", encoding="utf-8") as file:
        file.write("precious\n")
    os.mkdir(own_name(directory, "folder"))
    os.mkfifo(own_name(directory, "fifo"))
    shutil.copy(target, own_name(directory, "short"))
    os.truncate(own_name(directory, "short"), 10000)
    os.link(own_name(directory, "text"), own_name(directory, "twice"))
    if os.getuid() == 0:
        strangers[own_name(directory, "foreign")] = "another user's"
        shutil.copy(target, own_name(directory, "foreign"))
        os.chown(own_name(directory, "foreign"), 65534, 65534)
    return strangers, target


@test
def prune_removes_ended_ledgers_and_nothing_else():
    directory = ledger_directory()
    ended = [make_ended(directory, "1"), make_ended(directory, "2")]
    live = start_live(directory, "3")
    strangers, target = make_strangers(directory)
    check_equal({path: "unreadable" for path in strangers},
                {path: state for state, path, _ in listing(directory) if path in strangers}, "states")
    run = pqlease("ls", "--prune", "--dir", directory).check_status(0)
    check_equal(b"2 ended ledgers removed\n", run.stdout, "stdout")
    for path in ended:
        check(not os.path.lexists(path), "%s is still there" % path)
    for path in [live, target, *strangers]:
        check(os.path.lexists(path), "%s (%s) was removed" % (path, strangers.get(path, "live")))
    check_equal(b"0 ended ledgers removed\n", pqlease("ls", "--prune", "--dir", directory).stdout, "second time")


PING_AND_STAY = """
import ctypes, os, signal, sys
ctypes.CDLL("libpq.so.5").PQping(b"host=/nonexistent")
with open(sys.argv[1], "w") as fifo:
    fifo.write("%d\\n" % os.getpid())
signal.pause()
"""


@test
def a_ledger_is_live_as_long_as_a_process_of_its_run():
    directory = ledger_directory()
    path = own_name(directory, "1")
    fifo = os.path.join(directory, "fifo")
    os.mkfifo(fifo)
    script = '"$@" >/dev/null 2>&1 & read -r pid < "$0"; echo $pid'
    argv = ["sh", "-c", script, fifo, PYTHON, "-c", PING_AND_STAY, fifo]
    pid = int(run_pqlease(argv, "--report=none", ledger=path).check_status(0).stdout)
    cleanup(kill_if_there, pid)
    check_equal(["live"], [row[0] for row in listing(directory)], "state while a process is left")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: [row[0] for row in listing(directory)] == ["ended"], what="the end of the run")


@test
def a_raw_ledger_is_live_as_long_as_the_shell_that_it_is_named_after():
    """Between two children that call libpq nobody has the ledger open, and yet it must not go."""
    ping = "import ctypes; ctypes.CDLL('libpq.so.5').PQping(b'host=/nonexistent')"
    script = '%s -c "$0"; %s ls --prune >&2; test -e "$PQLEASE_LEDGER" && echo $PQLEASE_LEDGER' % (PYTHON, PQLEASE)
    run = run_plain(["sh", "-c", script, ping], env={"LD_PRELOAD": SHIM}).check_status(0)
    ledger = run.stdout.decode().strip()
    check_in("/dev/shm/pqlease.%d." % os.getuid(), ledger)
    pqlease("ls", "--prune").check_status(0)
    check(not os.path.exists(ledger), "the ledger is still there after the end of the shell")


def kill_if_there(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@test
def prune_without_a_directory_looks_in_shared_memory():
    run = pqlease("run", "--report=none", "--", "true").check_status(0)
    check_equal((b"", b""), (run.stdout, run.stderr), "output of run")
    check_in(b"pqlease.%d." % os.getuid(), pqlease("ls").check_status(0).stdout)
    pqlease("ls", "--prune").check_status(0)
    states = [line.split()[1] for line in pqlease("ls").check_status(0).stdout.decode().splitlines()[1:]]
    check("ended" not in states, "ended ledgers are still there")


main()
