#!/usr/bin/python3
"""Ways in which a program and its plugins can have libpq: every caller stays on the copy that the dynamic linker gave
it, and every connection is recorded."""

from dataclasses import dataclass, field

from client_table import *
from loader_fixtures import *

cluster = Cluster()
BINDINGS = ("now", "lazy")
LIBPQ_SYSTEM = "libpq.so.5"


@dataclass
class Layout:
    """`words` are the arguments of the host program, `lines` what it says (`lazy_lines` when lazy binding leads
    elsewhere); {now} becomes the binding mode."""

    name: str
    words: list
    lines: list
    host: str = "host"
    sessions: int = 1
    lazy_lines: list = None
    bindings: tuple = BINDINGS
    preloads: list = field(default_factory=lambda: ["{shim}"])


def opened(name, library, *flags):
    return "open:%s:%s:%s" % (name, loader_fixture(library), ",".join(flags or ("local",)))


def found(name, path, *flags):
    return "find:%s:%s:%s" % (name, path, ",".join(flags or ("local",)))


def says(name, copy):
    return "%s: %s libpq, status 0, session open" % (name, copy)


def told(name, copy):
    return "%s: %s libpq, status 0" % (name, copy)


def interleaved(*names):
    """Every connection is open at once, and each is given back after the others were used."""
    return [verb + ":" + name for verb in ("take", "use", "give") for name in names]


OTHER_PATH = loader_fixture("libpq-other.so.5")

# One plugin.
ALONE = [
    Layout("RTLD_LOCAL plugin", [opened("a", "system_{now}.so", "{now}"), "run:a"], [says("a", "system")]),
    Layout("RTLD_GLOBAL plugin", [opened("a", "system_{now}.so", "global", "{now}"), "run:a"], [says("a", "system")]),
    Layout("RTLD_DEEPBIND plugin", [opened("a", "system_{now}.so", "deepbind", "{now}"), "run:a"],
           [says("a", "system")]),
    Layout("RTLD_DEEPBIND plugin of a linked host",
           [opened("a", "other_{now}.so", "deepbind", "{now}")] + interleaved("main", "a"),
           [says("main", "system"), says("a", "other")], host="host_linked_{now}", sessions=2),
    Layout("renamed libpq of a wheel", [opened("a", "renamed_{now}.so", "{now}"), "run:a"], [says("a", "system")]),
    Layout("libpq in the program", ["run:main"], [says("main", "system")], host="host_linked_{now}"),
]

# Two copies, in the orders and scopes that are known to go wrong.
COPIES = [
    Layout("ab: the system's first, both local",
           [opened("a", "system_{now}.so", "{now}"), opened("b", "other_{now}.so", "{now}")] + interleaved("a", "b"),
           [says("a", "system"), says("b", "other")], sessions=2),
    Layout("ba: the other first, both local",
           [opened("b", "other_{now}.so", "{now}"), opened("a", "system_{now}.so", "{now}")] + interleaved("b", "a"),
           [says("b", "other"), says("a", "system")], sessions=2),
    Layout("ba: the other is used before the system's is loaded",
           [opened("b", "other_{now}.so", "{now}"), "run:b", opened("a", "system_{now}.so", "{now}")] +
           interleaved("a", "b"), [says("b", "other"), says("a", "system"), says("b", "other")], sessions=3),
    Layout("abg: the program has the system's, everything binds to it",
           [opened("b", "other_{now}.so", "{now}")] + interleaved("main", "b"),
           [says("main", "system"), says("b", "system")], host="host_linked_{now}", sessions=2),
    Layout("abl: the other local, then the system's global",
           [opened("b", "other_{now}.so", "{now}"), opened("a", "system_{now}.so", "global", "{now}")] +
           interleaved("b", "a"), [says("b", "other"), says("a", "system")], sessions=2,
           lazy_lines=[says("b", "system"), says("a", "system")]),
    Layout("abl, both used in turn", [opened("b", "other_{now}.so", "{now}"), "take:b",
                                      opened("a", "system_{now}.so", "global", "{now}"), "take:a", "use:b", "use:a",
                                      "give:b", "give:a", "run:b", "run:a"],
           [says("b", "other"), says("a", "system")] * 2, sessions=4,
           bindings=("now",)),  # lazily bound, the program mixes the copies all by itself
    Layout("a renamed copy beside the system's",
           [opened("r", "renamed_{now}.so", "{now}"), opened("a", "system_{now}.so", "{now}")] +
           interleaved("r", "a"), [says("r", "system"), says("a", "system")], sessions=2),
    Layout("three copies, one by dlsym",
           [opened("r", "renamed_{now}.so", "{now}"), opened("b", "other_{now}.so", "{now}"),
            found("s", LIBPQ_SYSTEM)] + interleaved("r", "b", "s"),
           [says("r", "system"), says("b", "other"), told("s", "system")], sessions=3),
]

# dlsym users.
ASKING = [
    Layout("dlsym on a local libpq", [found("s", LIBPQ_SYSTEM), "run:s"], [told("s", "system")]),
    Layout("dlsym on two copies in turn",
           [found("s", LIBPQ_SYSTEM), found("o", OTHER_PATH)] + interleaved("s", "o") + ["run:s", "run:o"],
           [told("s", "system"), told("o", "other")] * 2, sessions=4),
    Layout("dlsym on two copies, the other first",
           [found("o", OTHER_PATH), found("s", LIBPQ_SYSTEM)] + interleaved("o", "s"),
           [told("o", "other"), told("s", "system")], sessions=2),
    Layout("dlsym with RTLD_DEFAULT", [found("d", "DEFAULT"), "run:d"], [told("d", "system")],
           host="host_linked_{now}"),
    Layout("dlsym with RTLD_NEXT", [found("n", "NEXT"), "run:n"], [told("n", "system")], host="host_linked_{now}"),
    Layout("dlsym on a plugin that has libpq", [opened("a", "system_{now}.so", "{now}"),
                                                found("s", loader_fixture("system_{now}.so"))] +
           interleaved("a", "s"), [says("a", "system"), told("s", "system")], sessions=2),
]

# Libraries that come and go, and those found in special ways.
COMING_AND_GOING = [
    Layout("libpq loaded, unloaded and loaded again",
           [found("s", LIBPQ_SYSTEM), "run:s", "close:s", found("t", LIBPQ_SYSTEM), "run:t", "close:t"],
           [told("s", "system"), told("t", "system")], sessions=2),
    Layout("a plugin loaded, unloaded and loaded again",
           [opened("a", "system_{now}.so", "{now}"), "run:a", "close:a", opened("b", "system_{now}.so", "{now}"),
            "run:b"], [says("a", "system"), says("b", "system")], sessions=2),
    Layout("another caller at the address of an unloaded one",
           [found("s", LIBPQ_SYSTEM), found("o", OTHER_PATH), "run:s", "run:o",
            opened("a", "system_{now}.so", "{now}"), "run:a", "close:a", opened("b", "other_{now}.so", "{now}"),
            "same:a:b", "run:b", "close:b", opened("c", "system_{now}.so", "{now}"), "same:b:c", "run:c"],
           [told("s", "system"), told("o", "other"), says("a", "system"), "same address", says("b", "other"),
            "same address", says("c", "system")], sessions=5),
    Layout("a caller found by another library's RUNPATH", [opened("r", "runpath_user.so"), "run:r"],
           [says("r", "system")]),
    Layout("versioned references", [opened("v", "versioned_now.so"), "run:v"], [says("v", "other")]),
    Layout("versioned references beside the system's",
           [opened("v", "versioned_now.so"), opened("a", "system_{now}.so", "{now}")] + interleaved("a", "v"),
           [says("a", "system"), says("v", "other")], sessions=2),
]

WRAPPER, ASKER = loader_fixture("wrapping_preload.so"), loader_fixture("dlsym_preload.so")

# Other preloaded libraries.
BESIDE_OTHERS = [
    Layout("behind another wrapper of libpq", ["run:main"], [says("main", "system")], host="host_linked_{now}",
           preloads=[WRAPPER, "{shim}"]),
    Layout("before another wrapper of libpq", ["run:main"], [says("main", "system")], host="host_linked_{now}",
           preloads=["{shim}", WRAPPER]),
    Layout("before another wrapper of libpq, asked by dlsym", [found("s", LIBPQ_SYSTEM), "run:s"],
           [told("s", "system")], preloads=["{shim}", WRAPPER]),
    Layout("behind another wrapper of libpq, asked by dlsym", [found("s", LIBPQ_SYSTEM), "run:s"],
           [told("s", "system")], preloads=[WRAPPER, "{shim}"]),
    Layout("before another wrapper of libpq, RTLD_DEEPBIND plugin",
           [opened("a", "system_{now}.so", "deepbind", "{now}"), "run:a"], [says("a", "system")],
           preloads=["{shim}", WRAPPER]),
    Layout("before another wrapper of dlsym", [found("s", LIBPQ_SYSTEM), "run:s"], [told("s", "system")],
           preloads=["{shim}", ASKER]),
    Layout("behind another wrapper of dlsym, libpq in the program", ["run:main"], [says("main", "system")],
           host="host_linked_{now}", preloads=[ASKER, "{shim}"]),
]


def ready(text, binding):
    return text.replace("{now}", binding).replace("{shim}", SHIM)


def check_layout(layout, binding):
    db = cluster.fresh_database()
    argv = [loader_fixture(ready(layout.host, binding))] + [ready(word, binding) for word in layout.words]
    preloads = [ready(path, binding) for path in layout.preloads]
    plain = run_plain(argv, db=db, env={"LD_PRELOAD": " ".join(path for path in preloads if path != SHIM) or None})
    db.count_from_here()
    shimmed = run_with_shim(argv, db=db, env={"LD_PRELOAD": " ".join(preloads)})
    lines = layout.lazy_lines if binding == "lazy" and layout.lazy_lines else layout.lines
    check_equal("\n".join(lines) + "\n", plain.stdout.decode(), "stdout without the shim (%r)" % plain.stderr)
    for what in ("status", "stdout", "stderr"):
        check_equal(getattr(plain, what), getattr(shimmed, what), "%s (%r)" % (what, shimmed.stderr))
    check_equal(0, plain.status, "status")
    counts = check_clean(shimmed.report(), db)
    check_equal(layout.sessions, counts.sessions, "the server's sessions")


def tested_layout(layout, binding):
    def check_one():
        check_layout(layout, binding)

    check_one.__name__ = "%s (%s binding)" % (layout.name, binding)
    return check_one


@test
def the_fixtures_can_be_built():
    build_all()


@test
def a_wrapper_of_dlsym_in_front_disturbs_nobody():
    """It goes to glibc by version and so past us: what is asked through it is not recorded, and works."""
    db = cluster.fresh_database()
    argv = [loader_fixture("host"), found("s", LIBPQ_SYSTEM), "run:s"]
    run = run_with_shim(argv, db=db, env={"LD_PRELOAD": "%s %s" % (ASKER, SHIM)})
    check_equal((0, told("s", "system") + "\n", b""), (run.status, run.stdout.decode(), run.stderr), "the program")


for one_layout in ALONE + COPIES + ASKING + COMING_AND_GOING + BESIDE_OTHERS:
    for one_binding in one_layout.bindings:
        test(tested_layout(one_layout, one_binding))

main()
