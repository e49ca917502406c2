#!/usr/bin/python3
"""Ruby: ruby-pg is loaded RTLD_GLOBAL; ruby-ffi and Fiddle ask for functions by dlsym."""

from client_table import *

cluster = Cluster()


def ruby(name):
    return ["/usr/bin/ruby", program(name)]


CLIENTS = [
    Client("ruby-pg, async api", ruby("ruby_pg_async.rb"), sessions=6, abandoned=1, status=3),
    Client("ruby-pg, sync api", ruby("ruby_pg_sync.rb"), sessions=4),
    Client("ruby-ffi", ruby("ruby_ffi.rb"), sessions=5, abandoned=1),
    Client("Ruby Fiddle", ruby("ruby_fiddle.rb"), sessions=3, abandoned=1),
]

main_of(CLIENTS, cluster)
