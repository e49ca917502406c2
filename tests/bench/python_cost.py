"""python_cost.py DEPTH CALLS WHAT: processor time of one call at the bottom of DEPTH functions, in nanoseconds.

WHAT is `connect` (a connect and its finish, by a libpq that has no server) or `traceback` (a stack written down by
hand, as pools are told to when a leak is looked for)."""

import ctypes
import sys
import time
import traceback

depth, calls, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

libpq = ctypes.PyDLL("libpq.so.5")
libpq.PQconnectdb.restype = ctypes.c_void_p
libpq.PQconnectdb.argtypes = [ctypes.c_char_p]
libpq.PQfinish.argtypes = [ctypes.c_void_p]
libpq.PQfinish.restype = None
connect, finish = libpq.PQconnectdb, libpq.PQfinish


def connect_often():
    for _ in range(calls):
        finish(connect(b""))


def write_down_often():
    for _ in range(calls):
        traceback.extract_stack()


def measure():
    work = connect_often if what == "connect" else write_down_often
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / calls


# The module, measure() and the loop are frames, too.
functions = {"level0": measure}
for level in range(1, depth - 2):
    body = "def level%d(self=None, *words, **options):\n    words = list(words)\n    return level%d()\n" % (level, level - 1)
    exec(compile("\n" * level * 10 + body, "/usr/lib/python3/dist-packages/layers/layer%d.py" % level, "exec"), functions)
print(functions["level%d" % (depth - 3)]())
