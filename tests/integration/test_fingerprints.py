#!/usr/bin/python3
"""A fingerprint is for ever: twenty lines more at the top of every file, another folder, another build, and it is the same."""

import os
import shutil
import subprocess

from pqlease_test import *
from report_checks import *

cluster = Cluster()
PYTHON = "/usr/bin/python3"
TWENTY_LINES = {".c": "/* one more */\n" * 20, ".py": "# one more\n" * 20}


def copy_of(source, is_edited):
    """In a fresh folder, which the first one is not in."""
    folder = os.path.join(ledger_directory(), "edited" if is_edited else "first")
    os.mkdir(folder)
    name = os.path.join(folder, os.path.basename(source))
    with open(source, encoding="utf-8") as text, open(name, "w", encoding="utf-8") as edited:
        edited.write((TWENTY_LINES[os.path.splitext(source)[1]] if is_edited else "") + text.read())
    return name


def fingerprints(argv):
    run = run_with_shim(argv, db=cluster.fresh_database())
    parsed = run.report()
    check(parsed["findings"], "there are findings of %s: %s" % (argv, run.stderr))
    lines = [application_frame(parsed, finding)["line"] for finding in parsed["findings"]]
    found = sorted((finding["kind"], finding["fingerprint"]) for finding in parsed["findings"])
    return found, sorted(site["fingerprint"] for site in parsed["sites"]), lines


def compiled(source, *flags):
    program = os.path.splitext(source)[0]
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, check=True, text=True).stdout.strip()
    subprocess.run(["gcc", "-g", *flags, "-I" + include, "-o", program, source, "-lpq"], check=True, cwd="/")
    return program


def check_same(first, second):
    check_equal(first[:2], second[:2], "fingerprints")
    check_equal([line + 20 for line in first[2]], second[2], "the lines, which did change")


@test
def a_c_program_edited_and_built_elsewhere():
    source = os.path.join(ROOT, "tests", "fixtures", "leak_sites.c")
    first = fingerprints([compiled(copy_of(source, False))])
    check_same(first, fingerprints([compiled(copy_of(source, True))]))
    check_same(first, fingerprints([compiled(copy_of(source, True), "-fno-pie", "-no-pie", "-fno-omit-frame-pointer")]))


@test
def a_script_edited_and_moved():
    source = os.path.join(ROOT, "tests", "fixtures", "python", "endings.py")
    for how in ("_exit", "fall"):
        first = fingerprints([PYTHON, copy_of(source, False), how])
        check_same(first, fingerprints([PYTHON, copy_of(source, True), how]))


def checkout(name):
    """A project with two scripts of one name, each with a function of one name."""
    root = os.path.join(ledger_directory(), name)
    source = os.path.join(ROOT, "tests", "fixtures", "python", "endings.py")
    for part in ("orders", "carts"):
        os.makedirs(os.path.join(root, part))
        shutil.copy(source, os.path.join(root, part, "views.py"))
    open(os.path.join(root, "pyproject.toml"), "w", encoding="utf-8").close()
    return root


def leak_in(root, part):
    """By `run`, which keeps what it found with the ledger."""
    return run_pqlease([PYTHON, os.path.join(root, part, "views.py"), "_exit"], db=cluster.fresh_database())


def prints_of(run):
    parsed = run.report()
    check(parsed["findings"], "there are findings: %s" % run.stderr)
    return sorted(finding["fingerprint"] for finding in parsed["findings"])


@test
def two_directories_of_one_project_are_two_places():
    root = checkout("shop")
    check(prints_of(leak_in(root, "orders")) != prints_of(leak_in(root, "carts")), "one fingerprint for two scripts")


@test
def a_project_checked_out_elsewhere_is_the_same():
    first = prints_of(leak_in(checkout("here"), "orders"))
    check_equal(first, prints_of(leak_in(checkout("there"), "orders")), "fingerprints of the other checkout")


@test
def a_ledger_read_where_the_project_is_not_says_the_same():
    root = checkout("gone")
    run = leak_in(root, "orders")
    other = prints_of(leak_in(root, "carts"))
    shutil.rmtree(root)
    elsewhere = prints_of(run)
    check(elsewhere != other, "without its files the ledger forgot the directory")
    check_equal(prints_of(leak_in(checkout("again"), "orders")), elsewhere, "fingerprints")


main()
