#!/usr/bin/python3
"""What-if: the waits that `pqlease advise` predicts for a pool of another size are those that a pool of that size has."""

import json

from pqlease_test import *

cluster = Cluster()
REST_S = 0.02

# A fair pool of SIZE connections; every wait for one is logged.
PROGRAM = """
import json, psycopg2, queue, sys, threading, time
SIZE, THREADS, TURNS = %d, 10, 25
free, waits = queue.Queue(), []
for _ in range(SIZE):
    free.put(psycopg2.connect(''))
def work():
    for _ in range(TURNS):
        asked = time.monotonic()
        conn = free.get()
        waits.append(time.monotonic() - asked)
        conn.cursor().execute('SELECT pg_sleep(0.04)')
        conn.rollback()
        free.put(conn)
        time.sleep(0.02)
threads = [threading.Thread(target=work) for _ in range(THREADS)]
[t.start() for t in threads]; [t.join() for t in threads]
while not free.empty():
    free.get().close()
json.dump(sorted(waits), sys.stdout)
"""


def record(size):
    """The ledger, and the waits that the program logged."""
    run = run_with_shim([PYTHON, "-c", PROGRAM % size], db=cluster.fresh_database()).check_status(0)
    return run.ledger, json.loads(run.stdout)


def advise(ledger, *options):
    run = pqlease("advise", "--json", *options, ledger).check_status(0)
    return json.loads(run.stdout)["pools"][0]


def mean(values):
    return sum(values) / len(values)


def predicted_mean(advice, size):
    wait, = [entry["wait_mean"] for entry in advice["sizes"] if entry["size"] == size]
    return wait


@test
def waits_of_smaller_pools_from_a_large_one():
    advice = advise(record(10)[0])
    check_equal((250, 10, 10), (advice["uses"], advice["workers"], advice["sizes"][-1]["size"]), "uses, workers, sizes")
    for size in (2, 4):
        measured = mean(record(size)[1])
        check(abs(predicted_mean(advice, size) - measured) <= 0.15 * measured,
              "mean wait with %d connections: predicted %g, measured %g" %
              (size, predicted_mean(advice, size), measured))


@test
def hidden_waits_of_a_pool_that_was_always_full_are_an_upper_bound():
    """Nobody saw how long callers rest of themselves: their rests count as waits, and no more than these."""
    ledger, waits = record(3)
    predicted = predicted_mean(advise(ledger), 3)
    check(0.95 * mean(waits) <= predicted <= 1.1 * mean(waits) + REST_S,
          "mean wait: predicted %g, measured %g" % (predicted, mean(waits)))


@test
def the_target_decides_the_size():
    ledger, _ = record(10)
    sizes = {entry["size"]: entry["wait_p99"] for entry in advise(ledger)["sizes"]}
    for target in (0.005, 0.05, 0.2):
        smallest = advise(ledger, "--target", "%gs" % target)["recommended"]
        check(sizes[smallest] <= target and all(sizes[size] > target for size in sizes if size < smallest),
              "smallest size for %g: %r of %r" % (target, smallest, sizes))


@test
def the_server_has_room_for_it():
    ledger, _ = record(4)
    witness = "host=%s port=%s user=postgres dbname=postgres" % (cluster.socket_directory, cluster.port)
    text = pqlease("advise", "--server", witness, ledger).check_status(0).stdout.decode()
    slots = int(cluster.value("SHOW max_connections")) - int(cluster.value("SHOW superuser_reserved_connections"))
    check_in("Server: %d slots, 4 used at the peak of all roles (%.1fx headroom)" % (slots, slots / 4), text, "output")


@test
def a_leak_is_not_cured_by_size():
    program = "import psycopg2, os\nc = [psycopg2.connect('') for _ in range(3)]\n[x.cursor().execute('SELECT 1') for x in c]\n" \
              "os._exit(0)\n"
    run = run_with_shim([PYTHON, "-c", program], db=cluster.fresh_database()).check_status(0)
    check_in("won't solve a leak", pqlease("advise", run.ledger).stdout.decode(), "output")


@test
def nothing_to_advise_and_wrong_usage():
    run = run_with_shim(["true"])
    for arguments, status in ((["--target", "soon", "x"], 64), (["--target", "-1s", "x"], 64), (["a", "b"], 64),
                              (["--nonsense"], 64), ([run.ledger], 2)):
        failed = pqlease("advise", *arguments)
        check_equal((status, b"", 1), (failed.status, failed.stdout, failed.stderr.count(b"\n")),
                    "status, output, lines of error of %r" % arguments)
    unused = run_with_shim([cluster.bin("psql"), "-XAtc", "SELECT 1"], db=cluster.fresh_database(),
                           env={"PQLEASE_USES": "0"})
    check_in("nothing can be advised", pqlease("advise", unused.ledger).stdout.decode(), "output")


main()
