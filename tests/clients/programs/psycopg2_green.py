"""psycopg2 in green mode: a wait callback, as coroutine libraries install it."""
import select

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, set_wait_callback


def wait(conn):
    while True:
        state = conn.poll()
        if state == POLL_OK:
            return
        read = [conn] if state == POLL_READ else []
        select.select(read, [] if read else [conn], [], 10)


set_wait_callback(wait)
conns = [psycopg2.connect("") for _ in range(3)]
for number, conn in enumerate(conns):
    with conn, conn.cursor() as cursor:
        cursor.execute("select %s, pg_sleep(0.01)", [number])
        print(cursor.fetchone())
for conn in conns:
    conn.close()
