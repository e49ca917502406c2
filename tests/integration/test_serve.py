#!/usr/bin/python3
"""`pqlease serve`: health, readiness, history, report and metrics; what must not stop it."""

import json
import os
import resource
import socket
import threading
import time

from pqlease_test import *
from live_service import Holder, Server

cluster = Cluster()

DATABASE_KEYS = {
    "status", "pool_size", "max_overflow", "available", "in_use", "overflow_active", "total_capacity", "usage_percent",
    "timestamp", "recent_history"
}
READY_KEYS = {"poolName", "totalCount", "idleCount", "waitingCount", "utilizationPercent", "timestamp"}


def sessions(db):
    return int(cluster.value("select count(*) from pg_stat_activity where datname = '%s'" % db.name))


@test
def it_answers_what_monitors_ask():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 7")
    server = Server("--limit", "30", holder.ledger)
    check_equal({"status": "ok"}, server.get("/healthz"), "/healthz")
    health = server.get("/health")
    check("ok" in health and health["status"] in ("healthy", "degraded"), "/health: %r" % health)
    check("database" in health["components"], "/health has its component")
    database = server.get("/health/database")
    check_equal(set(), DATABASE_KEYS - set(database), "keys that are missing")
    check_equal(30, database["total_capacity"], "total_capacity")
    pools = server.get("/readyz")["pools"]
    check_equal(1, len(pools), "pools")
    check_equal(set(), READY_KEYS - set(pools[0]), "keys that are missing")
    check_equal("main", pools[0]["poolName"], "poolName")
    check_equal(sessions(db), pools[0]["totalCount"], "totalCount is the server's number of sessions")
    holder.quit()
    server.stop()


@test
def the_report_comes_as_asked_for():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 1")
    server = Server(holder.ledger)
    status, headers, body = server.request("/report", headers={"Accept": "application/json"})
    check_equal((200, "application/json"), (status, headers["Content-Type"]), "answer")
    check_equal("pqlease/report-1", json.loads(body)["schema"], "schema")
    status, headers, body = server.request("/report", headers={"Accept": "text/plain"})
    check_equal((200, "text/plain; charset=utf-8"), (status, headers["Content-Type"]), "answer")
    check_in("1 open", body.decode(), "the text report")
    holder.quit()


@test
def history_has_one_sample_a_second():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 3")
    server = Server("--limit", "30", holder.ledger)
    wait_until(lambda: len(server.get("/history?limit=2")) == 2, what="two whole seconds")
    samples = server.get("/history?limit=2")
    check_equal([3, 3], [sample["total"] for sample in samples], "open connections")
    check_equal(set(), {"checkedout", "usage_percent", "timestamp"} - set(samples[0]), "keys that are missing")
    check(samples[0]["timestamp"] < samples[1]["timestamp"], "oldest first")
    server.get("/history?limit=0", expected=400)
    server.get("/history?limit=x", expected=400)
    holder.quit()


@test
def history_knows_uses_that_last():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 5")
    holder.tell("use 3")
    server = Server("--limit", "10", holder.ledger)

    def in_use():
        samples = server.get("/history?limit=2")
        return len(samples) == 2 and [sample["checkedout"] for sample in samples] == [3, 3]

    wait_until(in_use, what="two seconds in which three were in use")
    holder.tell("rest")
    wait_until(lambda: server.get("/history?limit=1")[0]["checkedout"] == 0, what="a second in which none was")
    check(3 in [sample["checkedout"] for sample in server.get("/history?limit=60")], "the past stays as it was")
    holder.quit()


@test
def no_run_is_said_and_not_invented():
    directory = ledger_directory()
    server = Server("--dir", directory)
    check_equal({"status": "unknown", "message": "Pool monitor not initialized"}, server.get("/health/database"),
                "/health/database")
    check_equal("degraded", server.get("/health")["status"], "/health")
    server.get("/readyz", expected=503)
    server.get("/report", expected=404)
    check_equal([], server.get("/history"), "/history")


@test
def a_directory_is_followed():
    db = cluster.fresh_database()
    directory = ledger_directory()
    server = Server("--dir", directory)
    holders = [Holder(db, role, os.path.join(directory, role + ".ledger")) for role in ("web", "worker")]
    for count, holder in enumerate(holders, 1):
        holder.tell("open %d" % count)

    def pools():
        return sorted((pool["poolName"], pool["totalCount"]) for pool in server.get("/readyz", None)["pools"])

    server.get = lambda path, expected=200, get=server.get: json.loads(server.request(path)[2])
    wait_until(lambda: pools() == [("web", 1), ("worker", 2)], what="both runs")
    holders[0].quit()
    wait_until(lambda: pools() == [("worker", 2)], what="the ended run is gone from readiness")
    check_in('pqlease_run_live{', server.metrics(), "/metrics")
    os.unlink(holders[0].ledger)
    wait_until(lambda: server.metrics().count("pqlease_run_live{") == 1, what="the removed ledger is gone from metrics")
    holders[1].quit()


@test
def a_unix_socket_serves_too():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 1")
    path = os.path.join(ledger_directory(), "serve.socket")
    server = Server(holder.ledger, listen=path)
    check_equal(0o600, os.stat(path).st_mode & 0o777, "mode of the socket")
    check_equal(1, server.get("/readyz")["pools"][0]["totalCount"], "totalCount")
    server.stop()
    check(not os.path.exists(path), "the socket file is gone")
    holder.quit()


@test
def a_socket_left_behind_is_replaced_and_nothing_else():
    ledger = run_pqlease(["true"], "--report=none").ledger
    path = os.path.join(os.path.dirname(ledger), "serve.socket")
    first = Server(ledger, listen=path)
    refused = pqlease("serve", "--listen", path, ledger)
    check_equal((2, ("pqlease: %s: somebody listens there already\n" % path).encode()),
                (refused.status, refused.stderr), "a second server")
    first.kill()
    check(os.path.exists(path), "the killed server left its socket")
    Server(ledger, listen=path).stop()
    with open(path, "w", encoding="utf-8") as file:
        file.write("mine")
    refused = pqlease("serve", "--listen", path, ledger)
    check_equal((2, ("pqlease: %s: there is a file that is no socket\n" % path).encode()),
                (refused.status, refused.stderr), "a file")
    with open(path, encoding="utf-8") as file:
        check_equal("mine", file.read(), "the file is untouched")


@test
def wrong_usage_is_64_and_bad_ledgers_are_2():
    directory = ledger_directory()
    bad = os.path.join(directory, "bad.ledger")
    with open(bad, "wb") as file:
        file.write(b"no ledger" * 100)
    for arguments in ([], ["--dir", directory, bad], ["--listen"], ["--limit", "0", bad], ["--bogus", bad]):
        run = pqlease("serve", *arguments)
        check_equal(64, run.status, "status of serve %s" % arguments)
        check_equal(1, run.stderr.count(b"\n"), "lines on stderr")
    run = pqlease("serve", bad)
    check_equal(2, run.status, "status")
    check_in("pqlease: %s: " % bad, run.stderr.decode(), "stderr")
    run = pqlease("serve", "--listen", "example.org:80", "--dir", directory)
    check_equal((2, b"pqlease: example.org:80: neither ADDRESS:PORT nor the path of a socket\n"),
                (run.status, run.stderr), "a name")


# --- Attacks --------------------------------------------------------------------------------------------------------


def some_server():
    return Server(run_pqlease(["true"], "--report=none").ledger)


@test
def what_is_refused():
    server = some_server()
    end = b"\r\n\r\n"
    cases = [
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example" + end, 403),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example:%d" % server.port + end, 403),
        (b"GET /healthz HTTP/1.1" + end, 403),
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1" + end + b"x", 405),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1" + end + b"x", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked" + end + b"1\r\nx\r\n0" + end, 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked" + end, 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost" + end, 404),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost" + end, 404),
        (b"GET /health/ HTTP/1.1\r\nHost: localhost" + end, 404),
        (b"DELETE / HTTP/1.1\r\nHost: localhost" + end, 405),
    ]
    for request, expected in cases:
        answer = server.raw(request)
        check_equal(b"HTTP/1.1 %d" % expected, answer[:12], "answer to %r" % request)
    for host in (b"localhost", b"127.0.0.1", b"127.0.0.1:%d" % server.port, b"[::1]:80", b"LOCALHOST"):
        answer = server.raw(b"GET /healthz HTTP/1.1\r\nHost: " + host + end)
        check_equal(b"HTTP/1.1 200", answer[:12], "answer with Host %r" % host)


@test
def a_named_host_is_allowed_when_asked_for():
    server = Server("--allow-host", "metrics.example", run_pqlease(["true"], "--report=none").ledger)
    answer = server.raw(b"GET /healthz HTTP/1.1\r\nHost: metrics.example:9187\r\n\r\n")
    check_equal(b"HTTP/1.1 200", answer[:12], "answer")


@test
def nonsense_ends_in_an_error_or_a_close():
    server = some_server()
    for request in (b"\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
                    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20000 + b"\r\n"):
        try:
            answer = server.raw(request)
        except ConnectionError:
            continue
        check(answer[:9] in (b"HTTP/1.1 ", b"HTTP/1.0 ", b""), "answer to %r..: %r" % (request[:20], answer[:40]))
        check(answer[9:10] in (b"4", b"5", b""), "answer to %r..: %r" % (request[:20], answer[:40]))
    check_equal({"status": "ok"}, server.get("/healthz"), "/healthz afterwards")


@test
def pipelined_requests_get_one_answer_and_a_close():
    server = some_server()
    answer = server.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
    check_equal(1, answer.count(b"HTTP/1.1 200"), "answers")
    check_in(b"Connection: close", answer, "the answer")


@test
def head_has_no_body():
    status, headers, body = some_server().request("/healthz", method="HEAD")
    check_equal((200, b""), (status, body), "answer")
    check(int(headers["Content-Length"]) > 0, "Content-Length")


class Dripper(threading.Thread):
    """A client that sends one byte after another, for ever."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.stream = server.connect()
        self.ended_after = None
        self.begun = time.monotonic()

    def run(self):
        with self.stream:
            try:
                self.stream.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
                while True:
                    self.stream.sendall(b"y")
                    time.sleep(0.2)
            except OSError:
                self.ended_after = time.monotonic() - self.begun


@test
def a_hundred_dripping_clients_stop_nobody_and_are_shown_out():
    server = some_server()
    drippers = [Dripper(server) for _ in range(100)]
    for dripper in drippers:
        dripper.start()
    for _ in range(20):
        check_equal({"status": "ok"}, server.get("/healthz"), "/healthz meanwhile")
    for dripper in drippers:
        dripper.join(timeout=40)
        check(dripper.ended_after is not None, "a dripping client was shown out")
    wait_until(lambda: server.descriptors() < 20, what="descriptors of those shown out are closed")


@test
def a_thousand_connections_leave_room_for_one_more():
    server = some_server()
    streams = [server.connect() for _ in range(1000)]
    check_equal({"status": "ok"}, server.get("/healthz"), "/healthz meanwhile")
    for stream in streams:
        stream.close()
    wait_until(lambda: server.descriptors() < 20, what="descriptors are closed")


@test
def few_descriptors_are_enough():
    db = cluster.fresh_database()
    run = run_with_shim([cluster.bin("psql"), "-XAtc", "select 1"], db=db).check_status(0)
    for limit in (40, 64):
        server = Server(run.ledger,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
        crowd = [server.connect() for _ in range(100)]
        for one in crowd:
            one.send(b"GET /metrics HT")
        check_equal(200, server.request("/metrics")[0], "status beside the crowd, %d descriptors" % limit)
        for one in crowd:
            one.close()
        check_equal(200, server.request("/metrics")[0], "status after the crowd, %d descriptors" % limit)
        server.stop()


@test
def a_reader_that_does_not_read_is_shown_out():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 50")
    server = Server(holder.ledger)
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    stream.connect((server.host, server.port))
    stream.sendall(b"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n")
    check_equal({"status": "ok"}, server.get("/healthz"), "/healthz meanwhile")
    wait_until(lambda: server.descriptors() < 12, timeout=30, what="the connection is closed")
    stream.close()
    holder.quit()


@test
def a_ledger_cut_or_swapped_is_said_and_survived():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 2")
    holder.quit()
    server = Server(holder.ledger)
    check_equal(1, server.metrics().count("pqlease_run_live{"), "runs")
    with open(holder.ledger, "r+b") as file:
        file.truncate(10000)
    os.utime(holder.ledger)
    for _ in range(5):
        check_equal({"status": "ok"}, server.get("/healthz"), "/healthz of a cut ledger")
        server.request("/metrics")
    with open(holder.ledger, "wb") as file:
        file.write(os.urandom(200000))
    server.request("/metrics")
    os.unlink(holder.ledger)
    os.mkdir(holder.ledger)
    server.request("/metrics")
    check_equal({"status": "ok"}, server.get("/healthz"), "/healthz at the end")
    server.stop()


@test
def neither_memory_nor_descriptors_grow():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 5")
    server = Server(holder.ledger)

    def ask(times):
        for _ in range(times):
            for path in ("/metrics", "/readyz", "/health/database", "/report", "/history"):
                server.request(path)

    ask(40)
    descriptors, resident = server.descriptors(), server.resident_kib()
    ask(120)
    check(server.descriptors() <= descriptors + 1, "descriptors")
    check(server.resident_kib() < resident + 2048, "memory: %d, then %d KiB" % (resident, server.resident_kib()))
    holder.quit()


main()
