#!/usr/bin/python3
"""Every fuzz target survives its corpus, its golden seeds and a fixed number of mutations of them."""

import os
import subprocess

from pqlease_test import *

FUZZ_BUILD = os.path.join(BUILD, "fuzz")
RUNS = {"ledger_reader": 5000}
DEFAULT_RUNS = 20000


def survive(target):
    argv = [os.path.join(ROOT, "tests", "fuzz", "run"), "--runs", str(RUNS.get(target, DEFAULT_RUNS)), FUZZ_BUILD,
            target]
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         timeout=100, check=False)
    output = run.stdout.decode("utf-8", "replace")
    check_equal(0, run.returncode, "status of the target; it said:\n" + output)


def define_tests():
    sources = os.listdir(os.path.join(ROOT, "tests", "fuzz"))
    for target in sorted(name[5:-2] for name in sources if name.startswith("fuzz_") and name.endswith(".c")):
        def survives(target=target):
            survive(target)
        survives.__name__ = target + "_survives_what_is_no_input"
        test(survives)


define_tests()
main()
