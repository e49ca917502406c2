#!/usr/bin/python3
"""workload.py MODE THREADS CONNECTIONS SECONDS SQL SLEEP_MS: as tests/fixtures/workload.c, by psycopg2."""

import os
import sys
import threading
import time

import psycopg2

RETRY_S = 0.1
REST_S = 0.002
FORGET_EVERY = 5

mode, sql = sys.argv[1], sys.argv[5]
thread_count, connection_count, sleep_s = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[6]) / 1000
deadline = time.monotonic() + float(sys.argv[4])
given_back = threading.Condition()
idle = []
open_count = 0
forgotten = []


def connect_at_last():
    while True:
        try:
            return psycopg2.connect("")
        except psycopg2.OperationalError:
            if time.monotonic() >= deadline:
                return None
            time.sleep(RETRY_S)


def use(conn, is_sleeper):
    is_mixed = mode == "mix"
    conn.cursor().execute("SELECT 1" if is_mixed and is_sleeper else sql)
    if sleep_s > 0 and (not is_mixed or is_sleeper):
        time.sleep(sleep_s)
    conn.commit()


def take():
    global open_count
    with given_back:
        given_back.wait_for(lambda: idle or open_count < connection_count)
        if idle:
            return idle.pop()
        open_count += 1
    return connect_at_last()


def give_back(conn):
    global open_count
    with given_back:
        if conn is not None:
            idle.append(conn)
        else:
            open_count -= 1
        given_back.notify()


def work(number):
    turn = 0
    while time.monotonic() < deadline:
        turn += 1
        conn = connect_at_last() if mode == "churn" else take()
        if conn is not None:
            use(conn, number % 2 == 1)
        if mode == "churn":
            if conn is not None:
                conn.close()
        elif mode == "leak" and turn % FORGET_EVERY == 0:
            forgotten.append(conn)
            give_back(None)
        else:
            give_back(conn)
        time.sleep(REST_S)


def connect_once(_number):
    conn = connect_at_last()
    if conn is not None:
        conn.cursor().execute(sql)
        conn.close()


def run_threads(function, count):
    threads = [threading.Thread(target=function, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if mode == "burst":
    run_threads(connect_once, thread_count)
run_threads(work, 1 if mode == "burst" else thread_count)
for open_one in idle:
    open_one.close()
if mode == "leak":
    os._exit(0)  # as a process that ends without its interpreter's help
