#!/usr/bin/python3
"""`pqlease run`: COMMAND must not notice it, and its user gets a report or a reason.

No server: what is recorded is the business of other tests.
"""

import contextlib
import errno
import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import termios
import time

from pqlease_test import *

# --- Support ----------------------------------------------------------------------------------------------------


def scratch():
    directory = tempfile.mkdtemp(prefix="pqlease-test-")
    os.chmod(directory, 0o755)
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def in_scratch(name, text, mode=0o755):
    path = os.path.join(scratch(), name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def compile_program(source, *flags):
    path = os.path.join(scratch(), "program")
    build = subprocess.run(["gcc", "-x", "c", "-", "-o", path, *flags], input=source.encode(), check=False,
                           stderr=subprocess.PIPE)
    check_equal(0, build.returncode, "status of gcc (%r)" % build.stderr)
    return path


def quiet(argv, *run_options, **options):
    """A run that writes nothing of its own."""
    return run_pqlease(argv, "--report=none", *run_options, **options)


def start(argv, *run_options, ledger=None, **popen):
    """`pqlease run --report=none` in the background, in a process group of its own."""
    ledger = ledger or os.path.join(ledger_directory(), "run.ledger")
    child = subprocess.Popen([PQLEASE, "run", "-o", ledger, "--report=none", *run_options, "--", *argv],
                             env=clean_environment(), start_new_session=True,
                             **dict({"stdin": subprocess.DEVNULL}, **popen))

    def end():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    cleanup(end)
    return child


def process_state(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None


READY_THEN = "echo ready; "


def wait_ready(child):
    check_equal(b"ready\n", child.stdout.readline(), "first line of COMMAND")


def forget_ignored_signals():
    """What a shell ignores for its background jobs, it ignores for this test, and no COMMAND could trap it."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


forget_ignored_signals()

# --- Status and streams -----------------------------------------------------------------------------------------


@test
def the_status_is_commands_own():
    for argv, status in ((["true"], 0), (["sh", "-c", "exit 3"], 3), (["sh", "-c", "exit 255"], 255),
                         (["sh", "-c", "kill -TERM $$"], 143), (["sh", "-c", "kill -KILL $$"], 137)):
        run = quiet(argv)
        check_equal(status, run.status, "status of %r" % argv)
        check_equal((b"", b""), (run.stdout, run.stderr), "output of %r" % argv)


@test
def a_command_that_cannot_start_leaves_one_line_and_no_ledger():
    for command, status in (("no-such-command", 127), ("/no/such/file", 127), ("/etc/passwd", 126), ("/", 126)):
        run = run_pqlease([command])
        check_equal(status, run.status, "status of %s" % command)
        check_equal(b"", run.stdout, "stdout")
        check_equal(1, run.stderr.count(b"\n"), "lines on stderr: %r" % run.stderr)
        check_in(b"pqlease: %s: " % command.encode(), run.stderr)
        check(not os.path.exists(run.ledger), "a ledger was left")


@test
def a_start_that_fails_late_leaves_no_ledger():
    run = run_pqlease([in_scratch("script", "#!/no/such/interpreter\n")])
    check_equal(127, run.status, "status")
    check_equal(1, run.stderr.count(b"\n"), "lines on stderr: %r" % run.stderr)
    check(not os.path.exists(run.ledger), "a ledger was left")


@test
def a_script_without_a_first_line_is_given_to_the_shell():
    check_equal(b"hello\n", quiet([in_scratch("script", "echo hello\n")]).check_status(0).stdout, "stdout")


@test
def wrong_usage_is_64():
    for arguments in (["run"], ["run", "--"], ["run", "--nonsense", "true"], ["run", "--report=html", "true"],
                      ["run", "--limit", "none", "true"], ["run", "--color=sometimes", "true"],
                      ["run", "-o"]):
        run = pqlease(*arguments)
        check_equal(64, run.status, "status of %r" % arguments)
        check_equal(1, run.stderr.count(b"\n"), "lines on stderr of %r: %r" % (arguments, run.stderr))
        check_equal(b"", run.stdout, "stdout of %r" % arguments)


@test
def options_behind_command_are_commands():
    check_equal(b"-o x --help\n", quiet(["echo", "-o", "x", "--help"]).stdout, "stdout")


@test
def input_and_output_pass_through_unchanged():
    data = bytes(range(256)) * 4096
    check(quiet(["cat"], stdin=data).check_status(0).stdout == data, "cat changed its input")


@test
def output_ends_when_command_closes_it():
    child = start(["sh", "-c", "exec 1>&-; exec sleep 60"], stdout=subprocess.PIPE)
    check_equal(b"", child.stdout.read(), "output")
    check_equal(None, child.poll(), "status: COMMAND still runs")


@test
def command_gets_the_same_descriptors():
    read_end, write_end = os.pipe()
    cleanup(os.close, read_end)
    cleanup(os.close, write_end)
    listing = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd')))"
    options = {"pass_fds": (read_end,)}
    plain = run_plain([PYTHON, "-c", listing], **options)
    check_equal(plain.stdout, quiet([PYTHON, "-c", listing], **options).stdout, "descriptors")


@test
def command_gets_the_same_signals():
    def ignore_and_block():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])

    for prepare in (None, ignore_and_block):
        argv = ["grep", "^Sig[BIC]", "/proc/self/status"]
        plain = run_plain(argv, preexec_fn=prepare, restore_signals=False)
        check_equal(plain.stdout, quiet(argv, preexec_fn=prepare, restore_signals=False).stdout, "signals")
    check_equal(3, quiet(["sh", "-c", "exit 3"], preexec_fn=ignore_and_block).status, "status with SIGCHLD ignored")


@test
def command_gets_the_same_group_and_session():
    argv = [PYTHON, "-c", "import os; print(os.getpgid(0) == os.getpgid(os.getppid()), os.getsid(0) == "
            "os.getsid(os.getppid()))"]
    check_equal(b"True True\n", quiet(argv).stdout, "same group, same session")


@test
def only_four_variables_change():
    """PQLEASE_PID names the last preloaded process, which is how the shim knows that an exec has replaced it."""
    plain = run_plain(["env"], env={"LD_PRELOAD": ""})
    run = quiet(["env"], "--role", "worker", env={"LD_PRELOAD": ""})
    before = set(plain.stdout.split(b"\n"))
    after = {line for line in run.stdout.split(b"\n") if not re.fullmatch(rb"PQLEASE_PID=[1-9]\d*", line)}
    check_equal(1, len(re.findall(rb"(?m)^PQLEASE_PID=", run.stdout)), "PQLEASE_PID")
    added = {b"LD_PRELOAD=" + SHIM.encode(), b"PQLEASE_LEDGER=" + run.ledger.encode(), b"PQLEASE_ROLE=worker"}
    check_equal(added, after - before, "new variables")
    check_equal({b"LD_PRELOAD="}, before - after, "lost variables")


@test
def other_preloads_stay_behind_ours():
    empty = compile_program("int unused;", "-shared", "-fPIC")
    run = quiet(["sh", "-c", "echo $LD_PRELOAD"], env={"LD_PRELOAD": empty})
    check_equal("%s:%s\n" % (SHIM, empty), run.stdout.decode(), "LD_PRELOAD")


@test
def a_relative_ledger_is_found_from_everywhere():
    directory = ledger_directory()
    argv = [PQLEASE, "run", "--report=none", "-o", "x.ledger", "--", "sh", "-c", "cd /; echo $PQLEASE_LEDGER"]
    run = run_plain(argv, cwd=directory).check_status(0)
    check_equal(os.path.join(directory, "x.ledger"), run.stdout.decode().strip(), "PQLEASE_LEDGER")
    check(os.path.exists(os.path.join(directory, "x.ledger")), "no ledger")


# --- Signals and the terminal -----------------------------------------------------------------------------------


@test
def signals_sent_to_run_alone_reach_command():
    for name in ("TERM", "HUP", "INT", "QUIT", "USR1", "USR2"):
        script = "trap 'echo got %s; exit 5' %s; echo ready; while :; do sleep 0.01; done" % (name, name)
        child = start(["sh", "-c", script], stdout=subprocess.PIPE)
        wait_ready(child)
        child.send_signal(getattr(signal, "SIG" + name))
        check_equal(b"got %s\n" % name.encode(), child.stdout.read(), "output after SIG" + name)
        check_equal(5, child.wait(10), "status after SIG" + name)


@test
def a_forwarded_signal_that_kills_gives_128_and_the_number():
    child = start(["sh", "-c", READY_THEN + "exec sleep 60"], stdout=subprocess.PIPE)
    wait_ready(child)
    child.terminate()
    check_equal(143, child.wait(10), "status")


@test
def run_does_not_wait_for_what_command_left_behind():
    pid_file = os.path.join(scratch(), "pid")
    begun = time.monotonic()
    quiet(["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $! > %s" % pid_file]).check_status(0)
    check(time.monotonic() - begun < 30, "run waited")
    with open(pid_file, encoding="utf-8") as file:
        pid = int(file.read())
    check(process_state(pid) not in (None, "Z", "X"), "what COMMAND left behind is gone")
    os.kill(pid, signal.SIGKILL)


class Terminal:
    """A program on a terminal of its own, under a session leader as a shell is one."""

    def __init__(self, argv):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, clean_environment(TERM="dumb"))
        self.output = b""
        self.status = None
        cleanup(self.end)

    def settings(self):
        return termios.tcgetattr(self.descriptor)

    def type(self, data):
        os.write(self.descriptor, data)

    def read_until(self, text, timeout=20):
        deadline = time.monotonic() + timeout
        while text not in self.output:
            left = deadline - time.monotonic()
            check(left > 0, "terminal: %r not in %r" % (text, self.output))
            if select.select([self.descriptor], [], [], left)[0] and not self.read_some():
                break
        check_in(text, self.output, "terminal")

    def read_some(self):
        try:
            data = os.read(self.descriptor, 4096)
        except OSError as error:
            check_equal(errno.EIO, error.errno, "error of the terminal")
            data = b""
        self.output += data
        return data

    def wait(self):
        while self.read_some():
            pass
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def end(self):
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def run_words(ledger, *argv):
    return [PQLEASE, "run", "-o", ledger, "--report=none", "--", *argv]


@test
def ctrl_c_ends_command_and_the_report_still_comes():
    ledger = os.path.join(ledger_directory(), "run.ledger")
    report_file = os.path.join(scratch(), "report.json")
    script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.01; done"
    argv = [PQLEASE, "run", "-o", ledger, "--report=json", "--report-file", report_file, "--", "sh", "-c", script]
    terminal = Terminal(argv)
    terminal.read_until(b"ready")
    before = terminal.settings()
    terminal.type(b"\x03")
    terminal.read_until(b"interrupted")
    after = terminal.settings()
    check_equal(9, terminal.wait(), "status")
    check_equal(before, after, "terminal settings")
    check_equal(1, terminal.output.count(b"interrupted"), "interrupts that reached COMMAND")
    with open(report_file, encoding="utf-8") as file:
        check_in('"pqlease/report-1"', file.read(), "report file")


@test
def ctrl_c_that_command_ignores_does_not_end_run():
    ledger = os.path.join(ledger_directory(), "run.ledger")
    terminal = Terminal(run_words(ledger, "sh", "-c", "trap '' INT QUIT; echo ready; read line; echo got $line"))
    terminal.read_until(b"ready")
    terminal.type(b"\x03\x1c")
    terminal.type(b"hello\n")
    check_equal(0, terminal.wait(), "status")
    check_in(b"got hello", terminal.output)


@test
def ctrl_z_stops_the_job_and_fg_continues_it():
    ledger = os.path.join(ledger_directory(), "run.ledger")
    command = shlex.join(run_words(ledger, "sh", "-c", "echo ready; read l; echo got $l; exit 7"))
    terminal = Terminal(["/bin/bash", "--norc", "--noprofile", "-i"])
    terminal.type(b"PS1='prompt> '\n")
    terminal.type(command.encode() + b"\n")
    terminal.read_until(b"\nready")
    terminal.type(b"\x1a")
    terminal.read_until(b"Stopped")
    terminal.type(b"jobs | wc -l; fg\n")
    terminal.read_until(b"\n1\r")
    terminal.type(b"hello\n")
    terminal.read_until(b"got hello")
    terminal.type(b"echo status=$?; exit\n")
    terminal.read_until(b"status=7")
    check_equal(0, terminal.wait(), "status of the shell")


@test
def a_background_job_that_reads_the_terminal_is_stopped():
    ledger = os.path.join(ledger_directory(), "run.ledger")
    command = shlex.join(run_words(ledger, "sh", "-c", "read l; echo got $l"))
    terminal = Terminal(["/bin/bash", "--norc", "--noprofile", "-i"])
    terminal.type(b"PS1='prompt> '; set -b\n")
    terminal.type(command.encode() + b" &\n")
    terminal.read_until(b"Stopped")
    terminal.type(b"fg\n")
    terminal.type(b"hello\n")
    terminal.read_until(b"got hello")
    terminal.type(b"exit\n")
    check_equal(0, terminal.wait(), "status of the shell")


@test
def an_interactive_shell_has_job_control():
    ledger = os.path.join(ledger_directory(), "run.ledger")
    terminal = Terminal(run_words(ledger, "/bin/bash", "--norc", "--noprofile", "-i"))
    terminal.type(b"sh -c 'echo rea''dy; exec sleep 300'\n")
    terminal.read_until(b"ready")
    terminal.type(b"\x1a")
    terminal.read_until(b"Stopped")
    terminal.type(b"kill -9 %1; exit 4\n")
    terminal.type(b"exit 4\n")
    check_equal(4, terminal.wait(), "status")
    check("no job control" not in terminal.output.decode(), "no job control")


@test
def the_size_of_the_terminal_reaches_command():
    ledger = os.path.join(ledger_directory(), "run.ledger")
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done"
    terminal = Terminal(run_words(ledger, "bash", "-c", script))
    terminal.read_until(b"ready")
    fcntl.ioctl(terminal.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    check_equal(0, terminal.wait(), "status")
    check_in(b"33 77", terminal.output)


@test
def who_stops_command_alone_may_continue_it_alone():
    child = start(["sh", "-c", "echo $$; read line; exit 6"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    command = int(child.stdout.readline())
    os.kill(command, signal.SIGSTOP)
    wait_until(lambda: process_state(command) == "T", what="COMMAND to stop")
    os.kill(command, signal.SIGCONT)
    child.stdin.write(b"line\n")
    child.stdin.close()
    check_equal(6, child.wait(10), "status")


@test
def who_knows_only_run_stops_and_continues_command():
    """SIGTSTP is forwarded, and has no effect in an orphaned group: hence a parent in the same session."""
    script = """
import os, signal, sys
group = os.fork()
if group == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
pid, status = os.waitpid(group, os.WUNTRACED)
print("stopped", os.WIFSTOPPED(status), flush=True)
os.kill(group, signal.SIGCONT)
pid, status = os.waitpid(group, 0)
print("status", os.waitstatus_to_exitcode(status), flush=True)
"""
    ledger = os.path.join(ledger_directory(), "run.ledger")
    fifo_path = os.path.join(scratch(), "fifo")
    os.mkfifo(fifo_path)
    inner = "kill -TSTP $PPID; read -r line < %s; exit 6" % fifo_path
    argv = [PYTHON, "-c", script, *run_words(ledger, "sh", "-c", inner)]
    child = subprocess.Popen(argv, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             start_new_session=True)
    cleanup(child.wait)
    cleanup(child.kill)
    check_equal(b"stopped True\n", child.stdout.readline(), "what the parent of run sees")
    with open(fifo_path, "w", encoding="utf-8") as fifo:
        fifo.write("line\n")
    check_equal(b"status 6\n", child.stdout.readline(), "status")


# --- The shim and the ledger ------------------------------------------------------------------------------------


def private_copy(name="pqlease", with_shim=False):
    path = os.path.join(scratch(), "bin", name)
    os.mkdir(os.path.dirname(path))
    shutil.copy(PQLEASE, path)
    if with_shim:
        shutil.copy(SHIM, os.path.dirname(path))
    return path


@test
def a_missing_shim_is_said_before_command_starts():
    run = run_plain([private_copy(), "run", "--", "echo", "started"])
    check_equal((2, b""), (run.status, run.stdout), "status and output")
    check_equal(1, run.stderr.count(b"\n"), "lines on stderr: %r" % run.stderr)
    check_in(b"pqlease: libpqlease.so: ", run.stderr)


@test
def a_shim_that_is_no_library_is_said_before_command_starts():
    program = private_copy(with_shim=True)
    with open(os.path.join(os.path.dirname(program), "libpqlease.so"), "w", encoding="utf-8") as file:
        file.write("damaged")
    run = run_plain([program, "run", "--", "echo", "started"])
    check_equal((2, b""), (run.status, run.stdout), "status and output")
    check_in(b"libpqlease.so: not a shared library", run.stderr)


@test
def an_installed_shim_is_found():
    program = private_copy()
    library = os.path.join(os.path.dirname(program), "..", "lib", "pqlease")
    os.makedirs(library)
    shutil.copy(SHIM, library)
    run = run_plain([program, "run", "--report=none", "-o", os.path.join(ledger_directory(), "x"), "sh", "-c",
                     "echo $LD_PRELOAD"]).check_status(0)
    check_equal(os.path.realpath(os.path.join(library, "libpqlease.so")), run.stdout.decode().strip(), "LD_PRELOAD")


@test
def a_path_that_cannot_be_preloaded_is_refused():
    for character in " :":
        directory = os.path.join(scratch(), "a%sb" % character)
        os.mkdir(directory)
        shutil.copy(PQLEASE, directory)
        shutil.copy(SHIM, directory)
        run = run_plain([os.path.join(directory, "pqlease"), "run", "--", "echo", "started"])
        check_equal((2, b""), (run.status, run.stdout), "status and output")
        check_in(b"space or a colon", run.stderr)


@test
def a_ledger_that_cannot_be_made_is_said_before_command_starts():
    missing = os.path.join(scratch(), "no", "such", "run.ledger")
    foreign = in_scratch("precious", "data\n", 0o644)
    link = os.path.join(scratch(), "link")
    os.symlink(foreign, link)
    for path in (missing, foreign, link, scratch()):
        run = run_pqlease(["echo", "started"], ledger=path)
        check_equal((2, b""), (run.status, run.stdout), "status and output for %s" % path)
        check_equal(1, run.stderr.count(b"\n"), "lines on stderr: %r" % run.stderr)
        check_in(b"pqlease: %s: " % path.encode(), run.stderr)
    with open(foreign, encoding="utf-8") as file:
        check_equal("data\n", file.read(), "the foreign file")


@test
def a_report_file_that_cannot_be_written_is_said_before_command_starts():
    for path in (os.path.join(scratch(), "no", "report"), scratch()):
        run = run_pqlease(["echo", "started"], "--report-file", path)
        check_equal((2, b""), (run.status, run.stdout), "status and output for %s" % path)
        check(not os.path.exists(run.ledger), "a ledger was left")


@test
def an_ended_ledger_is_replaced_and_a_live_one_is_not():
    first = quiet(["true"]).check_status(0)
    inode = os.stat(first.ledger).st_ino
    check_equal(0o600, stat.S_IMODE(os.stat(first.ledger).st_mode), "mode")
    quiet(["true"], ledger=first.ledger).check_status(0)
    check(os.stat(first.ledger).st_ino != inode, "the ended ledger was not replaced")
    child = start(["sh", "-c", READY_THEN + "exec sleep 60"], ledger=first.ledger, stdout=subprocess.PIPE)
    wait_ready(child)
    inode = os.stat(first.ledger).st_ino
    run = run_pqlease(["echo", "started"], ledger=first.ledger)
    check_equal((2, b""), (run.status, run.stdout), "status and output")
    check_in(b"live", run.stderr)
    check_equal(inode, os.stat(first.ledger).st_ino, "inode of the live ledger")


@test
def a_killed_run_leaves_a_ledger_that_can_be_replaced():
    child = start(["sh", "-c", READY_THEN + "exec sleep 0.2"], stdout=subprocess.PIPE)
    wait_ready(child)
    ledger = child.args[3]
    child.kill()
    child.wait()
    quiet(["true"], ledger=ledger).check_status(0)


@test
def a_run_inside_a_run_joins_it():
    inner = "%s run --role inner --report=text -- sh -c 'echo $PQLEASE_LEDGER $PQLEASE_ROLE; exit 8'" % PQLEASE
    run = quiet(["sh", "-c", inner])
    check_equal(8, run.status, "status")
    check_equal("%s inner\n" % run.ledger, run.stdout.decode(), "ledger and role inside")
    check_equal(b"", run.stderr, "stderr")


@test
def a_run_inside_a_run_with_a_ledger_of_its_own_keeps_it():
    own = os.path.join(ledger_directory(), "own.ledger")
    inner = "%s run -o %s --report=none -- sh -c 'echo $PQLEASE_LEDGER; echo $LD_PRELOAD'" % (PQLEASE, own)
    run = quiet(["sh", "-c", inner]).check_status(0)
    check_equal("%s\n%s\n" % (own, SHIM), run.stdout.decode(), "ledger and preload inside")
    check(os.path.exists(own), "no ledger of its own")


@test
def a_leftover_of_an_ended_run_in_the_environment_is_not_joined():
    ended = quiet(["true"]).ledger
    own = pqlease("run", "--report=none", "--", "sh", "-c", "echo $PQLEASE_LEDGER",
                  env={"PQLEASE_LEDGER": ended, "LD_PRELOAD": SHIM}).check_status(0).stdout.decode().strip()
    check(own != ended, "joined an ended run")
    os.unlink(own)


@test
def no_room_for_the_ledger_costs_command_nothing():
    """A small /dev/shm, a read-only one and none at all, in a mount namespace of their own."""
    for prepare in ("mount -t tmpfs -o size=512k tmpfs /dev/shm", "mount -t tmpfs -o ro tmpfs /dev/shm",
                    "mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3"):
        inner = "%s; exec %s run -- sh -c 'echo out; echo err >&2; exit 3'" % (prepare, PQLEASE)
        run = run_plain(["unshare", "-m", "sh", "-c", inner])
        check_equal((3, b"out\n"), (run.status, run.stdout), "status and output (%s; %r)" % (prepare, run.stderr))
        lines = run.stderr.decode().splitlines()
        check_equal(2, len(lines), "lines on stderr: %r" % lines)
        check_in("pqlease: recording is off: /dev/shm/", lines[0])
        check_equal("err", lines[1], "stderr of COMMAND")


@test
def a_low_file_size_limit_costs_command_nothing():
    run = run_plain(["sh", "-c", "ulimit -f 100; exec %s run -- sh -c 'echo out; exit 3'" % PQLEASE])
    check_equal((3, b"out\n"), (run.status, run.stdout), "status and output")
    check_in(b"pqlease: recording is off: ", run.stderr)


@test
def the_size_of_the_ledger_is_a_setting():
    for text, size in (("2M", 2 << 20), ("nonsense", 32 << 20)):
        run = quiet(["true"], env={"PQLEASE_LEDGER_SIZE": text}).check_status(0)
        check_equal(size, os.stat(run.ledger).st_size, "size of the ledger for %s" % text)


# --- What run alone can know ------------------------------------------------------------------------------------

PING = "import ctypes, os, signal; ctypes.CDLL('libpq.so.5').PQping(b'host=/nonexistent'); "


@test
def a_command_that_a_signal_killed_is_marked():
    run = quiet([PYTHON, "-c", PING + "os.kill(os.getpid(), signal.SIGKILL)"]).check_status(137)
    parsed = run.report()
    check_equal(["killed"], [process["how_ended"] for process in parsed["processes"]], "how COMMAND ended")
    check_equal(137, parsed["run"]["exit_code"], "exit code in the report")
    check_equal(False, parsed["run"]["live"], "live")


@test
def what_run_did_not_reap_is_not_guessed():
    run = quiet(["sh", "-c", '"$@"; exit 4', "sh", PYTHON, "-c", PING + "os.kill(os.getpid(), signal.SIGKILL)"])
    parsed = run.check_status(4).report()
    check_equal(["unknown"], [process["how_ended"] for process in parsed["processes"]], "how the grandchild ended")


@test
def what_still_runs_is_named():
    stay = PING + "print(os.getpid(), flush=True); os.close(1); signal.pause()"
    run = run_pqlease(["sh", "-c", 'pid=$("$@" 2>/dev/null & ); echo $pid', "sh", PYTHON, "-c", stay]).check_status(0)
    pid = int(run.stdout)
    try:
        check_in(b"%d" % pid, run.stderr, "report")
        check_in(b"still runs", run.stderr, "report")
    finally:
        os.kill(pid, signal.SIGKILL)


@test
def an_inner_run_is_recorded_by_the_outer_one():
    run = quiet(["sh", "-c", '"$@"', "sh", PQLEASE, "run", "--role", "inner", "--", PYTHON, "-c", PING])
    processes = run.check_status(0).report()["processes"]
    check_equal([("inner", "exit")], [(process["role"], process["how_ended"]) for process in processes], "processes")


# --- Secrets ----------------------------------------------------------------------------------------------------


@test
def no_secret_of_the_command_line_reaches_the_ledger():
    words = ["postgresql://u:hunter2@h/db", "password=hunter2", "--password", "hunter2", "-phunter2",
             "--dbname=host=x password=hunter2", "PGPASSWORD=hunter2", "hunter2", "select 'hunter2'"]
    run = run_pqlease(["echo", *words]).check_status(0)
    with open(run.ledger, "rb") as file:
        check(b"hunter2" not in file.read(), "the ledger holds a secret")
    check(b"hunter2" not in run.stderr, "the report holds a secret")


# --- Nothing recorded -------------------------------------------------------------------------------------------


def check_not_recorded(argv, *parts, **options):
    """Nothing was recorded: the JSON report says that it cannot be trusted and why, the text never says clean."""
    run = run_pqlease(argv, "--report=json", "--report-file", os.path.join(scratch(), "r"), **options)
    path = run.argv[run.argv.index("--report-file") + 1]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    check_in('"ok": false', text.replace('"ok":false', '"ok": false'), "report")
    for part in parts:
        check_in(part, text, "report")
    shown = run_pqlease(argv, **options)
    check("no leaks" not in shown.stderr.decode().lower(), "the report says that there are no leaks")
    for part in parts:
        check_in(part, " ".join(shown.stderr.decode().split()), "text report")
    return run


@test
def libpq_never_called_is_said():
    check_not_recorded(["true"], "libpq").check_status(0)


@test
def a_static_program_is_said():
    program = compile_program("int main(void) { return 5; }", "-static")
    check_not_recorded([program], "statically linked", os.path.basename(program)).check_status(5)
    run = quiet([program]).check_status(5)
    check_equal(1, run.stderr.count(b"\n"), "lines on stderr without a report: %r" % run.stderr)
    check_in(b"pqlease: nothing was recorded: ", run.stderr)


@test
def a_setuid_program_is_said():
    program = compile_program("int main(void) { return 5; }")
    os.chown(program, 65534, 65534)
    os.chmod(program, 0o4755)
    check_not_recorded([program], "setuid").check_status(5)


@test
def a_script_of_a_static_interpreter_is_said():
    interpreter = compile_program("int main(void) { return 6; }", "-static")
    check_not_recorded([in_scratch("script", "#!%s\n" % interpreter)], "statically linked").check_status(6)


@test
def the_kill_switch_is_said():
    check_not_recorded(["true"], "PQLEASE_DISABLE", env={"PQLEASE_DISABLE": "1"}).check_status(0)


@test
def a_musl_program_runs_without_the_shim():
    """Its loader is glibc's under a name of musl's kind, so that the test needs no musl."""
    loader = os.path.join(scratch(), "ld-musl-test.so.1")
    probe = compile_program("int main(void) { return 0; }")
    interpreter = next(line.split(": ")[1].rstrip("]\n") for line in subprocess.run(
        ["readelf", "-l", probe], capture_output=True, text=True, check=True).stdout.split("\n") if "interpreter:" in line)
    shutil.copy(interpreter, loader)
    source = '#include <stdlib.h>\nint main(void) { return getenv("LD_PRELOAD") ? 1 : 5; }'
    program = compile_program(source, "-Wl,--dynamic-linker=" + loader)
    check_not_recorded([program], "musl").check_status(5)


main()
