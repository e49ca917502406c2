"""A proxy in front of the server that makes connecting slow and nothing else.

Listens on 127.0.0.1, forwards to the cluster's unix socket, and holds back the first bytes of each client for
`delay` seconds. A client that has gone by then never reaches the server. Use it as a context manager; `port` is its
port.
"""

import os
import select
import socket
import threading
import time


class DelayProxy:
    def __init__(self, cluster, delay, port=0):
        self.target = os.path.join(cluster.socket_directory, ".s.PGSQL.%d" % cluster.port)
        self.delay = delay
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.ended, self.end = os.pipe()
        self.threads = []

    def __enter__(self):
        self.start(self.accept)
        return self

    def __exit__(self, *_exception):
        os.close(self.end)
        for thread in list(self.threads):
            thread.join()
        os.close(self.ended)
        self.listener.close()

    def environment(self):
        return {"PGHOST": "127.0.0.1", "PGPORT": self.port}

    def start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while self.listener in self.readable([self.listener]):
            client, _ = self.listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.start(self.serve, client)

    def readable(self, sockets, timeout=None):
        """Those that can be read; nothing once the proxy ends."""
        ready = select.select(sockets + [self.ended], [], [], timeout)[0]
        return [] if self.ended in ready else ready

    def serve(self, client):
        with client:
            first = self.receive(client)
            until = time.monotonic() + self.delay
            # Until then only the client's end, or ours, is interesting.
            if not first or self.readable([client], max(0, until - time.monotonic())):
                return
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(self.target)
                server.sendall(first)
                self.forward(client, server)

    def receive(self, client):
        return client.recv(65536) if self.readable([client]) else b""

    def forward(self, client, server):
        other = {client: server, server: client}
        while True:
            ready = self.readable([client, server])
            if not ready:
                return
            for source in ready:
                try:
                    text = source.recv(65536)
                    if not text:
                        return
                    other[source].sendall(text)
                except OSError:
                    return
