#!/usr/bin/python3
"""Connects that cannot work: the report knows why, how many, how long, and which failed one was never finished."""

import socket
import threading

from pqlease_test import *
from report_checks import *

# Few slots, so that they can all be taken; one role must give a password.
LOCKED = "locked_role"
PASSWORD = "rightpassword"
MAX_CONNECTIONS = 12
RESERVED = 3

cluster = Cluster("--tcp", "--hba", "host all %s all scram-sha-256" % LOCKED, "--hba",
                  "host all rejected_role all reject", "-c", "max_connections=%d" % MAX_CONNECTIONS, "-c",
                  "superuser_reserved_connections=%d" % RESERVED)

COUNT = 5


def prepare_roles():
    if cluster.value("SELECT count(*) FROM pg_roles WHERE rolname = '%s'" % LOCKED) == "0":
        cluster.query("CREATE ROLE %s LOGIN PASSWORD '%s'" % (LOCKED, PASSWORD))
        for name, options in (("rejected_role", "LOGIN"), ("nologin_role", "NOLOGIN"), ("plain_role", "LOGIN"),
                              ("limited_role", "LOGIN CONNECTION LIMIT 1")):
            cluster.query("CREATE ROLE %s %s" % (name, options))


def tcp(db, **extra):
    prepare_roles()
    words = dict({"host": "127.0.0.1", "sslmode": "disable", "gssencmode": "disable"}, **extra)
    return db.conninfo(**words)


def fail(db, how, conninfo, count=COUNT):
    """Fail `count` times, without and with the shim; the program is the judge of how often it failed."""
    argv = [fixture("failed_connects"), how, str(count), conninfo]
    run = same_behaviour(argv, db=db).check_status(0)
    check_equal(b"%d failed\n" % count, run.stdout, "what the program says")
    return run


def check_failure(parsed, db, kind, sqlstate, count=COUNT):
    totals = parsed["totals"]
    check_equal((count, 0, count, 0), tuple(totals[name] for name in ("attempts", "established", "failed", "open")),
                "attempts, established, failed, open")
    seen = [(failure["class"], failure["sqlstate"], failure["count"]) for failure in parsed["failures"]]
    check_equal([(kind, sqlstate, count)], seen, "failures (class, sqlstate, count)")
    failure = parsed["failures"][0]
    check(failure["message"], "a failure should have a message: %r" % failure)
    check(failure["first"] <= failure["last"], "first and last of %r" % failure)
    check_equal(count, parsed["failed_time"]["count"], "failed_time.count")
    check_equal(0, parsed["connect_time"]["count"], "connect_time.count")
    check_sessions(parsed, db)
    check_nothing_lost(parsed)


def check_fails(kind, sqlstate, conninfo_of, count=COUNT):
    """Finished failures are no finding; unfinished ones are, at their line."""
    db = cluster.fresh_database()
    conninfo = conninfo_of(db)
    parsed = fail(db, "finish", conninfo, count).report()
    check_failure(parsed, db, kind, sqlstate, count)
    check_equal([], parsed["findings"], "findings of failed connections that were finished")

    run = fail(db, "keep", conninfo, count)
    parsed = run.report()
    check_failure(parsed, db, kind, sqlstate, count)
    finding = check_one_finding(parsed, "failed-not-finished", count)
    check_equal(("error", "fact"), (finding["level"], finding["certainty"]), "level and certainty")
    line = fixture_line("failed_connects.c", "site: failed")
    check_frame(parsed, finding, "main", "failed_connects.c", line)
    shown = pqlease("report", run.ledger).check_status(0).stdout.decode()
    check_in("failed_connects.c:%d" % line, shown, "text report")
    return parsed


# --- Nobody there ----------------------------------------------------------------------------------------------


class Listener:
    """A socket on 127.0.0.1 that is no PostgreSQL; `answer(client)` is called with each client."""

    def __init__(self, answer=None):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        if answer is not None:
            threading.Thread(target=self.serve, args=(answer,), daemon=True).start()
        cleanup(self.socket.close)

    def serve(self, answer):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client:
                answer(client)


def closed_port():
    listener = Listener()
    listener.socket.close()
    return listener.port


@test
def refused_on_a_closed_port():
    parsed = check_fails("refused", None, lambda db: tcp(db, port=closed_port()))
    check_equal([("127.0.0.1", COUNT)], [(pool["host"], COUNT) for pool in parsed["pools"]], "pools")


@test
def refused_without_a_socket():
    check_fails("refused", None, lambda db: db.conninfo(host="/nonexistent"))


@test
def host_name_that_does_not_exist():
    check_fails("dns", None, lambda db: tcp(db, host="nosuch.invalid"), count=1)


@test
def server_that_never_answers():
    db = cluster.fresh_database()
    conninfo = tcp(db, port=Listener().port, connect_timeout=2)
    parsed = run_with_shim([fixture("failed_connects"), "keep", "1", conninfo], db=db).check_status(0).report()
    check_failure(parsed, db, "timeout", None, 1)
    check_one_finding(parsed, "failed-not-finished", 1)
    check(parsed["failed_time"]["p50"] >= 1, "failed_time should hold the timeout: %r" % parsed["failed_time"])


@test
def server_that_closes_the_connection():
    listener = Listener(lambda client: client.recv(1000))
    check_fails("server_closed", None, lambda db: tcp(db, port=listener.port))


@test
def server_without_tls():
    check_fails("tls", None, lambda db: tcp(db, sslmode="require"))


# --- Not let in ------------------------------------------------------------------------------------------------


@test
def wrong_password():
    check_fails("auth", "28P01", lambda db: tcp(db, user=LOCKED, password="wrong"))


@test
def no_password():
    check_fails("auth", None, lambda db: tcp(db, user=LOCKED))


@test
def right_password_establishes():
    """The same role with the right password is let in: the cluster really asks."""
    db = cluster.fresh_database()
    argv = [fixture("connect_loop"), "3", tcp(db, user=LOCKED, password=PASSWORD)]
    check_clean(run_with_shim(argv, db=db).check_status(0).report(), db)


@test
def unknown_role():
    check_fails("auth", "28000", lambda db: tcp(db, user="nobody_here"))


@test
def role_that_may_not_log_in():
    check_fails("auth", "28000", lambda db: tcp(db, user="nologin_role"))


@test
def rejected_by_pg_hba():
    check_fails("auth", "28000", lambda db: tcp(db, user="rejected_role"))


@test
def no_database():
    check_fails("no_database", "3D000", lambda db: tcp(db, dbname="nosuchdb"))


# --- No slot left ----------------------------------------------------------------------------------------------


def hold(db, count, **conninfo):
    """Take connections without the shim and keep them until the test is over."""
    conninfo.setdefault("host", "127.0.0.1")
    child = start_with_shim([fixture("endings"), "hold", str(count)], db=db, stdout=-1,
                            env=dict({"LD_PRELOAD": None, "PQLEASE_LEDGER": None, "PGSSLMODE": "disable"},
                                     **{"PG" + name.upper(): value for name, value in conninfo.items()}))
    check_equal(b"ready\n", child.stdout.readline(), "holder of %d connections" % count)
    cleanup(child.stdout.close)
    return child


def release(holder):
    holder.terminate()
    holder.wait(timeout=10)


def check_refuses(kind, holders, conninfo_of):
    """All slots are taken by `holders(db)`; then nobody can ask the server, so they end before the judge speaks."""
    db = cluster.fresh_database()
    prepare_roles()
    conninfo = conninfo_of(db)
    db.count_from_here()
    held = holders(db)
    argvs = [[fixture("failed_connects"), how, str(COUNT), conninfo] for how in ("finish", "keep")]
    runs = [run_with_shim(argv, db=db) for argv in argvs]
    release(held)
    held_count = db.sessions().sessions
    check(held_count > 0, "the holder's sessions")
    for run in runs:
        check_equal(b"%d failed\n" % COUNT, run.check_status(0).stdout, "what the program says")
        parsed = run.report()
        seen = [(failure["class"], failure["sqlstate"], failure["count"]) for failure in parsed["failures"]]
        check_equal([(kind, "53300", COUNT)], seen, "failures (stderr %r)" % run.stderr)
        totals = parsed["totals"]
        check_equal((COUNT, 0, COUNT), (totals["attempts"], totals["established"], totals["failed"]),
                    "attempts, established, failed")
        check_equal(COUNT, parsed["failed_time"]["count"], "failed_time.count")
        check_nothing_lost(parsed)
    # REQUIREMENTS may name the refusals themselves a finding; the unfinished ones are one in any case.
    finished, kept = (findings_of(run.report(), "failed-not-finished") for run in runs)
    check_equal(([], [COUNT]), (finished, [finding["count"] for finding in kept]), "failed-not-finished")


@test
def too_many_clients():
    check_refuses("too_many_clients", lambda db: hold(db, MAX_CONNECTIONS), lambda db: tcp(db))


@test
def only_reserved_slots_left():
    """Ordinary roles find the last slots reserved."""
    check_refuses("reserved_slots", lambda db: hold(db, MAX_CONNECTIONS - RESERVED, user="plain_role"),
                  lambda db: tcp(db, user="plain_role"))


@test
def role_limit():
    check_refuses("role_limit", lambda db: hold(db, 1, user="limited_role"),
                  lambda db: tcp(db, user="limited_role"))


@test
def database_limit():
    def limited(db):
        cluster.query('ALTER DATABASE "%s" CONNECTION LIMIT 1' % db.name)
        return tcp(db, user="plain_role")

    check_refuses("database_limit", lambda db: hold(db, 1, user="plain_role"), limited)


# --- Several reasons in one run --------------------------------------------------------------------------------


@test
def reasons_are_kept_apart():
    db = cluster.fresh_database()
    ways = [("refused", None, tcp(db, port=closed_port()), 2),
            ("no_database", "3D000", tcp(db, dbname="nosuchdb"), 3),
            ("auth", "28000", tcp(db, user="nobody_here"), 4)]
    script = "; ".join('"$0" finish %d "%s"' % (count, conninfo) for _, _, conninfo, count in ways)
    run = same_behaviour(["/bin/sh", "-c", script, fixture("failed_connects")], db=db).check_status(0)
    parsed = run.report()
    seen = {(failure["class"], failure["sqlstate"], failure["count"]) for failure in parsed["failures"]}
    check_equal({(kind, state, count) for kind, state, _, count in ways}, seen, "failures")
    check_equal(sum(way[3] for way in ways), parsed["totals"]["failed"], "failed")
    check_equal([], parsed["findings"], "findings")


# --- Probes ----------------------------------------------------------------------------------------------------


@test
def pings_of_servers_up_and_down():
    db = cluster.fresh_database()
    down = tcp(db, port=closed_port())
    argv = [fixture("ping"), "3", tcp(db), down]
    run = same_behaviour(argv, db=db).check_status(0)
    answered = run.stdout.count(b": accepting")
    silent = run.stdout.count(b": no response")
    check_equal((6, 6), (answered, silent), "what PQping says")
    parsed = run.report()
    totals = parsed["totals"]
    check_equal((answered + silent, answered, 0, 0, 0),
                tuple(totals[name] for name in ("probes", "probes_answered", "attempts", "established", "failed")),
                "probes, probes_answered, attempts, established, failed")
    check_equal((0, []), (parsed["failed_time"]["count"], parsed["failures"]), "a probe is no failure")
    check_clean(parsed, db)


@test
def pg_isready_of_servers_up_and_down():
    db = cluster.fresh_database()
    for port, status, answered in ((cluster.port, 0, 1), (closed_port(), 2, 0)):
        argv = [cluster.bin("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        run = same_behaviour(argv, db=db).check_status(status)
        totals = run.report()["totals"]
        check_equal((1, answered), (totals["probes"], totals["probes_answered"]), "probes, probes_answered")
        check_equal(answered, db.sessions().sessions, "the server's sessions")


@test
def ping_that_is_refused_for_its_role_is_answered():
    """The server answers a probe even if it would not let it in; no session is counted there."""
    db = cluster.fresh_database()
    run = same_behaviour([fixture("ping"), "1", tcp(db, user="nobody_here")], db=db).check_status(0)
    check_equal(2, run.stdout.count(b": accepting"), "what PQping says")
    totals = run.report()["totals"]
    check_equal((2, 0), (totals["probes"], totals["established"]), "probes, established")
    check_equal(0, db.sessions().sessions, "the server's sessions")


main()
