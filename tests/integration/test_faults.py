#!/usr/bin/python3
"""Nothing works for the shim, and the program does not notice; and reports on files that are no ledgers."""

import functools
import os
import random
import resource
import shlex
import shutil
import struct
import tempfile

from fault_rows import *
from pqlease_test import *
from report_checks import *

cluster = Cluster()

VERSION_OFFSET = 8
MEBIBYTE = 1 << 20
REASON_PREFIX = b"pqlease: "
UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]


@functools.lru_cache(maxsize=None)
def any_database():
    """For programs whose sessions are not counted."""
    return cluster.fresh_database()


def psql():
    return [cluster.bin("psql"), "-XAtc", "select 17"]


def check_unchanged(plain, run, what):
    check_equal((plain.status, plain.stdout, plain.stderr), (run.status, run.stdout, run.stderr), what)


def reason_of(plain, run):
    """What the shim itself said on stderr: whole lines, behind or before the program's own."""
    said = [line for line in run.stderr.split(b"\n") if line.startswith(REASON_PREFIX)]
    rest = b"\n".join(line for line in run.stderr.split(b"\n") if not line.startswith(REASON_PREFIX))
    check_equal((plain.status, plain.stdout, plain.stderr), (run.status, run.stdout, rest), "a verbose run")
    return b"\n".join(said).decode()


def check_is_off(argv, env=None, words=(), run_it=None, fault=None, group="1"):
    """The program is unchanged without and with PQLEASE_VERBOSE; verbose, the reason is said. Returns it. `fault` is
    the name of the row in the table of faults."""
    run_it = run_it or run_plain
    db = any_database()
    env = dict(env or {})
    plain = run_it(argv, db=db, env=env)
    silent = run_it(argv, db=db, env=dict(env, LD_PRELOAD=SHIM))
    check_unchanged(plain, silent, "a silent run")
    verbose = run_it(argv, db=db, env=dict(env, LD_PRELOAD=SHIM, PQLEASE_VERBOSE="1"))
    reason = reason_of(plain, verbose)
    check(reason, "nothing was said on stderr")
    for word in words:
        check(word.lower() in reason.lower(), "%r is not in the reason: %s" % (word, reason))
    if fault:
        keep_row(group, fault, "nothing recorded: %s" % reason.rpartition(": ")[2])
    return reason


# --- Shared memory ---------------------------------------------------------------------------------------------


def needs_mounts(function):
    """Decorator of tests that give a program mounts of its own: not possible in every container."""
    @functools.wraps(function)
    def run_if_possible():
        if run_plain(UNSHARE + ["true"]).status == 0:
            function()
        else:
            print("# no mount namespaces here: not shown")

    return run_if_possible


def in_own_mounts(setup):
    """Runs programs in mounts of their own, prepared by shell commands. Needs root, or user namespaces."""
    def run_it(argv, db=None, env=None):
        # The shim is for the program alone, not for what prepares its mounts.
        env = dict(env or {})
        own = ["%s=%s" % (name, env.pop(name)) for name in ("LD_PRELOAD",) if env.get(name)]
        script = "set -e; exec 9>&2; { %s; } 2>&9 9>&-; exec env %s %s" % (
            setup, " ".join(shlex.quote(word) for word in own), " ".join(shlex.quote(word) for word in argv))
        return run_plain(UNSHARE + ["/bin/sh", "-c", script], db=db, env=env)

    return run_it


def tmpfs(options):
    return "mount -t tmpfs -o %s none /dev/shm" % options


def outside():
    """A directory that a program with its own /dev/shm can still reach."""
    directory = tempfile.mkdtemp(prefix="pqlease-faults-")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def fill_but(free_bytes):
    """A file that leaves this much of /dev/shm."""
    return ("size=$(($(stat -f -c '%%a * %%S' /dev/shm) - %d)); fallocate -l $size /dev/shm/filler" % free_bytes)


@test
@needs_mounts
def full_shared_memory():
    run_it = in_own_mounts(tmpfs("size=8m") + "; " + fill_but(0))
    check_is_off(psql(), run_it=run_it, fault="`/dev/shm` full")


@test
@needs_mounts
def nearly_full_shared_memory():
    """A quarter of 3 MiB is no ledger; PostgreSQL's own parallel queries need the rest."""
    run_it = in_own_mounts(tmpfs("size=64m") + "; " + fill_but(3 * MEBIBYTE))
    check_is_off(psql(), run_it=run_it, fault="`/dev/shm` nearly full")


@test
@needs_mounts
def small_shared_memory_is_not_used_up():
    """With 64 MiB, a container's usual size, the ledger takes at most a quarter."""
    db = cluster.fresh_database()
    directory = outside()
    show = "cat /dev/shm/pqlease.* >%s/copy; stat -f -c '%%a %%S' /dev/shm >%s/free" % (directory, directory)
    run_it = in_own_mounts(tmpfs("size=64m"))
    argv = ["/bin/sh", "-c", "%s; env -u LD_PRELOAD /bin/sh -c %s" %
            (" ".join(shlex.quote(word) for word in psql()), shlex.quote(show))]
    run_it(argv, db=db, env={"LD_PRELOAD": SHIM}).check_status(0)
    with open(directory + "/free") as text:
        blocks, size = text.read().split()
    check(int(blocks) * int(size) >= 48 * MEBIBYTE, "free afterwards: %s blocks of %s bytes" % (blocks, size))
    check_clean(report(directory + "/copy"), db)


@test
@needs_mounts
def shared_memory_that_fills_up_later():
    """The ledger is there already; what it may still need is not. No SIGBUS, and what is lost is counted."""
    db = cluster.fresh_database()
    directory = outside()
    argv = [fixture("fill_memory"), "/dev/shm/filler", "400"]
    copy = "cp /dev/shm/pqlease.* %s/copy" % directory
    plain = in_own_mounts(tmpfs("size=64m"))(argv, db=db)
    db.count_from_here()
    argv = ["/bin/sh", "-c", "%s; status=$?; env -u LD_PRELOAD %s; exit $status" % (" ".join(argv), copy)]
    run = in_own_mounts(tmpfs("size=64m"))(argv, db=db, env={"LD_PRELOAD": SHIM})
    check_unchanged(plain, run, "a run whose memory fills up")
    parsed = report(directory + "/copy")
    counts = db.sessions()
    lost = parsed["trust"]["lost"]
    check_equal(counts.sessions, counted_connections(parsed) + lost["leases"],
                "connections and lost leases against the server's sessions (%r)" % lost)
    check(parsed["trust"]["ok"] == (lost["leases"] + lost["sites"] + lost["processes"] == 0),
          "trust.ok of %r" % parsed["trust"])
    keep_row("1", "`/dev/shm` fills up while it runs", "what found no room is counted as lost, not trusted")


@test
@needs_mounts
def shared_memory_that_cannot_be_written():
    check_is_off(psql(), run_it=in_own_mounts(tmpfs("ro")), fault="`/dev/shm` mounted read-only")


@test
@needs_mounts
def shared_memory_that_is_missing():
    """A /dev with nothing in it but what every program needs."""
    setup = ("mkdir -p {0} && mount -t tmpfs none {0} && for name in null zero urandom tty; do touch {0}/$name; "
             "mount --bind /dev/$name {0}/$name; done; mount --rbind {0} /dev; [ ! -e /dev/shm ]")
    check_is_off(psql(), run_it=in_own_mounts(setup.format(outside())), fault="no `/dev/shm`")


def as_nobody(argv, db=None, env=None):
    return run_plain(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + argv, db=db, env=env, cwd="/")


@test
def ledger_in_a_directory_that_cannot_be_written():
    """Neither a ledger nor a word of it appears there."""
    if os.geteuid() != 0:
        return
    directory = ledger_directory()
    os.chmod(directory, 0o555)
    check_is_off(psql(), env={"PQLEASE_LEDGER": directory + "/run.ledger"}, run_it=as_nobody,
                 fault="directory of the ledger read-only")
    check_equal([], os.listdir(directory), "files in the directory")


@test
def ledger_in_a_directory_that_does_not_exist():
    check_is_off(psql(), env={"PQLEASE_LEDGER": "/nonexistent/run.ledger"}, words=["/nonexistent/run.ledger"],
                 fault="directory of the ledger missing")


# --- A ledger that is none -------------------------------------------------------------------------------------


def good_ledger():
    """A ledger with something in it, that nobody writes to any more."""
    db = cluster.fresh_database()
    run = run_with_shim([fixture("connect_loop"), "3"], db=db).check_status(0)
    check_sessions(run.report(), db)
    return run.ledger


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, text):
    with open(path, "wb") as file:
        file.write(text)
    return path


def in_directory(name):
    return os.path.join(ledger_directory(), name)


def with_word(ledger, offset, value):
    """A copy of a ledger with one 32-bit word changed."""
    text = bytearray(contents(ledger))
    struct.pack_into("=I", text, offset, value)
    return write(in_directory("changed.ledger"), bytes(text))


def check_harmless(path, words=(), fault=None):
    """A file that is no ledger of ours is refused and keeps every byte."""
    before, mode = contents(path), os.stat(path).st_mode
    reason = check_is_off(psql(), env={"PQLEASE_LEDGER": path}, words=words, fault=fault, group="2")
    check_equal((before, mode), (contents(path), os.stat(path).st_mode), "the file afterwards (%s)" % reason)


@test
def ledger_path_of_a_foreign_file():
    check_harmless(write(in_directory("letter"), b"Dear Sir or Madam\n" * 100), ["letter"], fault="ledger path is a foreign file")
    check_harmless(write(in_directory("big"), os.urandom(4 * MEBIBYTE)))
    check_harmless(write(in_directory("empty"), b""))


@test
def ledger_path_of_another_version():
    ledger = good_ledger()
    version = struct.unpack_from("=I", contents(ledger), VERSION_OFFSET)[0]
    check_harmless(with_word(ledger, VERSION_OFFSET, version + 1), ["version"], fault="ledger path is a ledger of another version")


@test
def ledger_path_of_a_truncated_ledger():
    text = contents(good_ledger())
    for length in (8, 100, 8192, len(text) // 2):
        check_harmless(write(in_directory("short.ledger"), text[:length]), fault="ledger path is a truncated ledger")


@test
def ledger_path_of_a_symbolic_link():
    """Neither what it points to, nor a new file at its end."""
    directory = ledger_directory()
    good = good_ledger()
    before = contents(good)
    os.symlink(good, directory + "/link")
    os.symlink(directory + "/new", directory + "/dangling")
    for name in ("link", "dangling"):
        check_is_off(psql(), env={"PQLEASE_LEDGER": directory + "/" + name}, fault="ledger path is a symbolic link",
                     group="2")
    check_equal(before, contents(good), "the ledger behind the link")
    check_equal(["dangling", "link"], sorted(os.listdir(directory)), "files in the directory")


@test
def ledger_path_of_a_second_name():
    directory = ledger_directory()
    good = good_ledger()
    before = contents(good)
    os.link(good, directory + "/second")
    check_is_off(psql(), env={"PQLEASE_LEDGER": directory + "/second"}, fault="ledger path is a second link",
                 group="2")
    check_equal(before, contents(good), "the ledger behind the second name")


@test
def ledger_path_of_something_that_is_no_file():
    directory = ledger_directory()
    os.mkfifo(directory + "/fifo")
    os.mkdir(directory + "/directory")
    names = {directory + "/fifo": "a FIFO", directory + "/directory": "a directory", "/dev/null": "a device"}
    for path in list(names) + [directory + "/directory/", "/dev/tty", "/proc/self/mem"]:
        check_is_off(psql(), env={"PQLEASE_LEDGER": path}, group="2",
                     fault="ledger path is " + names[path] if path in names else None)
    check_equal(["directory", "fifo"], sorted(os.listdir(directory)), "files in the directory")


@test
@needs_mounts
def ledger_path_that_is_too_long():
    """For a file name, and for any path: nothing is recorded there, and it is said."""
    for path in ("x" * 300, "/dev/shm/" + "x/" * 2500 + "x"):
        check_is_off(psql(), env={"PQLEASE_LEDGER": path},
                     run_it=in_own_mounts(tmpfs("size=64m")))


@test
def ledger_of_another_user():
    """root must not write into a file that somebody else put there."""
    if os.geteuid() != 0:
        return
    ledger = good_ledger()
    os.chown(ledger, 65534, 65534)
    check_harmless(ledger, fault="ledger path is another user's ledger")


@test
def unprivileged_program_with_roots_ledger():
    """A program that may not write there goes on without it."""
    if os.geteuid() != 0:
        return
    ledger = good_ledger()
    os.chmod(os.path.dirname(ledger), 0o755)

    before = contents(ledger)
    check_is_off(psql(), env={"PQLEASE_LEDGER": ledger}, run_it=as_nobody, group="2",
                 fault="ledger of root, program of another user")
    check_equal(before, contents(ledger), "root's ledger")


@test
def program_that_could_not_record_is_told():
    """Another user's program of the same run writes nothing into root's ledger; the report is not trusted then."""
    if os.geteuid() != 0:
        return
    db = cluster.fresh_database()
    ledger = in_directory("run.ledger")
    os.chmod(os.path.dirname(ledger), 0o1777)
    run_with_shim([fixture("connect_loop"), "3"], db=db, ledger=ledger).check_status(0)
    check_clean(report(ledger), db)
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", fixture("connect_loop"), "2"]
    run_with_shim(argv, db=db, ledger=ledger, cwd="/").check_status(0)
    parsed = report(ledger)
    check_equal(2, db.sessions().sessions - parsed["totals"]["established"], "sessions that were not recorded")
    check_equal(False, parsed["trust"]["ok"], "trust.ok (%r)" % parsed["trust"])
    check(parsed["trust"]["reasons"], "trust.reasons should say why")
    keep_row("2", "programs of two users, the ledger the first one's",
             "the others' not recorded, not trusted: " + parsed["trust"]["reasons"][0])


# --- Limits ----------------------------------------------------------------------------------------------------


def limited(kind, value):
    def run_it(argv, db=None, env=None):
        return run_plain(argv, db=db, env=env, preexec_fn=lambda: resource.setrlimit(kind, (value, value)))

    return run_it


@test
def limited_file_size():
    """No SIGXFSZ: neither for the ledger nor for anything else."""
    for size in (0, 1, 65536, MEBIBYTE - 1):
        check_is_off(psql(), env={"PQLEASE_LEDGER": in_directory("run.ledger")},
                     run_it=limited(resource.RLIMIT_FSIZE, size), fault="`RLIMIT_FSIZE` below a ledger's size",
                     group="3")


@test
def few_descriptors():
    """With so few that the client itself may not start: whatever it does, it does the same under the shim."""
    db = cluster.fresh_database()
    for count in range(3, 11):
        run_it = limited(resource.RLIMIT_NOFILE, count)
        for argv in (psql(), [fixture("connect_loop"), "3"]):
            plain = run_it(argv, db=db)
            run = run_it(argv, db=db, env={"LD_PRELOAD": SHIM, "PQLEASE_LEDGER": in_directory("run.ledger")})
            if plain.status == 127 or b"error while loading shared libraries" in plain.stderr:
                # The loader has no descriptor for a library; which one it names is not the point.
                check_equal(plain.status, run.status, "status with %d descriptors" % count)
                continue
            check_unchanged(plain, run, "%s with %d descriptors" % (argv[0], count))


@test
def no_descriptor_left():
    """A program that uses all its descriptors but the one it connects with is recorded, or it is said why not."""
    db = cluster.fresh_database()
    spare = 4
    run_it = limited(resource.RLIMIT_NOFILE, spare)
    plain = run_it([fixture("connect_loop"), "3"], db=db)
    if plain.status != 0:
        return
    db.count_from_here()
    ledger = in_directory("run.ledger")
    run = run_it([fixture("connect_loop"), "3"], db=db,
                 env={"LD_PRELOAD": SHIM, "PQLEASE_LEDGER": ledger, "PQLEASE_VERBOSE": "1"})
    reason = reason_of(plain, run)
    if not reason:
        check_clean(report(ledger), db)


@test
def little_address_space():
    """No room to map the ledger."""
    db = cluster.fresh_database()
    for mebibytes in (64, 96, 128):
        run_it = limited(resource.RLIMIT_AS, mebibytes * MEBIBYTE)
        env = {"PQLEASE_LEDGER": in_directory("run.ledger"), "PQLEASE_LEDGER_SIZE": "512M"}
        plain = run_it([fixture("connect_loop"), "3"], db=db)
        run = run_it([fixture("connect_loop"), "3"], db=db, env=dict(env, LD_PRELOAD=SHIM))
        check_unchanged(plain, run, "with %d MiB of address space" % mebibytes)


@test
def full_tables_are_counted():
    """More failed connections kept than a small ledger holds: what found no room is counted, and trusted no more."""
    kept = 5000
    run = run_with_shim([fixture("failed_connects"), "keep", str(kept), "host=/nonexistent"],
                        env={"PQLEASE_LEDGER_SIZE": "1M"}).check_status(0)
    parsed = run.report()
    trust = parsed["trust"]
    check(trust["lost"]["leases"] > 0, "nothing was lost: the test shows nothing")
    check_equal(kept, parsed["totals"]["failed"] + trust["lost"]["leases"], "failed and lost")
    check_equal(False, trust["ok"], "trust.ok")
    check_in(str(trust["lost"]["leases"]), " ".join(trust["reasons"]), "trust.reasons")
    shown = pqlease("report", run.ledger).check_status(0).stdout.decode()
    check_in(str(trust["lost"]["leases"]), shown, "text report")


@test
def full_tables_and_no_finding_are_not_clean():
    """All that was seen was finished; but not all was seen. Nobody may read that as `no leaks`."""
    db = cluster.fresh_database()
    script = '"$0" keep 5000 host=/nonexistent & wait; "$1" 3'
    run = run_with_shim(["/bin/sh", "-c", script, fixture("failed_connects"), fixture("connect_loop")], db=db,
                        env={"PQLEASE_LEDGER_SIZE": "1M"}).check_status(0)
    parsed = run.report()
    check_sessions(parsed, db)
    check_equal(False, parsed["trust"]["ok"], "trust.ok")
    check("no leak" not in parsed["verdict"]["message"].lower(), "verdict: %r" % parsed["verdict"])


# --- Settings --------------------------------------------------------------------------------------------------


@test
def disabled_shim_records_nothing():
    db = cluster.fresh_database()
    directory = ledger_directory()
    run = same_behaviour([fixture("leak_sites")], db=db,
                         env={"PQLEASE_DISABLE": "1", "PQLEASE_LEDGER": directory + "/run.ledger"})
    check_equal(0, run.status, "status")
    check_equal([], os.listdir(directory), "files of a disabled shim")


BAD_SETTINGS = {
    "PQLEASE_LEDGER_SIZE": ["banana", "-1", "", "12Q", "99999999999999999999", "1", "1e9", "0x100000"],
    "PQLEASE_STACK_DEPTH": ["banana", "65", "-1", "32 frames", "1000000000000"],
    "PQLEASE_SCRIPT_FRAMES": ["banana", "65"],
    "PQLEASE_USES": ["maybe", "3"],
    "PQLEASE_OPEN": ["sometimes"],
    "PQLEASE_DISABLE": ["perhaps"],
    "PQLEASE_ROLE": ["r" * 10000],
}


@test
def bad_settings_fall_back_to_the_default():
    """Recorded as without them; the reason is in the ledger, and on stderr when verbose."""
    db = cluster.fresh_database()
    argv = [fixture("connect_loop"), "2"]
    plain = run_plain(argv, db=db)
    for name, values in BAD_SETTINGS.items():
        for value in values:
            db.count_from_here()
            run = run_with_shim(argv, db=db, env={name: value})
            check_unchanged(plain, run, "%s=%s" % (name, value[:20]))
            parsed = run.report()
            check_clean(parsed, db)
            if value in ("", "r" * 10000):
                continue
            check(any(name in reason for reason in parsed["trust"]["reasons"]),
                  "%s=%s is not in trust.reasons: %r" % (name, value, parsed["trust"]["reasons"]))
            verbose = run_with_shim(argv, db=db, env={name: value, "PQLEASE_VERBOSE": "1"})
            check_in(name, reason_of(plain, verbose), "what is said on stderr")


@test
def good_settings_are_obeyed():
    db = cluster.fresh_database()
    run = run_with_shim([fixture("leak_sites")], db=db, env={"PQLEASE_LEDGER_SIZE": "4M", "PQLEASE_ROLE": "shop"})
    parsed = run.check_status(0).report()
    check(os.stat(run.ledger).st_size < 5 * MEBIBYTE, "size of a ledger of 4M")
    check_equal({"shop"}, {pool["role"] for pool in parsed["pools"]}, "role")
    check_sessions(parsed, db)

    db = cluster.fresh_database()
    run = run_with_shim([fixture("leak_sites")], db=db, env={"PQLEASE_STACK_DEPTH": "0"})
    parsed = run.check_status(0).report()
    counts = check_sessions(parsed, db)
    check_one_finding(parsed, "never-finished", counts.sessions_abandoned)
    check_equal(None, parsed["findings"][0]["site"], "site without stacks")
    check(any("stack" in reason.lower() for reason in parsed["trust"]["reasons"]), "reasons: %r" % parsed["trust"])


@test
def early_opening_for_programs_that_drop_privileges():
    """PQLEASE_OPEN=early: the ledger is there before a chroot that has none."""
    if os.geteuid() != 0:
        return
    db = cluster.fresh_database()
    script = 'import os, sys; os.setgid(65534); os.setuid(65534); import psycopg2; psycopg2.connect("").close()'
    ledger = in_directory("run.ledger")
    os.chmod(os.path.dirname(ledger), 0o700)
    lazy = run_with_shim([PYTHON, "-c", script], db=db, ledger=ledger + ".lazy",
                         env={"PQLEASE_VERBOSE": "1"}).check_status(0)
    check(lazy.stderr.startswith(REASON_PREFIX), "a lazy ledger should not be possible here: %r" % lazy.stderr)
    db.count_from_here()
    early = run_with_shim([PYTHON, "-c", script], db=db, ledger=ledger,
                          env={"PQLEASE_OPEN": "early", "PQLEASE_VERBOSE": "1"}).check_status(0)
    check_equal(b"", early.stderr, "stderr with an early ledger")
    check_clean(early.report(), db)


# --- Reports on what is no ledger ------------------------------------------------------------------------------


def check_refused(path, run_it=None):
    """Exit 2, one line on stderr that names the file, nothing on stdout."""
    for form in ("text", "json"):
        argv = [PQLEASE, "report", "--format=" + form, path]
        run = run_it(argv) if run_it else run_plain(argv)
        check_equal((2, b""), (run.status, run.stdout), "status and stdout on %s (%r)" % (path, run.stderr))
        lines = run.stderr.split(b"\n")
        check(len(lines) == 2 and lines[1] == b"" and lines[0].startswith(REASON_PREFIX),
              "stderr on %s should be one line: %r" % (path, run.stderr))
        check_in(os.path.basename(path.rstrip("/")).encode(), lines[0], "the line on stderr")


@test
def reports_on_files_that_are_no_ledgers():
    text = contents(good_ledger())
    check_refused(write(in_directory("empty"), b""))
    check_refused(write(in_directory("text"), b"not a ledger\n" * 1000))
    check_refused(write(in_directory("random"), os.urandom(MEBIBYTE)))
    check_refused(write(in_directory("magic-only"), text[:8]))
    check_refused(write(in_directory("magic-and-random"), text[:8] + os.urandom(MEBIBYTE)))
    for length in (1, 7, 100, 4096, 8191, 8192, 65536, len(text) // 2, len(text) - 8192):
        check_refused(write(in_directory("truncated-to-%d" % length), text[:length]))
    check_refused(ledger_directory())
    check_refused("/nonexistent.ledger")
    check_refused("/dev/null")
    check_refused("/dev/zero")


@test
def report_on_a_fifo_does_not_wait():
    directory = ledger_directory()
    os.mkfifo(directory + "/fifo")
    check_refused(directory + "/fifo")


@test
def reports_on_other_versions():
    ledger = good_ledger()
    text = contents(ledger)
    version, order = struct.unpack_from("=II", text, VERSION_OFFSET)
    for offset, value in ((VERSION_OFFSET, version + 1), (VERSION_OFFSET, 0), (VERSION_OFFSET + 4, 0x04030201)):
        check_refused(with_word(ledger, offset, value))
    check_equal(0x01020304, order, "byte order")


@test
def report_on_a_ledger_of_another_user():
    if os.geteuid() != 0:
        return
    ledger = good_ledger()
    os.chmod(os.path.dirname(ledger), 0o755)
    os.chmod(ledger, 0o644)
    os.chown(ledger, 1, 1)

    def run_as_nobody(argv):
        return run_plain(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + argv, cwd="/")

    check_refused(ledger, run_as_nobody)


@test
def reports_on_damaged_ledgers_end_in_order():
    """Any word of the header changed: a report or a reason, never a crash, a hang, or output beyond all measure."""
    text = contents(good_ledger())
    source = random.Random(17)
    path = in_directory("damaged.ledger")
    shutil.copyfile(write(in_directory("whole.ledger"), text), path)
    for _ in range(80):
        offset = source.randrange(0, 8192 // 4) * 4
        value = source.choice([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, source.randrange(1 << 32)])
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(struct.pack("=I", value))
        run = run_plain([PQLEASE, "report", "--format=json", path], timeout=20)
        what = "word at %d = %#x: status %d, stderr %r" % (offset, value, run.status, run.stderr[:200])
        check(run.status in (0, 2), what)
        check(run.status == 0 or (run.stdout == b"" and run.stderr.count(b"\n") == 1), what)
        check(len(run.stdout) < MEBIBYTE, what)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(text[offset:offset + 4])


@test
def damaged_records_are_read_in_order():
    """The same behind the header, in the parts that are in use."""
    text = contents(good_ledger())
    used = [offset for offset in range(8192, len(text) - 4096, 4096) if any(text[offset:offset + 4096])]
    source = random.Random(18)
    path = in_directory("damaged.ledger")
    for _ in range(30):
        damaged = bytearray(text)
        for _ in range(40):
            offset = source.choice(used) + source.randrange(0, 1024) * 4
            value = source.choice([0xffffffff, 0x7fffffff, source.randrange(1 << 32)])
            struct.pack_into("=I", damaged, offset, value)
        write(path, bytes(damaged))
        for form in ("json", "text"):
            run = run_plain([PQLEASE, "report", "--full", "--format=" + form, path], timeout=20)
            check(run.status in (0, 2), "status %d, stderr %r" % (run.status, run.stderr[:200]))


@test
def text_of_a_ledger_is_harmless():
    """Names from outside reach a terminal without its escapes."""
    db = cluster.fresh_database()
    name = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202e"
    env = {"PGAPPNAME": name, "PQLEASE_ROLE": "role " + name}
    run = run_with_shim([fixture("leak_sites")], db=db, env=env).check_status(0)
    run = run_with_shim([fixture("connect_loop"), "1"], db=db, env=env, ledger=run.ledger).check_status(0)
    for options in ([], ["--full"], ["--format=json"]):
        shown = pqlease("report", *options, run.ledger).check_status(0).stdout
        check(b"role" in shown, "the role should be shown")
        bad = [byte for byte in shown if byte < 32 and byte != 10] + [byte for byte in shown if byte == 127]
        check_equal([], bad, "control characters in the report")
        check(b"\xc2\x9b" not in shown or "--format=json" in options, "C1 control characters in the text report")


main()
