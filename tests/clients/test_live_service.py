#!/usr/bin/python3
"""A gunicorn service with a SQLAlchemy pool, under load, with `serve`, `status` and `top` beside it: they say what the
service's own pool says."""

import json
import os
import socket
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from pqlease_test import *
from live_service import Server

cluster = Cluster()

# /hold takes a connection, runs a query, and keeps both until the file "release" is there; /pool tells of the pool.
SERVICE = r"""
import json, os, time
from sqlalchemy import create_engine, text
engine = create_engine("postgresql+psycopg2://", pool_size=5, max_overflow=2)
with engine.connect():
    pass

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hold":
        with engine.connect() as connection:
            connection.execute(text("select 1"))
            while not os.path.exists("release"):
                time.sleep(0.02)
    body = json.dumps({"in_use": engine.pool.checkedout(),
                       "total": engine.pool.checkedout() + engine.pool.checkedin()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


class Service:
    def __init__(self, db):
        self.directory = ledger_directory()
        with open(os.path.join(self.directory, "service.py"), "w", encoding="utf-8") as file:
            file.write(SERVICE)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = start_with_shim(
            ["gunicorn", "-w", "1", "-k", "gthread", "--threads", "16", "-b", "127.0.0.1:%d" % self.port, "service"],
            db=db, env={"PQLEASE_ROLE": "web"}, cwd=self.directory, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.ledger = self.process.ledger
        wait_until(self.pool, timeout=30, what="the service answers")

    def pool(self):
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/pool" % self.port, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    def hold(self, count):
        """That many requests that hold a connection; a function that lets them go."""
        path = os.path.join(self.directory, "release")
        if os.path.exists(path):
            os.unlink(path)
        streams = []
        for _ in range(count):
            stream = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            stream.sendall(b"GET /hold HTTP/1.0\r\n\r\n")
            streams.append(stream)
        wait_until(lambda: self.pool()["in_use"] == count, what="%d connections are held" % count)

        def release():
            with open(path, "w", encoding="utf-8"):
                pass
            for stream in streams:
                while stream.recv(4096):
                    pass
                stream.close()
            wait_until(lambda: self.pool()["in_use"] == 0, what="nothing is held")

        return release


@test
def every_view_says_what_the_pool_says():
    db = cluster.fresh_database()
    service = Service(db)
    server = Server("--limit", "7", service.ledger)
    for held in (0, 3, 5, 7, 2):
        release = service.hold(held)
        own = service.pool()

        def seen():
            pool = server.get("/readyz")["pools"][0]
            return pool if pool["totalCount"] - pool["idleCount"] == held else None

        pool = wait_until(seen, what="/readyz sees %d in use" % held)
        check_equal((own["total"], own["total"] - own["in_use"]), (pool["totalCount"], pool["idleCount"]),
                    "totalCount and idleCount with %d held" % held)
        check_equal(round(100 * held / 7), pool["utilizationPercent"], "utilizationPercent")
        database = server.get("/health/database")
        check_equal((own["in_use"], 7 - own["in_use"]), (database["in_use"], database["available"]), "/health/database")
        status = json.loads(pqlease("status", "--json", "--limit", "7", service.ledger).stdout)
        check_equal((own["in_use"], own["total"]), (status["checkedout"], status["pools"][0]["totalCount"]), "status")
        check_equal(own["total"], len(db.backends()), "the server's sessions")
        metrics = server.metrics()
        check_in('db_client_connection_state="used"} %d\n' % held, metrics, "/metrics")
        release()


@test
def a_full_pool_is_critical_while_it_lasts():
    db = cluster.fresh_database()
    service = Service(db)
    server = Server("--limit", "7", service.ledger)
    release = service.hold(7)
    wait_until(lambda: server.get("/health")["status"] == "critical", what="critical")
    release()
    wait_until(lambda: server.get("/health")["status"] == "healthy", what="healthy")


main()
