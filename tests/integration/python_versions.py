"""The Pythons that are here, and their stacks: what the report has of them, against what the program itself saw."""

import collections
import glob
import json
import os

from pqlease_test import *

__all__ = ["ALL_PYTHONS", "KINDS", "OTHER_PYTHONS", "PLACES", "VERSIONS", "check_stacks", "expected_stacks",
           "python_frames", "recorded_stacks", "take"]

VERSIONS = ["3.%d" % minor for minor in range(6, 14)]


def other_pythons():
    """{"3.6": path} of the interpreters beside Debian's own."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = []
    for folder in ("/usr/local", "/opt/python*", os.path.join(pyenv, "versions", "*")):
        candidates += glob.glob(os.path.join(folder, "bin", "python3.*"))
    found = {path.rsplit("python", 1)[1]: path for path in sorted(candidates)}
    return {version: found[version] for version in VERSIONS if version in found}


OTHER_PYTHONS = other_pythons()
ALL_PYTHONS = [("system", PYTHON)] + sorted(OTHER_PYTHONS.items())

PLACES = os.path.join(ROOT, "tests", "fixtures", "python", "places.py")
KINDS = ["plain", "many_shapes", "recursion", "finalizer", "thread", "asyncio", "names", "freed_code", "freed_lines",
         "zip", "traced", "import", "callback", "exit", "fork"]


def python_frames(site):
    """The frames of Python of a site, as (file, line, function)."""
    return tuple((frame["file"], frame["line"], frame["function"]) for frame in site["frames"]
                 if frame["language"] == "python")


def expected_stacks(output, depth=64):
    """What places.py printed; its own stack() is not among the frames, the shim keeps `depth` of them."""
    stacks = collections.Counter()
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        stacks[tuple(tuple(frame) for frame in json.loads(line))[:depth]] += 1
    return stacks


def recorded_stacks(parsed):
    """Without the frames of psycopg2's own module, which the program cannot see from where it looks."""
    stacks = collections.Counter()
    for site in parsed["sites"]:
        frames = python_frames(site)
        while frames and "/psycopg2/" in frames[0][0]:
            frames = frames[1:]
        stacks[frames] += site["attempts"]
    return stacks


def check_stacks(run, parsed, depth=64):
    expected, recorded = expected_stacks(run.stdout, depth), recorded_stacks(parsed)
    check(sum(expected.values()) > 0, "the program took connections")
    missing, extra = expected - recorded, recorded - expected
    check(not missing and not extra, "missing: %r\nnot expected: %r" % (dict(missing), dict(extra)))


def take(python, driver, kinds, db, depth=64, options=(), **more):
    run = run_with_shim([python] + list(options) + [PLACES, driver] + kinds, db=db,
                        env=dict({"PQLEASE_SCRIPT_FRAMES": depth}, **more)).check_status(0)
    parsed = run.report()
    check_stacks(run, parsed, depth)
    check_equal([], [reason for reason in parsed["trust"]["reasons"] if "frames" in reason], "reasons")
    check_server_agrees(parsed, db)
    return run, parsed
