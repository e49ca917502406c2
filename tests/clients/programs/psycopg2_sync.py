"""psycopg2: connections closed, dropped, failed, reset by hand, and one left by _exit."""
import os
import sys

import psycopg2

with_statement = psycopg2.connect("")
with with_statement, with_statement.cursor() as cursor:
    cursor.execute("select 1")
    print(cursor.fetchone())
with_statement.close()

for conn in [psycopg2.connect("application_name=held") for _ in range(3)]:
    conn.autocommit = True
    try:
        conn.cursor().execute("select 1 / 0")
    except psycopg2.Error as error:
        print(type(error).__name__, error.pgcode)
    conn.close()

psycopg2.connect("application_name=dropped")
try:
    psycopg2.connect("dbname=no_such_database_here")
except psycopg2.OperationalError:
    print("no such database")

left = psycopg2.connect("")
sys.stdout.flush()
os._exit(3)
