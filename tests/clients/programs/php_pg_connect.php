<?php
// pg_connect: same string twice is one connection, unless new is forced; async; one attempt fails; all closed.
$first = pg_connect("application_name=first");
$same = pg_connect("application_name=first");
$forced = pg_connect("application_name=first", PGSQL_CONNECT_FORCE_NEW);
echo $first === $same ? "same\n" : "another\n", $first === $forced ? "same\n" : "another\n";
echo pg_fetch_result(pg_query($first, "select 17"), 0, 0), "\n";
$async = pg_connect("application_name=async", PGSQL_CONNECT_ASYNC);
while (!in_array($state = pg_connect_poll($async), [PGSQL_POLLING_OK, PGSQL_POLLING_FAILED])) {
	usleep(1000);
}
echo $state == PGSQL_POLLING_OK ? "connected\n" : "failed\n";
echo @pg_connect("dbname=no_such_database_here") === false ? "no such database\n" : "connected\n";
echo pg_ping($forced) ? "alive\n" : "dead\n";
pg_close($forced);
pg_close($async);
// $first is closed when the script ends.
