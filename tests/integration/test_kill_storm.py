#!/usr/bin/python3
"""Writers, reapers and sleepers killed at random and at exact instants: a small sample of `make evaluate`."""

import os
import subprocess

from pqlease_test import *

STORM = os.path.join(BUILD, "tests", "evaluate", "storm")


def play(scenarios, kills, stride):
    """One line per scenario; a claim that did not hold is in the output."""
    argv = [STORM, "--kills", str(kills), "--stride", str(stride), scenarios]
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         timeout=60, check=False)
    output = run.stdout.decode("utf-8", "replace")
    check_equal(0, run.returncode, "status of storm; it said:\n" + output)
    return [line for line in output.split("\n") if " kills " in line]


@test
def killed_at_random_instants():
    check_equal(6, len(play("random", 30, 1)), "scenarios")


@test
def killed_at_exact_instructions():
    check(len(play("exact", 1, 25)) >= 15, "scenarios")


@test
def asleep_for_two_laps_of_the_history():
    check_equal(2, len(play("lapped", 1, 12)), "scenarios")


main()
