#!/usr/bin/python3
"""Lines of code outlive the program they came from, and never come from another one."""

import os
import shutil
import subprocess
import tempfile

from pqlease_test import *
from report_checks import *

cluster = Cluster()

FUNCTION = "book_order"
SOURCE = "leak_sites.c"


def line():
    return fixture_line(SOURCE, "site: orders")


def copy_of(program):
    """A copy of a fixture that may be deleted and replaced."""
    directory = tempfile.mkdtemp(prefix="pqlease-symbols-")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    path = os.path.join(directory, "shop")
    shutil.copy2(fixture(program), path)
    return path


def leak(program, run_it=run_with_shim):
    db = cluster.fresh_database()
    run = run_it([program], db=db).check_status(0)
    counts = db.sessions()
    check(counts.sessions_abandoned > 0, "the program should leak")
    return run


def finding_of(run):
    parsed = run.report()
    finding = [entry for entry in parsed["findings"] if entry["kind"] == "never-finished"]
    check_equal(1, len(finding), "never-finished findings")
    return parsed, finding[0]


def check_has_line(run):
    parsed, finding = finding_of(run)
    check_frame(parsed, finding, FUNCTION, SOURCE, line())
    shown = pqlease("report", run.ledger).check_status(0).stdout.decode()
    check_in("%s:%d" % (SOURCE, line()), shown, "text report")


def check_has_offset(run, module):
    """No line, no function; module and offset."""
    parsed, finding = finding_of(run)
    frame = application_frame(parsed, finding)
    check_equal((None, None, module), (frame["file"], frame["line"], frame["module"]), "application frame")
    frames = [entry for entry in site_of(parsed, finding)["frames"] if entry["module"] == module]
    lines = [(entry["file"], entry["line"]) for entry in frames if entry["file"] or entry["line"]]
    check_equal([], lines, "lines in frames of a program that is not there")
    shown = pqlease("report", run.ledger).check_status(0).stdout.decode()
    check_in("%s+0x" % os.path.basename(module), shown, "text report")
    check(SOURCE not in shown, "the text report names a source:\n" + shown)


def replace(program, other):
    """As an upgrade does it: another file under the same name."""
    shutil.copy2(other, program + ".new")
    os.rename(program + ".new", program)


def other_build():
    """The same program, compiled otherwise: every offset means something else."""
    path = copy_of("leak_sites")
    source = os.path.join(ROOT, "tests", "fixtures", SOURCE)
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, check=True).stdout.decode().strip()
    subprocess.run(["gcc", "-O0", "-g", "-fno-omit-frame-pointer", "-I" + include, "-o", path, source, "-lpq"],
                   check=True)
    return path


@test
def line_survives_the_program_after_a_report():
    program = copy_of("leak_sites.O2")
    run = leak(program)
    check_has_line(run)
    os.unlink(program)
    check_has_line(run)


@test
def line_survives_an_upgrade_after_a_report():
    program = copy_of("leak_sites.O2")
    run = leak(program)
    check_has_line(run)
    replace(program, other_build())
    check_has_line(run)


@test
def line_survives_the_program_after_pqlease_run():
    """`run` keeps the symbols when the command ends."""
    program = copy_of("leak_sites.O2")
    run = leak(program, run_pqlease)
    os.unlink(program)
    check_has_line(run)


@test
def line_survives_without_a_report_of_run():
    program = copy_of("leak_sites.O2")
    run = leak(program, lambda argv, db: run_pqlease(argv, "--report=none", db=db))
    check_equal(b"", run.stderr, "stderr of a silent run")
    os.unlink(program)
    check_has_line(run)


@test
def line_survives_in_a_copy_of_the_ledger():
    """On another machine: the program is not there, the ledger is a copy somewhere else."""
    program = copy_of("leak_sites.O2")
    run = leak(program, run_pqlease)
    os.unlink(program)
    copied = os.path.join(os.path.dirname(program), "copied.ledger")
    shutil.copyfile(run.ledger, copied)
    run.ledger = copied
    check_has_line(run)


@test
def deleted_program_without_a_report_has_offsets():
    program = copy_of("leak_sites.O2")
    run = leak(program)
    os.unlink(program)
    check_has_offset(run, program)


@test
def replaced_program_without_a_report_has_offsets():
    """The file that has the name now is another one: its lines would be wrong."""
    program = copy_of("leak_sites.O2")
    run = leak(program)
    replace(program, other_build())
    check_has_offset(run, program)


@test
def program_replaced_by_something_else_has_offsets():
    program = copy_of("leak_sites.O2")
    run = leak(program)
    with open(program + ".new", "wb") as file:
        file.write(b"\x7fELF" + os.urandom(5000))
    os.rename(program + ".new", program)
    check_has_offset(run, program)


@test
def program_that_comes_back_has_lines():
    """The very same build under its name again: a report made meanwhile has not fixed the offsets for ever."""
    program = copy_of("leak_sites.O2")
    run = leak(program)
    os.rename(program, program + ".away")
    check_has_offset(run, program)
    os.rename(program + ".away", program)
    check_has_line(run)


@test
def report_of_a_ledger_that_cannot_be_written():
    """Symbols cannot be kept there; the report has them all the same."""
    program = copy_of("leak_sites.O2")
    run = leak(program)
    copied = os.path.join(os.path.dirname(program), "read-only.ledger")
    shutil.copyfile(run.ledger, copied)
    os.chmod(copied, 0o400)
    run.ledger = copied
    check_has_line(run)


main()
