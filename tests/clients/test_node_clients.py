#!/usr/bin/python3
"""node: connections opened in worker threads and finished in the main one; libpq by dlsym through koffi."""

import os
import shutil

from client_table import *

cluster = Cluster()


def node(name):
    return [shutil.which("node") or "/usr/bin/node", program(name)]


MODULES = {"NODE_PATH": os.path.join(BUILD, "clients", "node", "node_modules")}

CLIENTS = [
    Client("node libpq", node("node_libpq.js"), env=MODULES, sessions=3, abandoned=1, status=3),
    Client("node pg-native", node("node_pg_native.js"), env=MODULES, sessions=3),
    Client("node koffi", node("node_koffi.js"), env=MODULES, sessions=3, abandoned=1),
]

main_of(CLIENTS, cluster)
