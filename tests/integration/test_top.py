#!/usr/bin/python3
"""`pqlease top`, driven through a real terminal multiplexer: what is on the screen, keys, sizes, the end of a run."""

import os
import pty
import shutil
import subprocess
import time

from pqlease_test import *
from live_service import Holder

cluster = Cluster()


class Terminal:
    """`pqlease top` in a terminal of a given size, on a server of its own."""

    def __init__(self, columns, rows, *arguments, language="C.UTF-8", term="screen-256color", **environment):
        check(shutil.which("tmux"), "tmux is not installed")
        self.socket = os.path.join(ledger_directory(), "tmux")
        self.environment = clean_environment(None, TERM="xterm", **environment)
        command = " ".join("'%s'" % word for word in (PQLEASE, "top", "--interval", "0.2") + arguments)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows),
                  "LC_ALL=%s TERM=%s %s; echo \"status $?\"; exec cat" % (language, term, command))
        cleanup(self.tmux, "kill-server", check_status=False)

    def tmux(self, *words, check_status=True):
        # -u: what is on the screen is UTF-8 whatever this test's own terminal is.
        run = subprocess.run(["tmux", "-u", "-S", self.socket, *words], env=self.environment, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        check(run.returncode == 0 or not check_status, "tmux %s: %s" % (words, run.stderr))
        return run.stdout.decode()

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def wait_for(self, text, absent=None):
        def shows():
            screen = self.screen()
            return screen if text in screen and (absent is None or absent not in screen) else None

        return wait_until(shows, timeout=20, what="%r on the screen, which shows:\n%s" % (text, self.screen()))

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def process(self):
        return int(self.tmux("list-panes", "-F", "#{pane_pid}").split()[0])


def held(db, count, used, role="main"):
    holder = Holder(db, role)
    holder.tell("open %d" % count)
    holder.tell("use %d" % used)
    return holder


@test
def the_numbers_are_the_servers():
    db = cluster.fresh_database()
    holder = held(db, 7, 2)
    terminal = Terminal(100, 30, "--limit", "30", holder.ledger)
    sessions = cluster.value("select count(*) from pg_stat_activity where datname = '%s'" % db.name)
    screen = terminal.wait_for("(peak %s)" % sessions)
    check_in("pqlease top - run", screen, "the title")
    check_in("main: ", screen, "the pool")
    check_in("/30 used", screen, "the capacity")
    backends = {row[0] for row in cluster.query("select pid from pg_stat_activity where datname = '%s'" % db.name)}
    check(any(backend in screen for backend in backends), "a backend of the server is on the screen")
    holder.tell("open 2")
    terminal.wait_for("(peak 9)")
    terminal.press("q")
    terminal.wait_for("status 0")
    holder.quit()


@test
def three_sizes_and_a_change_between_them():
    db = cluster.fresh_database()
    holder = held(db, 5, 0)
    for columns, rows in ((80, 24), (132, 50), (40, 12)):
        terminal = Terminal(columns, rows, holder.ledger)
        screen = terminal.wait_for("BACKEND STATE" if columns > 40 else "OPEN")
        lines = screen.rstrip("\n").split("\n")
        check(len(lines) <= rows, "rows at %dx%d" % (columns, rows))
        check(all(len(line) <= columns for line in lines), "columns at %dx%d" % (columns, rows))
        check_in("h help", lines[-1], "the last line at %dx%d" % (columns, rows))
        terminal.press("q")
    terminal = Terminal(80, 24, holder.ledger)
    terminal.wait_for("h help")
    for columns, rows in ((120, 40), (20, 5), (3, 2), (80, 24)):
        terminal.resize(columns, rows)
        time.sleep(0.3)
    terminal.wait_for("h help")
    terminal.press("q")
    terminal.wait_for("status 0")
    holder.quit()


@test
def keys_do_what_people_expect():
    db = cluster.fresh_database()
    holder = held(db, 3, 1)
    terminal = Terminal(100, 30, holder.ledger)
    terminal.wait_for("3 of 3 open leases")
    terminal.press("h")
    terminal.wait_for("sort by open, used, age, name")
    terminal.press("h")
    terminal.wait_for("3 of 3 open leases")
    terminal.press("/", "n", "o", "p", "e")
    terminal.wait_for("/nope_")
    terminal.wait_for("0 of 0 open leases")
    terminal.press("Enter")
    terminal.wait_for("filter: nope")
    terminal.press("Escape")
    terminal.wait_for("3 of 3 open leases")
    terminal.press("Space")
    terminal.wait_for("PAUSED")
    holder.tell("open 2")
    time.sleep(0.6)
    check_in("3 of 3 open leases", terminal.screen(), "a paused screen")
    terminal.press("Space")
    terminal.wait_for("5 of 5 open leases", absent="PAUSED")
    for key in ("o", "u", "a", "n", "Tab", "Down", "Up", "NPage", "PPage", "j", "k", "x", "?", "?"):
        terminal.press(key)
    terminal.wait_for("5 of 5 open leases")
    terminal.press("q")
    terminal.wait_for("status 0")
    holder.quit()


@test
def plain_characters_without_utf8_and_no_colour():
    db = cluster.fresh_database()
    holder = held(db, 3, 1)
    for arguments, environment in ((["--ascii"], {}), ([], {"language": "C"}), ([], {"term": "vt100", "NO_COLOR": "1"})):
        terminal = Terminal(80, 24, *arguments, holder.ledger, **environment)
        screen = terminal.wait_for("3 of 3 open leases")
        if environment.get("term") is None:
            check(screen.isascii(), "characters with %s %s" % (arguments, environment))
        terminal.press("q")
        terminal.wait_for("status 0")
    holder.quit()


@test
def hostile_names_stay_text():
    db = cluster.fresh_database()
    holder = held(db, 1, 0, role="\x1b[31mred\x07\r\nnew")
    terminal = Terminal(100, 30, holder.ledger)
    screen = terminal.wait_for("1 of 1 open leases")
    check_in("\\x1b[31mred", screen, "the role")
    terminal.press("q")
    holder.quit()


@test
def the_end_of_the_run_and_of_the_ledger_are_said():
    db = cluster.fresh_database()
    holder = held(db, 2, 0)
    terminal = Terminal(100, 30, holder.ledger)
    terminal.wait_for("2 of 2 open leases")
    holder.quit()
    terminal.wait_for("THE RUN HAS ENDED")
    os.unlink(holder.ledger)
    terminal.wait_for("no such file")
    terminal.press("q")
    terminal.wait_for("status 0")


@test
def without_a_terminal_or_a_ledger_it_says_so():
    ledger = run_pqlease(["true"], "--report=none").ledger
    run = pqlease("top", ledger)
    check_equal((2, b"pqlease: top: needs a terminal; see pqlease status\n"), (run.status, run.stderr), "no terminal")
    terminal = Terminal(80, 24, "/no/such.ledger")
    terminal.wait_for("status 2")
    check_equal(64, pqlease("top", "--interval", "never", ledger).status, "a wrong interval")
    check_equal(64, pqlease("top", ledger, ledger).status, "two ledgers")


@test
def a_terminal_that_nobody_knows_is_said():
    ledger = run_pqlease(["true"], "--report=none").ledger
    pid, master = pty.fork()
    if pid == 0:
        os.execve(PQLEASE, [PQLEASE, "top", ledger], clean_environment(TERM="nonsense"))
    output = b""
    try:
        while part := os.read(master, 4096):
            output += part
    except OSError:
        pass
    os.close(master)
    check_equal((2, b"pqlease: top: the terminal cannot be used; see pqlease status\r\n"),
                (os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output), "status, output")


@test
def it_does_not_grow():
    """Some hundred frames in the time of a few: memory and descriptors stay."""
    db = cluster.fresh_database()
    holder = held(db, 20, 3)
    terminal = Terminal(100, 30, holder.ledger)
    terminal.wait_for("20 of 20 open leases")

    def top_process():
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(terminal.process())], stdout=subprocess.PIPE,
                                  check=False).stdout.split()
        return int(children[0])

    pid = top_process()

    def resident():
        with open("/proc/%d/status" % pid, encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def frames(count):
        for _ in range(count // 20):
            terminal.press(*(["o", "a"] * 10))
        terminal.press("/", "z")
        terminal.wait_for("/z_")
        terminal.press("Escape")
        terminal.wait_for("20 of 20 open leases")

    frames(200)
    before, descriptors = resident(), len(os.listdir("/proc/%d/fd" % pid))
    frames(1600)
    # A look that is going on has the ledger open.
    check(len(os.listdir("/proc/%d/fd" % pid)) <= descriptors + 1, "descriptors")
    check(resident() < before + 1024, "memory: %d, then %d KiB" % (before, resident()))
    terminal.press("q")
    holder.quit()


main()
