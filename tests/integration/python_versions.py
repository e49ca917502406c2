"""The Pythons that are here, and what a report says of theirs."""

import glob
import os

__all__ = ["VERSIONS", "OTHER_PYTHONS", "python_frames"]

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


def python_frames(site):
    """The frames of Python of a site, as (file, line, function)."""
    return tuple((frame["file"], frame["line"], frame["function"]) for frame in site["frames"]
                 if frame["language"] == "python")
