#!/usr/bin/python3
"""Plugins that a program opens with RTLD_DEEPBIND by their bare name: found where the dynamic loader alone would find
them, and seen; what has nothing to do with libpq keeps the symbol isolation that its author asked for."""

import os
import shlex
import shutil
import subprocess
import tempfile

from pqlease_test import *
from report_checks import *

cluster = Cluster()

PLUGIN = """
#include <libpq-fe.h>
#include <stdio.h>
const char *name_of_library(void) { return "the plugin's"; }
void run(void) {
    PGconn *conn = PQconnectdb("");
    printf("status %d, %s symbol\\n", (int)PQstatus(conn), name_of_library());
    PQfinish(conn);
}
"""

PLAIN = """
#include <stdio.h>
const char *name_of_library(void) { return "the library's"; }
void run(void) { printf("%s symbol\\n", name_of_library()); }
"""

HOST = """
#include <dlfcn.h>
#include <stdio.h>
const char *name_of_library(void) { return "the program's"; }
int main(int argc, char **argv) {
    void *handle = dlopen(argv[1], RTLD_DEEPBIND | RTLD_NOW);
    void (*run)(void) = handle ? (void (*)(void))dlsym(handle, "run") : NULL;
    if (!run) {
        puts(dlerror());
        return argc;
    }
    run();
    return 0;
}
"""

OPENER = """
#include <dlfcn.h>
void *open_it(const char *name) { return dlopen(name, RTLD_DEEPBIND | RTLD_NOW); }
"""

HOST_OF_OPENER = HOST.replace("dlopen(argv[1], RTLD_DEEPBIND | RTLD_NOW)", "open_it(argv[1])").replace(
    "int main", "void *open_it(const char *name);\nint main")


HOST_OF_LIBPQ = """
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *libpq = dlopen("libpq.so.5", RTLD_DEEPBIND | RTLD_LAZY);
    void *(*connect)(const char *) = (void *(*)(const char *))dlsym(libpq, "PQconnectdb");
    void *(*exec)(void *, const char *) = (void *(*)(void *, const char *))dlsym(libpq, "PQexec");
    void (*finish)(void *) = (void (*)(void *))dlsym(libpq, "PQfinish");
    void *conn = connect("");
    printf("the plugin's symbol %d\\n", exec(conn, "SELECT 1") != NULL);
    finish(conn);
    return 0;
}
"""

HOST_OF_THREADS = """
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static void *open_often(void *path) {
    for (int i = 0; i < 300; i++) {
        void *handle = dlopen(path, RTLD_DEEPBIND | RTLD_NOW);
        if (!handle || dlclose(handle) != 0)
            puts(dlerror());
    }
    return NULL;
}
int main(int argc, char **argv) {
    pthread_t threads[8];
    dlopen("libpq.so.5", RTLD_NOW);
    for (int i = 1; i < argc; i++)
        pthread_create(&threads[i - 1], NULL, open_often, argv[i]);
    for (int i = 1; i < argc; i++)
        pthread_join(threads[i - 1], NULL);
    return 0;
}
"""


def scratch():
    directory = tempfile.mkdtemp(prefix="pqlease-deepbind-", dir="/tmp")
    os.chmod(directory, 0o755)
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory


def compiled(path, source, *flags):
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run(["gcc", "-rdynamic", "-I" + include, "-xc", "-", "-x", "none", "-o", path, *flags],
                          input=source, text=True, capture_output=True, check=False)
    check_equal(0, done.returncode, "compiler: " + done.stderr[:2000])
    return path


def plugin(directory, source=PLUGIN, name="libplugin.so"):
    return compiled(os.path.join(directory, name), source, "-shared", "-fPIC", "-Wl,--as-needed", "-lpq")


def check_seen(argv, sessions=1, **options):
    db = cluster.fresh_database()
    run = same_behaviour(argv, db=db, **options).check_status(0)
    check_in(b"the plugin's symbol", run.stdout, "stdout")
    counts = check_clean(run.report(), db)
    check_equal(sessions, counts.sessions, "the server's sessions")


@test
def by_its_path():
    directory = scratch()
    check_seen([compiled(directory + "/host", HOST), plugin(directory)])


@test
def by_the_callers_runpath_and_rpath():
    for kind in ("--enable-new-dtags", "--disable-new-dtags"):
        directory = scratch()
        plugin(directory)
        host = compiled(directory + "/host", HOST, "-Wl,%s,-rpath,$ORIGIN" % kind)
        check_seen([host, "libplugin.so"])


@test
def by_the_runpath_of_a_library_that_opens_it():
    """The program's own RUNPATH leads to something else, which must not be taken."""
    directory, other = scratch(), scratch()
    plugin(directory)
    compiled(other + "/libplugin.so", "void run(void) {}", "-shared", "-fPIC")
    opener = compiled(directory + "/libopener.so", OPENER, "-shared", "-fPIC", "-Wl,--enable-new-dtags,-rpath,$ORIGIN")
    host = compiled(directory + "/host", HOST_OF_OPENER, opener, "-Wl,--enable-new-dtags,-rpath," + other)
    check_seen([host, "libplugin.so"])


@test
def by_the_environment():
    directory = scratch()
    plugin(directory)
    check_seen([compiled(directory + "/host", HOST), "libplugin.so"], env={"LD_LIBRARY_PATH": directory})


@test
def by_the_loaders_cache():
    """A cache that knows one more directory, in mounts of the program's own."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        print("# no mount namespaces here: not shown")
        return
    directory, hidden = scratch(), scratch()
    plugin(directory)
    with open(hidden + "/conf", "w", encoding="utf-8") as text:
        text.write("include /etc/ld.so.conf\n%s\n" % directory)
    subprocess.run(["/sbin/ldconfig", "-X", "-f", hidden + "/conf", "-C", hidden + "/cache"], check=True)
    host = compiled(hidden + "/host", HOST)
    script = "mount --bind %s/cache /etc/ld.so.cache && exec \"$@\"" % shlex.quote(hidden)
    check_seen(["unshare", "-m", "/bin/sh", "-c", script, "x", host, "libplugin.so"])


@test
def what_does_not_need_libpq_keeps_its_isolation():
    directory = scratch()
    plugin(directory, PLAIN)
    host = compiled(directory + "/host", HOST, "-Wl,-rpath,$ORIGIN")
    run = same_behaviour([host, "libplugin.so"]).check_status(0)
    check_equal(b"the library's symbol\n", run.stdout, "stdout")


@test
def libpq_itself():
    """As Julia opens it: its calls to itself are not the program's."""
    directory = scratch()
    check_seen([compiled(directory + "/host", HOST_OF_LIBPQ)])


@test
def by_threads_at_once():
    directory = scratch()
    host = compiled(directory + "/host", HOST_OF_THREADS, "-pthread")
    plugins = [plugin(directory, name="libplugin%d.so" % i) for i in range(4)]
    same_behaviour([host] + plugins, db=cluster.fresh_database())


@test
def what_is_not_there():
    """The same word of the loader."""
    directory = scratch()
    host = compiled(directory + "/host", HOST, "-Wl,-rpath,$ORIGIN")
    for name in ("libnowhere.so", "", "libplugin.so/", "/nowhere/libplugin.so"):
        run = same_behaviour([host, name])
        check(run.status in (0, 2) or name == "", "status %d" % run.status)


main()
