"""php-fpm with one worker and an emptied environment, asked three times for a page; prints what the pages say:
DIRECTORY PAGE KINDS."""
import glob
import os
import signal
import subprocess
import sys
import time

CONFIGURATION = """
[global]
error_log = {directory}/log
daemonize = no
[www]
listen = {directory}/fpm.sock
user = {user}
pm = static
pm.max_children = 1
env[PGHOST] = {PGHOST}
env[PGPORT] = {PGPORT}
env[PGUSER] = {PGUSER}
env[PGDATABASE] = {PGDATABASE}
"""
PATIENCE_S = 20
directory, page, kinds = sys.argv[1:]
socket = os.path.join(directory, "fpm.sock")


def ask():
    environment = dict(os.environ, SCRIPT_FILENAME=page, SCRIPT_NAME="/page.php", REQUEST_METHOD="GET",
                       QUERY_STRING="kinds=" + kinds)
    environment.pop("LD_PRELOAD", None)
    done = subprocess.run(["cgi-fcgi", "-bind", "-connect", socket], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S, check=True)
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)


configuration = os.path.join(directory, "fpm.conf")
with open(configuration, "w", encoding="utf-8") as text:
    user = "root" if os.geteuid() == 0 else str(os.geteuid())
    text.write(CONFIGURATION.format(directory=directory, user=user, **os.environ))
argv = [sorted(glob.glob("/usr/sbin/php-fpm*"))[-1], "-F", "-y", configuration]
server = subprocess.Popen(argv + (["-R"] if os.geteuid() == 0 else []), stderr=subprocess.DEVNULL)
try:
    deadline = time.monotonic() + PATIENCE_S
    while not os.path.exists(socket) and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(3):
        ask()
finally:
    server.send_signal(signal.SIGQUIT)
    sys.exit(server.wait(timeout=PATIENCE_S))
