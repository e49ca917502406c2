"""psycopg 3 through ctypes: closed, failed, and one left by _exit."""
import os
import sys

import psycopg

print(psycopg.pq.__impl__)
for number in range(3):
    with psycopg.connect("") as conn:
        print(conn.execute("select %s::int", [number]).fetchone())
try:
    psycopg.connect("dbname=no_such_database_here")
except psycopg.OperationalError:
    print("no such database")
left = psycopg.connect("")
sys.stdout.flush()
os._exit(3)
