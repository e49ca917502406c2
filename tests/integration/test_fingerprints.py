#!/usr/bin/python3
"""A fingerprint is for ever: twenty lines more at the top of every file, another folder, another build, and it is the same."""

import os
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


main()
