#!/usr/bin/python3
"""Python: psycopg2 loads libpq RTLD_LOCAL, psycopg 3 asks for its functions by dlsym."""

from client_table import *

cluster = Cluster()


def python(name):
    return [PYTHON, program(name)]


def gunicorn(*options):
    return lambda db: [PYTHON, program("gunicorn_serve.py"), temporary_directory(), *options]


CLIENTS = [
    Client("psycopg2, sync", python("psycopg2_sync.py"), sessions=6, abandoned=1, status=3),
    Client("psycopg2, async", python("psycopg2_async.py"), sessions=4, abandoned=1),
    Client("psycopg2, green", python("psycopg2_green.py"), sessions=3),
    Client("psycopg2, pool", python("psycopg2_pool.py"), sessions=4),
    Client("psycopg 3, sync", python("psycopg3_sync.py"), sessions=4, abandoned=1, status=3),
    Client("psycopg 3, asyncio", python("psycopg3_asyncio.py"), sessions=4),
    Client("psycopg 3, pool", python("psycopg3_pool.py"), sessions=3),
    Client("SQLAlchemy", python("sqlalchemy_queue.py"), sessions=4),
    Client("gunicorn, 2 workers", gunicorn(), sessions=2),
    Client("gunicorn --preload, 2 workers", gunicorn("--preload"), sessions=1),
]


@test
def the_observer_sees_what_goes_past():
    """With the hooks switched off ctypes gets libpq's own functions: the check of bindings must say so."""
    client = Client("psycopg 3, unhooked", python("psycopg3_pool.py"))
    unhooked = observe(client, cluster.fresh_database(), run_with_shim, PQLEASE_DISABLE="1")
    names = {entry[2] for entry in past_the_shim(unhooked)}
    check({"PQconnectStart", "PQfinish"} <= names, "names bound past the shim: %r" % names)


main_of(CLIENTS, cluster)
