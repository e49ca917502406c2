"""A service whose module connects when it is loaded: in every worker, or in the master with --preload."""
import os

import psycopg2

conn = psycopg2.connect("")
conn.autocommit = True


def app(_environment, start_response):
    with conn.cursor() as cursor:
        cursor.execute("select 'served'")
        answer = "%s %d" % (cursor.fetchone()[0], os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer.encode()]
