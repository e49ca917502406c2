#!/usr/bin/python3
"""The checkout itself: the throwaway server leaves nothing, odd paths are refused, installing and checks work."""

import os
import re
import shutil
import signal
import subprocess
import tempfile

from pqlease_test import *

POSTGRES = os.path.join(ROOT, "scripts", "postgres")


def scratch_directory(prefix="pqlease-checkout-"):
    directory = tempfile.mkdtemp(prefix=prefix)
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def start_server_holding():
    """A running `scripts/postgres run -- sleep`, its directory and the server's pid."""
    child = subprocess.Popen([POSTGRES, "run", "--", "/bin/sh", "-c", "echo $PQLEASE_PG_DIR; exec sleep 60"],
                             env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    directory = child.stdout.readline().decode().strip()
    check(directory, "scripts/postgres started no server")
    with open(directory + "/data/postmaster.pid", encoding="utf-8") as pid_file:
        return child, directory, int(pid_file.readline())


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def check_gone_after(number):
    child, directory, pid = start_server_holding()
    # As the keyboard does it: to the whole foreground group.
    os.killpg(child.pid, number)
    check_equal(128 + number, child.wait(timeout=30), "status")
    child.stdout.close()
    check(not is_running(pid), "the server still runs after signal %d" % number)
    check(not os.path.exists(directory), "the directory is still there after signal %d" % number)


@test
def server_is_gone_after_interrupt():
    check_gone_after(signal.SIGINT)


@test
def server_is_gone_after_terminate():
    check_gone_after(signal.SIGTERM)


@test
def server_does_not_outlive_a_killed_script():
    child, directory, pid = start_server_holding()
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    child.kill()
    child.wait()
    cleanup(os.killpg, child.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), 15, "the server to end")
    child.stdout.close()


@test
def server_start_and_stop():
    started = run_plain([POSTGRES, "start", "-c", "max_connections=17"]).check_status(0)
    environment = dict(re.findall(r"^export (\w+)=(.*)$", started.stdout.decode(), flags=re.MULTILINE))
    cleanup(run_plain, [POSTGRES, "stop"], env=environment)
    psql = os.path.join(environment["PQLEASE_PG_BINDIR"], "psql")
    answer = run_plain([psql, "-XAtc", "SHOW max_connections"], env=environment).check_status(0)
    check_equal(b"17\n", answer.stdout, "max_connections")
    run_plain([POSTGRES, "stop"], env=environment).check_status(0)
    check(not os.path.exists(environment["PQLEASE_PG_DIR"]), "the directory is still there after stop")


@test
def server_command_status_and_signal_are_passed_on():
    run_plain([POSTGRES, "run", "--", "/bin/sh", "-c", "exit 7"]).check_status(7)
    run_plain([POSTGRES, "run", "--", "/bin/sh", "-c", "kill -TERM $$"]).check_status(128 + 15)
    run_plain([POSTGRES, "run", "--", "/nonexistent/program"]).check_status(127)


@test
def server_refuses_an_unknown_version():
    run = run_plain([POSTGRES, "run", "--", "true"], env={"PGMAJOR": "9"}).check_status(2)
    check_in(b"PGMAJOR=9", run.stderr, "stderr")


@test
def server_runs_for_an_ordinary_user():
    if os.geteuid() != 0:
        run_plain([POSTGRES, "run", "--", "true"]).check_status(0)
        return
    # The checkout may be closed to others; the script is one file.
    directory = scratch_directory()
    os.chmod(directory, 0o755)
    script = shutil.copy(POSTGRES, directory)
    run = run_plain([script, "run", "--", "/usr/bin/id", "-u"], cwd="/", user=65534, group=65534, extra_groups=[])
    check_equal(b"65534\n", run.check_status(0).stdout, "the command's user")


def copy_of_makefile(name):
    directory = os.path.join(scratch_directory(), name)
    os.mkdir(directory)
    shutil.copy(os.path.join(ROOT, "Makefile"), directory)
    return directory


def check_path_is_refused(name):
    run = run_plain(["make", "test"], cwd=copy_of_makefile(name)).check_status(2)
    lines = run.stderr.decode().splitlines()
    check_equal(1, len(lines), "lines on stderr %r" % lines)
    check_in("pqlease: ", lines[0], "stderr")
    check_in(name, lines[0], "stderr")


@test
def checkout_path_with_a_space_is_refused():
    check_path_is_refused("a checkout")


@test
def checkout_path_with_a_colon_is_refused():
    check_path_is_refused("a:checkout")


def files_below(directory):
    return sorted(os.path.relpath(os.path.join(folder, name), directory)
                  for folder, _, names in os.walk(directory) for name in names)


@test
def install_and_uninstall():
    destination = scratch_directory()
    arguments = ["DESTDIR=" + destination, "PREFIX=/opt/here", "BUILD=" + os.path.relpath(BUILD, ROOT)]
    run_plain(["make", "install"] + arguments).check_status(0)
    installed = files_below(destination)
    for name in ("opt/here/bin/pqlease", "opt/here/lib/pqlease/libpqlease.so"):
        check(name in installed, "%s is not among %s" % (name, installed))
    run = run_plain([destination + "/opt/here/bin/pqlease", "--version"], cwd="/").check_status(0)
    check_in(b"pqlease", run.stdout, "version")
    run_plain(["make", "uninstall"] + arguments).check_status(0)
    check_equal([], files_below(destination), "files left")


@test
def installed_pqlease_finds_its_shim():
    db = cluster.fresh_database()
    destination = scratch_directory()
    run_plain(["make", "install", "DESTDIR=" + destination, "PREFIX=",
               "BUILD=" + os.path.relpath(BUILD, ROOT)]).check_status(0)
    ledger = os.path.join(ledger_directory(), "run.ledger")
    run_plain([destination + "/bin/pqlease", "run", "-o", ledger, "--report=none", "--",
               cluster.bin("psql"), "-XAtc", "select 1"], db=db).check_status(0)
    check_server_agrees(report(ledger), db)


@test
def built_shim_passes_the_export_check():
    run_plain(["scripts/check-exports", SHIM]).check_status(0)


BAD_LIBRARY = """
#include <stdio.h>
#include <stdlib.h>
__thread int visits;
int stray(void) {
	printf("%p", malloc(1));
	return visits++;
}
"""


@test
def export_check_sees_a_bad_library():
    directory = scratch_directory()
    source = os.path.join(directory, "bad.c")
    with open(source, "w", encoding="utf-8") as text:
        text.write(BAD_LIBRARY)
    library = os.path.join(directory, "bad.so")
    run_plain(["gcc", "-shared", "-fPIC", "-Wl,-z,execstack", "-o", library, source]).check_status(0)
    run = run_plain(["scripts/check-exports", library]).check_status(1)
    for complaint in (b"TLS must be initial-exec", b"stack becomes executable", b"stray is exported",
                      b"imports malloc", b"imports printf", b"PQfinish is in shim/hooks.def and not exported"):
        check_in(complaint, run.stdout, "complaints")


@test
def layer_check_sees_a_wrong_include():
    directory = scratch_directory()
    os.makedirs(os.path.join(directory, "analyzer", "render"))
    with open(os.path.join(directory, "analyzer", "render", "render_x.c"), "w", encoding="utf-8") as text:
        text.write('#include "shim/ledger_format.h"\n')
    run = run_plain([os.path.join(ROOT, "scripts", "check-layers")], cwd=directory).check_status(1)
    check_in(b"analyzer/render/render_x.c:1:", run.stdout, "complaints")


cluster = Cluster()

main()
