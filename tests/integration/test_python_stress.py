#!/usr/bin/python3
"""Many threads of Python at once: every stack was recorded as often as it was there. PQLEASE_STRESS_SECONDS sets how long
each Python is tried; from 10 seconds on, every version that is here."""

import collections
import json
import os

from pqlease_test import *
from python_versions import *
from report_checks import *

SECONDS = float(os.environ.get("PQLEASE_STRESS_SECONDS", "3"))
SEED = int(os.environ.get("PQLEASE_STRESS_SEED", "20240229"))
STRESS = os.path.join(ROOT, "tests", "fixtures", "python", "stress.py")


def check_stress(python):
    run = run_with_shim([python, STRESS, str(SECONDS), str(SEED)], env={"PQLEASE_SCRIPT_FRAMES": 64, "PGHOST": None},
                        timeout=SECONDS * 4 + 60).check_status(0)
    parsed = run.report()
    expected = collections.Counter({tuple(tuple(frame) for frame in stack): count
                                    for stack, count in json.loads(run.stdout.decode())})
    recorded = collections.Counter()
    for site in parsed["sites"]:
        recorded[python_frames(site)] += site["attempts"]
    check(sum(expected.values()) > 100, "it did something: %d" % sum(expected.values()))
    check_equal({}, dict(expected - recorded), "%s: stacks that are missing" % python)
    check_equal({}, dict(recorded - expected), "%s: stacks that never were" % python)
    check_equal(sum(expected.values()), parsed["totals"]["attempts"], "attempts")
    check_nothing_lost(parsed)
    print("# %s: %d connects, %d stacks" % (python, sum(expected.values()), len(expected)))


@test
def stacks_of_many_threads():
    check_stress(PYTHON)
    for version in VERSIONS if SECONDS >= 10 else []:
        if version in OTHER_PYTHONS:
            check_stress(OTHER_PYTHONS[version])
        else:
            print("# python %s is not here: not tested" % version)


@test
def daemon_threads_at_exit():
    """Wherever each thread was when the interpreter shut down: the program ends as it does alone."""
    program = os.path.join(ROOT, "tests", "fixtures", "python", "daemons.py")
    for python in [PYTHON] + sorted(OTHER_PYTHONS.values()):
        for number in range(max(2, int(SECONDS / 2))):
            argv = [python, program, fixture("connect_often.so"), str(5 * number + 5)]
            run = run_with_shim(argv, env={"PGHOST": None}).check_status(0)
            check_equal(b"", run.stderr, "stderr")
            run.report()


main()
