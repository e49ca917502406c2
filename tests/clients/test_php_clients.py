#!/usr/bin/python3
"""PHP: extensions are loaded with RTLD_DEEPBIND, which would hide libpq's callers from any preload."""

from client_table import *

cluster = Cluster()


def php(name):
    return ["/usr/bin/php", program(name)]


def fpm(stop_signal):
    return lambda db: [PYTHON, program("fpm_serve.py"), temporary_directory(), stop_signal]


CLIENTS = [
    Client("PHP cli, pg_connect", php("php_pg_connect.php"), sessions=3),
    Client("PHP cli, pg_pconnect", php("php_pg_pconnect.php"), sessions=2),
    Client("PHP cli, PDO", php("php_pdo.php"), sessions=2),
    Client("PHP fpm, stopped gracefully", fpm("SIGQUIT"), sessions=6, abandoned=None),
    Client("PHP fpm, stopped at once", fpm("SIGTERM"), sessions=6, abandoned=None),
]

main_of(CLIENTS, cluster)
