"""Builds what test_loaders.py loads, into BUILD/tests/clients/loaders: one line each."""

import os
import shlex
import subprocess

from client_table import *

SOURCES = os.path.join(HERE, "loaders")
TARGET = os.path.join(BUILD, "tests", "clients", "loaders")

LIBRARY = "-fPIC -shared -Wl,--no-as-needed"
# A libpq and how to link with it: the system's, the second one, the system's renamed as wheels carry it.
SYSTEM = "-lpq"
OTHER = "-Wl,-rpath,$ORIGIN libpq-other.so.5"
VERSIONED = "-Wl,-rpath,$ORIGIN libpq-versioned.so.5"
RENAMED = "-Wl,-rpath,$ORIGIN libpq-e8a033dd.so.5.15"

# Output, source, options. In this order: later ones link with earlier ones.
FIXTURES = [
    ("gate.so", "gate.c", LIBRARY + " " + SYSTEM),
    ("libpq-other.so.5", "other_libpq.c", LIBRARY + " -Wl,-soname,libpq-other.so.5"),
    ("libpq-versioned.so.5", "other_libpq.c",
     LIBRARY + " -Wl,-soname,libpq-versioned.so.5 -Wl,--version-script,versioned.map"),
    ("system_now.so", "caller.c", LIBRARY + " -Wl,-z,now " + SYSTEM),
    ("system_lazy.so", "caller.c", LIBRARY + " -Wl,-z,lazy " + SYSTEM),
    ("other_now.so", "caller.c", LIBRARY + " -Wl,-z,now " + OTHER),
    ("other_lazy.so", "caller.c", LIBRARY + " -Wl,-z,lazy " + OTHER),
    ("renamed_now.so", "caller.c", LIBRARY + " -Wl,-z,now " + RENAMED),
    ("renamed_lazy.so", "caller.c", LIBRARY + " -Wl,-z,lazy " + RENAMED),
    ("versioned_now.so", "caller.c", LIBRARY + " -Wl,-z,now " + VERSIONED),
    ("hidden/libhidden.so", "caller.c", LIBRARY + " -Wl,-z,lazy " + SYSTEM),
    ("runpath_user.so", "runpath_user.c", LIBRARY + " -Wl,--enable-new-dtags,-rpath,$ORIGIN/hidden"),
    ("wrapping_preload.so", "wrapping_preload.c", LIBRARY),
    ("dlsym_preload.so", "dlsym_preload.c", LIBRARY),
    ("host", "host.c", "-Wl,-z,now"),
    ("host_linked_now", "host.c caller.c", "-Wl,-z,now " + SYSTEM),
    ("host_linked_lazy", "host.c caller.c", "-Wl,-z,lazy " + SYSTEM),
]


def loader_fixture(name):
    return os.path.join(TARGET, name)


def command(argv):
    done = subprocess.run(argv, cwd=TARGET, capture_output=True, text=True, check=False)
    check_equal(0, done.returncode, "%s\n%s" % (" ".join(argv), done.stderr))
    return done.stdout


def system_libpq():
    """The file that -lpq means."""
    return os.path.realpath(command(["gcc", "-print-file-name=libpq.so"]).strip())


def build_all():
    os.makedirs(os.path.join(TARGET, "hidden"), exist_ok=True)
    with open(loader_fixture("versioned.map"), "w", encoding="utf-8") as text:
        text.write("RHPG_9.6 { global: *; };\n")
    renamed = loader_fixture("libpq-e8a033dd.so.5.15")
    command(["cp", system_libpq(), renamed])
    command(["patchelf", "--set-soname", os.path.basename(renamed), renamed])
    include = command(["pg_config", "--includedir"]).strip()
    for output, sources, options in FIXTURES:
        paths = [os.path.join(SOURCES, source) for source in sources.split()]
        command(["gcc", "-g", "-O1", "-D_GNU_SOURCE", "-I" + include, "-DGATE=\"%s\"" % loader_fixture("gate.so"),
                 "-o", output] + paths + shlex.split(options))
