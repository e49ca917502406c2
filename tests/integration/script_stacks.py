"""Programs that print the stack of every line that connects, and the stacks that the report has.

Such a program prints one JSON list for each connection: [file, line, function] of each frame, innermost first.
"""

import collections
import json
import os

from pqlease_test import check, check_equal, check_server_agrees, run_with_shim

__all__ = ["check_released", "check_stacks", "frames_of", "only_driver_above", "printed_stacks", "recorded_stacks", "take_places"]


def frames_of(site, language):
    return tuple((frame["file"], frame["line"], frame["function"]) for frame in site["frames"]
                 if frame["language"] == language)


def printed_stacks(output):
    stacks = collections.Counter()
    for line in output.decode("latin-1").splitlines():
        if line.startswith("[["):
            stacks[tuple(as_text(frame) for frame in json.loads(line))] += 1
    return stacks


def as_text(frame):
    """Names are bytes, one to each character of what was printed; the report has them as UTF-8."""
    file, line, function = frame
    return (recoded(file), line, recoded(function))


def recoded(name):
    return name.encode("latin-1").decode("utf-8")


def without_driver(frames, drivers):
    """Without the driver's own frames, which the program cannot see from where it looks."""
    while frames and any(driver in frames[0][0] for driver in drivers):
        frames = frames[1:]
    return frames


def recorded_stacks(parsed, language, drivers, printed):
    """A stack that was cut stands for the one that begins like it."""
    stacks = collections.Counter()
    for site in parsed["sites"]:
        frames = without_driver(frames_of(site, language), drivers)
        whole = [other for other in printed if len(other) > len(frames) and other[:len(frames)] == frames]
        stacks[whole[0] if site["truncated"] and len(whole) == 1 else frames] += site["attempts"]
    return stacks


def check_stacks(run, parsed, language, drivers):
    printed = printed_stacks(run.stdout)
    check(sum(printed.values()) > 0, "the program took connections (stderr: %r)" % run.stderr)
    recorded = recorded_stacks(parsed, language, drivers, printed)
    missing, extra = printed - recorded, recorded - printed
    check(not missing and not extra, "missing: %r\nnot expected: %r" % (dict(missing), dict(extra)))


def only_driver_above(parsed, language, interpreters):
    """A stack reads from libpq's caller outwards to the script's main; no frame of the interpreter is left."""
    for site in parsed["sites"]:
        languages = [frame["language"] for frame in site["frames"]]
        check(language in languages, "no script frame: %r" % site["frames"])
        last = len(languages) - languages[::-1].index(language)
        inside = [os.path.basename(frame["module"] or "") for frame in site["frames"][:last]
                  if frame["language"] == "native"]
        check(not any(module.startswith(interpreters) for module in inside), "interpreter among %r" % inside)


def take_places(argv, db, language, drivers, depth=64, env=None, status=0):
    """Runs a program of places and compares; returns the run and its report."""
    run = run_with_shim(argv, db=db, env=dict({"PQLEASE_SCRIPT_FRAMES": depth}, **(env or {})))
    run.check_status(status)
    parsed = run.report()
    check_stacks(run, parsed, language, drivers)
    check_equal([], [reason for reason in parsed["trust"]["reasons"] if "frames" in reason], "reasons")
    check_server_agrees(parsed, db)
    return run, parsed


def check_released(parsed, db, program, how, abandoned, count=1):
    """All connections of a program were released in one way; the server saw as many abandoned as it left."""
    counts = db.sessions()
    check_equal(counts.sessions, parsed["totals"]["established"], "connections of %r" % program)
    check_equal(abandoned, counts.sessions_abandoned, "the server's abandoned sessions of %r" % program)
    released = collections.Counter()
    for site in parsed["sites"]:
        released.update({name: number for name, number in site["released"].items() if number})
    check_equal({how: count}, dict(released), "who released it in %r" % program)
