#!/usr/bin/python3
"""PostgreSQL's own programs."""

import os
import shutil

from client_table import *

cluster = Cluster("--tcp", "-c", "log_connections=on", "-c", "log_disconnections=on")


def server(name, *arguments):
    return lambda db: [cluster.bin(name), *arguments]


def target():
    return os.path.join("/tmp", "pqlease-clients-target.%d" % os.getpid())


def fresh_target(db):
    shutil.rmtree(target(), ignore_errors=True)
    cleanup(shutil.rmtree, target(), ignore_errors=True)


def fresh_dump(db):
    fresh_target(db)
    run_plain([cluster.bin("pg_dump"), "-Fd", "-f", target()], db=db).check_status(0)
    for number in range(4):
        db.prepare("drop table if exists place_%d" % number)
    db.count_from_here()


def no_database(name):
    def drop(db):
        cluster.query('drop database if exists "%s"' % name)

    return drop


PSQL_SCRIPT = "select 1;\n\\c - - - -\nselect 1/0;\n\\c\n\\echo end\n"
PGBENCH_MEASURES = (r"^(latency average|initial connection time|average connection time|tps|latency stddev|pgbench:"
                    r" client \d+ receiving).*$")

CLIENTS = [
    Client("psql", server("psql", "-X"), stdin=PSQL_SCRIPT, sessions=3),
    Client("psql, Debian's wrapper", ["/usr/bin/psql", "-XAtc", "select 1"]),
    Client("pgbench", server("pgbench", "-n", "-c", "8", "-j", "2", "-t", "20", "-f", program("one.sql")),
           hide=PGBENCH_MEASURES, sessions=8),
    Client("pgbench -C", server("pgbench", "-n", "-C", "-c", "2", "-j", "2", "-t", "30", "-f", program("one.sql")),
           hide=PGBENCH_MEASURES, sessions=60),
    Client("pg_dump -j", lambda db: [cluster.bin("pg_dump"), "-j3", "-Fd", "-f", target()], tables=4,
           prepare=fresh_target, sessions=4),
    Client("pg_restore -j", lambda db: [cluster.bin("pg_restore"), "-j3", "-d", db.name, target()], tables=4,
           prepare=fresh_dump, sessions=4),
    Client("vacuumdb -j", server("vacuumdb", "-j3", "-z"), tables=4, sessions=3),
    Client("reindexdb -j", server("reindexdb", "-j3"), tables=4, sessions=1),
    Client("createdb", lambda db: [cluster.bin("createdb"), "--maintenance-db", db.name, "made"],
           prepare=no_database("made")),
    Client("pg_isready", server("pg_isready")),
    Client("pg_basebackup", lambda db: [cluster.bin("pg_basebackup"), "-N", "-c", "fast", "-X", "stream", "-D", target()],
           prepare=fresh_target, oracle=ServerLog, sessions=2, handed_over=1),
    Client("pg_receivewal", lambda db: [PYTHON, program("stopped_receivewal.py"), cluster.bin("pg_receivewal"), target()],
           prepare=fresh_target, oracle=ServerLog, sessions=1),
]

main_of(CLIENTS, cluster)
