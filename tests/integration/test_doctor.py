#!/usr/bin/python3
"""What `pqlease doctor` says about a program, compared with what really is recorded when it runs."""

import os
import shutil
import struct
import subprocess
import tempfile

from pqlease_test import *

cluster = Cluster("--tcp")

SEEN = b" will be seen.\n"
LIKELY = b" will be seen, as far as can be told.\n"
UNSEEN = b" will not be seen.\n"
NO_LIBPQ = b" will not be seen, as far as can be told.\n"
STATUS = {SEEN: 0, LIKELY: 0, UNSEEN: 2, NO_LIBPQ: 2}
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def scratch():
    directory = tempfile.mkdtemp(prefix="pqlease-doctor-", dir="/tmp")
    os.chmod(directory, 0o755)
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def script(text, name="script"):
    path = os.path.join(scratch(), name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def compiled(source, *flags, compiler="gcc"):
    """A program from a source text, or from the fixture that connects once."""
    path = os.path.join(scratch(), "program")
    source = source or open(os.path.join(ROOT, "tests", "fixtures", "seen_or_not.c"), encoding="utf-8").read()
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, text=True, check=True).stdout.strip()
    options = [] if compiler == "musl-gcc" else ["-I" + include]
    done = subprocess.run([compiler, "-xc", "-", "-o", path] + options + list(flags), input=source, text=True,
                          capture_output=True, check=False)
    check_equal(0, done.returncode, "compiler: " + done.stderr)
    return path


def is_installed(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        print("# no %s here: not shown" % missing[0])
    return not missing


def recorded(argv, db, env=None, prefix=()):
    """Whether `pqlease run` records an attempt of the program, and the reason if it does not."""
    path = os.path.join(scratch(), "report.json")
    ledger = os.path.join(ledger_directory(), "run.ledger")
    os.chmod(os.path.dirname(path), 0o1777)
    os.chmod(os.path.dirname(ledger), 0o1777)
    command = list(prefix) + [PQLEASE, "run", "-o", ledger, "--report=json", "--report-file", path, "--"] + list(argv)
    run_plain(command, db=db, env=env, cwd="/")
    import json
    with open(path, encoding="utf-8") as file:
        parsed = json.load(file)
    return parsed["totals"]["attempts"] > 0, " ".join(parsed["trust"]["reasons"])


def check_doctor(answer, argv, *parts, env=None, prefix=(), happens=None):
    """The answer, its status and its words; then the same command is run, and what happens must be what was said.
    `happens` is for what a guess cannot know."""
    db = cluster.fresh_database()
    run = run_plain(list(prefix) + [PQLEASE, "doctor", "--"] + list(argv), db=db, env=env, cwd="/")
    said = run.stdout
    check_equal((argv[0].encode() + answer), said.split(b"\n")[0] + b"\n", "first line of %r %r" % (said, run.stderr))
    check_equal((STATUS[answer], b""), (run.status, run.stderr), "status and stderr (%r)" % said)
    for part in parts:
        check_in(part, said.decode())
    is_recorded, reason = recorded(argv, db, env, prefix)
    check_equal(STATUS[answer] == 0 if happens is None else happens, is_recorded,
                "recorded by `pqlease run` (doctor said %r, run says %r)" % (said, reason))
    return reason


# --- Programs -----------------------------------------------------------------------------------------------------


@test
def a_linked_program_is_seen():
    check_doctor(SEEN, [cluster.bin("psql"), "-XAtc", "select 1"], "is linked to", "libpq.so.5")
    check_doctor(SEEN, [fixture("seen_or_not")])


@test
def debians_wrapper_is_followed():
    if os.path.islink("/usr/bin/psql"):
        check_doctor(SEEN, ["psql", "-XAtc", "select 1"], "/usr/lib/postgresql/")


@test
def a_program_without_libpq_is_a_guess():
    check_doctor(NO_LIBPQ, ["true"], "not linked to libpq", "It would be seen if it loads libpq")


@test
def a_program_that_opens_libpq_is_a_guess():
    source = """#include <dlfcn.h>
        int main(void) { void *pq = dlopen("libpq.so.5", RTLD_NOW);
            void *(*connect)(const char *) = (void *(*)(const char *))dlsym(pq, "PQconnectdb");
            void (*finish)(void *) = (void (*)(void *))dlsym(pq, "PQfinish");
            finish(connect("")); return 0; }"""
    check_doctor(LIKELY, [compiled(source)], "names libpq.so")


@test
def a_library_found_by_a_variable():
    """The loader's own search decides: LD_LIBRARY_PATH here, RUNPATH there."""
    directory = scratch()
    source = "#include <libpq-fe.h>\nvoid connect_once(void) { PQfinish(PQconnectdb(\"\")); }"
    library = compiled(source, "-shared", "-fPIC", "-lpq")
    os.rename(library, directory + "/libinner.so")
    main_source = "void connect_once(void); int main(void) { connect_once(); return 0; }"
    flags = ["-L" + directory, "-linner"]
    found = compiled(main_source, *flags)
    check_doctor(UNSEEN, [found], "cannot be started: libinner.so: cannot open")
    check_doctor(SEEN, [found], env={"LD_LIBRARY_PATH": directory})
    check_doctor(SEEN, [compiled(main_source, *flags, "-Wl,-rpath," + directory)])


@test
def a_static_program_is_not_seen():
    check_doctor(UNSEEN, [compiled("int main(void) { return 0; }", "-static")], "statically linked", "Link it")


@test
def libpq_linked_statically_is_not_seen():
    """What tells it is in every build of libpq, stripped or not."""
    archives = subprocess.run(["gcc", "-print-file-name=libpq.a"], capture_output=True, text=True, check=True).stdout
    with open(os.path.realpath("/usr/lib/x86_64-linux-gnu/libpq.so.5"), "rb") as library:
        check(b"probably indicative of memory corruption" in library.read(), "libpq's own words have changed")
    if not os.path.exists(archives.strip()):
        print("# no static libpq here: not shown")
        return
    # Only libpq's own code matters here: what it needs beyond may be missing, and the program may crash.
    flags = ["-Wl,--unresolved-symbols=ignore-all", "-Wl," + archives.strip(), "-s"]
    check_doctor(UNSEEN, [compiled(None, *flags)], "has libpq linked into it statically")


@test
def setuid_is_not_seen():
    if os.geteuid() != 0:
        return
    for mode in (0o4755, 0o2755):
        program = compiled(None, "-lpq")
        os.chown(program, 65534, 65534)
        os.chmod(program, mode)
        check_doctor(UNSEEN, [program], "setuid or setgid", "copy of it")


@test
def file_capabilities_are_not_seen():
    if os.geteuid() != 0 or not is_installed("setcap"):
        return
    program = compiled(None, "-lpq")
    check_doctor(SEEN, [program], prefix=NOBODY)
    if subprocess.run(["setcap", "cap_net_bind_service=ep", program], check=False).returncode != 0:
        print("# no file capabilities on this file system: not shown")
        return
    check_doctor(UNSEEN, [program], "file capabilities", "setcap -r", prefix=NOBODY)


@test
def musl_is_not_seen():
    if is_installed("musl-gcc"):
        program = compiled("int main(void) { return 0; }", compiler="musl-gcc")
        reason = check_doctor(UNSEEN, [program], "musl's dynamic loader", "build of the program for glibc")
        check_in("musl", reason, "what run says")
        run = run_pqlease([program]).check_status(0)
        check(b"Error loading" not in run.stderr, "musl's loader complains: %r" % run.stderr)


def write_elf(words, size=256):
    path = script("")
    with open(path, "wb") as file:
        file.write(words + bytes(size - len(words)))
    return path


@test
def another_architecture_is_not_seen():
    """A 32-bit program whose first instructions are exit(0), and one for AArch64."""
    code = bytes([0x31, 0xdb, 0x89, 0xd8, 0x40, 0xcd, 0x80])
    small = struct.pack("<4sBBB9xHHIIIIIHHHHHH", b"\x7fELF", 1, 1, 1, 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    small += struct.pack("<IIIIIIII", 1, 0, 0x8048000, 0x8048000, 84 + len(code), 84 + len(code), 5, 4096) + code
    check_doctor_alone(UNSEEN, [write_elf(small)], "another kind of processor")
    arm = struct.pack("<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 2, 183, 1, 0x400078, 64, 0, 0, 64, 56, 0, 0, 0, 0)
    check_doctor_alone(UNSEEN, [write_elf(arm)], "another kind of processor")


def check_doctor_alone(answer, argv, *parts, env=None):
    """For what this machine may not be able to run."""
    run = run_plain([PQLEASE, "doctor", "--"] + argv, env=env)
    check_equal(STATUS[answer], run.status, "status (%r)" % run.stdout)
    check_equal(argv[0].encode() + answer, run.stdout.split(b"\n")[0] + b"\n", "answer")
    for part in parts:
        check_in(part, run.stdout.decode())


@test
def address_sanitizer_is_not_seen():
    """gcc's, unless its option is set; and `run` starts such a program without the shim instead of breaking it."""
    program = compiled(None, "-fsanitize=address", "-lpq")
    options = "detect_leaks=0"
    reason = check_doctor(UNSEEN, [program], "AddressSanitizer", "verify_asan_link_order=0",
                          env={"ASAN_OPTIONS": options})
    check_in("AddressSanitizer", reason, "what run says")
    run = run_pqlease([program], db=cluster.fresh_database(), env={"ASAN_OPTIONS": options}).check_status(0)
    check(b"does not come first" not in run.stderr, "the sanitizer complains: %r" % run.stderr)
    check_doctor(SEEN, [program], env={"ASAN_OPTIONS": options + ":verify_asan_link_order=0"})


OWN_DRIVERS = {
    "pgx": "\\xff Go buildinf:\\npath\\tshop\\ndep\\tgithub.com/jackc/pgx/v5\\tv5.5.0",
    "lib/pq": "dep\\tgithub.com/lib/pq\\tv1.10.9",
    "tokio-postgres": "/registry/src/index.crates.io-6f17d22bba15001f/tokio-postgres-0.7.10/src/client.rs",
}


@test
def drivers_in_programs_are_named():
    """Go names its modules in the build information, Rust its sources in messages."""
    for driver, text in OWN_DRIVERS.items():
        source = '#include <stdio.h>\nconst char info[] = "%s";\nint main(void) { return info[0] == 0; }' % text
        for flags in ([], ["-static"]):
            check_doctor(UNSEEN, [compiled(source, *flags)], "is built with %s, which speaks the protocol itself" % driver)


# --- Scripts ---------------------------------------------------------------------------------------------------------


LANGUAGES = [
    ("python3", "psycopg2", "import psycopg2\npsycopg2.connect('').close()\n"),
    ("python3", "psycopg", "import psycopg\npsycopg.connect('').close()\n"),
    ("perl", "DBD::Pg", "use DBI; DBI->connect('dbi:Pg:', '', '')->disconnect;\n"),
    ("php", "pgsql", "<?php pg_close(pg_connect(''));\n"),
    ("ruby", "pg", "require 'pg'\nPG.connect(dbname: ENV['PGDATABASE']).finish\n"),
    ("lua5.4", "LuaSQL", "require('luasql.postgres').postgres():connect('', '', ''):close()\n"),
    ("tclsh", "Pgtcl", "package require Pgtcl\npg_disconnect [pg_connect -conninfo {}]\n"),
]


def language(name):
    return "/usr/bin/" + name if os.path.exists("/usr/bin/" + name) else None


@test
def scripts_that_name_a_driver():
    for name, driver, text in LANGUAGES:
        interpreter = language(name)
        with_driver = script("#!%s\n%s" % (interpreter, text if name != "php" else text))
        if interpreter is None or run_plain([with_driver], db=cluster.fresh_database()).status != 0:
            print("# no %s with %s here: not shown" % (name, driver))
            continue
        words = "names %s: connections through libpq are seen" % driver
        check_doctor(LIKELY, [with_driver], words)
        check_doctor(LIKELY, [interpreter, with_driver], words)
        check_doctor(LIKELY, [script("#!/usr/bin/env %s\n%s" % (name, text))], words)


@test
def code_on_the_command_line():
    code = "import psycopg2; psycopg2.connect('').close()"
    check_doctor(LIKELY, [PYTHON, "-Bc", code], "the code names psycopg2")
    check_doctor(LIKELY, ["perl", "-we", "use DBI; DBI->connect('dbi:Pg:', '', '')->disconnect"], "DBD::Pg")


@test
def a_driver_that_speaks_the_protocol_itself():
    """pg8000, for real; and a comment names nothing."""
    code = ("import os, pg8000\n# not psycopg2\n"
            "pg8000.connect(user='postgres', host='127.0.0.1', port=int(os.environ['PGPORT'])).close()\n")
    path = script("#!%s\n%s" % (PYTHON, code))
    plain = run_plain([path], db=cluster.fresh_database())
    if b"ModuleNotFoundError" in plain.stderr:
        print("# no pg8000 here: not shown")
        return
    plain.check_status(0)
    reason = check_doctor(UNSEEN, [path], "names pg8000, which speaks the protocol itself")
    check_in("pg8000", reason, "what run says")


OWN_WORDS = [("node", "const { Pool } = require('pg')", "pg"), ("python3", "import asyncpg", "asyncpg"),
             ("perl", "DBI->connect('dbi:PgPP:')", "DBD::PgPP")]


@test
def drivers_in_scripts_are_named():
    for name, text, driver in OWN_WORDS:
        if language(name):
            check_doctor_alone(UNSEEN, [script("#!%s\n%s\n" % (language(name), text))],
                               "names %s, which speaks the protocol itself" % driver)


@test
def a_script_that_names_no_driver():
    """The installed drivers decide: a module of the program may name one."""
    directory = scratch()
    with open(directory + "/inner.py", "w", encoding="utf-8") as file:
        file.write("import psycopg2\npsycopg2.connect('').close()\n")
    outer = script("#!%s\nimport sys\nsys.path.insert(0, %r)\nimport inner\n" % (PYTHON, directory))
    check_doctor(LIKELY, [outer], "names no driver", "psycopg2")
    check_doctor(LIKELY, [PYTHON, "-c", "pass"], "names no driver", happens=False)


@test
def an_interpreter_without_any_driver():
    """A virtual environment has drivers of its own, or none."""
    directory = scratch()
    os.mkdir(directory + "/bin")
    shutil.copy(os.path.realpath(PYTHON), directory + "/bin/python3")
    program = script("print(1)\n")
    check_doctor(NO_LIBPQ, [directory + "/bin/python3", program], "no driver for PostgreSQL",
                 env={"PYTHONHOME": "/usr", "HOME": directory})
    package = directory + "/lib/python3.11/site-packages/psycopg2"
    os.makedirs(package)
    with open(package + "/_psycopg.so", "w", encoding="utf-8"):
        pass
    check_doctor(LIKELY, [directory + "/bin/python3", program], "psycopg2 is installed", happens=False,
                 env={"PYTHONHOME": "/usr", "HOME": directory})


# --- Commands that start commands ----------------------------------------------------------------------------------------


def shell(text, *arguments):
    return ["/bin/sh", "-c", text, *arguments]


def psql():
    return cluster.bin("psql")


@test
def wrappers_are_followed():
    ask = [psql(), "-XAtc", "select 1"]
    for words in (["timeout", "60"], ["timeout", "-k", "1", "60"], ["nice", "-n", "3"], ["env"], ["env", "A=b"],
                  ["nohup"], ["stdbuf", "-oL"], ["setsid", "--wait"], ["env", "-u", "A", "nice", "timeout", "60"]):
        check_doctor(SEEN, words + ask)


@test
def an_emptied_environment_is_not_seen():
    own = ["PGHOST=" + cluster.socket_directory, "PGPORT=%d" % cluster.port, "PGUSER=postgres", "PGDATABASE=postgres"]
    ask = [psql(), "-XAtc", "select 1"]
    for words in (["env", "-i"], ["env", "-"], ["env", "-u", "LD_PRELOAD"], ["env", "--unset=LD_PRELOAD"]):
        check_doctor(UNSEEN, words + own + ask, "starts it without LD_PRELOAD", "Put `pqlease run --` in front")
    check_doctor(UNSEEN, ["env", "LD_PRELOAD="] + ask, "sets LD_PRELOAD anew")
    check_doctor(UNSEEN, ["env", "PQLEASE_DISABLE=1"] + ask, "sets PQLEASE_DISABLE")


@test
def shells_are_read():
    ask = " -XAtc 'select 1'"
    check_doctor(SEEN, shell('echo "a;b" >/dev/null # psql\n"$0"' + ask, psql()), "is linked to")
    check_doctor(SEEN, shell('exec "$@"', "x", psql(), "-XAtc", "select 1"))
    check_doctor(SEEN, shell("if true; then PGAPPNAME=x %s%s; fi" % (psql(), ask)))
    check_doctor(SEEN, [script("#!/bin/sh\nset -e\nfor i in 1 2; do\n\t%s%s\ndone\n" % (psql(), ask))])
    check_doctor(SEEN, [script('#!/bin/bash\nexec "$@"\n'), psql(), "-XAtc", "select 1"])
    check_doctor(NO_LIBPQ, shell("echo psql; cd /; true"), "starts nothing in which libpq was found")


@test
def shells_that_hide():
    ask = " -XAtc 'select 1'"
    for text, why in (("unset LD_PRELOAD; ", "unsets LD_PRELOAD"), ("export LD_PRELOAD=\n", "sets LD_PRELOAD anew"),
                      ("LD_PRELOAD= ", "sets LD_PRELOAD anew"), ("env -i PGHOST=$PGHOST ", "without LD_PRELOAD")):
        check_doctor(UNSEEN, shell(text + psql() + ask), why)
    check_doctor(SEEN, shell('LD_PRELOAD="$LD_PRELOAD" %s%s' % (psql(), ask)))


@test
def starters_elsewhere_are_not_seen():
    for name in ("ssh", "systemd-run", "su", "docker"):
        if language(name):
            check_doctor_alone(UNSEEN, ["/usr/bin/" + name, "where", "psql"], "start", "Put `pqlease run --` in front")


# --- The command itself ------------------------------------------------------------------------------------------------------


@test
def the_kill_switch_is_said():
    check_doctor(UNSEEN, [fixture("seen_or_not")], "PQLEASE_DISABLE is set", env={"PQLEASE_DISABLE": "1"})


@test
def what_cannot_be_started_is_one_line():
    directory = scratch()
    for command, why in (("no-such-program", b"No such file"), (directory, b"Permission denied"),
                         (script("", "x\x1b[31m") + "y", b"No such file"), ("/etc/passwd", b"Permission denied")):
        run = pqlease("doctor", "--", command)
        check_equal((2, b"", 1), (run.status, run.stdout, run.stderr.count(b"\n")), "of %r" % command)
        check_in(why.decode(), run.stderr.decode())
        check(b"\x1b" not in run.stderr, "control characters: %r" % run.stderr)


@test
def wrong_usage_is_64():
    for words in ([], ["--"], ["--no-such-option", "psql"]):
        run = pqlease("doctor", *words)
        check_equal((64, b"", 1), (run.status, run.stdout, run.stderr.count(b"\n")), "of %r" % words)


@test
def a_shim_that_cannot_be_used_is_said():
    for name in ("with space", "with:colon"):
        directory = os.path.join(scratch(), name)
        os.mkdir(directory)
        shutil.copy(PQLEASE, directory)
        shutil.copy(SHIM, directory)
        run = run_plain([directory + "/pqlease", "doctor", "--", "true"])
        check_equal((2, b"true" + UNSEEN), (run.status, run.stdout.split(b"\n")[0] + b"\n"), "answer")
        check_in("space or a colon cannot be preloaded", run.stdout.decode())
    os.unlink(directory + "/libpqlease.so")
    check_in("neither beside", run_plain([directory + "/pqlease", "doctor", "--", "true"]).stdout.decode())


@test
def names_from_outside_are_harmless():
    path = script("#!/bin/sh\ntrue\n", "name\x1b[31m\nsecond")
    run = pqlease("doctor", "--", path)
    check(b"\x1b" not in run.stdout, "control characters: %r" % run.stdout)
    check_equal(3, run.stdout.count(b"\n"), "lines of %r" % run.stdout)


main()
