"""php-fpm with two workers and an emptied environment, asked until both have answered: DIRECTORY STOP_SIGNAL."""
import glob
import os
import re
import signal
import subprocess
import sys

from serve import serve

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIGURATION = """
[global]
error_log = /dev/stderr
daemonize = no
[www]
listen = {directory}/fpm.sock
user = {user}
pm = static
pm.max_children = 2
env[PGHOST] = {PGHOST}
env[PGPORT] = {PGPORT}
env[PGUSER] = {PGUSER}
env[PGDATABASE] = {PGDATABASE}
"""
directory, stop_signal = sys.argv[1], getattr(signal, sys.argv[2])
configuration = os.path.join(directory, "fpm.conf")


def ask():
    page = os.path.join(HERE, "fpm_page.php")
    environment = dict(os.environ, SCRIPT_FILENAME=page, SCRIPT_NAME="/fpm_page.php", REQUEST_METHOD="GET",
                       QUERY_STRING="")
    done = subprocess.run(["cgi-fcgi", "-bind", "-connect", directory + "/fpm.sock"], env=environment, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20,
                          check=False)
    worker = re.search(r"^X-Worker: (\d+)", done.stdout, flags=re.MULTILINE)
    return worker and (worker.group(1), re.split(r"\r?\n\r?\n", done.stdout, maxsplit=1)[1])


with open(configuration, "w", encoding="utf-8") as text:
    user = "root" if os.geteuid() == 0 else str(os.geteuid())
    text.write(CONFIGURATION.format(directory=directory, user=user, **os.environ))
program = sorted(glob.glob("/usr/sbin/php-fpm*"))[-1]
argv = [program, "-F", "-y", configuration, "-n", "-d", "extension=pgsql", "-d", "extension=pdo", "-d",
        "extension=pdo_pgsql"]
argv += ["-R"] if os.geteuid() == 0 else []
serve(argv, ask, 2, stop_signal)
