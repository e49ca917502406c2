"""psycopg2, async_=1: the program polls."""
import os
import select
import sys

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ


def wait(conn):
    while True:
        state = conn.poll()
        if state == POLL_OK:
            return
        read = [conn] if state == POLL_READ else []
        select.select(read, [] if read else [conn], [], 10)


for number in range(3):
    conn = psycopg2.connect("", async_=1)
    wait(conn)
    cursor = conn.cursor()
    cursor.execute("select %s", [number])
    wait(conn)
    print(cursor.fetchall())
    conn.close()

left = psycopg2.connect("", async_=1)
wait(left)
sys.stdout.flush()
os._exit(0)
