"""For tests of what looks at running programs: a program whose pool says what it holds, and `pqlease serve` beside it."""

import http.client
import json
import os
import signal
import socket
import subprocess

from pqlease_test import *

# Reads commands: "open N", "use N" (N connections in a transaction), "rest" (none), "quit"; answers each with a line.
HOLDER = r"""
import sys, psycopg2
held = []
for line in sys.stdin:
    word, _, number = line.strip().partition(" ")
    if word == "open":
        held += [psycopg2.connect("") for _ in range(int(number))]
    elif word == "use":
        for connection in held[:int(number)]:
            connection.cursor().execute("select 1")
    elif word == "rest":
        for connection in held:
            connection.rollback()
    elif word == "quit":
        for connection in held:
            connection.close()
        break
    print("done", flush=True)
"""


class Holder:
    """A program that holds connections as told."""

    def __init__(self, db, role="main", ledger=None):
        self.process = start_with_shim([PYTHON, "-c", HOLDER], db=db, env={"PQLEASE_ROLE": role}, ledger=ledger,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ledger = self.process.ledger

    def tell(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        check_equal(b"done\n", self.process.stdout.readline(), "answer to " + command)

    def quit(self):
        self.process.stdin.write(b"quit\n")
        self.process.stdin.flush()
        check_equal(0, self.process.wait(timeout=20), "status of the program")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Server:
    """`pqlease serve` on a free port of loopback, or on a unix socket."""

    def __init__(self, *arguments, listen="127.0.0.1:0", preexec_fn=None):
        self.process = subprocess.Popen([PQLEASE, "serve", "--listen", listen, *arguments], env=clean_environment(),
                                        stderr=subprocess.PIPE, start_new_session=True,
                                        preexec_fn=preexec_fn)
        cleanup(self.kill)
        line = self.process.stderr.readline().decode()
        check_in("pqlease: serving on ", line, "first line of serve")
        self.address = line.strip().rpartition(" ")[2]
        self.host, _, port = self.address.partition("//")[2].rpartition(":")
        self.port = int(port or 0)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        check_equal(0, self.process.wait(timeout=10), "status of serve")

    def connect(self, timeout=30):
        if self.port:
            return socket.create_connection((self.host, self.port), timeout=timeout)
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(timeout)
        stream.connect(self.address)
        return stream

    def request(self, path, method="GET", headers=None, timeout=30):
        """(status, headers, body)"""
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = self.connect(timeout)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, path, expected=200):
        status, _, body = self.request(path)
        check_equal(expected, status, "status of " + path)
        return json.loads(body)

    def metrics(self, *options):
        status, _, body = self.request("/metrics")
        check_equal(200, status, "status of /metrics")
        return body.decode()

    def raw(self, request, timeout=30):
        """Everything that comes back for these bytes, until the server closes."""
        with self.connect(timeout) as stream:
            stream.sendall(request)
            answer = b""
            while True:
                part = stream.recv(65536)
                if not part:
                    return answer
                answer += part

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def resident_kib(self):
        with open("/proc/%d/status" % self.process.pid, encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
