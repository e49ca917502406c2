#!/usr/bin/python3
"""Perl, C++, ODBC, Lua, Tcl, Qt, APR, GDAL."""

import glob

from client_table import *

cluster = Cluster()

ODBC_DRIVERS = "/usr/lib/*-linux-gnu/odbc/psqlodbcw.so"


def ogrinfo(db):
    return ["/usr/bin/ogrinfo", "-q", "PG:" + db.conninfo(), "-sql", "select 17 as n"]


def odbc_driver():
    return {"ODBC_DRIVER": "".join(glob.glob(ODBC_DRIVERS))}


CLIENTS = [
    Client("Perl DBD::Pg", ["/usr/bin/perl", program("dbd_pg.pl")], sessions=5, abandoned=1, status=3),
    Client("libpqxx", [built("libpqxx")], sessions=3, abandoned=1, status=3),
    Client("psqlodbc through unixODBC", [built("odbc")], env=odbc_driver(), sessions=2),
    Client("Lua, LuaSQL", ["/usr/bin/lua5.4", program("lua_sql.lua")], sessions=3, abandoned=1, status=3),
    Client("Tcl, libpgtcl", ["/usr/bin/tclsh", program("pgtcl.tcl")], sessions=2),
    Client("Qt QPSQL", [built("qt_qpsql")], sessions=3, abandoned=1, status=3),
    Client("APR dbd", [built("apr_dbd")], sessions=2, abandoned=1),
    Client("GDAL ogrinfo", ogrinfo),
]

main_of(CLIENTS, cluster)
