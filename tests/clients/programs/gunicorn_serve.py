"""gunicorn with two prefork workers, asked until both have answered, stopped by SIGTERM: DIRECTORY [OPTION...]."""
import os
import signal
import socket
import sys

from serve import serve

HERE = os.path.dirname(os.path.abspath(__file__))
directory, options = sys.argv[1], sys.argv[2:]
path = os.path.join(directory, "gunicorn.sock")


def ask():
    try:
        with socket.socket(socket.AF_UNIX) as conn:
            conn.settimeout(10)
            conn.connect(path)
            conn.sendall(b"GET / HTTP/1.0\r\n\r\n")
            reply = conn.makefile("rb").read().decode()
    except OSError:
        return None
    answer, _, worker = reply.rpartition("\r\n\r\n")[2].partition(" ")
    return worker, answer


argv = ["/usr/bin/gunicorn", "-w", "2", "-b", "unix:" + path, "--chdir", HERE, "--worker-tmp-dir", directory]
sys.exit(serve(argv + options + ["gunicorn_app:app"], ask, 2, signal.SIGTERM))
